"""What each method requires and forbids of an item (RFC 5546 3.2 for events, 3.4 for to-dos, 3.3 for free/busy)."""

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final, Literal

from events.types.ics import Attendee, CalendarEntry, FreeBusy, IcsRequested, Todo
from functions.ics.findings import FieldPlace

Item = CalendarEntry | Todo | FreeBusy
NAMES: Final[Mapping[type[Item], str]] = MappingProxyType(
    {CalendarEntry: "events", Todo: "todos", FreeBusy: "free_busy"}
)
_STATUSES: Final[Mapping[str, tuple[str, ...]]] = MappingProxyType(
    {
        "events": ("needs-action", "accepted", "declined", "tentative", "delegated"),
        "todos": ("needs-action", "accepted", "declined", "tentative", "delegated", "completed", "in-process"),
        "free_busy": ("needs-action", "accepted", "declined"),
    }
)


@dataclass(frozen=True)
class MethodRules:
    """One row: how many attendees, who has to be named, and what a message of the method never holds."""

    section: str
    attendees: Literal["none", "any", "some", "one"]
    organizer: Literal["required", "optional", "with attendees"] = "required"
    uid_given: bool = False
    one_item: bool = True
    starts: bool = True
    alarms: bool = True


# A published event, and a cancellation of one, need no organizer here, although 3.2.1 and 3.2.5 want one: most
# published calendars have none.
TABLE: Final[Mapping[tuple[str, str], MethodRules]] = MappingProxyType(
    {
        ("publish", "events"): MethodRules("3.2.1", "none", "optional", one_item=False),
        ("request", "events"): MethodRules("3.2.2", "some"),
        ("reply", "events"): MethodRules("3.2.3", "one", uid_given=True, alarms=False),
        ("cancel", "events"): MethodRules("3.2.5", "any", "with attendees", uid_given=True, alarms=False),
        ("counter", "events"): MethodRules("3.2.7", "some", uid_given=True),
        ("publish", "free_busy"): MethodRules("3.3.1", "none", one_item=False),
        ("request", "free_busy"): MethodRules("3.3.2", "some"),
        ("reply", "free_busy"): MethodRules("3.3.3", "one", uid_given=True),
        ("publish", "todos"): MethodRules("3.4.1", "none", "optional", one_item=False),
        ("request", "todos"): MethodRules("3.4.2", "some"),
        ("reply", "todos"): MethodRules("3.4.3", "one", uid_given=True, starts=False, alarms=False),
        ("cancel", "todos"): MethodRules("3.4.5", "any", "with attendees", uid_given=True, starts=False, alarms=False),
        ("counter", "todos"): MethodRules("3.4.7", "some", uid_given=True, starts=False),
    }
)
NO_MESSAGE: Final = MethodRules("", "any", "optional", one_item=False, starts=False)


def rules(method: str, kind: str) -> MethodRules | None:
    """The row of a method; None where it has none for such items."""
    return NO_MESSAGE if method == "none" else TABLE.get((method, kind))


def check_job(job: IcsRequested, root: FieldPlace) -> None:
    """Find what is wrong with the job as a whole."""
    kinds = [name for name in NAMES.values() if getattr(job, name)]
    if job.method != "none" and len(kinds) > 1:
        detail = (
            f"must be absent beside {kinds[0]}: a message holds items of one kind (RFC 5546 3.1); method none does not"
        )
        (root / kinds[1]).add(detail)
    row = rules(job.method, kinds[0])
    if row and row.one_item and not job.separate and len(getattr(job, kinds[0])) > 1:
        (root / kinds[0]).add(
            f"must be one with method {job.method}, since all in one message share a uid (RFC 5546 {row.section}), "
            f"got {len(getattr(job, kinds[0]))}; separate makes a file of each",
        )
    if job.feed and job.separate:
        (root / "feed").add("must be absent beside separate: a feed is one file")
    if job.email_part and job.method == "none":
        (root / "email_part").add("expects a method: in an e-mail a calendar is a message (RFC 6047)")


def check(job: IcsRequested, item: Item, at: FieldPlace) -> None:
    """Find what the method requires of one item and what it forbids."""
    kind = NAMES[type(item)]
    row = rules(job.method, kind)
    if row is None:
        at.add(f"must be of a method that {kind} have: publish, request or reply; got {job.method}")
        return
    said = f"with method {job.method} (RFC 5546 {row.section})"
    if item.organizer is None and (row.organizer == "required" or (row.organizer != "optional" and item.attendees)):
        (at / "organizer").add(f"is required {said}")
    _check_attendees(row, item, at / "attendees", said)
    if item.uid is None and item.key is None and row.uid_given:
        (at / "uid").add(f"is required {said}: it names what was sent before; or its key")
    if isinstance(item, Todo) and item.start is None and row.starts and job.method != "none":
        (at / "start").add(f"is required {said}; method none makes a file that is no message")
    if isinstance(item, FreeBusy):
        _check_free_busy(job.method, item, at, said)
    else:
        _check_status(job.method, item, at)


def _check_attendees(row: MethodRules, item: Item, at: FieldPlace, said: str) -> None:
    got = len(item.attendees)
    if row.attendees == "none" and got:
        at.add(f"must be absent {said}, got {got}; request invites")
    elif row.attendees == "some" and not got:
        at.add(f"must name at least one {said}, got none")
    elif row.attendees == "one" and got != 1:
        at.add(f"must be the one who answers {said}, got {got}")
    elif row.attendees == "one" and item.attendees[0].status == "needs-action":
        (at / "0/status").add(f"must be an answer {said}, such as accepted, got needs-action")
    check_people(NAMES[type(item)], item.attendees, at)


def check_people(kind: str, attendees: tuple[Attendee, ...], at: FieldPlace) -> None:
    """Find attendees that are named twice, or whose status such items have not."""
    first_with: dict[str, int] = {}
    for index, each in enumerate(attendees):
        if each.status not in _STATUSES[kind]:
            expected = ", ".join(_STATUSES[kind])
            (at / f"{index}/status").add(f"must be one of {expected} in {kind}, got {each.status}")
        if first_with.setdefault(each.email.lower(), index) != index:
            detail = f"must differ from that of attendee {first_with[each.email.lower()]}, got {each.email!r} again"
            (at / f"{index}/email").add(detail)


def _check_free_busy(method: str, item: FreeBusy, at: FieldPlace, said: str) -> None:
    if method == "request" and item.periods:
        (at / "periods").add(f"must be absent {said}: it asks for them, got {len(item.periods)}")
    if method == "publish" and not item.periods:
        (at / "periods").add(f"must be at least one {said}, got none")


def _check_status(method: str, item: CalendarEntry | Todo, at: FieldPlace) -> None:
    overrides = item.overrides if isinstance(item, CalendarEntry) else ()
    if method in ("request", "counter"):
        for pointer, each in ((at, item), *((at / f"overrides/{i}", each) for i, each in enumerate(overrides))):
            if each.status == "cancelled":
                (pointer / "status").add(
                    f"must be another with method {method}, got cancelled: method cancel calls off, "
                    "and with recurrence_id one instance; exdates leaves one out",
                )
    if method == "reply" and overrides:
        (at / "overrides").add("must be absent with method reply: recurrence_id answers for one instance")
