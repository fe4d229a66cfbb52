"""What a function tells the gateway of a failed attempt on a cluster, where no dispatcher says so of itself.

At best effort, and in nobody's way: the answer does not wait for it, a gateway that is away costs half a second of a
thread's time, and what comes meanwhile is forgotten.
"""

import logging
import os
import threading
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from queue import Full, Queue
from typing import Final

from events.http import Event, binary
from events.job import BROKERS, is_request
from events.problem import sentence
from events.types import sibling_type
from functions.runtime.adapter import Response
from functions.runtime.notes import JobNote, Kind, noted
from functions.runtime.outcome import NOT_NOW_HEADER

log = logging.getLogger("errands.notes")

NOTIFIER: Final = "notifier"
TIMEOUT_S: Final = 0.5
KEPT: Final = 100
DETAIL_CHARACTERS: Final = 1_000


def is_told(event: Event, function: str) -> bool:
    """Whether a failure on an event befalls a job that the gateway knows: on a request, or on an outcome's callback.

    A flow's steps are jobs of the flow's alone, and a dead letter's attempts are over.
    """
    if "stepof" in event.attributes or any(each.startswith(BROKERS) for each in event.attributes):
        return False
    return is_request(event) or function == NOTIFIER


def kind(event: Event, *, made: bool) -> Kind:
    """What befell the job; an attempt that was not made is a wait."""
    if not made:
        return "waits"
    return "attempt failed" if is_request(event) else "callback failed"


def requested_type(event: Event) -> str:
    """The type of the request that the event is, or follows."""
    return event.type if is_request(event) else sibling_type(event.type, "requested")


class AttemptNotes:
    """Those of one function, sent by a thread that begins with the first."""

    def __init__(self, url: str, function: str, *, timeout_s: float = TIMEOUT_S) -> None:
        self._url = url
        self._timeout_s = timeout_s
        self._function = function
        self._waiting: Queue[Event] = Queue(KEPT)
        self._thread: threading.Thread | None = None
        self._beginning = threading.Lock()

    def __call__(self, event: Event, response: Response, _lines: Sequence[str]) -> None:
        """One failure."""
        if not is_told(event, self._function):
            return
        note = JobNote(
            kind=kind(event, made=NOT_NOW_HEADER not in response.headers),
            type=requested_type(event),
            by=self._function,
            detail=sentence(response.body)[:DETAIL_CHARACTERS],
        )
        try:
            self._waiting.put_nowait(noted(event, note, now=datetime.now(UTC)))
        except Full:
            return
        with self._beginning:
            if self._thread is None:
                self._thread = threading.Thread(target=self._send, name="notes", daemon=True)
                self._thread.start()

    def _send(self) -> None:
        import httpx  # a large import, of which a function that never fails has no need

        from functions.net.configured import client

        while True:
            headers, body = binary(self._waiting.get())
            try:
                client().post(self._url, content=body, headers=headers, timeout=self._timeout_s).raise_for_status()
            except (httpx.HTTPError, httpx.InvalidURL) as error:
                log.debug("a note of a job is lost: %s", error)


def from_environment(environment: Mapping[str, str] = os.environ) -> AttemptNotes | None:
    """What a function on a cluster tells its failures with; the local runner does that itself."""
    url, service = environment.get("NOTES_URL", ""), environment.get("K_SERVICE", "")
    return AttemptNotes(url, service) if url and service and "ERRANDS_RUNNER_PID" not in environment else None
