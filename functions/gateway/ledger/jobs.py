"""The jobs in the ledger: accepted, sent, ended, found. Every function works within a transaction of its caller's."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

import msgspec

from events.http import Event
from events.job import job_of
from events.types import sibling_type
from functions.gateway.ledger import gates, notes, rows
from functions.gateway.ledger.job import (
    COLUMNS,
    MENDED,
    Accepted,
    Conflict,
    Job,
    NewJob,
    Progress,
    State,
    key_of,
    key_of_event,
)
from functions.gateway.ledger.rules import NO_RULES, Rules
from functions.runtime.adapter import REPLAYED
from functions.runtime.notes import TEXT_CHARACTERS, JobNote
from functions.storage.database import Database, Row, Transaction
from functions.storage.kept_event import packed, unpacked

DEAD: Final = ("deadlettered", "lost")
CANCELLED: Final = "/cancelled"  # how the type of such a problem ends
DIRECT: Final = ""  # the API of a job that came by the broker's own ingress
ERROR_CHARACTERS: Final = 10_000
SELECTED: Final = ", ".join(COLUMNS)

_INSERT: Final = (
    "INSERT INTO job (key, source, event_id, type, subject, api, state, fingerprint, priority, limit_key, unique_key,"
    " accepted_ms, not_before_ms, due_ms, latest_ms,"
    " let_in) VALUES {rows} ON CONFLICT DO NOTHING RETURNING id, key"
)
_REQUEST: Final = "INSERT INTO job_request (job_id, attributes, data) VALUES {rows}"
_END: Final = (
    "UPDATE job SET state = CASE WHEN job.state = 'lost' AND v.column2 = 'deadlettered' THEN 'lost' ELSE v.column2 END,"
    " ended_ms = v.column3, error = v.column4, due_ms = NULL,"
    " retry_ms = NULL"
    " FROM (VALUES {rows}) AS v WHERE job.key = v.column1 AND job.state NOT IN ('completed', 'cancelled')"
    " RETURNING id, key, COALESCE(job.not_before_ms, accepted_ms) AS wanted_ms, state, type, api, limit_key"
)
_DIRECT: Final = (
    "INSERT INTO job (key, source, event_id, type, subject, api, state, fingerprint, accepted_ms, ended_ms, error)"
    " VALUES {rows} ON CONFLICT DO NOTHING RETURNING id, key, accepted_ms AS wanted_ms, state"
)
_KEEP_END: Final = (
    "INSERT INTO job_end (job_id, attributes, data) VALUES {rows}"
    " ON CONFLICT (job_id) DO UPDATE SET attributes = excluded.attributes, data = excluded.data"
)


@dataclass(frozen=True, slots=True)
class Outgoing:
    """A job that is to be sent; `tries` is how often it was before, `letter` the row of what is of the outbox."""

    id: int
    key: str
    event: Event
    tries: int = 0
    letter: int | None = None


@dataclass(frozen=True, slots=True)
class Closed:
    """A job that has ended: how, and since when it was wanted."""

    state: State
    wanted_ms: int


class _Told(msgspec.Struct):
    """What an outcome says of why it is none that was hoped for: a problem, or a dead letter."""

    type: str = ""
    detail: str = ""
    error: str | None = None


def accept(transaction: Transaction, new: Sequence[NewJob], rules: Rules = NO_RULES) -> list[Accepted | Conflict]:
    """Record the requests, each once; what became of each, in their order. What a rule holds of is let in by claims."""
    waits = {id(each) for each in new if _waits(each, rules)}
    given = [
        (*_named(each.event, each.key), each.api, "waiting", each.fingerprint, *_admission(each, id(each) in waits))
        for each in new
    ]
    ids = {str(row["key"]): int(row["id"]) for row in rows.execute(transaction, _INSERT, given)}
    requests = {each.key: each for each in reversed(new) if each.key in ids}  # of several the first was inserted
    rows.execute(transaction, _REQUEST, [(ids[key], *packed(each.event)) for key, each in requests.items()])
    return [
        Accepted(ids[each.key], each.key, "waiting", fresh=True, waits=id(each) in waits)
        if requests.get(each.key) is each
        else _repeated(transaction, each, rules)
        for each in new
    ]


def _named(event: Event, key: str) -> tuple[object, ...]:
    return key, event.source, event.id, event.type, event.get("subject")


def _waits(job: NewJob, rules: Rules) -> bool:
    """Whether it is not let in with its acceptance."""
    return job.not_before_ms is not None or bool(rules.of(job.event.type, job.api, job.limit_key))


def _admission(job: NewJob, waits: bool) -> tuple[object, ...]:
    due_ms = job.accepted_ms if waits and job.not_before_ms is None else job.due_ms
    moments = (job.accepted_ms, job.not_before_ms, due_ms, job.latest_ms)
    return job.priority, job.limit_key, job.unique_key, *moments, int(not waits)


def _repeated(transaction: Transaction, job: NewJob, rules: Rules) -> Accepted | Conflict:
    """A job that is there: the same again, done anew where it has failed, one of a key that is held, or refused."""
    found = find(transaction, job.key)
    if found is None and job.unique_key is None:
        raise LookupError(f"job {job.key} was neither inserted nor found")
    if found is None or found.state in MENDED:
        holder = open_of(transaction, job.unique_key)
        if holder is not None:
            return _joined(transaction, holder, job, rules)
        if found is None:  # the key was freed in the meantime
            return accept(transaction, [job], rules)[0]
        event, waits = job.event.with_attributes(**replayed(found.state)), _waits(job, rules)
        _begin_anew(transaction, found, replace(job, event=event), waits=waits)
        return Accepted(found.id, found.key, "waiting", fresh=True, event=event, waits=waits)
    if found.fingerprint not in ("", job.fingerprint):
        return Conflict(found.key, found.state)
    return Accepted(found.id, found.key, found.state, fresh=False)


def replayed(state: State) -> dict[str, str]:
    """What tells the dead letters' console how a job ends that is one of theirs, and is done anew."""
    return {REPLAYED: "true"} if state in DEAD else {}


def open_of(transaction: Transaction, unique_key: str | None) -> Job | None:
    """The open job that has a unique key."""
    query = f"SELECT {SELECTED} FROM job WHERE unique_key = ? AND ended_ms IS NULL"  # noqa: S608  # our own columns
    found = transaction.execute(query, unique_key) if unique_key is not None else []
    return msgspec.convert(found[0], Job) if found else None


def _joined(transaction: Transaction, holder: Job, job: NewJob, rules: Rules) -> Accepted | Conflict:
    """The open job of the key; where both are debounced, it is done with the later one's data, and later."""
    if holder.latest_ms is not None and job.latest_ms is not None and job.not_before_ms is not None:
        due_ms = min(job.not_before_ms, holder.latest_ms)
        changed = transaction.execute(
            "UPDATE job SET due_ms = ?, not_before_ms = ?, subject = ? WHERE id = ? AND unique_key = ? RETURNING id",
            *(due_ms, due_ms, job.event.get("subject"), holder.id, job.unique_key),
        )
        if not changed:  # it was let in in the meantime
            return accept(transaction, [job], rules)[0]
        event = job.event.with_attributes(source=holder.source, id=holder.event_id)
        transaction.execute(
            "UPDATE job_request SET attributes = ?, data = ? WHERE job_id = ?", *packed(event), holder.id
        )
    return Accepted(holder.id, holder.key, holder.state, fresh=False, joined=True)


def _begin_anew(transaction: Transaction, found: Job, job: NewJob, *, waits: bool) -> None:
    transaction.execute(
        "UPDATE job SET state = 'waiting', type = ?, subject = ?, api = ?, fingerprint = ?, priority = ?,"
        " limit_key = ?, unique_key = ?, accepted_ms = ?, not_before_ms = ?, due_ms = ?, latest_ms = ?, let_in = ?,"
        " held_by = NULL, sent_ms = NULL,"
        " retry_ms = NULL, ended_ms = NULL, tries = 0, attempt = 0, error = NULL, progress = NULL WHERE id = ?",
        *(job.event.type, job.event.get("subject"), job.api, job.fingerprint, *_admission(job, waits), found.id),
    )
    transaction.execute("DELETE FROM job_request WHERE job_id = ?", found.id)
    transaction.execute("DELETE FROM job_end WHERE job_id = ?", found.id)
    rows.execute(transaction, _REQUEST, [(found.id, *packed(job.event))])
    notes.add(
        transaction, found.id, "asked again", at_ms=job.accepted_ms, actor=job.api, detail=f"it was {found.state}"
    )


def mark_sent(transaction: Transaction, sent: Sequence[tuple[int, int]], *, now_ms: int) -> None:
    """The broker has taken these jobs, each with when it is overdue; one that has ended meanwhile stays ended."""
    transaction.execute_many(
        "UPDATE job SET state = 'sent', sent_ms = ?, due_ms = ?, tries = tries + 1, error = NULL,"
        " retry_ms = NULL"
        " WHERE id = ? AND ended_ms IS NULL",
        [(now_ms, due_ms, id_) for id_, due_ms in sent],
    )


def end(transaction: Transaction, outcomes: Sequence[Event], *, now_ms: int) -> dict[str, Closed]:
    """Record how jobs ended, also of such as came by the broker's own ingress; those that it changes, by their keys.

    A completed job stays so, and a cancelled one; what failed, was lost or became a dead letter can be replayed, and
    end another way.
    """
    last = {key_of_event(each): each for each in outcomes}
    found = [(key, state, now_ms, error) for key, each in last.items() for state, error in [_end_of(each)]]
    changed = {str(row["key"]): row for row in rows.execute(transaction, _END, found)}
    gates.release(transaction, [(row["type"], row["api"], row["limit_key"]) for row in changed.values()], now_ms=now_ms)
    if len(changed) < len(last):
        unknown = {key: each for key, each in last.items() if key not in changed}
        changed |= {str(row["key"]): row for row in _insert_ended(transaction, unknown, now_ms)}
    kept = [(int(row["id"]), *packed(last[key])) for key, row in changed.items()]
    rows.execute(transaction, _KEEP_END, kept)
    return {key: Closed(row["state"], int(row["wanted_ms"])) for key, row in changed.items()}


def keep_end(transaction: Transaction, id_: int, outcome: Event) -> None:
    """Keep the event that ends a job."""
    rows.execute(transaction, _KEEP_END, [(id_, *packed(outcome))])


def _insert_ended(transaction: Transaction, outcomes: dict[str, Event], now_ms: int) -> list[Row]:
    """Those that the ledger does not know: nobody can say more of them than how they ended."""
    given = []
    for key, event in outcomes.items():
        state, error = _end_of(event)
        source, id_ = event.get("jobsource") or event.source, event.get("jobid") or event.id
        type_ = sibling_type(event.type, "requested")
        given.append((key, source, id_, type_, event.get("subject"), DIRECT, state, "", now_ms, now_ms, error))
    return rows.execute(transaction, _DIRECT, given)


def _end_of(outcome: Event) -> tuple[State, str | None]:
    """The state in which an outcome leaves its job, and the error that it tells."""
    state: Any = outcome.attributes["outcome"]
    if state == "completed":
        return "completed", None
    try:
        told = msgspec.json.decode(outcome.data, type=_Told)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return state, None
    if state == "failed" and told.type.endswith(CANCELLED):
        state = "cancelled"
    return state, (told.detail or told.error or "")[:ERROR_CHARACTERS].replace("\x00", "") or None


def note(transaction: Transaction, event: Event, told: JobNote, *, now_ms: int) -> tuple[str, int | None]:
    """Record what befell a job, also one that came by the broker's own ingress; its key, and the number of its note."""
    key = key_of_event(event)
    if told.kind == "progress":
        _progress(transaction, key, told, now_ms)
        return key, None
    job = find(transaction, key) or _insert_direct(transaction, event, told.type, now_ms)
    detail = told.detail[:ERROR_CHARACTERS].replace("\x00", "")
    number = None
    attempt = told.attempt
    if attempt is None and told.kind == "attempt failed":
        attempt = job.attempt + 1  # a function does not know how often it was asked
    if told.kind != "waits":
        more = {"attempt": attempt, "next_ms": told.next_ms}
        number = notes.add(transaction, job.id, told.kind, at_ms=now_ms, actor=told.by or None, detail=detail, **more)
    if job.is_open and told.kind != "callback failed":
        transaction.execute(
            "UPDATE job SET attempt = COALESCE(?, attempt), error = ?, retry_ms = ? WHERE id = ? AND ended_ms IS NULL",
            *(attempt, detail or None, told.next_ms, job.id),
        )
    return key, number


def _progress(transaction: Transaction, key: str, told: JobNote, now_ms: int) -> None:
    """Record how far an open job is; one that is not known here may be a step, or have been erased."""
    progress = Progress(at_ms=now_ms, percent=told.percent, text=told.detail[:TEXT_CHARACTERS].replace("\x00", ""))
    changed = transaction.execute(
        "UPDATE job SET progress = ? WHERE key = ? AND ended_ms IS NULL RETURNING id",
        *(msgspec.json.encode(progress).decode(), key),
    )
    if changed:
        notes.replace_progress(
            transaction, int(changed[0]["id"]), at_ms=now_ms, actor=told.by or None, detail=str(progress)
        )


def _insert_direct(transaction: Transaction, event: Event, type_: str, now_ms: int) -> Job:
    source, id_ = job_of(event)
    key = key_of(source, id_)
    rows.execute(transaction, _DIRECT, [(key, source, id_, type_, None, DIRECT, "sent", "", now_ms, None, None)])
    found = find(transaction, key)
    if found is None:
        raise LookupError(f"job {key} was neither inserted nor found")
    return found


def find(transaction: Transaction, key: str) -> Job | None:
    """The job of a key."""
    found = transaction.execute(f"SELECT {SELECTED} FROM job WHERE key = ?", key)  # noqa: S608  # our own columns
    return msgspec.convert(found[0], Job) if found else None


def request(transaction: Transaction, id_: int) -> Event | None:
    """What was asked for; None of a job that came by the broker's own ingress."""
    return _event(transaction.execute("SELECT attributes, data FROM job_request WHERE job_id = ?", id_))


def outcome(transaction: Transaction, id_: int) -> Event | None:
    """The event that ended the job."""
    return _event(transaction.execute("SELECT attributes, data FROM job_end WHERE job_id = ?", id_))


def _event(found: Sequence[dict[str, Any]]) -> Event | None:
    return unpacked(bytes(found[0]["attributes"]), bytes(found[0]["data"])) if found else None


def claim_overdue(database: Database, transaction: Transaction, *, now_ms: int, until_ms: int, limit: int) -> list[Job]:
    """Jobs that were sent and should have ended; nobody else is given them before `until_ms`."""
    found = transaction.execute(
        "UPDATE job SET due_ms = ? WHERE id IN (SELECT id FROM job WHERE state = 'sent' AND due_ms <= ?"  # noqa: S608
        f" ORDER BY due_ms, id LIMIT ?{database.skip_locked}) RETURNING {SELECTED}",
        *(until_ms, now_ms, limit),
    )
    return sorted(msgspec.convert(found, list[Job]), key=lambda each: each.id)


def set_due(transaction: Transaction, id_: int, due_ms: int | None) -> None:
    """When a job that was sent is looked at next, if ever."""
    transaction.execute("UPDATE job SET due_ms = ? WHERE id = ? AND state = 'sent'", due_ms, id_)


def was_passed(transaction: Transaction, job: Job, *, before_ms: int) -> bool:
    """Whether one of its type that was sent later had ended before this moment."""
    return bool(
        transaction.execute(
            "SELECT 1 FROM job WHERE ended_ms >= ? AND ended_ms < ? AND sent_ms > ? AND type = ? LIMIT 1",
            *(job.sent_ms, before_ms, job.sent_ms, job.type),
        )
    )


def has_ended_since(transaction: Transaction, type_: str, *, since_ms: int) -> bool:
    """Whether any of a type has ended since this moment."""
    return bool(transaction.execute("SELECT 1 FROM job WHERE ended_ms >= ? AND type = ? LIMIT 1", since_ms, type_))


def is_oldest_sent(transaction: Transaction, job: Job) -> bool:
    """Whether of those of its type that were sent and have not ended it is the first."""
    return not transaction.execute(
        "SELECT 1 FROM job WHERE state = 'sent' AND state <> 'completed' AND id < ? AND type = ? LIMIT 1",
        *(job.id, job.type),
    )


def lose(transaction: Transaction, job: Job, detail: str, *, now_ms: int) -> None:
    """Nobody knows what became of a job."""
    gates.release(transaction, [(job.type, job.api, job.limit_key)], now_ms=now_ms)
    transaction.execute(
        "UPDATE job SET state = 'lost', ended_ms = ?, due_ms = NULL, retry_ms = NULL, error = ?"
        " WHERE id = ? AND ended_ms IS NULL",
        *(now_ms, detail, job.id),
    )


def postpone(transaction: Transaction, ids: Sequence[int], *, until_ms: int, error: str | None) -> None:
    """These jobs were not sent, for this reason where there is one; they stay as they are until then."""
    statement = "UPDATE job SET due_ms = ?, error = ? WHERE id = ? AND state = 'waiting'"
    told = error and error[:ERROR_CHARACTERS].replace("\x00", "")
    transaction.execute_many(statement, [(until_ms, told, id_) for id_ in ids])


def bring_back(transaction: Transaction, back_ms: int, *, now_ms: int) -> None:
    """The clock was set back by so much: what is due later than now follows it, but for what was asked for then."""
    transaction.execute(
        "UPDATE job SET due_ms = due_ms - ? WHERE due_ms > ? AND (not_before_ms IS NULL OR not_before_ms <> due_ms)",
        *(back_ms, now_ms),
    )


def next_due_ms(transaction: Transaction) -> int | None:
    """When something is to be done about a job next."""
    query = "SELECT due_ms FROM job WHERE due_ms IS NOT NULL ORDER BY due_ms LIMIT 1"
    found = transaction.execute(query)
    return int(found[0]["due_ms"]) if found else None
