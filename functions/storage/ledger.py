"""The ledger of replies: each job has one, which a conditional write decides.

Of two deliveries of a job at once the first to finish counts, and the other answers with the same reply.
"""

import msgspec

from events.http import STRUCTURED, Event, read, structured
from functions.storage.store import LEDGER, Store, job_key


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
        """The reply recorded for this job, or None."""
        recorded = self._store.read(_reply_key(cause))
        return None if recorded is None else read({"content-type": STRUCTURED}, recorded)

    def record(self, cause: Event, reply: Event) -> Event:
        """Record the reply unless another delivery was faster; return the one that counts.

        What only the slower one stored (its source had changed in between) is removed: a job has one result.
        """
        if self._store.create(_reply_key(cause), structured(reply)):
            return reply
        counts = self.recall(cause) or reply
        for key in _result_keys(reply) - _result_keys(counts):
            self._store.delete(key)
        return counts


def _result_keys(reply: Event) -> set[str]:
    try:
        return {each.key for each in msgspec.json.decode(reply.data, type=_Results).artifacts}
    except msgspec.DecodeError:  # an event of another shape
        return set()


def _reply_key(cause: Event) -> str:
    return f"{LEDGER}{job_key(cause)}/reply-{cause.type}.json"
