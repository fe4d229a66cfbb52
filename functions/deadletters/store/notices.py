"""The outbox: events that tell the API of its dead letters, kept with the dead letter until the broker has taken
them.
"""

import logging
from datetime import datetime, timedelta
from typing import Final

from events.http import STRUCTURED, Event, check, read, structured, timestamp
from events.job import is_request
from events.problem import NotAnEvent
from events.types import DeadLetter, sibling_type
from functions.deadletters.store import history
from functions.deadletters.store.dead_letter import Failure
from functions.runtime.adapter import reply_event
from functions.runtime.logs import about
from functions.runtime.masking import without_query
from functions.storage.database import Transaction

log = logging.getLogger("errands.deadletters")

# An event that the broker refuses for what it is may be wanted later (a Trigger that was forgotten), but not for ever.
REFUSALS: Final = 10
REFUSED_FIRST_S: Final = 60
REFUSED_LAST_S: Final = 3_600


def write(transaction: Transaction, sent: Event, id_: int, why: Failure, *, now: datetime) -> None:
    """Put the event that tells of a dead letter, `sent` before it was one, into the outbox, if it is to be told of."""
    notice = _notice(sent, id_, why, now)
    if notice is not None:
        post(transaction, notice, dead_letter=id_, now=now)


def post(transaction: Transaction, event: Event, *, dead_letter: int | None, now: datetime) -> None:
    """Put an event into the outbox, where it is not there already."""
    transaction.execute(
        "INSERT INTO dead_notice (event_id, letter_id, event, due_at) VALUES (?, ?, ?, ?) ON CONFLICT (event_id)"
        " DO NOTHING",
        event.id,
        dead_letter,
        structured(event),
        timestamp(now),
    )


def due(transaction: Transaction, *, now: datetime, limit: int = 100) -> list[Event]:
    """The oldest events that are to be sent now, and those that wait for longer than any does: a clock was set back."""
    query = "SELECT event FROM dead_notice WHERE due_at <= ? OR due_at > ? ORDER BY due_at, id LIMIT ?"
    rows = transaction.execute(query, timestamp(now), timestamp(now + timedelta(seconds=REFUSED_LAST_S)), limit)
    return [read({"content-type": STRUCTURED}, bytes(row["event"])) for row in rows]


def sent(transaction: Transaction, event: Event) -> None:
    """The broker has taken the event."""
    transaction.execute("DELETE FROM dead_notice WHERE event_id = ?", event.id)


def refused(transaction: Transaction, event: Event, reason: str, *, now: datetime) -> None:
    """The broker refuses the event for what it is: later again, ever more seldom, and at last never more."""
    query = "UPDATE dead_notice SET tries = tries + 1 WHERE event_id = ? RETURNING letter_id, tries"
    for row in transaction.execute(query, event.id):
        if row["tries"] >= REFUSALS:
            with about(event):
                log.error("the broker refuses the notice %s for good: %s", event.id, reason)
            sent(transaction, event)
            detail = {"event": event.id, "reason": reason}
            history.record(
                transaction, "not told", history.BROKER, now=now, dead_letter=row["letter_id"], detail=detail
            )
            return
        delay_s = min(REFUSED_FIRST_S * 2 ** (row["tries"] - 1), REFUSED_LAST_S)
        later = timestamp(now + timedelta(seconds=delay_s))
        transaction.execute("UPDATE dead_notice SET due_at = ? WHERE event_id = ?", later, event.id)


def _notice(event: Event, id_: int, why: Failure, now: datetime) -> Event | None:
    """The event that tells the API; only of a job, never of an event about a job: no dead letter can breed another."""
    if not is_request(event):
        return None
    payload = DeadLetter(
        dead_letter=str(id_),
        code=why.code,
        destination=without_query(why.destination),
        error=why.error or None,
        attempts=why.attempts,
    )
    try:
        return check(reply_event(event, sibling_type(event.type, "deadlettered"), payload, now=now))
    except NotAnEvent as error:  # of a type that only just is one; in the outbox it would stop all that come after
        log.error("the API cannot be told of dead letter %d: %s", id_, error)
        return None
