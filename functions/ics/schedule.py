"""When an item is: its start and end, its recurrence, and the instances that are other than the rule says.

An end is the first moment that is no longer part of the event, so the end date of an all-day event is the day after
its last (RFC 5545 3.6.1). A series is expanded before it is written: its start, every excluded date and every override
have to be instances.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from typing import Final
from zoneinfo import ZoneInfo

from events.types.ics import CalendarEntry, FreeBusy, Override, Recurrence, Todo
from functions.ics import rrule
from functions.ics.findings import FieldPlace
from functions.ics.moment import Moment, TimeFrame, frame
from functions.ics.recurrence import Rule

EFFORT_LIMIT_DAYS: Final = 2_000_000  # of one job; a second of processor time or two


@dataclass(frozen=True, slots=True)
class Instance:
    """An override's own times."""

    recurrence_id: Moment
    start: Moment
    end: Moment | None


@dataclass(frozen=True, slots=True)
class Schedule:
    """All moments of an item, in its zone. `end` is DTEND of an event and DUE of a to-do."""

    start: Moment | None
    end: Moment | None
    parts: Recurrence | None = None
    until: Moment | None = None
    rule: Rule | None = None
    rdates: tuple[Moment, ...] = ()
    exdates: tuple[Moment, ...] = ()
    recurrence_id: Moment | None = None
    overrides: tuple[Instance, ...] = ()

    @property
    def zone(self) -> ZoneInfo | None:
        """The zone that its times refer to by name; None for UTC too."""
        named = next((each.tzinfo for each in self.moments() if isinstance(each, datetime)), None)
        return named if isinstance(named, ZoneInfo) else None

    @property
    def open_ended(self) -> bool:
        """Whether its last instance is not among `moments`."""
        return self.rule is not None and self.until is None

    def moments(self) -> Iterator[Moment]:
        """Every moment that is written."""
        given = (self.start, self.end, self.until, self.recurrence_id, *self.rdates, *self.exdates)
        yield from (each for each in given if each is not None)
        for instance in self.overrides:
            yield from (each for each in (instance.recurrence_id, instance.start, instance.end) if each is not None)

    def effort_days(self) -> int:
        """How many days its check looks at, at most."""
        return self.rule.effort_days(self._named_days()) if self.rule else 0

    def _named_days(self) -> set[date]:
        named = (*self.exdates, *(each.recurrence_id for each in self.overrides))
        return {_day(each) for each in named}

    def check(self, at: FieldPlace) -> None:
        """Find excluded dates and overrides that hit no instance, and a series that has none left."""
        hit = self.rule.among(self._named_days()) if self.rule else set()
        for index, each in enumerate(self.exdates):
            if not self._is_instance(each, hit):
                (at / f"exdates/{index}").add(f"must be the start of an instance, got {_shown(each)}")
        for index, override in enumerate(self.overrides):
            if not self._is_instance(override.recurrence_id, hit) or override.recurrence_id in self.exdates:
                detail = f"must be the start of an instance that is not excluded, got {_shown(override.recurrence_id)}"
                (at / f"overrides/{index}/recurrence_id").add(detail)
        if self.exdates and not self._has_an_instance():
            (at / "exdates").add(f"must leave an instance, got all {len(self.exdates)} excluded")

    def _is_instance(self, moment: Moment, hit: set[date]) -> bool:
        if moment == self.start or moment in self.rdates:
            return True
        return _day(moment) in hit and _time(moment) == _time(self.start)

    def _has_an_instance(self) -> bool:
        if self.rule and not self.rule.finite:
            return True
        excluded = set(self.exdates)
        if not excluded.issuperset({self.start, *self.rdates} - {None}):
            return True
        days = {_day(each) for each in excluded}
        return self.rule is not None and any(each not in days for each in self.rule.instances())


def schedule(item: CalendarEntry | Todo, at: FieldPlace) -> Schedule:
    """The schedule of an item; where something is wrong with it that is found, and left out of the schedule."""
    end_name, end_text = ("due", item.due) if isinstance(item, Todo) else ("end", item.end)
    first = ("start", item.start) if item.start is not None else (end_name, end_text)
    common = None if first[1] is None else frame(first[0], first[1], item.timezone, at)
    if common is None:
        _without_frame(item, end_name, end_text, at)
        return Schedule(None, None)
    start = None if item.start is None else common.moment(item.start, at / "start")
    end = None if end_text is None else common.moment(end_text, at / end_name)
    if start is not None and end is not None and end <= start:
        (at / end_name).add(_too_early("start", item.start, end_text, common))
    if start is None:
        _without_start(item, at)
        return Schedule(None, end)
    return _series(item, start, end, common, at)


def _without_frame(item: CalendarEntry | Todo, end_name: str, end_text: str | None, at: FieldPlace) -> None:
    """What can still be said where the first moment is wrong, or there is none."""
    if item.start is not None and end_text is not None:
        frame(end_name, end_text, None, at)
    elif end_text is None and item.start is None:
        if item.timezone is not None:
            (at / "timezone").add(f"must be absent without start and {end_name}, got {item.timezone!r}")
        _without_start(item, at)


def _without_start(item: CalendarEntry | Todo, at: FieldPlace) -> None:
    for name in ("recurrence", "rrule", "rdates", "exdates", "recurrence_id"):
        if getattr(item, name):
            (at / name).add("must be absent without a start (RFC 5545 3.8.5.3)")


def _series(
    item: CalendarEntry | Todo, start: Moment, end: Moment | None, common: TimeFrame, at: FieldPlace
) -> Schedule:
    overrides = item.overrides if isinstance(item, CalendarEntry) else ()
    if not (item.recurrence or item.rrule or item.rdates):
        for name, given in (("exdates", item.exdates), ("overrides", overrides)):
            if given:
                (at / name).add("must be absent without a recurrence, an rrule or rdates")
        instance = item.recurrence_id and common.moment(item.recurrence_id, at / "recurrence_id")
        return Schedule(start, end, recurrence_id=instance or None)
    if item.recurrence_id is not None:
        (at / "recurrence_id").add("must be absent beside a recurrence: it names one instance of a series")
    rule_at = at / ("rrule" if item.recurrence is None else "recurrence")
    parts = rule_at.take(rrule.recurrence, item)
    until_at = rule_at if item.recurrence is None else rule_at / "until"
    rule = None if parts is None else rrule.rule(parts, start, common, rule_at, until_at)
    if (item.recurrence or item.rrule) and rule is None:
        return Schedule(start, end)
    return Schedule(
        start,
        end,
        parts,
        rrule.until_value(parts, common) if parts else None,
        rule,
        _moments(item.rdates, common, at / "rdates"),
        _moments(item.exdates, common, at / "exdates"),
        overrides=tuple(_instances(overrides, start, end, common, at)),
    )


def _moments(texts: tuple[str, ...], common: TimeFrame, at: FieldPlace) -> tuple[Moment, ...]:
    made = [common.moment(text, at / f"{index}") for index, text in enumerate(texts)]
    found = [each for each in made if each is not None]
    if len(set(found)) < len(found):
        at.add("must be different from each other, got one of them twice")
    return tuple(found)


def _instances(
    overrides: tuple[Override, ...], start: Moment, end: Moment | None, common: TimeFrame, at: FieldPlace
) -> Iterator[Instance]:
    seen: set[Moment] = set()
    for index, override in enumerate(overrides):
        pointer = at / f"overrides/{index}"
        named = common.moment(override.recurrence_id, pointer / "recurrence_id")
        if named is None:
            continue
        if named in seen:
            detail = f"must differ from that of every other override, got {override.recurrence_id!r} again"
            (pointer / "recurrence_id").add(detail)
        seen.add(named)
        yield _instance(override, named, None if end is None else end - start, common, pointer)


def _instance(
    override: Override, named: Moment, length: timedelta | None, common: TimeFrame, at: FieldPlace
) -> Instance:
    """An override's times: without an `end` of its own it is as long as the others."""
    moved = None if override.start is None else common.moment(override.start, at / "start")
    start = moved or named
    ended = None if override.end is None else common.moment(override.end, at / "end")
    if ended is not None and ended <= start:
        (at / "end").add(_too_early("start", override.start or override.recurrence_id, override.end, common))
    return Instance(named, start, ended or (None if length is None else start + length))


def _too_early(name: str, first: str | None, got: str | None, common: TimeFrame) -> str:
    detail = f"must be later than {name} ({first}), got {got!r}"
    return f"{detail}; an end date is the day after the last" if common.kind == "date" else detail


def _day(moment: Moment) -> date:
    return moment.date() if isinstance(moment, datetime) else moment


def _time(moment: Moment | None) -> object:
    return moment.time() if isinstance(moment, datetime) else None


def _shown(moment: Moment) -> str:
    return moment.isoformat()[:19]


@dataclass(frozen=True, slots=True)
class BusyTimes:
    """The times of a free/busy item, all of UTC; each period with its type."""

    start: datetime
    end: datetime
    periods: tuple[tuple[datetime, datetime, str], ...]


def busy_times(item: FreeBusy, at: FieldPlace) -> BusyTimes | None:
    """Its times, of one kind, turned into UTC; None where something is wrong with them."""
    common = frame("start", item.start, item.timezone, at)
    if common is None:
        return None
    if common.kind != "UTC time" and common.zone is None:
        (at / "start").add(f"must be UTC, or a local time with its zone in timezone, got {item.start!r}")
        return None
    whole = _span(item.start, item.end, common, at)
    periods = []
    for index, each in enumerate(item.periods):
        span = _span(each.start, each.end, common, at / f"periods/{index}")
        if span and whole and not (whole[0] <= span[0] and span[1] <= whole[1]):
            detail = f"must be within start and end ({item.start} to {item.end}), got {each.start} to {each.end}"
            (at / f"periods/{index}").add(detail)
        if span:
            periods.append((*span, each.type))
    return whole and BusyTimes(*whole, tuple(periods))


def _span(start: str, end: str, common: TimeFrame, at: FieldPlace) -> tuple[datetime, datetime] | None:
    begun, ended = common.moment(start, at / "start"), common.moment(end, at / "end")
    if not isinstance(begun, datetime) or not isinstance(ended, datetime):
        return None
    if ended <= begun:
        (at / "end").add(_too_early("start", start, end, common))
    return begun.astimezone(UTC), ended.astimezone(UTC)
