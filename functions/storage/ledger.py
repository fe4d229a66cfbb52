"""The ledger of replies: each job has one, which a conditional write decides.

Of two deliveries of a job at once the first to finish counts, and the other answers with the same reply.
"""

import logging

import msgspec

from events.http import STRUCTURED, Event, read, structured
from events.problem import NotAnEvent
from functions.storage.store import LEDGER, Store, job_key

log = logging.getLogger("errands.ledger")


class _StoredResult(msgspec.Struct):
    key: str


class _Results(msgspec.Struct):
    """What every completed event may have; events of other shapes have none."""

    artifacts: tuple[_StoredResult, ...] = ()


class ReplyLedger:
    """Remembers each job's reply in the store (`functions.runtime.adapter.Ledger`)."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def recall(self, cause: Event) -> Event | None:
        """The reply recorded for this job, or None; an entry that cannot be read is none, and is said."""
        recorded = self._store.read(_reply_key(cause))
        try:
            return None if recorded is None else read({"content-type": STRUCTURED}, recorded)
        except NotAnEvent as error:
            log.error("the ledger's %s cannot be read, counts as none, and is replaced: %s", _reply_key(cause), error)
            return None

    def record(self, cause: Event, reply: Event) -> Event:
        """Record the reply unless another delivery was faster; return the one that counts.

        What only the slower one stored (its source had changed in between) is removed: a job has one result.
        """
        self._store.keep(_result_keys(reply))
        if self._store.create(_reply_key(cause), structured(reply)):
            return reply
        counts = self.recall(cause) or self._replace(cause, reply)
        for key in _result_keys(reply) - _result_keys(counts):
            self._store.delete(key)
        return counts

    def _replace(self, cause: Event, reply: Event) -> Event:
        """Record the reply in the place of what cannot be read, unless another delivery was faster."""
        self._store.delete(_reply_key(cause))
        if self._store.create(_reply_key(cause), structured(reply)):
            return reply
        return self.recall(cause) or reply


def _result_keys(reply: Event) -> set[str]:
    try:
        return {each.key for each in msgspec.json.decode(reply.data, type=_Results).artifacts}
    except msgspec.DecodeError:  # an event of another shape
        return set()


def _reply_key(cause: Event) -> str:
    return f"{LEDGER}{job_key(cause)}/reply-{cause.type}.json"
