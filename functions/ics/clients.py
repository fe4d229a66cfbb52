"""What calendar clients refuse, skip or show otherwise, although RFC 5545 allows it: warnings of a job that is done.

README.md lists each limit with its source. A series that no client limit touches costs next to nothing here.
"""

from collections.abc import Iterable, Iterator
from datetime import date, datetime, timedelta
from itertools import islice, pairwise
from typing import Final

from events.types.ics import CalendarEntry, FreeBusy, Recurrence, Todo
from functions.ics.findings import FieldPlace
from functions.ics.itip import Item
from functions.ics.recurrence import PERIOD_DAYS, Rule
from functions.ics.schedule import BusyTimes, Schedule

SHOWN: Final = 100
OUTLOOK_COUNT: Final = 999  # MS-OXCICAL 2.1.3.2.2, count-part
GOOGLE_GUESTS: Final = 200
MOVED_DAYS: Final = 31  # how far an override is looked after
_PERIODS: Final = {"daily": 40, "weekly": 8, "monthly": 4, "yearly": 2}  # enough for the shortest gap of nearly all
_OUTLOOK_ORDINALS: Final = frozenset({-1, 1, 2, 3, 4})  # MS-OXOCAL 2.2.1.44.1.4: the first to the fourth, or the last


def warnings(items: Iterable[tuple[FieldPlace, Item, Schedule | BusyTimes | None]], method: str) -> tuple[str, ...]:
    """What is to be said of the items, each with its pointer: the first 100."""
    return tuple(islice(_of_all(items, method), SHOWN))


def _of_all(items: Iterable[tuple[FieldPlace, Item, Schedule | BusyTimes | None]], method: str) -> Iterator[str]:
    tasks = False
    for at, item, when in items:
        if isinstance(item, Todo) and not tasks:
            tasks = True
            yield "#/todos: Google Calendar shows no to-dos"
        if not isinstance(item, FreeBusy) and isinstance(when, Schedule):
            yield from (f"{at.pointer}{said}" for said in _of_one(item, when, method))


def _of_one(item: CalendarEntry | Todo, when: Schedule, method: str) -> Iterator[str]:
    if len(item.attendees) > GOOGLE_GUESTS:
        yield f"/attendees: Google Calendar takes {GOOGLE_GUESTS} guests, got {len(item.attendees)}; invite a group"
    if when.rdates:
        yield from _of_rdates(when)
    if when.rule is None or when.parts is None:
        return
    name = "rrule" if item.recurrence is None else "recurrence"
    unlike = [*_unlike_outlook(when.parts), *_too_many(when.rule, when.parts)]
    if unlike:
        yield f"/{name}: Outlook skips the series, since it has {'; '.join(unlike)}"
    yield from _of_length(when, when.rule)
    if isinstance(item, CalendarEntry) and method != "cancel":
        yield from _of_moved(when, when.rule)


def _of_rdates(when: Schedule) -> Iterator[str]:
    if when.parts is None:
        yield "/rdates: Outlook skips a series of rdates without a rule; an event of each is taken"
        return
    yield "/rdates: Outlook leaves out instances that are added to a rule"
    last = when.rule and when.rule.last
    if last and any(_day(each) > last for each in when.rdates):
        yield "/rdates: Google Calendar does not show instances after the end of the rule"


def _unlike_outlook(parts: Recurrence) -> Iterator[str]:
    """Why a rule is of none of Outlook's six patterns (MS-OXCICAL 2.1.3.2.2.1 to 2.1.3.2.2.6)."""
    name, days, positions = parts.frequency, parts.by_day, parts.by_set_position
    ordinals = [int(each[:-2]) for each in days if len(each) > 2]
    monthly = name in ("monthly", "yearly")
    unlike = {
        "several nth weekdays": ordinals and len(days) > 1,
        "an nth weekday that is none of the first four and not the last": not _OUTLOOK_ORDINALS.issuperset(ordinals),
        "several places in by_set_position": len(positions) > 1,
        "a place that is none of the first four and not the last": not _OUTLOOK_ORDINALS.issuperset(positions),
        "by_set_position of other than weekdays of a month": positions and (not monthly or not days or ordinals),
        "every such weekday of a month or a year": monthly and days and not ordinals and not positions,
        "a weekday of the whole year": name == "yearly" and days and not parts.by_month,
        "several days of the month": len(parts.by_month_day) > 1,
        "a day that is counted from the month's end": any(each < -1 for each in parts.by_month_day),
        "weekdays together with days of the month": days and parts.by_month_day,
        "a day of every month of the year": name == "yearly" and parts.by_month_day and not parts.by_month,
        "several months": len(parts.by_month) > 1,
        f"by_month in a {name} rule": parts.by_month and name != "yearly",
        "by_day in a daily rule": days and name == "daily",
        "by_month_day in a daily rule": parts.by_month_day and name == "daily",
        "by_year_day": parts.by_year_day,
        "by_week_number": parts.by_week_number,
    }
    return (said for said, holds in unlike.items() if holds)


def _too_many(rule: Rule, parts: Recurrence) -> Iterator[str]:
    """Where a rule of days or weeks with an until has over 999 instances; of months and years nobody sees the end."""
    number = parts.count or 0
    if rule.last and parts.frequency in ("daily", "weekly"):
        each = len(rule.by_day) if parts.frequency == "weekly" else int(not (rule.by_day or rule.by_month))
        number = (rule.last - rule.start).days // (PERIOD_DAYS[parts.frequency] * rule.interval) * each
    if number > OUTLOOK_COUNT:
        yield f"more than {OUTLOOK_COUNT} instances"


def _of_length(when: Schedule, rule: Rule) -> Iterator[str]:
    """An event that lasts into its own next instance."""
    length = when.end - when.start if when.start is not None and when.end is not None else timedelta()
    if length <= timedelta(days=1):
        return
    days = rule.instances(limit_periods=_PERIODS[rule.frequency])
    gap = min((later - day for day, later in pairwise(days)), default=None)
    if gap is not None and length > gap:
        yield f"/end: Outlook takes no event that lasts into its next instance, got {length} every {gap.days} days"


def _of_moved(when: Schedule, rule: Rule) -> Iterator[str]:
    for index, override in enumerate(when.overrides):
        old, new = _day(override.recurrence_id), _day(override.start)
        step = 1 if new > old else -1
        distance = min(abs((new - old).days), MOVED_DAYS)
        if any(rule.fits(old + timedelta(days=step * each)) for each in range(1, distance + 1)):
            yield f"/overrides/{index}: Outlook moves no instance to or past the day of another, got {new} for {old}"


def _day(moment: date) -> date:
    return moment.date() if isinstance(moment, datetime) else moment
