"""Makes the calendar files (RFC 5545, with the scheduling methods of RFC 5546) of a job.

The same job, source, namespace and `now` give the same bytes.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import PurePath
from typing import Any, Final

from icalendar import Calendar, Component

from events.problem import JobFailed
from events.types.ics import CalendarEntry, FreeBusy, IcsRequested, Todo
from functions.ics import alarm, clients, component, email_part, feed, identity, itip, texts
from functions.ics.component import Identity
from functions.ics.findings import FieldPlace
from functions.ics.identity import Origin
from functions.ics.itip import Item
from functions.ics.moment import instant, utc
from functions.ics.schedule import EFFORT_LIMIT_DAYS, BusyTimes, Schedule, busy_times, schedule
from functions.ics.time_zone import vtimezone
from functions.ics.values import content, text

END: Final = b"END:VCALENDAR\r\n"
PRODID: Final = "-//Errands//ics//EN"
# of all files; an override repeats its series, so that a small job could make gigabytes
LIMIT_BYTES: Final = 32 << 20

When = Schedule | BusyTimes


@dataclass(frozen=True, slots=True)
class CalendarFile:
    """One file, and the invitation as an e-mail's part where it was asked for."""

    name: str
    content: bytes
    email_part: bytes | None = None


@dataclass(frozen=True, slots=True)
class Made:
    """The files, the uid and sequence of each item (events, to-dos, free/busy times), and what clients will refuse."""

    files: tuple[CalendarFile, ...]
    uids: tuple[str, ...]
    sequences: tuple[int, ...]
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class _Written:
    """An item on its way: its pointer, and what was found out about it."""

    at: FieldPlace
    item: Item
    when: When | None
    uid: str
    sequence: int


def render(job: IcsRequested, *, source: str, namespace: str, now: datetime) -> Made:
    """Make the files; raise JobFailed that names the bad fields of every item.

    `source` is the caller, whose keys give uids; `namespace` is the job, whose items without a key or a uid get one
    of it and their place in the job.
    """
    root, origin = FieldPlace(), Origin(source=source, job=namespace)
    itip.check_job(job, root)
    entries = [_entry(job, item, root / f"{kind}/{index}", index, origin) for kind, index, item in _items(job)]
    identity.check([(each.at, each.item, each.uid, each.sequence) for each in entries])
    if job.feed:
        feed.check(job.feed, root / "feed")
    _check_instances(entries, root)
    root.findings.close()
    files = tuple(_files(job, entries, now.astimezone(UTC).replace(microsecond=0)))
    warnings = clients.warnings(((each.at, each.item, each.when) for each in entries), job.method)
    return Made(files, tuple(each.uid for each in entries), tuple(each.sequence for each in entries), warnings)


def _items(job: IcsRequested) -> Iterator[tuple[str, int, Item]]:
    """Each item, after its kind and its place among those of its kind."""
    for name in itip.NAMES.values():
        yield from ((name, index, item) for index, item in enumerate(getattr(job, name)))


def _entry(job: IcsRequested, item: Item, at: FieldPlace, index: int, origin: Origin) -> _Written:
    if isinstance(item, FreeBusy):
        when: When | None = busy_times(item, at)
    else:
        when = schedule(item, at)
        _check_details(item, at)
    texts.check(item, at)
    itip.check(job, item, at)
    uid = identity.uid(item, index, origin)
    return _Written(at, item, when, uid, identity.sequence(job, item))


def _check_details(item: CalendarEntry | Todo, at: FieldPlace) -> None:
    feed.check_color(item.color, at / "color")
    ends = (item.due if isinstance(item, Todo) else item.end) is not None
    for index, each in enumerate(item.alarms):
        alarm.check(each, at / f"alarms/{index}", starts=item.start is not None, ends=ends)
    if isinstance(item, Todo):
        if item.completed is not None:
            (at / "completed").take(instant, item.completed)
        return
    for number, override in enumerate(item.overrides):
        pointer = at / f"overrides/{number}"
        itip.check_people("events", override.attendees or (), pointer / "attendees")
        for index, each in enumerate(override.alarms or ()):
            has_end = ends or override.end is not None
            alarm.check(each, pointer / f"alarms/{index}", starts=True, ends=has_end)


def _check_instances(entries: Sequence[_Written], root: FieldPlace) -> None:
    """Expand every series as far as its named instances."""
    series = [(each.at, each.when) for each in entries if isinstance(each.when, Schedule)]
    effort_days = sum(when.effort_days() for _, when in series)
    if effort_days > EFFORT_LIMIT_DAYS:
        detail = f"must have excluded dates and overrides within {EFFORT_LIMIT_DAYS} days of their starts, all together"
        root.add(f"{detail}, got {effort_days}")
        return
    for at, when in series:
        when.check(at)


def _files(job: IcsRequested, entries: Sequence[_Written], now: datetime) -> Iterator[CalendarFile]:
    groups = [[each] for each in entries] if job.separate else [entries]
    path, left_bytes = PurePath(job.name), LIMIT_BYTES
    for number, group in enumerate(groups, 1):
        name = f"{path.stem}-{number}{path.suffix}" if job.separate else job.name
        made = _calendar(job, group, now, left_bytes)
        left_bytes -= len(made)
        part = email_part.render(job.email_part, job.method, group[0].item, made) if job.email_part else None
        yield CalendarFile(name, made, part)


def _calendar(job: IcsRequested, entries: Sequence[_Written], now: datetime, left_bytes: int) -> bytes:
    """The file; its components are written one by one, so that one that is too large is never made."""
    head = content(component.filled(Calendar(), _properties(job))).removesuffix(END)
    pieces = [head, *_vtimezones(entries)]
    left_bytes -= sum(map(len, pieces))
    for at, made in _components(entries, now, job.method):
        pieces.append(content(made))
        left_bytes -= len(pieces[-1])
        if left_bytes < 0:
            detail = f"the calendar must be at most {LIMIT_BYTES} bytes; {at.pointer} goes over that"
            raise JobFailed("too-large", detail)
    return b"".join((*pieces, END))


def _properties(job: IcsRequested) -> Iterator[tuple[str, Any]]:
    yield from (("VERSION", text("2.0")), ("PRODID", text(PRODID)), ("CALSCALE", text("GREGORIAN")))
    if job.method != "none":
        yield "METHOD", text(job.method.upper())
    if job.feed:
        yield from feed.properties(job.feed)


def _components(entries: Sequence[_Written], now: datetime, method: str) -> Iterator[tuple[FieldPlace, Component]]:
    """The components one by one, each with the place of its item."""
    for each in entries:
        item, when, known = each.item, each.when, Identity(each.uid, each.sequence, now)
        if isinstance(item, FreeBusy) and isinstance(when, BusyTimes):
            yield each.at, component.free_busy(item, when, known, method)
        elif isinstance(item, Todo) and isinstance(when, Schedule):
            yield each.at, component.todo(item, when, known, method)
        elif isinstance(item, CalendarEntry) and isinstance(when, Schedule):
            yield from ((each.at, made) for made in component.events(item, when, known, method))


def _vtimezones(entries: Sequence[_Written]) -> Iterator[bytes]:
    """One for each zone that is used, in the order of their names."""
    used: dict[str, list[datetime]] = {}
    open_ended = set()
    for each in entries:
        if isinstance(each.when, Schedule) and each.when.zone:
            name = each.when.zone.key
            used.setdefault(name, []).extend(map(utc, each.when.moments()))
            if each.when.open_ended:
                open_ended.add(name)
    for name, instants in sorted(used.items()):
        yield vtimezone(name, min(instants), None if name in open_ended else max(instants))
