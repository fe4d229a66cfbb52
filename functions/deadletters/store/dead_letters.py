"""The dead letters in the database: kept, found, changed. Every function works within a transaction of its caller's."""

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from types import MappingProxyType
from typing import Final

import msgspec

from events.http import Event, timestamp
from events.job import is_request, outcome_of
from functions.deadletters.service.results import UNRESOLVED, DeadLetter, Record, ShownEvent, State
from functions.deadletters.store import groups, history
from functions.deadletters.store.dead_letter import (
    REPLAY_OF,
    Failure,
    failure,
    is_outcome,
    job_key,
    key,
    kind,
    original,
    storable,
)
from functions.runtime.masking import CONTRACT, Rules
from functions.storage.database import Row, Transaction
from functions.storage.kept_event import packed, unpacked

FROM: Final = "FROM dead_letter l JOIN dead_group g ON g.id = l.group_id"
COLUMNS: Final = (
    "l.id, l.state, g.job, g.type, g.code, g.trigger_name, g.destination, l.error, l.attempts, l.first_seen,"
    " l.last_seen, l.times, l.replays, l.setbacks, l.group_id, l.event_id, l.event_source, l.subject, l.size_bytes,"
    " l.edited"
)
# Sent again, with an outcome that is awaited, or with none that anybody tells.
SENT_AGAIN: Final = "(state = 'replayed' OR (state = 'completed' AND replay_key IS NULL AND replays > 0))"
SETBACK_LIMIT: Final = 3  # one that failed again after so many replays is passed over by bulk replays
RELATED_LIMIT: Final = 20


class Stored(msgspec.Struct, frozen=True, kw_only=True):
    """A dead letter's event as it came, as a replay sends it, and the function's own error, where it is known."""

    original: Event
    event: Event
    failure_report: bytes | None


def keep(transaction: Transaction, event: Event, *, now: datetime, rules: Rules = CONTRACT) -> tuple[int, Failure]:
    """Store a dead letter, or count one more delivery of the same. Returns its number, and what the broker told."""
    why, sent = failure(event, rules), original(event)
    group = groups.place(transaction, sent, why, now=now)
    id_ = _insert(transaction, sent, why, group, now)
    if id_ is None:
        id_ = _count(transaction, key(sent, why), why, group, now)
    else:
        _write_body(transaction, id_, sent)
        _supersede(transaction, sent, id_, now)
    detail = {"code": why.code, "attempts": why.attempts, "error": why.error[:500]}
    history.record(transaction, "arrived", history.BROKER, now=now, dead_letter=id_, detail=detail)
    return id_, why


def add_failure_report(transaction: Transaction, id_: int, failure_report: bytes) -> None:
    """What the function said of its latest failure."""
    transaction.execute("UPDATE dead_body SET evidence = ? WHERE letter_id = ?", failure_report, id_)


def _insert(transaction: Transaction, event: Event, why: Failure, group: int, now: datetime) -> int | None:
    """A new dead letter, or None when the same one is there."""
    setbacks, seen = _inherited_setbacks(transaction, event), timestamp(now)
    rows = transaction.execute(
        "INSERT INTO dead_letter (key, job_key, group_id, state, event_id, event_source, subject, error, attempts,"
        " size_bytes, first_seen, last_seen, setbacks, is_request) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"
        " ON CONFLICT (key) DO NOTHING RETURNING id",
        key(event, why),
        job_key(event),
        group,
        "quarantined" if setbacks >= SETBACK_LIMIT else "open",
        event.id,
        event.source,
        event.get("subject"),
        why.error,
        why.attempts,
        len(event.data),
        seen,
        seen,
        setbacks,
        int(is_request(event)),
    )
    return int(rows[0]["id"]) if rows else None


def _count(transaction: Transaction, key_: str, why: Failure, group: int, now: datetime) -> int:
    """One more delivery of a dead letter: it is open again, and has had a setback when it had been replayed."""
    rows = transaction.execute(
        "UPDATE dead_letter SET times = times + 1, last_seen = ?, error = ?, attempts = ?, group_id = ?,"  # noqa: S608  # a constant
        f" closed_at = NULL, setbacks = setbacks + CASE WHEN {SENT_AGAIN} THEN 1 ELSE 0 END,"
        f" state = CASE WHEN state = 'quarantined' OR ({SENT_AGAIN} AND setbacks + 1 >= ?) THEN 'quarantined'"
        " ELSE 'open' END WHERE key = ? RETURNING id",
        timestamp(now),
        why.error,
        why.attempts,
        group,
        SETBACK_LIMIT,
        key_,
    )
    return int(rows[0]["id"])


def _inherited_setbacks(transaction: Transaction, event: Event) -> int:
    """A job that was made anew of a dead letter, and failed, is one more setback of that dead letter's."""
    rows = transaction.execute("SELECT setbacks FROM dead_letter WHERE id = ?", _made_of(event))
    return int(rows[0]["setbacks"]) + 1 if rows else 0


def _supersede(transaction: Transaction, event: Event, id_: int, now: datetime) -> None:
    """The dead letter that this one's job was made anew of waits for no outcome any more."""
    query = f"UPDATE dead_letter SET state = 'failed', closed_at = ? WHERE id = ? AND {SENT_AGAIN} RETURNING id"  # noqa: S608
    for row in transaction.execute(query, timestamp(now), _made_of(event)):
        history.record(
            transaction, "failed", history.BROKER, now=now, dead_letter=row["id"], detail={"dead_letter": id_}
        )


def _made_of(event: Event) -> int:
    """The number of the dead letter that a job was made anew of, 0 for none."""
    number = event.get(REPLAY_OF) or ""
    return int(number) if number.isascii() and number.isdigit() and len(number) < 18 else 0


def expect(transaction: Transaction, outgoing: Mapping[int, Event]) -> None:
    """The dead letters go out as these events: the outcomes of those are those of the dead letters. What is no request
    has none.
    """
    query = "UPDATE dead_letter SET replay_key = ? WHERE id = ?"
    keys = {id_: job_key(event) if is_request(event) else None for id_, event in outgoing.items()}
    transaction.execute_many(query, [(key_, id_) for id_, key_ in keys.items()])


def awaits(transaction: Transaction, outcome: Event) -> bool:
    """Whether a dead letter may be one of the job that has ended."""
    query = "SELECT 1 AS one FROM dead_letter WHERE replay_key = ? OR job_key = ? LIMIT 1"
    return bool(transaction.execute(query, job_key(outcome), job_key(outcome)))


def settle(transaction: Transaction, outcome: Event, *, now: datetime) -> int:
    """Mark the dead letters of a job that has ended; returns how many that were.

    Those had been replayed and waited for it, or were open, and the API itself has sent the job again: then the outcome
    is a later one than the dead letter, which may be of another Trigger's function for the same request.
    """
    state = outcome_of(outcome)
    if state is None or not is_outcome(outcome):
        return 0
    rows = transaction.execute(
        "UPDATE dead_letter SET state = ?, closed_at = ? WHERE (replay_key = ? AND state = 'replayed') OR (job_key = ?"
        " AND state IN ('open', 'quarantined') AND is_request = 1 AND last_seen <= ?) RETURNING id",
        state,
        timestamp(now),
        job_key(outcome),
        job_key(outcome),
        outcome.get("time") or timestamp(now),
    )
    for row in rows:
        history.record(transaction, state, history.BROKER, now=now, dead_letter=row["id"], detail={"event": outcome.id})
    return len(rows)


def waiting_requests(transaction: Transaction, limit: int) -> list[Event]:
    """The newest dead letters that wait for a person and ask for a job: the events as they were sent."""
    query = (
        "SELECT b.* FROM dead_body b JOIN dead_letter l ON l.id = b.letter_id"
        " WHERE l.state IN ('open', 'quarantined') AND l.is_request = 1 ORDER BY l.id DESC LIMIT ?"
    )
    return [_stored(row).original for row in transaction.execute(query, limit)]


def find(transaction: Transaction, id_: int) -> DeadLetter | None:
    """One dead letter, or None."""
    rows = transaction.execute(f"SELECT {COLUMNS} {FROM} WHERE l.id = ?", id_)  # constants
    return dead_letter(rows[0]) if rows else None


def stored(transaction: Transaction, id_: int) -> Stored | None:
    """A dead letter's event, or None."""
    rows = transaction.execute("SELECT * FROM dead_body WHERE letter_id = ?", id_)
    return _stored(rows[0]) if rows else None


def to_send(transaction: Transaction, ids: Sequence[int]) -> list[tuple[DeadLetter, Event]]:
    """Dead letters with the events that a replay sends."""
    marks = ", ".join("?" for _ in ids)
    bodies = transaction.execute(f"SELECT * FROM dead_body WHERE letter_id IN ({marks})", *ids)  # noqa: S608  # marks
    events = {row["letter_id"]: _stored(row).event for row in bodies}
    rows = transaction.execute(f"SELECT {COLUMNS} {FROM} WHERE l.id IN ({marks}) ORDER BY l.id", *ids)  # marks
    return [(dead_letter(row), events[row["id"]]) for row in rows]


def related(transaction: Transaction, id_: int) -> tuple[DeadLetter, ...]:
    """The other dead letters of a dead letter's job."""
    query = (
        f"SELECT {COLUMNS} {FROM} WHERE l.job_key = (SELECT job_key FROM dead_letter WHERE id = ?) AND l.id <> ?"  # noqa: S608  # constants
        " ORDER BY l.id DESC LIMIT ?"
    )
    return tuple(dead_letter(row) for row in transaction.execute(query, id_, id_, RELATED_LIMIT))


def edit(transaction: Transaction, id_: int, event: Event | None) -> None:
    """What a replay is to send instead of what came; None takes that back."""
    values = (None, None) if event is None else packed(event)
    transaction.execute("UPDATE dead_body SET edited_attributes = ?, edited_data = ? WHERE letter_id = ?", *values, id_)
    transaction.execute("UPDATE dead_letter SET edited = ? WHERE id = ?", int(event is not None), id_)


def discard(transaction: Transaction, id_: int, *, now: datetime) -> bool:
    """Close a dead letter without a replay; returns whether it was open."""
    query = (
        "UPDATE dead_letter SET state = 'discarded', closed_at = ?"
        " WHERE id = ? AND state IN ('open', 'quarantined') RETURNING id"
    )
    return bool(transaction.execute(query, timestamp(now), id_))


def reopen(transaction: Transaction, id_: int, *, among: Sequence[State], closed_after: str = "") -> bool:
    """Open a dead letter that is in one of these states, or quarantine it again; returns whether it was."""
    marks = ", ".join("?" for _ in among)
    query = (
        "UPDATE dead_letter SET state = CASE WHEN setbacks >= ? THEN 'quarantined' ELSE 'open' END, closed_at = NULL"  # noqa: S608  # marks
        f" WHERE id = ? AND coalesce(closed_at, '9') >= ? AND state IN ({marks}) RETURNING id"
    )
    return bool(transaction.execute(query, SETBACK_LIMIT, id_, closed_after, *among))


def restore(transaction: Transaction, id_: int, state: str, *, now: datetime) -> None:
    """A dead letter that was marked as sent, and did not go out, is as it was before, unless it came meanwhile."""
    closed_at = None if state in UNRESOLVED else timestamp(now)
    transaction.execute("UPDATE dead_letter SET replays = replays - 1 WHERE id = ?", id_)
    query = "UPDATE dead_letter SET state = ?, closed_at = ? WHERE id = ? AND state = 'replayed'"
    transaction.execute(query, state, closed_at, id_)


def record(transaction: Transaction, id_: int, shown: Callable[[Event], ShownEvent]) -> Record:
    """A dead letter as a line of an export, with its event as it came."""
    row, event = find(transaction, id_), stored(transaction, id_)
    if row is None or event is None:
        raise LookupError(f"dead letter {id_} has gone")
    body = shown(event.original)
    data = body.data_base64 if body.data_base64 is not None else (body.data or "").encode()
    same = ("code", "destination", "trigger", "error", "attempts", "first_seen", "last_seen", "times", "state")
    values = {name: getattr(row, name) for name in same}
    return Record(attributes=body.attributes, data_base64=data, masked=body.masked, **values)


def take_in(transaction: Transaction, came: Record, *, now: datetime) -> int | None:
    """Keep a dead letter of an export with its times and state; None when the same dead letter is here."""
    event = Event(MappingProxyType(dict(came.attributes)), came.data_base64)
    why = Failure(
        code=came.code,
        destination=storable(came.destination),
        trigger=storable(came.trigger),
        error=storable(came.error),
        attempts=came.attempts,
    )
    id_ = _insert(transaction, event, why, groups.place(transaction, event, why, now=now), now)
    if id_ is not None:
        _write_body(transaction, id_, event)
        seen = (came.first_seen or timestamp(now), came.last_seen or timestamp(now))
        query = "UPDATE dead_letter SET first_seen = ?, last_seen = ?, times = ?, state = ?, closed_at = ? WHERE id = ?"
        closed_at = None if came.state in UNRESOLVED else timestamp(now)
        transaction.execute(query, *seen, came.times, came.state, closed_at, id_)
    return id_


def _write_body(transaction: Transaction, id_: int, event: Event) -> None:
    query = "INSERT INTO dead_body (letter_id, attributes, data) VALUES (?, ?, ?)"
    transaction.execute(query, id_, *packed(event))


def dead_letter(row: Row) -> DeadLetter:
    """A row of `COLUMNS` as it is shown."""
    renamed: Mapping[str, str] = {"trigger_name": "trigger", "group_id": "group"}
    values = {renamed.get(name, name): value for name, value in row.items()}
    return DeadLetter(**values | {"edited": bool(row["edited"]), "kind": kind(row["type"], row["destination"])})


def _stored(row: Row) -> Stored:
    came = unpacked(row["attributes"], row["data"])
    attributes = row["attributes"] if row["edited_attributes"] is None else row["edited_attributes"]
    sent = unpacked(attributes, row["data"] if row["edited_data"] is None else row["edited_data"])
    failure_report = None if row["evidence"] is None else bytes(row["evidence"])
    return Stored(original=came, event=sent, failure_report=failure_report)
