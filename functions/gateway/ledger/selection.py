"""Jobs by what people look for; the newest first."""

from collections.abc import Iterator

import msgspec

from functions.gateway.ledger.job import COLUMNS, Job, State
from functions.storage.database import Transaction

SELECTED = ", ".join(COLUMNS)


class Filter(msgspec.Struct, frozen=True, kw_only=True):
    """What is looked for; what is None matches all."""

    state: State | None = None
    type: str | None = None
    subject: str | None = None
    id: str | None = None
    api: str | None = None
    ended: bool | None = None


def page(transaction: Transaction, asked: Filter, *, after: int | None, limit: int) -> list[Job]:
    """At most `limit` jobs, from before the one with the number `after` on."""
    conditions = list(_conditions(asked, after))
    where = f" WHERE {' AND '.join(each for each, _ in conditions)}" if conditions else ""
    values = [value for _, given in conditions for value in given]
    query = f"SELECT {SELECTED} FROM job{where} ORDER BY id DESC LIMIT ?"  # noqa: S608  # conditions of ours
    return msgspec.convert(transaction.execute(query, *values, limit), list[Job])


class Oldest(msgspec.Struct, frozen=True, kw_only=True):
    """The open jobs of a type in a state: how many, and when the first of them could begin."""

    type: str
    state: State
    count: int
    since_ms: int


def oldest(transaction: Transaction) -> list[Oldest]:
    """The open jobs by their type and state; one that is not to begin yet is not old."""
    found = transaction.execute(
        "SELECT type, state, count(*) AS count,"
        " min(CASE WHEN not_before_ms > accepted_ms THEN not_before_ms ELSE accepted_ms END) AS since_ms FROM job"
        " WHERE state IN ('waiting', 'sent') AND state <> 'completed' GROUP BY type, state"
    )
    return msgspec.convert(found, list[Oldest])


def counts(transaction: Transaction) -> dict[str, int]:
    """The jobs of each state but `completed`."""
    found = transaction.execute("SELECT state, count(*) AS count FROM job WHERE state <> 'completed' GROUP BY state")
    return {row["state"]: int(row["count"]) for row in found}


class TypeCount(msgspec.Struct, frozen=True, kw_only=True):
    """The jobs of a type and a state, and when the first of them was accepted."""

    type: str
    state: State
    count: int
    since_ms: int


def by_type(transaction: Transaction) -> list[TypeCount]:
    """The jobs of each type and state but `completed`, of which there are too many to count."""
    found = transaction.execute(
        "SELECT type, state, count(*) AS count, min(accepted_ms) AS since_ms FROM job WHERE state <> 'completed'"
        " GROUP BY type, state ORDER BY type, state"
    )
    return msgspec.convert(found, list[TypeCount])


def first_open(transaction: Transaction) -> Job | None:
    """The open job that was accepted first."""
    query = (
        f"SELECT {SELECTED} FROM job WHERE state IN ('waiting', 'sent') AND state <> 'completed'"  # noqa: S608  # ours
        " ORDER BY accepted_ms, id LIMIT 1"
    )
    found = transaction.execute(query)
    return msgspec.convert(found[0], Job) if found else None


class SpanCount(msgspec.Struct, frozen=True, kw_only=True):
    """How many jobs were accepted, or ended so (`what` is their state), in a span, counted from the first asked for."""

    span: int
    what: str
    count: int


def ends(transaction: Transaction, *, from_ms: int, span_ms: int) -> list[SpanCount]:
    """How jobs ended since a moment, by spans of this length."""
    found = transaction.execute(
        "SELECT (ended_ms - ?) / ? AS span, state AS what, count(*) AS count FROM job WHERE ended_ms >= ?"
        " GROUP BY 1, state ORDER BY 1, state",
        *(from_ms, span_ms, from_ms),
    )
    return msgspec.convert(found, list[SpanCount])


def accepted(transaction: Transaction, *, from_ms: int, span_ms: int) -> list[SpanCount]:
    """How many jobs were accepted since a moment, by spans of this length.

    Numbers follow the time of acceptance, so that the first is found by halves and no index has to be kept for it.
    """
    found = transaction.execute(
        "SELECT (accepted_ms - ?) / ? AS span, 'accepted' AS what, count(*) AS count FROM job"
        " WHERE id >= ? AND accepted_ms >= ? GROUP BY 1 ORDER BY 1",
        *(from_ms, span_ms, _first_since(transaction, from_ms), from_ms),
    )
    return msgspec.convert(found, list[SpanCount])


def _first_since(transaction: Transaction, from_ms: int) -> int:
    """The number from which on jobs were accepted at this moment or later."""
    found = transaction.execute("SELECT COALESCE(min(id), 0) AS low, COALESCE(max(id), 0) AS high FROM job")
    low, high = int(found[0]["low"]), int(found[0]["high"])
    while low < high:
        middle = (low + high) // 2
        at = transaction.execute("SELECT accepted_ms FROM job WHERE id >= ? ORDER BY id LIMIT 1", middle)
        if at[0]["accepted_ms"] < from_ms:
            low = middle + 1
        else:
            high = middle
    return low


def _conditions(asked: Filter, after: int | None) -> Iterator[tuple[str, list[object]]]:
    if asked.state == "completed":
        yield "state = 'completed'", []
    elif asked.state is not None:
        yield "state = ? AND state <> 'completed'", [asked.state]  # as the index has it
    if asked.type is not None:
        yield "substr(type, 1, 200) = ? AND type = ?", [asked.type[:200], asked.type]
    if asked.subject is not None:
        yield "substr(subject, 1, 200) = ? AND subject = ?", [asked.subject[:200], asked.subject]
    if asked.id is not None:
        yield "substr(event_id, 1, 200) = ? AND event_id = ?", [asked.id[:200], asked.id]
    if asked.api is not None:
        yield "api = ?", [asked.api]
    if asked.ended is not None:
        yield f"ended_ms IS {'NOT ' if asked.ended else ''}NULL", []
    if after is not None:
        yield "id < ?", [after]
