"""A filter as SQL, and the dead letters that it finds: by the group where it can be, since there are few of those."""

import re
from collections.abc import Callable, Iterator
from datetime import datetime, timedelta

import msgspec
from msgspec import structs

from events.http import Event, timestamp
from functions.deadletters.service.commands import Filter
from functions.deadletters.service.results import UNRESOLVED, Arrivals, DeadLetter
from functions.deadletters.store.dead_letters import COLUMNS, FROM, dead_letter, find, stored
from functions.runtime.masking import json_forms
from functions.storage.database import Database, Transaction

Accept = Callable[[Event], bool]


def page(
    database: Database,
    transaction: Transaction,
    matching: Filter,
    *,
    before: int | None,
    limit: int,
    now: datetime,
    accept: Accept | None = None,
) -> tuple[DeadLetter, ...]:
    """The newest dead letters that match, and whose events are accepted, from below the number `before`."""

    def candidates(beyond: int) -> list[int]:
        return _numbers(database, transaction, matching, now=now, beyond=f"l.id < {beyond}", order="DESC", limit=limit)

    found = _accepted(transaction, candidates, before or 2**62, limit, accept)
    if not found:
        return ()
    marks = ", ".join("?" for _ in found)
    query = f"SELECT {COLUMNS} {FROM} WHERE l.id IN ({marks}) ORDER BY l.id DESC"  # marks
    return tuple(dead_letter(row) for row in transaction.execute(query, *found))


def numbers(
    database: Database,
    transaction: Transaction,
    matching: Filter,
    *,
    after: int,
    limit: int,
    now: datetime,
    accept: Accept | None = None,
) -> list[int]:
    """The numbers of the oldest dead letters that match, and whose events are accepted, from above `after`."""

    def candidates(beyond: int) -> list[int]:
        return _numbers(database, transaction, matching, now=now, beyond=f"l.id > {beyond}", order="ASC", limit=limit)

    return _accepted(transaction, candidates, after, limit, accept)


def _accepted(
    transaction: Transaction, candidates: Callable[[int], list[int]], beyond: int, limit: int, accept: Accept | None
) -> list[int]:
    """The first of what is found whose events, as they came, are accepted."""
    found = batch = candidates(int(beyond))
    if accept is None:
        return found
    found = []
    while batch and len(found) < limit:
        events = ((each, stored(transaction, each)) for each in batch)
        found += [each for each, event in events if event is not None and accept(event.original)]
        batch = candidates(batch[-1]) if len(batch) == limit else []
    return found[:limit]


def _numbers(
    database: Database,
    transaction: Transaction,
    matching: Filter,
    *,
    now: datetime,
    beyond: str,
    order: str,
    limit: int,
) -> list[int]:
    """In the order of an index, of each state by itself: a sort of all that match would read all that match."""
    states = UNRESOLVED if matching.state == "unresolved" else (matching.state,)
    parts, values = list[str](), list[object]()
    for state in states:
        where, given = condition(database, structs.replace(matching, state=state), now)
        part = f"SELECT l.id FROM dead_letter l WHERE {where} AND {beyond} ORDER BY l.id {order} LIMIT {int(limit)}"  # noqa: S608  # values apart
        parts.append(f"SELECT id FROM ({part}) AS of_{state}")  # noqa: S608  # as above
        values += given
    union = " UNION ALL ".join(parts)
    rows = transaction.execute(f"SELECT id FROM ({union}) AS found ORDER BY id {order} LIMIT {int(limit)}", *values)  # noqa: S608
    return [row["id"] for row in rows]


def count(database: Database, transaction: Transaction, matching: Filter, *, now: datetime) -> int:
    """How many dead letters match."""
    where, values = condition(database, matching, now)
    rows = transaction.execute(f"SELECT count(*) AS total FROM dead_letter l WHERE {where}", *values)  # noqa: S608  # values apart
    return int(rows[0]["total"])


def arrivals(transaction: Transaction, cursor: int | None, limit: int = 500) -> Arrivals:
    """The dead letters that came after the cursor; without one none, and the cursor of now."""
    if cursor is None:
        last = transaction.execute("SELECT max(id) AS last FROM dead_action")[0]["last"]
        return Arrivals(dead_letters=(), cursor=last or 0)
    query = "SELECT id, letter_id FROM dead_action WHERE verb = 'arrived' AND id > ? ORDER BY id LIMIT ?"
    rows = transaction.execute(query, cursor, limit)
    found = (find(transaction, each) for each in dict.fromkeys(row["letter_id"] for row in rows))
    return Arrivals(dead_letters=tuple(each for each in found if each), cursor=rows[-1]["id"] if rows else cursor)


def condition(database: Database, matching: Filter, now: datetime) -> tuple[str, list[object]]:
    """What a dead letter must fulfil to match, of `FROM`, and the values in it."""
    parts = list(_parts(database, matching, now))
    return " AND ".join(part for part, _ in parts) or "1 = 1", [value for _, values in parts for value in values]


def _parts(database: Database, matching: Filter, now: datetime) -> Iterator[tuple[str, tuple[object, ...]]]:
    if matching.state == "unresolved":
        yield "l.state IN ('open', 'quarantined')", ()
    elif matching.state != "all":
        yield "l.state = ?", (matching.state,)
    kinds = {
        "job": matching.job,
        "type": matching.type,
        "code": matching.code,
        "destination": matching.destination,
        "trigger_name": matching.trigger,
        "id": matching.group,
    }
    given = {name: value for name, value in kinds.items() if value is not None}
    if given:
        kind = " AND ".join(f"{name} = ?" for name in given)
        yield f"l.group_id IN (SELECT id FROM dead_group WHERE {kind})", tuple(given.values())  # noqa: S608  # names of columns
    if matching.older_than_s is not None:
        yield "l.first_seen <= ?", (timestamp(now - timedelta(seconds=matching.older_than_s)),)
    if matching.newer_than_s is not None:
        yield "l.first_seen >= ?", (timestamp(now - timedelta(seconds=matching.newer_than_s)),)
    if matching.id is not None:
        yield _of_job(database, matching.id)
    if matching.subject is not None:
        yield "l.subject = ?", (matching.subject,)
    if matching.source is not None:
        yield "l.event_source = ?", (matching.source,)
    if matching.text is not None:
        yield _holds(database, matching.text)


def _of_job(database: Database, id_: str) -> tuple[str, tuple[object, ...]]:
    """Whether the event has an id, or is one of the job of that id: as `functions/storage/kept_event.py` writes it."""
    jobs, value = database.contains("b.attributes", f'"jobid":{msgspec.json.encode(id_).decode()}')
    query = f"(l.event_id = ? OR EXISTS (SELECT 1 FROM dead_body b WHERE b.letter_id = l.id AND {jobs}))"  # noqa: S608  # values apart
    return query, (id_, value)


def _holds(database: Database, text: str) -> tuple[str, tuple[object, ...]]:
    """Whether the data holds a text, as it is or as JSON may write it, or the id or the subject does."""
    found = [database.contains("b.data", form) for form in json_forms(text)]
    held = " OR ".join(condition for condition, _ in found)
    query = f"EXISTS (SELECT 1 FROM dead_body b WHERE b.letter_id = l.id AND ({held}))"  # noqa: S608  # values apart
    named = "lower(l.event_id) LIKE lower(?) ESCAPE '!' OR lower(l.subject) LIKE lower(?) ESCAPE '!'"
    like = "%" + re.sub("([!%_])", r"!\1", text) + "%"
    return f"({query} OR {named})", (*(value for _, value in found), like, like)
