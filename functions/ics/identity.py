"""Who an item is and which version of it: UID and SEQUENCE."""

import uuid
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from events.types.ics import CalendarEntry, FreeBusy, IcsRequested
from functions.ics.findings import FieldPlace
from functions.ics.itip import NAMES, Item

# RFC 5546 2.1.4: what is a revision when it changes.
REVISED: Final = ("start", "end", "due", "timezone", "recurrence", "rrule", "rdates", "exdates", "status")


@dataclass(frozen=True, kw_only=True)
class Origin:
    """Where an item comes from: the caller, and the job, by names that are theirs alone."""

    source: str
    job: str


def uid(item: Item, index: int, origin: Origin) -> str:
    """The caller's own; else one of the source and the caller's key; else one of the job and the item's place."""
    if item.uid is not None:
        return item.uid
    if item.key is not None:
        return str(uuid.uuid5(uuid.NAMESPACE_URL, f"errands:ics:{origin.source}\n{item.key}"))
    kind = "" if isinstance(item, CalendarEntry) else f"{NAMES[type(item)]}:"
    return str(uuid.uuid5(uuid.NAMESPACE_URL, f"errands:ics:{origin.job}:{kind}{index}"))


def sequence(job: IcsRequested, item: Item) -> int:
    """The caller's number; else the number of `previous`, and one more where the change is a revision.

    Without either it is 0, and 1 for a cancellation, which has to be above what was sent (RFC 5546 3.2.5).
    """
    if isinstance(item, FreeBusy):  # which has no SEQUENCE (RFC 5545 3.6.4)
        return 0
    given = job.sequence if item.sequence is None else item.sequence
    if given is not None:
        return given
    previous = item.previous
    if previous is None:
        return 1 if job.method == "cancel" else 0
    if job.method == "reply":  # who answers repeats the number that was sent (3.2.3)
        return previous.sequence
    revised = any(getattr(item, name, getattr(previous, name)) != getattr(previous, name) for name in REVISED)
    return previous.sequence + (1 if revised or job.method == "cancel" else 0)


def check(items: Iterable[tuple[FieldPlace, Item, str, int]]) -> None:
    """Find uids that repeat, and later versions of what has no name yet, among (pointer, item, uid, sequence).

    Instances of one series share its uid.
    """
    first_with: dict[tuple[str, str | None], FieldPlace] = {}
    for at, item, name, number in items:
        if item.uid is None and item.key is None and number > 0 and not (at / "uid").found:
            detail = (
                f"is required with a sequence above 0, got sequence {number}: a derived uid is a new event's; or key"
            )
            (at / "uid").add(detail)
        instance = None if isinstance(item, FreeBusy) else item.recurrence_id
        if first_with.setdefault((name, instance), at) != at:
            given = repr((item.uid or item.key or name)[:80])
            detail = f"must differ from that of every other, got {given} of {first_with[name, instance].pointer} again"
            (at / f"{'key' if item.key else 'uid'}").add(detail)
