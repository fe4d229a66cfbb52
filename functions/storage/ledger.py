"""The ledger of replies: each job has one, which a conditional write decides.

Of two deliveries of a job at once the first to finish counts, and the other answers with the same reply. A reply is
remembered with a hash of the data that it answers. Under the same source and id:

    the same data       the same reply again
    other data          failed, `same-id-other-data`: the job is done, and stays as it was
    other data, where   done anew, as the next entry: its reply has an id of its own, made of the one before and the
    the job had failed  hash, so that it is called back as well
"""

import hashlib
import logging
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

import msgspec

from events.http import STRUCTURED, Event, read, structured
from events.job import NAMESPACE, canonical, job_key, outcome_of
from events.problem import JobFailed, NotAnEvent
from events.types import sibling_type
from functions.runtime.adapter import reply_event, system_clock
from functions.storage.store import LEDGER, Store

log = logging.getLogger("errands.ledger")

HASH: Final = "requesthash"  # an attribute of what is recorded, and of nothing that is sent
RETRIED: Final = "retried"  # on a request that the gateway sends once more because somebody wants it done anew
EXPIRED: Final = "/expired"


class _StoredResult(msgspec.Struct):
    key: str


class _Results(msgspec.Struct):
    """What every completed event may have; events of other shapes have none."""

    artifacts: tuple[_StoredResult, ...] = ()


class _Kind(msgspec.Struct):
    """What every failed event has of its problem."""

    type: str = ""


@dataclass(frozen=True, slots=True)
class _Entry:
    """A recorded reply, and what it answers; nothing is known of what an older version recorded."""

    reply: Event
    hash: str | None

    @property
    def is_failure(self) -> bool:
        return outcome_of(self.reply) == "failed"

    def answers(self, cause: Event) -> bool:
        return self.hash in (None, _hash(cause, self.reply))


class ReplyLedger:
    """Remembers each job's reply in the store (`functions.runtime.adapter.Ledger`)."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def recall(self, cause: Event) -> Event | None:
        """The reply recorded for this job, or the refusal of other data; None for a job that is to be done."""
        return _recalled(cause, tuple(self._entries(cause)))

    def conflicts(self, cause: Event) -> bool:
        """Whether the job is done with other data, which `recall` refuses."""
        entries = tuple(self._entries(cause))
        return bool(entries) and not entries[-1].is_failure and not any(each.answers(cause) for each in entries)

    def record(self, cause: Event, reply: Event) -> Event:
        """Record the reply unless another delivery was faster; return the one that counts.

        What only the slower one stored (its source had changed in between) is removed: a job has one result.
        """
        self._store.keep(_result_keys(reply))
        counts = self._create(cause, reply, ())  # of nearly every job it is the first
        while counts is None:
            entries = tuple(self._entries(cause))
            counts = _recalled(cause, entries) or self._create(cause, reply, entries)
        for key in _result_keys(reply) - _result_keys(counts):
            self._store.delete(key)
        return counts

    def _create(self, cause: Event, reply: Event, entries: tuple[_Entry, ...]) -> Event | None:
        """Record the reply after these entries; None where there is another, or was one that cannot be read."""
        counts, key = _following(entries, cause, reply), _key(cause, entries)
        content = structured(counts.with_attributes(**{HASH: _hash(cause, reply)}))
        if self._store.create(key, content):
            return counts
        if self._read(key) is None:
            self._store.delete(key)
        return None

    def _entries(self, cause: Event) -> Iterator[_Entry]:
        """What is recorded for the job, in its order: only a failure is followed by another entry."""
        entries: tuple[_Entry, ...] = ()
        while not entries or entries[-1].is_failure:
            entry = self._read(_key(cause, entries))
            if entry is None:
                return
            entries = (*entries, entry)
            yield entry

    def _read(self, key: str) -> _Entry | None:
        """An entry that cannot be read is none, and is said."""
        recorded = self._store.read(key)
        try:
            reply = None if recorded is None else read({"content-type": STRUCTURED}, recorded)
        except NotAnEvent as error:
            log.error("the ledger's %s cannot be read, counts as none, and is replaced: %s", key, error)
            return None
        if reply is None:
            return None
        attributes = dict(reply.attributes)
        return _Entry(Event(attributes, reply.data), attributes.pop(HASH, None))


def _recalled(cause: Event, entries: tuple[_Entry, ...]) -> Event | None:
    """What the entries say to this delivery of the job."""
    for each in entries:
        if each.answers(cause):
            return each.reply
    if not entries or entries[-1].is_failure:
        return None
    return _refusal(cause, entries)


def _refusal(cause: Event, entries: tuple[_Entry, ...]) -> Event:
    """The failed event of other data under the id of a job that is done."""
    detail = f"the job {cause.id} of {cause.source} is done with other data: send what is another job with another id"
    problem = JobFailed("same-id-other-data", detail).problem
    refused = reply_event(cause, sibling_type(cause.type, "failed"), problem, now=system_clock())
    return _following(entries, cause, refused)


def _following(entries: tuple[_Entry, ...], cause: Event, reply: Event) -> Event:
    """The reply with an id of its own where it is not the job's first."""
    if not entries:
        return reply
    name = "\n".join((reply.id, entries[-1].reply.id, _hash(cause, reply)))
    return reply.with_attributes(id=str(uuid.uuid5(NAMESPACE, name)))


def _hash(cause: Event, reply: Event) -> str:
    """Of the data, however it is written; for a job that had expired of its time, since it may be given another; and
    for one that failed of how often it was asked for again, since it may go well then.
    """
    data = canonical(cause.data)
    expiry = cause.get("expirytime") or "" if _has_expired(reply) else ""
    retried = cause.get(RETRIED) or "" if reply.get("outcome") == "failed" else ""
    return hashlib.sha256(b"\n".join((f"{expiry}{retried and f' {retried}'}".encode(), data))).hexdigest()


def _has_expired(reply: Event) -> bool:
    if outcome_of(reply) != "failed":
        return False
    try:
        return msgspec.json.decode(reply.data, type=_Kind).type.endswith(EXPIRED)
    except msgspec.DecodeError:  # an event of another shape
        return False


def _result_keys(reply: Event) -> set[str]:
    try:
        return {each.key for each in msgspec.json.decode(reply.data, type=_Results).artifacts}
    except msgspec.DecodeError:  # an event of another shape
        return set()


def _key(cause: Event, entries: tuple[_Entry, ...]) -> str:
    """Where the entry after these is, which no two deliveries can both create."""
    after = f"-after-{uuid.uuid5(NAMESPACE, entries[-1].reply.id)}" if entries else ""
    return f"{LEDGER}{job_key(cause)}/reply-{cause.type}{after}.json"
