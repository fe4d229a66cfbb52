"""What the notifier remembers of endpoints, in the store: so it outlives a process and is one for all of them.

    ledger/callbacks/gone/<url>.json        it answered 410: no more calls until an operator resumes it
    ledger/callbacks/paused/<peer>.json     an endpoint asked for a pause, or it or its host failed too often: no calls
                                            until a time

Under `ledger/`, where no job may read; names are UUIDs, since a URL may hold a secret in its query. A process reads
them with its first callback, and again in the background while it calls: a mark of another process takes effect within
REFRESH_S. What it knows as gone it looks up with each callback: a resumption holds for the first one after it.
"""

import asyncio
import logging
import uuid
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Final

import msgspec

from events.job import NAMESPACE
from events.problem import TryAgain
from functions.net.url import Url
from functions.storage.store import LEDGER, Store

log = logging.getLogger("errands.notifier")

GONE: Final = f"{LEDGER}callbacks/gone/"
PAUSED: Final = f"{LEDGER}callbacks/paused/"
REFRESH_S: Final = 5.0
SKEW: Final = timedelta(seconds=30)  # of the clocks of machines that share a store


class Gone(msgspec.Struct, frozen=True, kw_only=True):
    """An endpoint that wants no more; `url` is without its query, `event` the one that it refused."""

    url: str
    since: datetime
    event: str


class Paused(msgspec.Struct, frozen=True, kw_only=True):
    """A peer that is not called until a time: a whole origin, or one endpoint, a URL without its query.

    `since` tells what the time of day was when it began: a pause that begins in the future, or never said when, is of a
    clock that was set back since.
    """

    peer: str = msgspec.field(name="origin")  # as the store has had it since there were pauses of origins alone
    since: datetime | None = None
    until: datetime
    reason: str

    def left_s(self, now: datetime) -> float:
        """How much of it is left, and never more than it was to last; 0 when it is over, or cannot be."""
        if self.since is None or self.since > now + SKEW:
            return 0.0
        return max(0.0, (self.until - max(now, self.since)).total_seconds())


def gone(store: Store) -> dict[str, Gone]:
    """Every endpoint that is gone, by its key."""
    found = {key: store.read(key) for key in store.list(GONE)}
    return {key: msgspec.json.decode(text, type=Gone) for key, text in found.items() if text is not None}


def paused(store: Store, *, now: datetime) -> tuple[Paused, ...]:
    """Every pause that is not over; what is over, or of a time to come, is removed."""
    present = []
    for key in store.list(PAUSED):
        text = store.read(key)
        each = None if text is None else msgspec.json.decode(text, type=Paused)
        if each is not None and each.left_s(now) > 0:
            present.append(each)
        elif each is not None:
            store.delete(key)
    return tuple(present)


def resume(store: Store, url: str) -> int:
    """Call the endpoints of this URL (as `gone` shows it) again; return how many they were."""
    keys = [key for key, each in gone(store).items() if each.url == url]
    for key in keys:
        store.delete(key)
    return len(keys)


def gone_words(shown: str) -> str:
    """How each dead letter begins whose endpoint was gone, a URL without its query."""
    return f"{shown} is gone: "


class EndpointStates:
    """The states as one process sees them."""

    def __init__(
        self,
        store: Store,
        *,
        adopt: Callable[[str, float, str], None],
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        """`adopt` is told of each pause, others' too: its peer, how many seconds are left, and the reason."""
        self._store = store
        self._adopt = adopt
        self._clock = clock
        self._gone: frozenset[str] = frozenset()
        self._read_s: float | None = None  # of the loop's clock
        self._reading: asyncio.Task[None] | None = None

    async def is_gone(self, url: Url) -> bool:
        """Whether the endpoint wants no more calls; raise TryAgain when that cannot be read, and must be."""
        if self._reading is None and self._is_old():
            self._reading = asyncio.create_task(self.read())
            self._reading.add_done_callback(self._done)
        if self._read_s is None and self._reading is not None:
            await asyncio.shield(self._reading)
        if not self._gone or (key := _gone_key(url)) not in self._gone:
            return False
        if await asyncio.to_thread(self._store.read, key) is None:
            self._gone -= {key}
        return key in self._gone

    async def mark_gone(self, url: Url, event_id: str, *, now: datetime) -> None:
        """Remember that the endpoint answered 410; raise TryAgain when the store does not take it."""
        mark = msgspec.json.encode(Gone(url=url.shown, since=now, event=event_id))
        await asyncio.to_thread(self._store.create, _gone_key(url), mark)
        self._gone |= {_gone_key(url)}

    async def pause(self, peer: str, *, left_s: float, reason: str) -> None:
        """Tell the other processes; one that cannot be told finds out by itself."""
        now = self._clock()
        pause = Paused(peer=peer, since=now, until=now + timedelta(seconds=left_s), reason=reason)
        key = f"{PAUSED}{uuid.uuid5(NAMESPACE, peer)}.json"
        try:
            await asyncio.to_thread(self._store.write, key, msgspec.json.encode(pause))
        except TryAgain as error:
            log.warning("the pause of %s is known to this process only: %s", peer, error)

    def _is_old(self) -> bool:
        return self._read_s is None or asyncio.get_running_loop().time() - self._read_s > REFRESH_S

    async def read(self) -> None:
        """Take over what the store has; raise TryAgain when it is down."""
        marks = await asyncio.to_thread(self._store.list, GONE)
        now = self._clock()
        for each in await asyncio.to_thread(paused, self._store, now=now):
            self._adopt(each.peer, each.left_s(now), each.reason)
        self._gone = frozenset(marks)
        self._read_s = asyncio.get_running_loop().time()

    def _done(self, task: asyncio.Task[None]) -> None:
        self._reading = None
        if not task.cancelled() and (error := task.exception()):
            log.warning("the endpoints' states cannot be read: %s", error)


def _gone_key(url: Url) -> str:
    return f"{GONE}{uuid.uuid5(NAMESPACE, str(url))}.json"
