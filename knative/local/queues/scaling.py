"""Scales a work queue's workers by its queue's length, as KEDA does.

A Deployment gets `desired` workers at once when it wants more, and loses some only after it has wanted fewer for the
whole cooldown. Jobs are started for what waits and end by themselves: a job that runs is never ended here. Those that
were started and have taken nothing yet are counted off, since what they will take still waits (KEDA's strategy
accurate).
"""

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import Protocol

from knative.manifests.queues import WorkQueue


class Scaled(Protocol):
    """What is scaled: `count` runs or starts, `starting` of them are not at work yet."""

    @property
    def count(self) -> int: ...

    @property
    def starting(self) -> int: ...

    def scale(self, target: int) -> None:
        """Have `target` of them from now on."""


class Scaler:
    """One work queue's scaler; `ready` tells how many messages no worker has."""

    def __init__(
        self,
        work_queue: WorkQueue,
        workers: Scaled,
        ready: Callable[[], Awaitable[int]],
        *,
        limit: int,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._scaling = work_queue.scaling
        self._workers = workers
        self._ready = ready
        self._limit = limit
        self._clock = clock
        self._fewer_since_s: float | None = None

    async def run(self) -> None:
        """Poll for ever."""
        while True:
            self.step(await self._ready())
            await asyncio.sleep(self._scaling.polling_s)

    def step(self, ready: int) -> None:
        """Scale by how many messages are ready at this poll."""
        wanted, count = self._scaling.desired(ready), self._workers.count
        if self._scaling.kind == "job":
            target = count + max(0, wanted - self._workers.starting)
            self._workers.scale(min(target, self._scaling.maximum, self._limit))
            return
        target = min(wanted, self._limit)
        if target >= count:
            self._fewer_since_s = None
            self._workers.scale(target)
            return
        self._fewer_since_s = self._fewer_since_s or self._clock()
        if self._clock() - self._fewer_since_s >= self._scaling.cooldown_s:
            self._fewer_since_s = None
            self._workers.scale(target)
