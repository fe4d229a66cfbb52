"""What goes into an e-mail beside its texts: attachments and an invitation, fetched within limits."""

import time
from dataclasses import dataclass
from typing import Final

from events.types import Input, MessageCalendar, MessageRequested
from functions.message.email_message import Parts
from functions.net.guard import Guard
from functions.storage.inputs import load
from functions.storage.store import Store

CALENDAR_LIMIT_BYTES: Final = 1_000_000


@dataclass(frozen=True)
class Enclosures:
    """Fetches; `limit_bytes` and `timeout_s` are for all attachments of a job together."""

    store: Store
    guard: Guard
    limit_bytes: int
    timeout_s: float

    def of(self, job: MessageRequested) -> Parts:
        """Raises JobFailed for what cannot be had, TryAgain for what cannot be had now."""
        return Parts(attachments=self._attachments(job), calendar=self._calendar(job.calendar))

    def _calendar(self, asked: MessageCalendar | None) -> bytes | None:
        if asked is None:
            return None
        if asked.key is None:
            return (asked.text or "").encode()
        return self._load(Input(key=asked.key), limit_bytes=CALENDAR_LIMIT_BYTES, timeout_s=self.timeout_s)

    def _attachments(self, job: MessageRequested) -> tuple[bytes, ...]:
        contents, left_bytes, end_s = [], self.limit_bytes, time.monotonic() + self.timeout_s
        for each in job.attachments:
            left_s = max(0.001, end_s - time.monotonic())
            contents.append(self._load(each.source, limit_bytes=left_bytes, timeout_s=left_s))
            left_bytes -= len(contents[-1])
        return tuple(contents)

    def _load(self, source: Input, *, limit_bytes: int, timeout_s: float) -> bytes:
        return load(source, store=self.store, guard=self.guard, limit_bytes=limit_bytes, timeout_s=timeout_s)
