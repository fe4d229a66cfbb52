"""How far a job has come, said by its handler and told to the gateway, who shows it to whoever asks for the job.

    for number, page in enumerate(pages):
        progress(100 * number / len(pages), f"page {number}")

A handler calls it as often as it likes: a thread brings the last of what it said to the gateway, once a second for each
job, and before the handler's answer goes out. At best effort: what cannot be told is lost, and no job fails for it or
waits longer than half a second.
"""

import asyncio
import logging
import math
import os
import threading
import time
from collections.abc import Callable, Mapping
from contextvars import ContextVar, Token
from datetime import UTC, datetime
from typing import Final

from events.http import STRUCTURED, Event, structured
from events.job import is_request
from functions.runtime.notes import TEXT_CHARACTERS, JobNote, noted

log = logging.getLogger("errands.progress")

EVERY_S: Final = 1.0
LAST_S: Final = 0.5  # that an answer waits for what is still to be told


def progress(percent: float | None = None, text: str = "") -> None:
    """Say that the job which this handler works on is done so far: 0 to 100 percent, or None where nobody can know.

    `text` is for a person, such as "page 212", of 200 characters. It returns at once, from a coroutine as well. In a
    thread that the handler has started it needs the handler's context (`contextvars.copy_context`). Outside a job, and
    where there is no gateway, nobody hears of it. A number beyond 0 to 100 counts as the nearest.
    """
    current = _current.get()
    if current is not None:
        current.say(_bounded(percent), _one_line(text))


def slow_progress(clock: Callable[[], float] = time.monotonic) -> Callable[[str], None]:
    """`progress` by texts, from a second after now on: the many jobs that are done before cost no note."""
    from_s = clock() + EVERY_S

    def say(text: str) -> None:
        if clock() >= from_s:
            progress(text=text)

    return say


class ProgressSender:
    """Brings notes to the gateway; its thread begins with the first."""

    def __init__(self, url: str, token: str = "", *, by: str = "") -> None:
        self.by = by
        self._url = url
        self._headers = {"content-type": STRUCTURED} | ({"authorization": f"Bearer {token}"} if token else {})
        self._changed = threading.Condition()
        self._waiting: dict[JobProgress, Event] = {}  # the last that each has said
        self._due_s: dict[JobProgress, float] = {}
        self._ending: set[JobProgress] = set()  # those that wait for their last to be told
        self._sending: JobProgress | None = None
        self._thread: threading.Thread | None = None
        self._is_heard = True

    def offer(self, job: "JobProgress", note: Event) -> None:
        """Have this told, in place of what the job said before and was not told yet."""
        with self._changed:
            self._waiting[job] = note
            self._due_s.setdefault(job, 0.0)
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name="progress", daemon=True)
                self._thread.start()
            self._changed.notify_all()

    def finish(self, job: "JobProgress") -> None:
        """Wait until the last that a job said is told, or half a second."""
        with self._changed:
            self._due_s[job] = 0.0
            self._ending.add(job)
            self._changed.notify_all()
            self._changed.wait_for(lambda: job not in self._waiting and self._sending is not job, LAST_S)
            self._waiting.pop(job, None)
            self._due_s.pop(job, None)
            self._ending.discard(job)

    def _run(self) -> None:
        while True:
            job, note = self._next()
            self._send(note)
            with self._changed:
                self._sending = None
                if job in self._due_s and job not in self._ending:
                    self._due_s[job] = time.monotonic() + EVERY_S
                self._changed.notify_all()

    def _next(self) -> tuple["JobProgress", Event]:
        """What is due first, once it is."""
        with self._changed:
            while True:
                job = min(self._waiting, key=self._due_s.__getitem__, default=None)
                left_s = None if job is None else self._due_s[job] - time.monotonic()
                if job is not None and left_s is not None and left_s <= 0:
                    self._sending = job
                    return job, self._waiting.pop(job)
                self._changed.wait(left_s)

    def _send(self, note: Event) -> None:
        import httpx  # a tenth of a second, and for those jobs alone that say how far they are

        from functions.net.configured import client

        try:
            response = client().post(self._url, content=structured(note), headers=self._headers, timeout=LAST_S)
            trouble = "" if response.is_success else f"it answered {response.status_code}"
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            trouble = str(error) or type(error).__name__
        if trouble and self._is_heard:
            log.warning("the gateway does not hear how far jobs are: %s", trouble)
        self._is_heard = not trouble


class JobProgress:
    """That of the event which a handler works on: a context of one thread, or of one task."""

    __slots__ = ("_event", "_has_ended", "_sender", "_token")

    def __init__(self, event: Event) -> None:
        self._event = event
        self._token: Token[JobProgress | None] | None = None
        self._sender: ProgressSender | None = None  # who has been told something
        self._has_ended = False

    def say(self, percent: float | None, text: str) -> None:
        """Have this told of the event's job, where it is one that the gateway knows."""
        event = self._event
        if self._has_ended or "stepof" in event.attributes or not is_request(event):
            return  # a flow's steps are jobs of the flow's alone
        for sender in _senders:
            self._sender = sender
            note = JobNote(kind="progress", type=event.type, by=sender.by, percent=percent, detail=text)
            sender.offer(self, noted(event, note, now=datetime.now(UTC)))

    def __enter__(self) -> None:
        self._token = _current.set(self)

    def __exit__(self, *_: object) -> None:
        self._end()
        if self._sender is not None:
            self._sender.finish(self)

    async def __aenter__(self) -> None:
        self._token = _current.set(self)

    async def __aexit__(self, *_: object) -> None:
        self._end()
        if self._sender is not None:
            await asyncio.to_thread(self._sender.finish, self)

    def _end(self) -> None:
        self._has_ended = True
        if self._token is not None:
            _current.reset(self._token)


_current: ContextVar[JobProgress | None] = ContextVar("progress", default=None)
_senders: Final[list[ProgressSender]] = []  # one, where there is a gateway


def tell_progress(environment: Mapping[str, str] = os.environ) -> None:
    """From now on bring what handlers say to the gateway, where the environment has its address."""
    url, token = environment.get("NOTES_URL", ""), environment.get("NOTES_TOKEN", "")
    _senders[:] = [ProgressSender(url, token, by=environment.get("K_SERVICE", ""))] if url else []


def _bounded(percent: float | None) -> float | None:
    if percent is None or math.isnan(percent):
        return None
    return round(min(max(float(percent), 0.0), 100.0), 2)


def _one_line(text: str) -> str:
    return " ".join(str(text)[: TEXT_CHARACTERS * 2].split())[:TEXT_CHARACTERS]
