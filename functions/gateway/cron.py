"""When a cron expression comes: five fields or a word such as `@daily`, by the clocks of a time zone.

Where clocks change it goes as Debian's cron does, for fixed times: one in the hour that is skipped comes right after
it, one in the hour that is repeated comes once. What comes every so many minutes or hours comes whenever clocks show
it.
The library knows no zone here: by itself it leaves hours out where clocks change by half an hour.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from heapq import heappop, heappush
from itertools import islice
from typing import Final
from zoneinfo import ZoneInfo

from cronsim import CronSim, CronSimError

WORDS: Final = {
    "@yearly": "0 0 1 1 *",
    "@annually": "0 0 1 1 *",
    "@monthly": "0 0 1 * *",
    "@weekly": "0 0 * * 0",
    "@daily": "0 0 * * *",
    "@midnight": "0 0 * * *",
    "@hourly": "0 * * * *",
}
FIELDS: Final = 5
CHARACTERS: Final = 200
LONGEST_CHANGE: Final = timedelta(hours=3)  # of clocks, and then some
EXPECTED: Final = f"five fields (minute, hour, day, month, weekday) or one of {', '.join(WORDS)}"


@dataclass(frozen=True, slots=True)
class Cron:
    """An expression that is one, in its zone."""

    expression: str
    zone: ZoneInfo

    @classmethod
    def parse(cls, text: str, zone: ZoneInfo) -> "Cron":
        """Raise ValueError for what is none."""
        expression = WORDS.get(text.strip().lower(), text.strip())
        if len(expression) > CHARACTERS or len(expression.split()) != FIELDS:
            raise ValueError(f"must be {EXPECTED}, got {text[:40]!r}")
        try:
            CronSim(expression, datetime.now(UTC))
        except CronSimError as error:
            raise ValueError(f"must be {EXPECTED}: {error}, got {text[:40]!r}") from error
        return cls(expression, zone)

    def after(self, moment: datetime) -> Iterator[datetime]:
        """Its times after a moment, in UTC; none where it never comes."""
        before = moment
        for found in self._moments(moment - LONGEST_CHANGE, reverse=False):
            if found > before:
                before = found
                yield found

    def until(self, moment: datetime) -> Iterator[datetime]:
        """Its times up to a moment and with it, the last one first."""
        before = moment + timedelta(microseconds=1)
        for found in self._moments(moment + LONGEST_CHANGE, reverse=True):
            if found < before:
                before = found
                yield found

    def _moments(self, start: datetime, *, reverse: bool) -> Iterator[datetime]:
        """Those of the times that the zone's clocks show, in order: in a repeated hour clocks show one twice."""
        ahead: list[tuple[float, datetime]] = []
        sign = -1 if reverse else 1
        shown = start.astimezone(self.zone).replace(tzinfo=None)
        for each in CronSim(self.expression, shown, reverse=reverse):
            for found in self._at(each):
                heappush(ahead, (sign * found.timestamp(), found))
            passed = sign * each.replace(tzinfo=self.zone, fold=int(reverse)).timestamp()
            while ahead and ahead[0][0] < passed:
                yield heappop(ahead)[1]
        while ahead:
            yield heappop(ahead)[1]

    def _at(self, shown: datetime) -> list[datetime]:
        """When clocks show this: once, never, or twice; of a fixed time once in any case."""
        first, second = (shown.replace(tzinfo=self.zone, fold=fold).astimezone(UTC) for fold in (0, 1))
        if first == second:
            return [first]
        if first > second:  # clocks go from before it to after it
            return [self._change(second, first)] if self._is_fixed else []
        return [first] if self._is_fixed else [first, second]

    def _change(self, before: datetime, after: datetime) -> datetime:
        """The moment between these at which the clocks change."""
        offset = before.astimezone(self.zone).utcoffset()
        while after - before > timedelta(minutes=1):
            middle = (before + (after - before) / 2).replace(second=0, microsecond=0)
            if middle.astimezone(self.zone).utcoffset() == offset:
                before = middle
            else:
                after = middle
        return after

    @property
    def _is_fixed(self) -> bool:
        """Whether it has hours and minutes of the day, and does not come every so many."""
        minute, hour, *_ = self.expression.split()
        return not (minute.startswith("*") or hour.startswith("*"))

    def next(self, moment: datetime, *, count: int = 1) -> list[datetime]:
        """The first of them."""
        return list(islice(self.after(moment), count))


def zone_of(name: str) -> ZoneInfo:
    """The zone of a name of the IANA's database; raise ValueError."""
    try:
        return ZoneInfo(name)
    except (KeyError, ValueError, OSError) as error:
        raise ValueError(f"must be a time zone such as Europe/Berlin, got {name[:40]!r}") from error
