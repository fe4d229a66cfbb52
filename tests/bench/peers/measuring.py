"""Measures one system once: in parts, each with the system started anew, and the figures of each.

latency   from nothing running to the first callback; then 20 jobs a second
report    from everything at zero to the first report's callback, of Errands alone
drain     a backlog of no-op jobs handed over while nobody works, then drained
image     the same with pictures
"""

import math
import statistics
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Final

from tests.bench.peers import processes
from tests.bench.peers.systems.base import Api, Place, Running, System

API_PROCESSES: Final = 2
START_S: Final = 60.0
WARM: Final = 16  # jobs before those that count, so that every process has started
WINDOW: Final = 0.1  # of a backlog passes before its rate is taken, so that no start is in it

Figures = dict[str, float]


@dataclass(frozen=True)
class Amounts:
    """How much is done; a developer wants less of it than a reader."""

    latency_s: float = 10.0
    share: float = 1.0  # of each system's usual backlog

    def jobs(self, usual: int) -> int:
        """A backlog."""
        return max(20, round(usual * self.share))


def latency(system: System, place: Place, amounts: Amounts) -> Figures:
    """The start from nothing, memory at rest, and the percentiles at a steady pace."""
    with system.up(place, held=not system.from_zero) as running, closing_all(running.api()) as [api]:
        figures = {} if running.ready_s is None else {"ready_s": running.ready_s}
        if system.from_zero:
            settle()
            figures |= at_rest(running)
        figures |= first_callback(system, running, place, api)
        if not system.from_zero:
            settle()
            figures |= at_rest(running)
        steady(system, place, api, "warm", 1.0)
        return figures | percentiles(place, steady(system, place, api, "steady", amounts.latency_s))


def report(system: System, place: Place, amounts: Amounts) -> Figures:
    """The first report's callback with the report function and the notifier at zero."""
    with system.up(place, held=False) as running, closing_all(running.api()) as [api]:
        settle()
        hand_over(api, "report", "first", 0, threads=1)
        [(begun_s, _)] = hand_over(api, "report", "first", 1, threads=1)
        place.receiver.wait("first", 1, timeout_s=START_S)
        return {"report_from_zero_s": place.receiver.seen_s["first0"] - begun_s}


def first_callback(system: System, running: Running, place: Place, api: Api) -> Figures:
    """From the hand-over, or from the worker's start where that comes later."""
    hand_over(api, "noop", "first", 0, threads=1)  # connected
    if system.from_zero:
        [(begun_s, _)] = hand_over(api, "noop", "first", 1, threads=1)
    else:
        hand_over(api, "noop", "first", 1, threads=1)
        begun_s = time.monotonic()
        running.release()
    place.receiver.wait("first", 1, timeout_s=START_S)
    return {"from_zero_s": place.receiver.seen_s["first0"] - begun_s} if system.from_nothing else {}


def steady(system: System, place: Place, api: Api, prefix: str, duration_s: float) -> Mapping[str, tuple[float, float]]:
    """Jobs at a steady pace, all heard of; the moments of each by its id."""
    count = round(system.pace_per_s * duration_s)
    moments = hand_over(api, "noop", prefix, count, threads=system.threads, per_s=system.pace_per_s)
    place.receiver.wait(prefix, count, timeout_s=START_S)
    return {f"{prefix}{number}": each for number, each in enumerate(moments)}


def percentiles(place: Place, moments: Mapping[str, tuple[float, float]]) -> Figures:
    """From acceptance to callback, and from the moment the API began to hand over."""
    seen_s = place.receiver.seen_s
    figures: Figures = {}
    for name, which in (("handed_over", 0), ("accepted", 1)):
        waits_ms = sorted((seen_s[id_] - each[which]) * 1000 for id_, each in moments.items())
        figures |= {f"{name}_p50_ms": statistics.median(waits_ms), f"{name}_p99_ms": quantile(waits_ms, 0.99)}
    return figures


def quantile(values: list[float], part: float) -> float:
    """Of sorted values: the smallest that at least `part` of them do not exceed."""
    return values[math.ceil(part * len(values)) - 1]


def drain(system: System, place: Place, amounts: Amounts) -> Figures:
    """Accepted a second with nobody working; drained a second; processor time of both; memory in the midst of it."""
    count = amounts.jobs(system.noop_jobs)
    with system.up(place, held=True) as running, closing_all(*(running.api() for _ in range(API_PROCESSES))) as apis:
        for api in apis:
            hand_over(api, "noop", "none", 0, threads=system.threads)
        if running.hold:
            warm_up(place, apis[0], running.hold)
        before = Spent.by(running)
        figures = {"accepted_per_s": accept(apis, count, system.threads)}
        accepting = Spent.by(running) - before
        running.release()
        figures |= empty(running, place, count, accepting)
        return figures


def warm_up(place: Place, api: Api, hold: Callable[[], object]) -> None:
    """Start all functions that take part in a job, then hold the first of them.

    Else those would work off a part of the backlog while the later ones start, and the rate be that of the later ones.
    """
    hand_over(api, "noop", "warm", WARM, threads=WARM)
    place.receiver.wait("warm", WARM, timeout_s=START_S)
    hold()
    place.receiver.forget()


def image(system: System, place: Place, amounts: Amounts) -> Figures:
    """Pictures a second, handed over at once to warm workers: from the first hand-over to the last callback."""
    count = amounts.jobs(system.image_jobs)
    with system.up(place, held=False) as running, closing_all(running.api()) as [api]:
        running.release()
        hand_over(api, "image", "warm", WARM, threads=system.threads)
        place.receiver.wait("warm", WARM, timeout_s=START_S)
        spent = Spent.by(running)
        [(begun_s, _), *_] = hand_over(api, "image", "job", count, threads=system.threads)
        place.receiver.wait("job", count // 2, timeout_s=START_S * 2)
        at_work = processes.memory(running.own())
        place.receiver.wait("job", count, timeout_s=START_S * 2)
        per_job = (Spent.by(running) - spent) / count
        figures = {"per_s": count / (max(place.receiver.seen_s.values()) - begun_s)}
        figures |= {"at_work_pss_mb": at_work.pss_bytes / 1e6, "at_work_rss_mb": at_work.rss_bytes / 1e6}
        return {f"image_{name}": value for name, value in (figures | per_job.figures()).items()}


def accept(apis: list[Api], count: int, threads: int) -> float:
    """Hand over a backlog from several processes at once; jobs a second, from the first to the last acceptance."""
    shares = [count // len(apis) + (number < count % len(apis)) for number in range(len(apis))]
    for number, (api, share) in enumerate(zip(apis, shares, strict=True)):
        api.order(kind="noop", prefix=f"job{number}-", count=share, threads=threads, per_s=None)
    moments = [each for api in apis for each in api.moments()]
    return count / (max(accepted_s for _, accepted_s in moments) - min(begun_s for begun_s, _ in moments))


def empty(running: Running, place: Place, count: int, accepting: "Spent") -> Figures:
    """Watch a backlog drain: the first tenth is not counted, since starts are in it."""
    first = max(1, round(count * WINDOW))
    receiver = place.receiver
    receiver.wait("", first, timeout_s=START_S)
    begun, spent = receiver.count(""), Spent.by(running)
    receiver.wait("", (begun + count) // 2, timeout_s=START_S * 2)
    at_work = processes.memory(running.own())
    receiver.wait("", count, timeout_s=START_S * 5)
    per_job = (Spent.by(running) - spent) / (count - begun) + accepting / count
    seen_s = sorted(receiver.seen_s.values())
    figures = {
        "drained_per_s": (count - first) / (seen_s[-1] - seen_s[first - 1]),
        "at_work_pss_mb": at_work.pss_bytes / 1e6,
        "at_work_rss_mb": at_work.rss_bytes / 1e6,
        "repeated": float(receiver.repeated),
    }
    return figures | per_job.figures()


@dataclass(frozen=True)
class Spent:
    """Processor seconds so far, by who spent them: `own`, and the servers by name."""

    cpu_s: Mapping[str, float]

    @classmethod
    def by(cls, running: Running) -> "Spent":
        """Up to now."""
        roots: dict[str, Callable[[], list[int]]] = {"own": running.own, **running.servers}
        return cls({name: processes.cpu_s(pids()) for name, pids in roots.items()})

    def __sub__(self, other: "Spent") -> "Spent":
        return Spent({name: cpu_s - other.cpu_s.get(name, 0.0) for name, cpu_s in self.cpu_s.items()})

    def __add__(self, other: "Spent") -> "Spent":
        return Spent({name: cpu_s + other.cpu_s.get(name, 0.0) for name, cpu_s in self.cpu_s.items()})

    def __truediv__(self, count: int) -> "Spent":
        return Spent({name: cpu_s / count for name, cpu_s in self.cpu_s.items()})

    def figures(self) -> Figures:
        """`cpu_ms` is the system's own, `cpu_servers_ms` that of what it needs beside it."""
        own_ms = self.cpu_s.get("own", 0.0) * 1000
        return {"cpu_ms": own_ms, "cpu_servers_ms": sum(self.cpu_s.values()) * 1000 - own_ms}


def at_rest(running: Running) -> Figures:
    """Memory of a system that has nothing to do."""
    own = processes.memory(running.own())
    servers = processes.memory([pid for pids in running.servers.values() for pid in pids()])
    return {
        "at_rest_pss_mb": own.pss_bytes / 1e6,
        "at_rest_rss_mb": own.rss_bytes / 1e6,
        "at_rest_servers_pss_mb": servers.pss_bytes / 1e6,
    }


def settle() -> None:
    """What a start leaves undone is done."""
    time.sleep(1.5)


def hand_over(
    api: Api, kind: str, prefix: str, count: int, *, threads: int, per_s: float | None = None
) -> list[tuple[float, float]]:
    """An order, carried out."""
    api.order(kind=kind, prefix=prefix, count=count, threads=threads, per_s=per_s)
    return api.moments()


@contextmanager
def closing_all(*apis: Api) -> Iterator[list[Api]]:
    """Ends them."""
    with ExitStack() as stack:
        for api in apis:
            stack.callback(api.close)
        yield list(apis)


PARTS: Final[Mapping[str, Callable[[System, Place, Amounts], Figures]]] = {
    "latency": latency,
    "report": report,
    "drain": drain,
    "image": image,
}
