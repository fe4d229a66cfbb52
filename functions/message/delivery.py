"""Sends a job's message once, as far as that can be: a claim in the store before, the reply in the ledger after.

A mail server has no transaction with our store, so a crash between its acceptance and our record leaves a question.
It is answered by sending again: no accepted job is lost in silence, and the second e-mail has the same Message-ID and
the same bytes, but for the time of a DKIM signature, by which mail systems and readers drop it (a chat service knows no
such mark, and shows it twice). The steps of one delivery:

1. The ledger has a reply: the same reply again, no message (functions.runtime.adapter does this before it calls the
   handler).
2. `ledger/<job>/sending-<n>.json` is the newest claim. Not ended and younger than the lease: another delivery is at
   work, or died a moment ago: NotNow, for the rest of the lease.
3. Otherwise `sending-<n+1>.json` is created, on the condition that nobody else did: so a claim whose lease has run out
   is taken over by one delivery only.
4. The message is sent. An attempt that certainly sent nothing ends its claim with `sending-<n+1>-ended.json`, so that
   the retry need not wait; one that may have sent leaves it.

Claims are never removed: a late attempt could otherwise remove the trace of the one that took over from it. Two
messages are possible only after a crash, a connection lost before the server's answer, a store that is down when the
reply is recorded, or machines whose clocks differ by more than the lease less the time for one message.
"""

import logging
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import TypeVar

import msgspec

from events.http import Event
from events.job import job_key
from events.problem import JobFailed, NotNow, TryAgain
from functions.message.relay import MaybeSent
from functions.runtime.adapter import Ledger
from functions.storage.store import LEDGER, Store

log = logging.getLogger("errands.message")

T = TypeVar("T")


class Claim(msgspec.Struct, frozen=True):
    """Who sends: `at` is when the attempt began."""

    at: datetime


@dataclass(frozen=True)
class MailDelivery:
    """Lets one attempt at a time send; `lease_s` must be greater than the time that one message may take."""

    store: Store
    ledger: Ledger
    lease_s: float

    def send_once(self, event: Event, send: Callable[[], T], *, now: datetime) -> T:
        """Call `send` under a claim and return what it returns; raise NotNow when another delivery holds it."""
        claim_key = self._take(event, now)
        # while this delivery fetched attachments, another may have sent, recorded, and its lease run out
        if self.ledger.recall(event) is not None:
            raise TryAgain("another delivery has done this job", retry_after_s=1)
        try:
            return send()
        except MaybeSent as unknown:
            raise TryAgain(str(unknown), retry_after_s=self.lease_s) from unknown
        except (JobFailed, TryAgain) as not_sent:
            self.store.create(_ended(claim_key), msgspec.json.encode({"reason": str(not_sent)}))
            raise

    def _take(self, event: Event, now: datetime) -> str:
        number, key = 1, _claim_key(event, 1)
        while (held := self.store.read(key)) is not None:
            newest, number = (key, msgspec.json.decode(held, type=Claim)), number + 1
            key = _claim_key(event, number)
        if number > 1:
            self._require_free(*newest, now)
        if not self.store.create(key, msgspec.json.encode(Claim(now))):
            raise NotNow("another delivery has just begun to send this job", retry_after_s=self.lease_s)
        return key

    def _require_free(self, claim_key: str, claim: Claim, now: datetime) -> None:
        if self.store.read(_ended(claim_key)) is not None:
            return
        # of a time to come where the clock was set back since, or another machine's is ahead by less than a lease
        rest_s = self.lease_s - abs((now - claim.at).total_seconds())
        if rest_s > 0:
            raise NotNow("another delivery is sending this job", retry_after_s=min(rest_s, self.lease_s))
        log.warning("sending again: the attempt of %s left no record", claim.at, extra={"claim": claim_key})


def _claim_key(event: Event, number: int) -> str:
    return f"{LEDGER}{job_key(event)}/sending-{number}.json"


def _ended(claim_key: str) -> str:
    return claim_key.removesuffix(".json") + "-ended.json"
