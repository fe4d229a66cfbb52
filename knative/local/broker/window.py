"""The part of a queue that is in memory: a window on its deliveries; the rest waits on disk."""

import asyncio
from collections import deque
from dataclasses import dataclass, field
from typing import Final

from events.http import Event
from knative.local.broker.broker import Delivery
from knative.local.broker.event_log import New, Row

WINDOW_COUNT: Final = 256  # deliveries of a queue that wait in memory
WINDOW_BYTES: Final = 8 * 1024 * 1024  # and the data that they may hold together, all queues


@dataclass(slots=True)
class Room:
    """What the data of all that waits in memory takes, all queues together."""

    used_bytes: int = 0


@dataclass(slots=True)
class Window:
    """One queue's. `held` are the numbers of all that is in memory, waiting or in flight."""

    room: Room
    depth: int = 0
    waiting: deque[Row] = field(default_factory=deque)
    held: dict[int, Row] = field(default_factory=dict)
    behind: bool = True  # there may be more on disk that is due
    reading: bool = False
    timer: asyncio.TimerHandle | None = None
    timer_at: float = 0.0  # kept here, since not every loop's timer tells

    @property
    def low(self) -> bool:
        """Whether it is time to read more from disk."""
        return len(self.waiting) < WINDOW_COUNT // 4

    def has_room(self, event: Event) -> bool:
        """Whether the window takes one more; an empty one always does."""
        if not self.waiting:
            return True
        return len(self.waiting) < WINDOW_COUNT and self.room.used_bytes + len(event.data) <= WINDOW_BYTES

    def hold(self, row: Row) -> None:
        """One more that waits in memory."""
        self.held[row.delivery.tag] = row
        self.waiting.append(row)
        self.room.used_bytes += len(row.delivery.event.data)

    def take(self) -> Delivery | None:
        """The first that waits; it stays held."""
        if not self.waiting:
            return None
        row = self.waiting.popleft()
        self.room.used_bytes -= len(row.delivery.event.data)
        return row.delivery

    def settle(self, delivery: Delivery, *, left: int = 1) -> None:
        """It is in memory no more; `left` is 0 where its queue still has it."""
        del self.held[delivery.tag]
        self.depth -= left

    def take_back(self, new: New) -> None:
        """It is not on disk; who works on it already settles it in vain."""
        row = self.held.get(new.seq)
        if row is not None and row not in self.waiting:
            return
        self.depth -= 1
        if row is not None:
            self.waiting.remove(row)
            del self.held[new.seq]
            self.room.used_bytes -= len(new.event.data)

    def cancel_timer(self) -> None:
        """No timer from now on."""
        if self.timer:
            self.timer.cancel()
        self.timer = None
