"""Whether a peer may be called now: so many calls at a time, and none while it cannot take them.

A peer is a host, by its origin (RFC 6454), or an endpoint, by its URL without the query. A job names the path that is
called, so what one path answers pauses that endpoint alone; only what no path can bring about pauses the host.

    closed       called, `calls_limit` at a time; a call waits `place_timeout_s` for its place
    open         not called until a time: it asked for that (Retry-After), or its last calls failed in a row
    half-open    the time is over: one call goes through as a trial, and closes the circuit or opens it for longer

A call that may not be made raises NotNow at once and leaves its place in this process to others: a host that hangs
takes `calls_limit` places until the circuit opens, then none. What counts as a failure is the caller's to say: what
tells that the host is down, not its answer to one event.
"""

import asyncio
import logging
import time
from collections import Counter, deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Final

from events.problem import NotNow

log = logging.getLogger("errands.notifier")

KEPT: Final = 1_000  # peers; jobs name them, so there may be many in the life of a process
TRIAL_WAIT_S: Final = 1.0
ROUNDED_S: Final = 0.1  # of a pause that comes back from the store, and was counted by another clock


@dataclass(frozen=True, kw_only=True)
class CircuitLimits:
    """The bounds of each peer's circuit."""

    calls_limit: int = 20
    place_timeout_s: float = 1.0
    failures_limit: int = 5
    pause_s: float = 5.0
    pause_limit_s: float = 60.0

    def __post_init__(self) -> None:
        for name in ("calls_limit", "failures_limit"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name.upper()} must be at least 1, got {getattr(self, name)}")


@dataclass
class Circuit:
    """One peer's; times are of the clock that its Circuits has."""

    peer: str
    limits: CircuitLimits
    in_flight: int = 0
    handed: int = 0  # places left to a call that waited, and has not taken it yet
    waiting: deque[asyncio.Future[bool]] = field(default_factory=deque)
    failures: int = 0  # in a row
    pauses: int = 0  # in a row, for failures
    until_s: float = 0.0
    reason: str = ""
    counts: Counter[str] = field(default_factory=Counter)  # of calls by result

    def state(self, now_s: float) -> str:
        """closed, open or half-open."""
        if now_s < self.until_s:
            return "open"
        return "half-open" if self.pauses else "closed"

    def require_callable(self, now_s: float) -> None:
        """Raise NotNow while the peer may not be called."""
        state = self.state(now_s)
        if state == "open":
            raise NotNow(f"{self.peer} is not called now: {self.reason}", retry_after_s=self.until_s - now_s)
        if state == "half-open" and self.in_flight:
            raise NotNow(f"{self.peer} is on trial: {self.reason}", retry_after_s=TRIAL_WAIT_S)

    def leave(self) -> None:
        """A call is over: its place goes to the one that waits longest."""
        self.in_flight -= 1
        while self.waiting:
            turn = self.waiting.popleft()
            if not turn.done():
                self.handed += 1
                turn.set_result(True)
                break

    def hand_back(self) -> None:
        """A place that was left to a call which cannot take it."""
        self.handed -= 1
        self.in_flight += 1
        self.leave()

    def succeeded(self) -> None:
        """The host answers."""
        if self.pauses:
            log.info("%s answers again", self.peer)
        self.failures = self.pauses = 0

    def failed(self, reason: str, now_s: float) -> bool:
        """The host is down, as far as this call tells; return whether the circuit opened."""
        self.failures += 1
        if self.failures < self.limits.failures_limit and not self.pauses:
            return False
        if now_s < self.until_s:  # calls that began before it opened
            return False
        pause_s = min(self.limits.pause_s * 2**self.pauses, self.limits.pause_limit_s)
        self.pauses += 1
        self.pause(now_s + pause_s, f"{self.failures} calls in a row failed, the last: {reason}")
        return True

    def pause(self, until_s: float, reason: str) -> None:
        """Do not call before `until_s`; an earlier end than the present one changes nothing."""
        if until_s > self.until_s + ROUNDED_S:
            self.until_s, self.reason = until_s, reason
            log.warning("%s is not called for a while: %s", self.peer, reason)


class Circuits:
    """The circuits of this process by their peers; `clock` tells what has passed, whatever the time of day."""

    def __init__(self, limits: CircuitLimits, clock: Callable[[], float] = time.monotonic) -> None:
        self._limits = limits
        self._clock = clock
        self._circuits: dict[str, Circuit] = {}

    @property
    def now_s(self) -> float:
        """The present of their clock."""
        return self._clock()

    def __iter__(self) -> Iterator[Circuit]:
        return iter(tuple(self._circuits.values()))

    def of(self, peer: str) -> Circuit:
        """The peer's circuit, made where there is none."""
        circuit = self._circuits.get(peer)
        if circuit is None:
            if len(self._circuits) >= KEPT:
                self._forget_idle()
            circuit = Circuit(peer, self._limits)
            self._circuits[peer] = circuit
        return circuit

    def place(self, peer: str) -> "CallSlot":
        """A place for one call, for `async with`; raise NotNow when the peer may not be called, or has no place in
        time."""
        return CallSlot(self, peer)

    async def enter(self, peer: str) -> Circuit:
        """As `place`, which leaves it again."""
        circuit = self.of(peer)
        circuit.require_callable(self._clock())
        if circuit.in_flight + circuit.handed >= self._limits.calls_limit:
            await self._wait(circuit)
        circuit.in_flight += 1
        return circuit

    async def _wait(self, circuit: Circuit) -> None:
        """Until another call leaves its place to this one; asyncio's Semaphore and timeout cost more."""
        turn = asyncio.get_running_loop().create_future()
        timer = asyncio.get_running_loop().call_later(self._limits.place_timeout_s, _expire, turn)
        circuit.waiting.append(turn)
        try:
            has_place = await turn
        except asyncio.CancelledError:
            if not turn.cancelled() and turn.result():
                circuit.hand_back()
            raise
        finally:
            timer.cancel()
        if not has_place:
            busy = f"{circuit.peer} has {self._limits.calls_limit} calls in flight, the most that it gets"
            raise NotNow(busy, retry_after_s=TRIAL_WAIT_S)
        try:
            circuit.require_callable(self._clock())  # it may have opened meanwhile
        except NotNow:
            circuit.hand_back()
            raise
        circuit.handed -= 1

    def _forget_idle(self) -> None:
        now_s = self._clock()
        busy = (each for each in self if each.in_flight or each.handed or each.state(now_s) != "closed")
        self._circuits = {each.peer: each for each in busy}


@dataclass(frozen=True)
class Peers:
    """The circuits of hosts and of endpoints; a call needs a place with both."""

    hosts: Circuits
    endpoints: Circuits

    @property
    def now_s(self) -> float:
        """The present of the clock that both have."""
        return self.hosts.now_s

    def adopt(self, peer: str, left_s: float, reason: str) -> None:
        """Take over a pause that another process tells of; an origin has no path, an endpoint always has one."""
        circuits = self.endpoints if "/" in peer.partition("://")[2] else self.hosts
        circuits.of(peer).pause(circuits.now_s + left_s, reason)


class CallSlot:
    """What `place` gives: a class, which costs less than a generator within contextlib."""

    __slots__ = ("_circuit", "_circuits", "_peer")
    _circuit: Circuit

    def __init__(self, circuits: Circuits, peer: str) -> None:
        self._circuits, self._peer = circuits, peer

    async def __aenter__(self) -> Circuit:
        self._circuit = await self._circuits.enter(self._peer)
        return self._circuit

    async def __aexit__(self, *raised: object) -> None:
        self._circuit.leave()


def _expire(turn: asyncio.Future[bool]) -> None:
    if not turn.done():
        turn.set_result(False)
