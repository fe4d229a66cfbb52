"""Server-Sent Events of a job (WHATWG HTML 9.2): what befalls it as `note`, what it has become as `job`.

Nothing is kept for a stream but where it stands: it looks at the ledger when it is woken. So one that is resumed, at
whatever gateway, goes on after its last event, and a client that never reads costs one event. We end it, after the
job's end or some minutes: nothing on the way does before. An EventSource comes back then, and is told by 204 to stay
away where there is nothing more to come.
"""

import asyncio
import re
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final

import msgspec

from functions.gateway import finding
from functions.gateway.finding import Following
from functions.gateway.waiting import Waiters
from functions.runtime.asgi import Receive, Send
from functions.runtime.port import Application, IngressResponse, problem
from functions.runtime.threads import in_thread
from functions.storage.database import Database, StorageUnavailable

HEADERS: Final = [
    (b"content-type", b"text/event-stream"),
    (b"cache-control", b"no-store"),
    (b"x-accel-buffering", b"no"),
    (b"access-control-allow-origin", b"*"),  # the ticket says who may; no cookie is asked for
]
_LAST: Final = re.compile(r"([0-9]{1,18})-([0-9a-f]{16})")


@dataclass(frozen=True, slots=True)
class Pace:
    """How often a stream says that it is there, and how long one lasts."""

    comment_s: float = 15.0
    last_s: float = 300.0


PACE: Final = Pace()


@dataclass(slots=True)
class _Place:
    """Where a stream stands: the last note that it told, and the mark of the job as it told it."""

    note: int = 0
    mark: str = ""

    @classmethod
    def parse(cls, last_event_id: str) -> "_Place":
        found = _LAST.fullmatch(last_event_id)
        return cls(int(found[1]), found[2]) if found else cls()


async def stream(
    database: Database, waiters: Waiters, key: str, last_event_id: str, *, pace: Pace = PACE
) -> Application:
    """The stream of a job from the event after this one on; 204 where all of it was told, 404 of one not known."""
    place = _Place.parse(last_event_id)
    found = await in_thread(finding.follow, database, key, place.note)
    if found is None:
        return problem(404, "unknown-job", "there is no such job here")
    if found.has_ended and found.mark == place.mark and not found.notes:
        return IngressResponse(204)
    return _Stream(database, waiters, key, place, pace)


class _Stream:
    """An ASGI application for one stream."""

    def __init__(self, database: Database, waiters: Waiters, key: str, place: _Place, pace: Pace) -> None:
        self._database = database
        self._waiters = waiters
        self._key = key
        self._place = place
        self._pace = pace

    async def __call__(self, _scope: dict[str, Any], receive: Receive, send: Send) -> None:
        """Tell until the job's end, some minutes, the client's leave, or the server's stop."""
        gone = asyncio.ensure_future(_gone(receive))
        try:
            await send({"type": "http.response.start", "status": 200, "headers": HEADERS})
            await self._tell(send, gone)
            if not gone.done():
                await send({"type": "http.response.body", "body": b""})
        finally:
            gone.cancel()

    async def _tell(self, send: Send, gone: "asyncio.Future[None]") -> None:
        end_s = time.monotonic() + self._pace.last_s
        while not gone.done() and not self._waiters.closed:
            befalls = self._waiters.of(self._key)
            try:
                found = await in_thread(finding.follow, self._database, self._key, self._place.note)
            except StorageUnavailable:  # it is looked at again with the next comment
                found = Following((), "", b"", has_ended=False)
            told = b"".join(self._news(found)) if found else b""
            await send({"type": "http.response.body", "body": told or b":\n\n", "more_body": True})
            left_s = min(self._pace.comment_s, end_s - time.monotonic())
            if found is None or found.has_ended or left_s <= 0:
                befalls.cancel()
                return
            await asyncio.wait([befalls, gone], timeout=left_s, return_when=asyncio.FIRST_COMPLETED)
            befalls.cancel()

    def _news(self, found: Following) -> Iterator[bytes]:
        for note, entry in found.notes:
            self._place.note = note
            yield _event("note", self._id, msgspec.json.encode(entry))
        if found.mark and found.mark != self._place.mark:
            self._place.mark = found.mark
            yield _event("job", self._id, found.job)

    @property
    def _id(self) -> str:
        return f"{self._place.note}-{self._place.mark or '0' * 16}"


def _event(name: str, id_: str, data: bytes) -> bytes:
    """JSON of ours is one line."""
    return b"event: %s\nid: %s\ndata: %s\n\n" % (name.encode(), id_.encode(), b" ".join(data.splitlines()))


async def _gone(receive: Receive) -> None:
    """Until the client has left."""
    while (await receive())["type"] != "http.disconnect":
        pass
