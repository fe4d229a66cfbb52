"""Jobs that were sent and have not ended in time: asked for again under the same id, and at last named lost.

A job that still waits in its queue is not overdue, however long it waits, and what is sent again while it does makes
the queue longer. No broker is asked for its queues, which Knative's has no way to tell: the ledger knows what has
passed. A queue keeps its order, so a job was passed where one of its type that was sent later has ended, a whole
deadline ago. Where none has, and nothing of its type has ended for a deadline either, the oldest is asked for alone.
"""

from dataclasses import dataclass
from typing import Final

from events.http import Event
from functions.gateway.ledger import jobs, notes, outbox
from functions.gateway.ledger.job import Job
from functions.gateway.ledger.jobs import Outgoing
from functions.gateway.routes import Routes
from functions.runtime.outcome import NO_RESPONSE, Result, dead_letter
from functions.storage.database import Database, Transaction

AGAIN_COUNT: Final = 3  # times that the same event is sent once more
LOST: Final = "no function and no broker has told of its end, and it was sent {} times"
WHO: Final = "gateway"


@dataclass(frozen=True, slots=True)
class Watchdog:
    """Judges by what the manifests declare."""

    database: Database
    routes: Routes

    def claim(self, transaction: Transaction, *, now_ms: int, until_ms: int, limit: int) -> list[Outgoing]:
        """The jobs that are to be sent again; nobody else is given them before `until_ms`."""
        due: list[Outgoing] = []
        for job in jobs.claim_overdue(self.database, transaction, now_ms=now_ms, until_ms=until_ms, limit=limit):
            request = jobs.request(transaction, job.id)
            deadline_ms = self.deadline_ms(request, 1) if request else 0
            if request is None or not deadline_ms:
                jobs.set_due(transaction, job.id, None)  # nothing of it can be sent
            elif not _is_missed(transaction, job, now_ms=now_ms, deadline_ms=deadline_ms):
                jobs.set_due(transaction, job.id, now_ms + deadline_ms)
            elif job.tries > AGAIN_COUNT:
                _lose(transaction, job, request, now_ms)
            else:
                notes.add(transaction, job.id, "overdue", at_ms=now_ms, actor=WHO, detail="sent again")
                due.append(Outgoing(job.id, job.key, request, tries=job.tries))
        return due

    def deadline_ms(self, request: Event, tries: int) -> int:
        """How long after it was sent so many times a job is overdue: each time twice as long."""
        return int((self.routes.deadline_s(request) or 0.0) * 1000) << max(0, tries - 1)


def _is_missed(transaction: Transaction, job: Job, *, now_ms: int, deadline_ms: int) -> bool:
    if jobs.was_passed(transaction, job, before_ms=now_ms - deadline_ms):
        return True
    moves = jobs.has_ended_since(transaction, job.type, since_ms=now_ms - deadline_ms)
    return not moves and jobs.is_oldest_sent(transaction, job)


def _lose(transaction: Transaction, job: Job, request: Event, now_ms: int) -> None:
    """A dead letter: it can be looked at and replayed, and the API is told as of every other."""
    detail = LOST.format(job.tries)
    jobs.lose(transaction, job, detail, now_ms=now_ms)
    result = Result(NO_RESPONSE, error=detail.encode())
    letter = dead_letter(request, result, destination="", trigger="", attempts=job.tries)
    outbox.add(transaction, letter, job=job.id, due_ms=now_ms, place="sink")
