"""The maintenance of each minute: interrupted replays go on, unanswered dead letters go again, people are told, and
what is past its time goes.
"""

import logging
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final

from events.http import Event
from events.problem import TryAgain
from functions.deadletters.replay.workers import Workers
from functions.deadletters.service import alerts
from functions.deadletters.service.alerts import Recipients
from functions.deadletters.service.commands import Filter, Replay, Selection
from functions.deadletters.store import dead_letters, history, replays, retention, selection
from functions.deadletters.store.retention import Retention
from functions.storage.database import Database

log = logging.getLogger("errands.console")

LOOKED_UP: Final = 200  # dead letters a minute
AUTOMATIC: Final = "automatic"  # the actor
UNANSWERED: Final = -1  # the dispatcher was shut down, mostly: such a dead letter needs nothing but a replay
AUTOMATIC_RATE_PER_S: Final = 5.0


@dataclass(frozen=True, kw_only=True)
class Maintenance:
    """How the maintenance is done: `unanswered_limit` dead letters with code -1 are replayed by themselves; 0: none."""

    limits: Retention = field(default_factory=Retention)
    recipients: Recipients = field(default_factory=Recipients)
    unanswered_limit: int = 0
    store_url: str = ""  # whose reply ledger tells how jobs ended; without one only replays are known of


def keep(database: Database, workers: Workers, policy: Maintenance, *, now: datetime) -> None:
    """Do the maintenance once; several processes may do it at the same time."""
    with database.transaction(writes=False) as transaction:
        interrupted = replays.interrupted(transaction, now=now)
    for each in interrupted:
        workers.launch(each)
    replay = replay_unanswered(database, policy.unanswered_limit, now=now) if policy.unanswered_limit else None
    if replay is not None:
        workers.launch(replay)
    if policy.store_url:
        settle_by_ledger(database, policy.store_url, now=now)
    alerts.send(database, policy.recipients, now=now)
    retention.prune(database, policy.limits, now=now)


def settle_by_ledger(database: Database, store_url: str, *, now: datetime) -> int:
    """Mark the newest dead letters whose job has ended meanwhile, as when the API sent it again; how many that were.

    The reply ledger is asked, so that no job which goes well costs an event more.
    """
    with database.transaction(writes=False) as transaction:
        waiting = dead_letters.waiting_requests(transaction, LOOKED_UP)
    if not waiting:
        return 0
    ended = _ended(waiting, store_url)
    with database.transaction() as transaction:
        return sum(dead_letters.settle(transaction, each, now=now) for each in ended)


def _ended(requests: Sequence[Event], store_url: str) -> list[Event]:
    """How those of the jobs ended that have."""
    from functions.storage.ledger import ReplyLedger  # with obstore, which nothing else here needs
    from functions.storage.store import Store

    try:
        ledger = ReplyLedger(Store(store_url))
        return [reply for each in requests if (reply := ledger.recall(each)) is not None]
    except (OSError, TryAgain) as error:  # the store is away: in a minute again
        log.warning("how jobs ended cannot be looked up: %s", error)
        return []


def replay_unanswered(database: Database, limit: int, *, now: datetime) -> int | None:
    """Begin the replay of open dead letters without an answer; None for none, or while the one before is running."""
    with database.transaction() as transaction:
        if replays.running(transaction, AUTOMATIC):
            return None
        matching = Filter(code=UNANSWERED, state="open")
        found = selection.numbers(database, transaction, matching, after=0, limit=limit, now=now)
        if not found:
            return None
        command = Replay(selection=Selection(dead_letters=tuple(found)), rate_per_s=AUTOMATIC_RATE_PER_S)
        replay = replays.create(transaction, database, command, AUTOMATIC, now=now)
        detail = {"total": len(found)}
        history.record(transaction, "replay ordered", AUTOMATIC, now=now, replay=replay, detail=detail)
        return replay
