"""The gateway as the console asks it, over HTTP: what it knows of jobs, and what is to be done to them.

Its own database is the gateway's alone; what operators may see of the answers is decided here, by their rights.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, Final, TypeVar

import httpx
import msgspec
from werkzeug.exceptions import Conflict, NotFound

from events.http import Event, read
from events.problem import NotAnEvent, sentence
from functions.gateway.ledger.job import OPEN
from functions.gateway.results import Summary, TimelineEntry
from functions.net.configured import client
from functions.storage.database import StorageUnavailable

RETRIED: Final = ("failed", "deadlettered", "lost", "cancelled")
TIMEOUT_S: Final = 10.0
SAID_CHARACTERS: Final = 500
ACTOR: Final = "errands-actor"

S = TypeVar("S")


class Progress(msgspec.Struct, frozen=True, kw_only=True):
    """How far a job is, by its function's own word."""

    at: str
    percent: float | None = None
    text: str = ""


class Job(msgspec.Struct, frozen=True, kw_only=True):
    """A job as it is now."""

    job: str
    source: str
    id: str
    type: str
    api: str
    state: str
    accepted_at: str
    since: str
    subject: str | None = None
    next_at: str | None = None
    sent: int = 0
    attempt: int = 0
    error: str | None = None
    progress: Progress | None = None
    ended_at: str | None = None
    held_by: str | None = None
    stream: str = ""

    @property
    def name(self) -> str:
        """What its type is called."""
        return name_of(self.type)

    @property
    def is_open(self) -> bool:
        """Whether its outcome is still to come."""
        return self.state in OPEN


class Jobs(msgspec.Struct, frozen=True, kw_only=True):
    """A page of jobs, the newest first."""

    jobs: tuple[Job, ...]
    next: str | None = None


@dataclass(frozen=True)
class Gateway:
    """At an address, with the token by which it knows the console."""

    url: str
    token: str = ""

    def summary(self) -> Summary:
        """All jobs at a glance; raises StorageUnavailable, as each of these does."""
        return self._told("/summary", Summary)

    def jobs(self, asked: Mapping[str, str]) -> Jobs:
        """A page of those that match."""
        return self._told("/jobs", Jobs, asked)

    def job(self, key: str) -> Job:
        """One of them; raise NotFound."""
        return self._told(f"/jobs/{key}", Job)

    def timeline(self, key: str) -> tuple[TimelineEntry, ...]:
        """All that befell it, in order."""
        return self._told(f"/jobs/{key}/timeline", tuple[TimelineEntry, ...])

    def request(self, key: str) -> Event | None:
        """What was asked for, where that is kept."""
        return self._event(self._asked("GET", f"/jobs/{key}/request"))

    def outcome(self, job: Job) -> Event | None:
        """Its last event, where it has one."""
        return self._event(self._asked("GET", "/jobs", {"source": job.source, "id": job.id, "wait_s": "0"}))

    def change(self, key: str, method: str, what: str, *, actor: str) -> None:
        """Have something done to a job for an operator; raise NotFound, and Conflict where it is too late."""
        _require_done(self._asked(method, f"/jobs/{key}{what}", headers={ACTOR: _token(actor)}))

    def _told(self, path: str, kind: type[S], query: Mapping[str, str] = MappingProxyType({})) -> S:
        response = self._asked("GET", path, query)
        _require_done(response)
        try:
            return msgspec.json.decode(response.content, type=kind)
        except msgspec.DecodeError as error:
            raise StorageUnavailable(f"the gateway at {self.url} is of another release: {error}") from error

    def _event(self, response: httpx.Response) -> Event | None:
        if response.status_code in (204, 404):
            return None
        _require_done(response)
        try:
            return read(dict(response.headers), response.content)
        except NotAnEvent:
            return None

    def _asked(
        self,
        method: str,
        path: str,
        query: Mapping[str, str] = MappingProxyType({}),
        headers: Mapping[str, str] = MappingProxyType({}),
    ) -> httpx.Response:
        own = {"authorization": f"Bearer {self.token}"} if self.token else {}
        try:
            return client().request(
                method, f"{self.url}{path}", params=dict(query), headers={**own, **headers}, timeout=TIMEOUT_S
            )
        except httpx.HTTPError as error:
            raise StorageUnavailable(f"the gateway does not answer: {error}") from error


def name_of(type_: str) -> str:
    """Of one of our types its job's name; any other type whole."""
    ours = type_.startswith("dev.errands.") and type_.endswith(".requested.v1")
    return type_.split(".")[2] if ours else type_


def _require_done(response: httpx.Response) -> None:
    """Raise what is said to who asked for it."""
    said: Any = sentence(response.content)[:SAID_CHARACTERS]
    if response.status_code == 404:
        raise NotFound("There is no such job, or it is not kept any more.")
    if response.status_code == 409:
        raise Conflict(f"Too late: {said}.")
    if response.is_error:
        raise StorageUnavailable(f"the gateway answered {response.status_code}: {said}")


def _token(actor: str) -> str:
    """A name as a header's value."""
    return "".join(char if "!" <= char <= "~" else "_" for char in actor)[:100]
