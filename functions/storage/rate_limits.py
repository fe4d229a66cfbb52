"""How often something may be done, by all processes of an installation together: a mail server, an API that is called.

The generic cell rate algorithm (ITU-T I.371), in its form of a virtual schedule: each call moves the time at which the
next one would be due by one interval, and a call may come before its time by a tolerance, that of a few calls. So there
is one number to keep, and in no period are there more calls than the rate says.

The number is kept in the store, where all processes see it: a chain of small objects, `ledger/rates/<name>/<n>.json`,
of which the last counts. Who may go creates the next, on the condition that nobody else did. It is a time of day, as
that is what processes share; one further ahead than any call puts it, however machines' clocks differ, is of a clock
that was set back, and counts as none.

What is over is told to come back when its turn is likely to be: each of those that are turned away one interval after
the one before. That is a guess and no reservation, and spares most of them from coming in vain.
"""

import logging
import math
import uuid
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from threading import Lock
from typing import Final

import msgspec

from events.job import NAMESPACE
from events.problem import NotNow
from functions.net.rate import Rate
from functions.storage.store import LEDGER, Store

log = logging.getLogger("errands.rate")

SKEW_S: Final = 5.0  # of machines' clocks
LIMITS: Final = 10_000  # names: a job may choose the origin that is called
LEFT: Final = 8  # of a chain: so many calls would have to be made while one of them looks at it, to be one too many
LATEST_S: Final = 600.0  # of the time that who is turned away is told: by then all may be different


class Place(msgspec.Struct, frozen=True):
    """The newest of a chain: `due_s` is when the next call would be due, in seconds since 1970."""

    number: int
    due_s: float


@dataclass
class Limit:
    """What one process knows of one rate; `turn_s` is what the last that was turned away was told."""

    name: str
    rate: Rate
    place: Place | None = None
    turn_s: float = 0.0

    def wait_s(self, now_s: float) -> float:
        """Until a call may be made, by what is known here; the schedule only ever moves on, so it may be longer."""
        return 0.0 if self.place is None else self._due_s(self.place, now_s) - self.rate.tolerance_s - now_s

    def next(self, now_s: float) -> Place:
        """The place of a call that is made now."""
        place = self.place or Place(0, 0.0)
        return Place(place.number + 1, max(self._due_s(place, now_s), now_s) + self.rate.interval_s)

    def turn_away(self, now_s: float) -> float:
        """The seconds until this one's turn, after those that were turned away before it."""
        first_s = now_s + max(self.wait_s(now_s), 0.0)
        told_s = self.turn_s + self.rate.interval_s
        self.turn_s = told_s if first_s <= told_s <= now_s + LATEST_S else first_s
        return self.turn_s - now_s

    def _due_s(self, place: Place, now_s: float) -> float:
        furthest_s = now_s + self.rate.tolerance_s + self.rate.interval_s + SKEW_S
        return place.due_s if place.due_s <= furthest_s else 0.0


class RateLimits:
    """The limits of one process by what they are of; `clock` is the time of day."""

    def __init__(self, store: Store, clock: Callable[[], datetime]) -> None:
        self._store = store
        self._clock = clock
        self._limits: dict[tuple[str, Rate], Limit] = {}
        self._lock = Lock()

    def require(self, name: str, rate: Rate) -> None:
        """Count one call, or raise NotNow; TryAgain when the store is down. It blocks, as the store does."""
        with self._lock:
            limit = self._limit(name, rate)
            now_s = self._clock().timestamp()
            while limit.wait_s(now_s) <= 0:
                keys = self._read(limit)
                if limit.wait_s(now_s) <= 0 and self._take(limit, keys, now_s):
                    return
            wait_s = limit.turn_away(now_s)
        raise NotNow(f"{name} gets {rate}, the most that is set", retry_after_s=math.ceil(wait_s))

    def _limit(self, name: str, rate: Rate) -> Limit:
        if (name, rate) not in self._limits and len(self._limits) >= LIMITS:
            self._limits.clear()  # they are read again
        return self._limits.setdefault((name, rate), Limit(name, rate))

    def _read(self, limit: Limit) -> list[str]:
        """Know the end of the chain, whoever made it; returns the keys of all of it."""
        keys = sorted(self._store.list(_folder(limit)), key=_number)
        text = self._store.read(keys[-1]) if keys else None
        limit.place = Place(0, 0.0) if text is None else msgspec.json.decode(text, type=Place)
        return keys

    def _take(self, limit: Limit, keys: list[str], now_s: float) -> bool:
        """Whether this call is the next of the chain, and nobody else's was."""
        taken = limit.next(now_s)
        if not self._store.create(_key(limit, taken.number), msgspec.json.encode(taken)):
            return False
        limit.place = taken
        for key in keys[:-LEFT]:
            self._store.delete(key)
        return True


def _folder(limit: Limit) -> str:
    return f"{LEDGER}rates/{uuid.uuid5(NAMESPACE, f'{limit.name} {limit.rate}')}/"


def _key(limit: Limit, number: int) -> str:
    return f"{_folder(limit)}{number}.json"


def _number(key: str) -> int:
    return int(key.rpartition("/")[2].removesuffix(".json"))
