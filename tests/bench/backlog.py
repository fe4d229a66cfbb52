"""A backlog of 100,000 events on the embedded broker: memory, and the drain's first against its last thousands.

python -m tests.bench.backlog [EVENTS]
"""

import asyncio
import sys
import tempfile
import time
from pathlib import Path
from types import MappingProxyType

from events.http import Event
from knative.local.broker.broker import DLQ
from knative.local.broker.embedded import EmbeddedBroker
from tests.support.local_runner import REQUESTED, Up, service, trigger, write_manifests

EVENTS = 100_000
BATCH = 500
WINDOW = 5_000


async def fill(file: Path, count: int) -> float:
    """Publish through the broker itself; returns events a second."""
    file.parent.mkdir(parents=True, exist_ok=True)
    broker = EmbeddedBroker(file, ["echo", "echo" + DLQ], backlog_limit=count + 1)
    await broker.start(lambda _queue: None)
    started_s = time.monotonic()
    for first in range(0, count, BATCH):
        await asyncio.gather(
            *(broker.publish(numbered(first + each), ["echo"]) for each in range(min(BATCH, count - first)))
        )
    elapsed_s = time.monotonic() - started_s
    await broker.stop()
    return count / elapsed_s


def numbered(number: int) -> Event:
    """A small event of the echo function."""
    attributes = {"specversion": "1.0", "id": str(number), "source": "/bench", "type": REQUESTED}
    attributes |= {"time": "2026-11-22T00:00:00Z", "datacontenttype": "application/json"}
    return Event(MappingProxyType(attributes), b'{"n": 1}')


def drain(runner: Up, count: int) -> tuple[list[tuple[float, float]], int]:
    """Samples of (time, delivered) until all is delivered, and the runner's highest memory."""
    samples, highest_bytes, done = [], 0, 0.0
    while done < count:
        done = runner.metric("errands_deliveries_total", trigger="echo", code="200")
        samples.append((time.monotonic(), done))
        highest_bytes = max(highest_bytes, runner.rss_bytes())
        time.sleep(0.1)
    return samples, highest_bytes


def rate(samples: list[tuple[float, float]], low: float, high: float) -> float:
    """Deliveries a second between two counts."""
    inside = [each for each in samples if low <= each[1] <= high]
    return (inside[-1][1] - inside[0][1]) / (inside[-1][0] - inside[0][0])


def main() -> None:
    """Fill, drain, print."""
    count = int(sys.argv[1]) if len(sys.argv) > 1 else EVENTS
    with tempfile.TemporaryDirectory() as folder:
        published = asyncio.run(fill(Path(folder) / "data" / "journal.db", count))
        manifests = write_manifests(Path(folder) / "manifests", [service(), trigger(parallelism=16)])
        with Up(Path(folder), manifests) as runner:
            at_rest_bytes = runner.rss_bytes()
            samples, highest_bytes = drain(runner, count)
    first, last = rate(samples, WINDOW, 2 * WINDOW), rate(samples, count - WINDOW, count)
    print(f"published {published:,.0f}/s")
    print(
        f"drained {rate(samples, 1, count):,.0f}/s; first {first:,.0f}/s, last {last:,.0f}/s, ratio {last / first:.2f}"
    )
    print(f"memory after the start {at_rest_bytes / 1e6:.0f} MB, highest {highest_bytes / 1e6:.0f} MB")


if __name__ == "__main__":
    main()
