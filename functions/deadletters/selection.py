"""A filter as SQL, and the letters that it finds: by the group where it can be, since there are few of those."""

from collections.abc import Iterator
from datetime import datetime, timedelta

import msgspec

from functions.deadletters.database import Database, Session
from functions.deadletters.letter import timestamp
from functions.deadletters.letters import COLUMNS, FROM, find, letter
from functions.deadletters.words import Arrivals, Filter, Letter


def page(
    database: Database, session: Session, matching: Filter, *, before: int | None, limit: int, now: datetime
) -> tuple[Letter, ...]:
    """The newest letters that match, from below the number `before`."""
    where, values = condition(database, matching, now)
    query = f"SELECT {COLUMNS} {FROM} WHERE {where} AND l.id < ? ORDER BY l.id DESC LIMIT ?"  # values apart
    return tuple(letter(row) for row in session.execute(query, *values, before or 2**62, limit))


def numbers(
    database: Database, session: Session, matching: Filter, *, after: int, limit: int, now: datetime
) -> list[int]:
    """The numbers of the oldest letters that match, from above the number `after`."""
    where, values = condition(database, matching, now)
    query = f"SELECT l.id {FROM} WHERE {where} AND l.id > ? ORDER BY l.id LIMIT ?"  # values apart
    return [row["id"] for row in session.execute(query, *values, after, limit)]


def count(database: Database, session: Session, matching: Filter, *, now: datetime) -> int:
    """How many letters match."""
    where, values = condition(database, matching, now)
    rows = session.execute(f"SELECT count(*) AS total FROM dead_letter l WHERE {where}", *values)  # noqa: S608  # values apart
    return int(rows[0]["total"])


def arrivals(session: Session, cursor: int | None, limit: int = 500) -> Arrivals:
    """The letters that came after the cursor; without one none, and the cursor of now."""
    if cursor is None:
        last = session.execute("SELECT max(id) AS last FROM dead_action")[0]["last"]
        return Arrivals(letters=(), cursor=last or 0)
    query = "SELECT id, letter_id FROM dead_action WHERE verb = 'arrived' AND id > ? ORDER BY id LIMIT ?"
    rows = session.execute(query, cursor, limit)
    found = (find(session, each) for each in dict.fromkeys(row["letter_id"] for row in rows))
    return Arrivals(letters=tuple(each for each in found if each), cursor=rows[-1]["id"] if rows else cursor)


def condition(database: Database, matching: Filter, now: datetime) -> tuple[str, list[object]]:
    """What a letter must fulfil to match, of `FROM`, and the values in it."""
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
    if matching.text is not None:
        yield _holds(database, matching.text)


def _holds(database: Database, text: str) -> tuple[str, tuple[object, ...]]:
    """Whether the data holds a text, as it is or as JSON may write it (`\\u00fc`)."""
    contains = database.contains("b.data")
    forms = dict.fromkeys((text.encode(), _in_json(text)))
    found = " OR ".join(contains for _ in forms)
    return f"l.id IN (SELECT b.letter_id FROM dead_body b WHERE {found})", tuple(forms)  # noqa: S608  # values apart


def _in_json(text: str) -> bytes:
    escaped = msgspec.json.encode(text).decode()[1:-1]
    return "".join(
        char if char.isascii() else f"\\u{ord(char):04x}" for char in escaped if ord(char) < 0x10000
    ).encode()
