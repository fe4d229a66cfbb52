"""The gateway as the command line asks it: where it is, what it says of jobs, and what befalls one as it does."""

import json
import os
import shlex
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final
from urllib.parse import urlsplit

import httpx

from events.problem import sentence
from functions.net.configured import client
from functions.runtime.running import find, listens

OPEN: Final = ("waiting", "sent")
DATA: Final = ".errands"
DEFAULT: Final = "http://127.0.0.1:8080"
TIMEOUT_S: Final = 10.0
SILENCE_S: Final = 40.0  # a stream has a comment each 15 s
AGAIN_S: Final = 0.5
SHOWN_CHARACTERS: Final = 2_000
TOKEN_CHARACTERS: Final = 16


class Unreachable(Exception):
    """Nobody answers there, or not now; the message says where, and what to do."""


class Refused(Exception):
    """The gateway says no; the message is its reason."""

    def __init__(self, status: int, reason: str) -> None:
        super().__init__(reason)
        self.status = status


class BadToken(Exception):
    """A file holds no token; the message says why."""


def read_token(file: Path | None) -> str | None:
    """The token of a file, or else of ERRANDS_TOKEN; raise BadToken."""
    if file is None:
        return os.environ.get("ERRANDS_TOKEN") or None
    try:
        token = file.read_text().strip()
        token.encode("ascii")
    except OSError as error:
        raise BadToken(f"the token file {file} cannot be read: {error.strerror}") from error
    except UnicodeError as error:
        raise BadToken(f"the token in {file} must be of ASCII characters") from error
    if len(token) < TOKEN_CHARACTERS:
        raise BadToken(f"the token in {file} must have at least {TOKEN_CHARACTERS} characters, got {len(token)}")
    return token


def address(sink: str | None, data: Path) -> str:
    """Where APIs send to: as given, or that of the runner of `data`, or where a runner is by default."""
    if sink:
        return sink.rstrip("/")
    running = find(data)
    url = running.front_door or running.url if running else ""
    return url.rstrip("/") if url and listens(url) else DEFAULT


def options(sink: str | None, data: Path) -> str:
    """What a hint needs for the next command to ask the same gateway; nothing where that finds it by itself."""
    if sink and os.environ.get("K_SINK") != sink:
        return f" --sink {shlex.quote(sink)}"
    if not sink and str(data) not in (DATA, os.environ.get("ERRANDS_DATA")):
        return f" --data {shlex.quote(str(data))}"
    return ""


@dataclass(frozen=True)
class FrontDoor:
    """A gateway at an address, and the token by which it knows who asks."""

    url: str
    token: str | None

    def ask(
        self,
        path: str,
        query: Mapping[str, str | None] = MappingProxyType({}),
        *,
        method: str = "GET",
        body: Any = None,
    ) -> Any:
        """The answer, or None of one without a body; raises Refused and Unreachable."""
        given = {name: value for name, value in query.items() if value is not None}
        try:
            response = client().request(
                method, f"{self.url}{path}", params=given, headers=self._headers, json=body, timeout=TIMEOUT_S
            )
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            raise self._unreachable(error) from error
        if response.is_error:
            _refuse(response.status_code, response.content)
        try:
            return json.loads(response.content) if response.content else None
        except ValueError as error:
            raise Unreachable(f"{self.url} is no gateway of Errands: it answers no JSON") from error

    def follow(self, path: str, *, until_s: float | None = None) -> Iterator[tuple[str, Any]]:
        """What befalls a job, as (`note` or `job`, data): all that did, then as it does, until its end or `until_s`.

        A stream that breaks is resumed after the last event. Raises Refused and Unreachable.
        """
        last = ""
        while True:
            left_s = SILENCE_S if until_s is None else min(SILENCE_S, until_s - time.monotonic())
            if left_s <= 0:
                return
            headers = {**self._headers, "last-event-id": last}
            try:
                with client().stream("GET", f"{self.url}{path}", headers=headers, timeout=left_s) as response:
                    if response.status_code != 200:
                        return _refuse(response.status_code, response.read()) if response.is_error else None
                    for event in _events(response):
                        last = event.id
                        yield event.name, event.data
                        if event.name == "job" and event.data["state"] not in OPEN:
                            return None
            except httpx.ConnectError as error:
                raise self._unreachable(error) from error
            except httpx.HTTPError:  # it was closed, or said nothing for too long
                time.sleep(AGAIN_S)

    @property
    def _headers(self) -> dict[str, str]:
        return {"authorization": f"Bearer {self.token}"} if self.token else {}

    def _unreachable(self, error: Exception) -> Unreachable:
        return Unreachable(f"the gateway at {self.url} cannot be reached ({error}); start it with: errands up")


def befell(entry: Any) -> str:
    """One line of a job's timeline."""
    attempt = f" {entry['attempt']}" if "attempt" in entry else ""
    by = f" by {entry['by']}" if entry.get("by") else ""
    detail = f": {' '.join(entry['detail'].split())}" if entry.get("detail") else ""
    return f"{moment(entry['at'])}  {entry['what']}{attempt}{by}{detail}"


def moment(text: str) -> str:
    """A time to the second."""
    return f"{text[:10]} {text[11:19]}"


def stream_path(stream: str) -> str:
    """Of the address of a stream what leads there from here: its ticket says who may."""
    parts = urlsplit(stream)
    return f"{parts.path}?{parts.query}"


def _refuse(status: int, body: bytes) -> None:
    if status == 503:
        raise Unreachable(f"not now: {sentence(body)[:SHOWN_CHARACTERS]}")
    raise Refused(status, sentence(body)[:SHOWN_CHARACTERS])


@dataclass(frozen=True, slots=True)
class _Event:
    """One Server-Sent Event."""

    id: str
    name: str
    data: Any


def _events(response: httpx.Response) -> Iterator[_Event]:
    """Those of a stream, whose lines are as the gateway writes them."""
    event: dict[str, str] = {}
    for line in response.iter_lines():
        name, _, value = line.partition(": ")
        if line and not line.startswith(":"):
            event[name] = value
        elif not line and "data" in event:
            yield _Event(event.get("id", ""), event.get("event", ""), json.loads(event["data"]))
            event = {}
