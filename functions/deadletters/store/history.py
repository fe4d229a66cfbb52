"""Who did what, to which dead letter or group, and when: the audit trail, which only retention shortens."""

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Final

import msgspec

from events.http import timestamp
from functions.deadletters.service.results import Action
from functions.storage.database import Row, Transaction

RECORD: Final = (
    "INSERT INTO dead_action (at, actor, verb, letter_id, group_id, replay_id, detail, of_many)"
    " VALUES (?, ?, ?, ?, ?, ?, ?, ?)"
)
UNDO_WINDOW: Final = timedelta(days=1)  # in which a discard may be undone
BROKER: Final = "broker"  # the actor of what nobody did by hand


def record(
    transaction: Transaction,
    verb: str,
    actor: str,
    *,
    now: datetime,
    dead_letter: int | None = None,
    group: int | None = None,
    replay: int | None = None,
    detail: Mapping[str, object] | None = None,
) -> None:
    """Note one action; `detail` holds what a person wants to know of it, and nothing secret."""
    told = msgspec.json.encode(detail or {}).decode()
    transaction.execute(RECORD, timestamp(now), actor, verb, dead_letter, group, replay, told, 0)


def record_each(
    transaction: Transaction,
    verb: str,
    actor: str,
    dead_letters: Sequence[int],
    *,
    now: datetime,
    replay: int | None = None,
    detail: Mapping[str, object] | None = None,
) -> None:
    """Note the same in the history of several dead letters; the audit trail has one line of whoever ordered it."""
    at, told = timestamp(now), msgspec.json.encode(detail or {}).decode()
    transaction.execute_many(RECORD, [(at, actor, verb, each, None, replay, told, 1) for each in dead_letters])


def of_dead_letter(transaction: Transaction, dead_letter: int, limit: int = 200) -> tuple[Action, ...]:
    """The latest of what befell a dead letter, the oldest first."""
    query = "SELECT * FROM dead_action WHERE letter_id = ? ORDER BY id DESC LIMIT ?"
    return tuple(_action(row) for row in reversed(transaction.execute(query, dead_letter, limit)))


def of_group(transaction: Transaction, group: int, limit: int = 200) -> tuple[Action, ...]:
    """The latest of what was done to a group, the oldest first."""
    query = "SELECT * FROM dead_action WHERE group_id = ? ORDER BY id DESC LIMIT ?"
    return tuple(_action(row) for row in reversed(transaction.execute(query, group, limit)))


def everything(transaction: Transaction, *, before: int | None, limit: int) -> tuple[Action, ...]:
    """What people did, the newest first, to many dead letters in one line; what the broker brought is left out."""
    query = "SELECT * FROM dead_action WHERE actor <> ? AND of_many = 0 AND id < ? ORDER BY id DESC LIMIT ?"
    return tuple(_action(row) for row in transaction.execute(query, BROKER, before or 2**62, limit))


def _action(row: Row) -> Action:
    named = {"dead_letter": row["letter_id"], "group": row["group_id"], "replay": row["replay_id"]}
    detail = msgspec.json.decode(row["detail"], type=dict[str, object])
    return Action(id=row["id"], at=row["at"], actor=row["actor"], verb=row["verb"], detail=detail, **named)
