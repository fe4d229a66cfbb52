"""What a function said when it failed on an event: its answer and the tail of its log, handed to the dead letters.

The RabbitMQ broker of Knative discards a failed answer's body. So the function leaves it in the object store, under a
name that is made of the event and of itself, and the dead-letter sink finds it there. The local runner, which sees the
answers, leaves the same, also for a process that died or was too late to say anything.
"""

import hashlib
import logging
import os
from collections import deque
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import quote, urlsplit

import msgspec

from events.http import Event, timestamp
from events.problem import TryAgain
from functions.runtime.adapter import Response

if TYPE_CHECKING:
    from functions.storage.store import Store

log = logging.getLogger("errands.failure_report")

RESPONSE_BYTES: Final = 65_536
LINES: Final = 50
LINE_CHARACTERS: Final = 8_000
TEXT_CHARACTERS: Final = 3_000  # of a text in a line of JSON that is too long


class FailureReport(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """The function's own last error for an event. `status` is 0 when it did not answer."""

    at: str = ""
    status: int = 0
    response: str = ""
    log: tuple[str, ...] = ()


def key(event: Event, service: str) -> str:
    """Where the failure report of one event and one Service is; each failed attempt replaces that of the one before."""
    digest = hashlib.sha256("\n".join((event.source, event.id, event.type)).encode(errors="replace")).hexdigest()
    return f"evidence/{digest}/{quote(service, safe='')[:100]}.json"


def service_of(destination: str) -> str:
    """The Service in a subscriber's address, `http://NAME.NAMESPACE.svc.cluster.local`."""
    try:
        return (urlsplit(destination).hostname or "").split(".")[0]
    except ValueError:  # no address: the attribute may hold anything
        return ""


def encode(*, status: int, response: bytes, lines: Iterable[str], now: datetime) -> bytes:
    """The failure report as it is stored, cut to its limits."""
    kept = tuple(_cut(line) for line in deque(lines, LINES))
    text = response[:RESPONSE_BYTES].decode(errors="replace")
    at = timestamp(now)
    return msgspec.json.encode(FailureReport(at=at, status=status, response=text, log=kept))


class FailureReportWriter:
    """Leaves the failure report of a Service's failures in the store, before the answer goes out."""

    def __init__(self, store_url: str, service: str) -> None:
        self._store_url = store_url
        self._service = service
        self._store: Store | None = None

    def __call__(self, event: Event, response: Response, lines: Iterable[str]) -> None:
        """One failure. Without its failure report a dead letter is as good as ever, so nothing fails for its sake."""
        from functions.storage.store import Store  # only a failure need wait for it

        try:
            self._store = self._store or Store(self._store_url, patient=False)
            content = encode(status=response.status, response=response.body, lines=lines, now=datetime.now(UTC))
            self._store.write(key(event, self._service), content)
        except (TryAgain, ValueError, OSError) as error:
            log.warning("the failure report of a failure cannot be left in the store: %s", _first_line(error))


class FailureReportReader:
    """Reads the failure report of dead letters, where there is a store; never fails for want of it."""

    def __init__(self, store_url: str) -> None:
        self._store_url = store_url
        self._store: Store | None = None

    def find(self, event: Event, destination: str) -> bytes | None:
        """The failure report of an event and the Service at an address, or None."""
        service = service_of(destination)
        if not self._store_url or not service:
            return None
        from functions.storage.store import Store  # the sink's start need not wait for it

        try:
            self._store = self._store or Store(self._store_url, patient=False)
            content = self._store.read(key(event, service))
            if content is not None:
                msgspec.json.decode(content, type=FailureReport)
        except (TryAgain, ValueError, OSError) as error:
            log.warning("the failure report of a failure cannot be read: %s", _first_line(error))
            return None
        return content


def from_environment(environment: Mapping[str, str] = os.environ) -> FailureReportWriter | None:
    """What a function on a cluster leaves its failures with; the local runner does that itself."""
    store_url, service = environment.get("STORE_URL", ""), environment.get("K_SERVICE", "")
    if not store_url or not service or "ERRANDS_RUNNER_PID" in environment:
        return None
    return FailureReportWriter(store_url, service)


def _cut(line: str) -> str:
    """A long line cut; one of JSON stays JSON, its texts cut instead."""
    if len(line) <= LINE_CHARACTERS:
        return line
    try:
        fields: Any = msgspec.json.decode(line)
    except (ValueError, RecursionError):
        fields = None
    if isinstance(fields, dict):
        texts = {name: _ends(value, TEXT_CHARACTERS) for name, value in fields.items() if isinstance(value, str)}
        line = msgspec.json.encode({**fields, **texts}).decode()
    return _ends(line, LINE_CHARACTERS)


def _ends(text: str, characters: int) -> str:
    """The beginning and the end of a long text: a traceback says at its end what went wrong."""
    if len(text) <= characters:
        return text
    return f"{text[: characters // 4]} [...] {text[-characters * 3 // 4 :]}"


def _first_line(error: Exception) -> str:
    return str(error).split("\n", maxsplit=1)[0]
