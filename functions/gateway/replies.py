"""The ledger of replies, as the gateway uses it: who cancels a job writes its reply, and the first who writes counts.

So a function that has not begun does nothing, and what one that has begun comes to is dropped: both find this reply. A
message may be out before its reply is there: its claim to send is asked for first.
"""

import re
from functools import cached_property
from typing import TYPE_CHECKING, Final

import msgspec

from events.http import Event
from events.job import job_key
from events.problem import JobFailed
from events.types import sibling_type
from functions.gateway.callers import job_of
from functions.runtime.adapter import reply_event, system_clock

if TYPE_CHECKING:
    from functions.storage.store import Store

KIND: Final = "cancelled"
MESSAGE: Final = "message"
LEDGER: Final = "ledger/"
EVIDENCE: Final = "evidence/"
CLAIM: Final = re.compile(r"/sending-([0-9]+)\.json$")  # functions/message/delivery.py


class _Problem(msgspec.Struct):
    type: str = ""


class _Stored(msgspec.Struct):
    key: str


class _Results(msgspec.Struct):
    artifacts: tuple[_Stored, ...] = ()


class TooLate(Exception):
    """The job's reply is there, or its message may be out; the message says which."""


class Replies:
    """Those of one object store, which is opened when it is first asked for; each method blocks."""

    def __init__(self, store_url: str) -> None:
        self._url = store_url

    @cached_property
    def _store(self) -> "Store":
        from functions.storage.store import Store  # with obstore, 5 MB, and for what people do alone

        return Store(self._url)

    def cancel(self, request: Event, *, actor: str) -> Event:
        """The reply `failed: cancelled`, recorded for the job; raise TooLate, and TryAgain where the store is down."""
        from functions.storage.ledger import ReplyLedger

        reply = cancelled_reply(request, actor)
        ledger = ReplyLedger(self._store)
        known = ledger.recall(request)
        if known is None and job_of(request.type) == MESSAGE:
            self._claim_sending(request)
        counts = known or ledger.record(request, reply)
        if not is_cancelled(counts):
            raise TooLate(counts.get("outcome") or "done")
        return counts

    def erase(self, source_and_id: Event, outcome: Event | None) -> None:
        """Remove what is kept of a job: its replies and claims, failure reports, results; raise TryAgain."""
        for prefix in (LEDGER, EVIDENCE):
            for key in self._store.list(f"{prefix}{job_key(source_and_id)}/"):
                self._store.delete(key)
        for key in _results(outcome):
            if key.startswith("jobs/"):
                self._store.delete(key)

    def _claim_sending(self, request: Event) -> None:
        """Take the claim to send, as another delivery would: it keeps them from beginning until they find the reply."""
        folder = f"{LEDGER}{job_key(request)}/"
        keys = self._store.list(folder)
        claims = [int(found[1]) for found in map(CLAIM.search, keys) if found]
        newest = max(claims, default=0)
        if newest and f"{folder}sending-{newest}-ended.json" not in keys:
            raise TooLate("a message of it may be out already")
        if not self._store.create(f"{folder}sending-{newest + 1}.json", msgspec.json.encode({"at": system_clock()})):
            raise TooLate("its message is being sent")


def cancelled_reply(request: Event, actor: str) -> Event:
    """The end of a job that somebody has cancelled."""
    problem = JobFailed(KIND, f"the job was cancelled by {actor}").problem
    return reply_event(request, sibling_type(request.type, "failed"), problem, now=system_clock())


def is_cancelled(reply: Event) -> bool:
    """Whether a reply is that of a job that was cancelled."""
    if reply.get("outcome") != "failed":
        return False
    try:
        return msgspec.json.decode(reply.data, type=_Problem).type.endswith(f"/{KIND}")
    except (msgspec.DecodeError, UnicodeDecodeError):
        return False


def _results(outcome: Event | None) -> tuple[str, ...]:
    try:
        found = msgspec.json.decode(outcome.data, type=_Results) if outcome else _Results()
    except (msgspec.DecodeError, UnicodeDecodeError):
        return ()
    return tuple(each.key for each in found.artifacts)
