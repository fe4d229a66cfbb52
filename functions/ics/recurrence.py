"""The instances of a recurrence rule (RFC 5545 3.3.10), by days: all of them are at the time of day of the start.

A period (day, week, month or year, by the frequency) has the days that pass every BY part, which is what the RFC's
table of expanding and limiting comes to when nothing is smaller than a day. Not dateutil's rrule: it searches a rule
without instances to the year 9999, which nothing can stop (3 s of processor time for
`FREQ=DAILY;BYMONTH=2;BYMONTHDAY=30`), and in a first week it counts BYSETPOS from the start on.
"""

from calendar import isleap, monthrange
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from datetime import date, timedelta
from typing import Final

from functions.ics.moment import LAST_YEAR

DAYS: Final = ("MO", "TU", "WE", "TH", "FR", "SA", "SU")
PERIOD_DAYS: Final = {"daily": 1, "weekly": 7, "monthly": 31, "yearly": 366}


@dataclass(frozen=True, kw_only=True, slots=True)
class Rule:
    """A rule as numbers; `by_day` holds (ordinal or 0, weekday), `last` is the day after which no instance is."""

    start: date
    frequency: str
    interval: int = 1
    count: int | None = None
    last: date | None = None
    by_month: frozenset[int] = frozenset()
    by_month_day: frozenset[int] = frozenset()
    by_year_day: frozenset[int] = frozenset()
    by_week_number: frozenset[int] = frozenset()
    by_day: frozenset[tuple[int, int]] = frozenset()
    by_set_position: frozenset[int] = frozenset()
    week_start: int = 0

    @property
    def finite(self) -> bool:
        """Whether the rule says where it ends."""
        return self.count is not None or self.last is not None

    def effort_days(self, days: Collection[date]) -> int:
        """How many days `among` looks at, at most."""
        if self.finite and days:
            return max(0, (max(days) - self.start).days) // self.interval + PERIOD_DAYS[self.frequency]
        return len(days) * (PERIOD_DAYS[self.frequency] if self.by_set_position else 1)

    def among(self, days: Collection[date]) -> set[date]:
        """Those of `days` that are instances."""
        if not self.finite:
            return {day for day in days if self.fits(day)}
        found, end = set(), max(days, default=self.start)
        for instance in self.instances():
            if instance > end:
                break
            if instance in days:
                found.add(instance)
        return found

    def fits(self, day: date) -> bool:
        """Whether the day is an instance, were the rule without an end."""
        if day < self.start or self._periods_since_start(day) % self.interval or not self._passes(day):
            return False
        return not self.by_set_position or day in self._days(self._period(day))

    def instances(self, *, limit_periods: int | None = None) -> Iterator[date]:
        """Every instance, to the rule's end; none after the last year, or the first `limit_periods` periods."""
        left, period, periods = self.count, self._period(self.start), 0
        while period.year <= LAST_YEAR and periods != limit_periods:
            for day in self._days(period):
                if day >= self.start:
                    if (self.last and day > self.last) or left == 0:
                        return
                    yield day
                    left = None if left is None else left - 1
            period, periods = self._later(period), periods + 1
            if left == 0 or (self.last and period > self.last):
                return

    def _period(self, day: date) -> date:
        """The first day of the period that the day is in."""
        if self.frequency == "yearly":
            return day.replace(month=1, day=1)
        if self.frequency == "monthly":
            return day.replace(day=1)
        return day - timedelta(days=(day.weekday() - self.week_start) % 7) if self.frequency == "weekly" else day

    def _later(self, period: date) -> date:
        if self.frequency == "yearly":
            return period.replace(year=period.year + self.interval)
        if self.frequency == "monthly":
            months = period.year * 12 + period.month - 1 + self.interval
            return date(months // 12, months % 12 + 1, 1)
        return period + timedelta(days=PERIOD_DAYS[self.frequency] * self.interval)

    def _periods_since_start(self, day: date) -> int:
        if self.frequency == "yearly":
            return day.year - self.start.year
        if self.frequency == "monthly":
            return (day.year - self.start.year) * 12 + day.month - self.start.month
        return (self._period(day) - self._period(self.start)).days // PERIOD_DAYS[self.frequency]

    def _days(self, period: date) -> list[date]:
        """The instances of a period, those before the start too."""
        passing = [day for day in self._all_days(period) if self._passes(day)]
        if not self.by_set_position:
            return passing
        positions = {each - 1 if each > 0 else len(passing) + each for each in self.by_set_position}
        return [day for position, day in enumerate(passing) if position in positions]

    def _all_days(self, period: date) -> Iterator[date]:
        """The days of a period, without months that BYMONTH leaves out."""
        if self.frequency == "yearly":
            months = sorted(self.by_month) or range(1, 13)
            for first in (period.replace(month=month) for month in months):
                yield from (first.replace(day=day) for day in range(1, monthrange(first.year, first.month)[1] + 1))
        elif self.frequency == "monthly":
            yield from (period.replace(day=day) for day in range(1, monthrange(period.year, period.month)[1] + 1))
        else:
            yield from (period + timedelta(days=each) for each in range(PERIOD_DAYS[self.frequency]))

    def _passes(self, day: date) -> bool:
        """Whether the day passes every BY part but BYSETPOS."""
        return (
            (not self.by_month or day.month in self.by_month)
            and (not self.by_month_day or _either(self.by_month_day, day.day, monthrange(day.year, day.month)[1]))
            and (not self.by_year_day or _either(self.by_year_day, day.timetuple().tm_yday, _year_days(day.year)))
            and (not self.by_week_number or _either(self.by_week_number, *_week(day, self.week_start)))
            and (not self.by_day or self._is_by_day(day))
        )

    def _is_by_day(self, day: date) -> bool:
        weekday = day.weekday()
        if (0, weekday) in self.by_day:
            return True
        # RFC 5545 3.3.10: an ordinal counts within the month, or within the year when the rule names no months.
        in_month = self.frequency == "monthly" or bool(self.by_month)
        number = day.day if in_month else day.timetuple().tm_yday
        length = monthrange(day.year, day.month)[1] if in_month else _year_days(day.year)
        from_start, from_end = (number - 1) // 7 + 1, -((length - number) // 7 + 1)
        return (from_start, weekday) in self.by_day or (from_end, weekday) in self.by_day


def _either(wanted: frozenset[int], number: int, length: int) -> bool:
    """Whether a number, counted from 1 to `length`, is wanted; wanted numbers below zero count from the end."""
    return number in wanted or number - length - 1 in wanted


def _year_days(year: int) -> int:
    return 366 if isleap(year) else 365


def _week(day: date, week_start: int) -> tuple[int, int]:
    """The day's week number and how many weeks its year has: week 1 is the first with four days (RFC 5545 3.3.10)."""
    middle = day - timedelta(days=(day.weekday() - week_start) % 7 - 3)
    number_in_year = middle.timetuple().tm_yday
    first_middle = (number_in_year - 1) % 7 + 1
    return (number_in_year - 1) // 7 + 1, (_year_days(middle.year) - first_middle) // 7 + 1
