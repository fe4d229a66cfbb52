"""The thread that writes the ledger (group commit): requests, what was sent of them, ends, and the rest.

What nobody waits for is that the broker has taken a job. What fails for the database's sake fails for all of it, and
nothing of it is recorded; what fails by itself, alone. Where the thread ends by itself, everything that was asked of it
is answered StorageUnavailable, and the next that is asked for begins another.
"""

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final

from events.http import Event
from functions.gateway import listening
from functions.gateway.ledger import gates, jobs
from functions.gateway.ledger.job import NewJob, key_of_event
from functions.gateway.ledger.rules import NO_RULES, Rules
from functions.storage.database import Database, StorageUnavailable, Transaction
from functions.storage.group_commit import GroupCommit

log = logging.getLogger("errands.gateway")

BATCH_LIMIT: Final = 64  # lists of requests in one commit
GATHER_S: Final = 0.002  # from one list to the next: a commit takes nearly as long for one job as for twenty


@dataclass(frozen=True, slots=True)
class Accept:
    """Record these requests, all or none; gives a list of what became of each."""

    jobs: Sequence[NewJob]


@dataclass(frozen=True, slots=True)
class Sent:
    """The broker has taken a job, which is overdue at `due_ms`."""

    id: int
    due_ms: int


@dataclass(frozen=True, slots=True)
class Ended:
    """A job has ended so; gives how and of when it is (Closed), None where that changes nothing."""

    outcome: Event


Work = Callable[[Transaction], Any]
Asked = Accept | Sent | Ended | Work


class Writer(GroupCommit[Asked]):
    """Works in the loop that first asks it for something; its thread begins then."""

    def __init__(
        self,
        database: Database,
        clock_ms: Callable[[], int],
        rules_of: Callable[[Transaction], Rules] = lambda _: NO_RULES,
        *,
        has_room: Callable[[], None] = lambda: None,
    ) -> None:
        """`has_room` is called in the loop where the end of a job has made room for one that a limit holds."""
        super().__init__("ledger", batch_limit=BATCH_LIMIT, gather_s=GATHER_S)
        self._database = database
        self._clock_ms = clock_ms
        self._rules_of = rules_of
        self._has_room = has_room
        self._is_room = False  # made by the batch that is being written

    def _died(self, reason: str) -> StorageUnavailable:
        log.error("%s; another begins with the next request", reason)
        return StorageUnavailable(reason)

    def _committed(self, asked: Sequence[Asked]) -> list[Any]:
        results = self._recorded(asked)
        if self._is_room:
            self._is_room = False
            self._tell_loop(lambda _: self._has_room(), None)
        return results

    def _recorded(self, asked: Sequence[Asked]) -> list[Any]:
        """What each comes to; the same StorageUnavailable for each where the database takes none of it."""
        try:
            with self._database.transaction() as transaction:
                return self._written(transaction, asked)
        except StorageUnavailable as error:
            log.error("the ledger cannot be written: %s", error)
            return [error] * len(asked)
        except Exception as error:
            if len(asked) > 1:
                return [result for each in asked for result in self._recorded([each])]
            log.exception("what the ledger was asked for ended in a bug")
            return [error]

    def _written(self, transaction: Transaction, asked: Sequence[Asked]) -> list[Any]:
        """All of it, what is alike together: requests, what was sent of them, ends, and the rest."""
        now_ms = self._clock_ms()
        new = [job for each in asked if isinstance(each, Accept) for job in each.jobs]
        accepted = iter(jobs.accept(transaction, new, self._rules_of(transaction)) if new else ())
        sent = [(each.id, each.due_ms) for each in asked if isinstance(each, Sent)]
        if sent:
            jobs.mark_sent(transaction, sent, now_ms=now_ms)
        outcomes = [each.outcome for each in asked if isinstance(each, Ended)]
        changed = jobs.end(transaction, outcomes, now_ms=now_ms) if outcomes else {}
        self._is_room = bool(changed and gates.ready(transaction, now_ms=now_ms))
        listening.tell(self._database, transaction, list(changed))
        results: list[Any] = []
        for each in asked:
            if isinstance(each, Accept):
                results.append([next(accepted) for _ in each.jobs])
            elif isinstance(each, Ended):
                results.append(changed.get(key_of_event(each.outcome)))
            else:
                results.append(None if isinstance(each, Sent) else each(transaction))
        return results
