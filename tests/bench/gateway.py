"""What asking the gateway costs: the state of jobs among a million, streams, and its memory.

    python -m tests.bench.gateway [--jobs 1000000] [--seconds 10] [--database postgresql://...]

A gateway by itself on SQLite, or on the database that is given, before a broker that takes everything. What accepting
and draining cost beside the broker alone is in `tests.bench.peers`, systems `embedded` and `straight`.

status    GET /jobs/KEY of random jobs, 1,000 a second over 16 connections, on time whatever the answers do
event     from the broker's telling the gateway of an outcome to the stream's event of it, one job after another
streams   memory that 1,000 open streams take
"""

import argparse
import asyncio
import json
import random
import statistics
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import httpx

from functions.gateway.ledger.schema import open_ledger
from functions.storage.database import Database, Postgresql
from tests.bench.peers.measuring import quantile
from tests.bench.peers.processes import memory
from tests.functions.gateway.test_gateway import job, outcome
from tests.support.gateway_process import GatewayProcess, gateway_process
from tests.support.local_runner import until

JOBS = 1_000_000
PER_S = 1_000
CONNECTIONS = 16
SAMPLES = 200
STREAMS = 1_000
KNOWN = 10_000  # keys that are asked for
COLUMNS = "key, source, event_id, type, api, state, fingerprint, accepted_ms, sent_ms, ended_ms, tries"
NUMBERS = {
    True: "SELECT generate_series(1, {count}) AS n",
    False: "WITH RECURSIVE c (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM c WHERE n < {count}) SELECT n FROM c",
}


def fill(database: Database, count: int) -> None:
    """So many jobs that were completed, a second of the last day each some twelve."""
    numbers = NUMBERS[isinstance(database, Postgresql)].format(count=count)
    now_ms = int(time.time() * 1000)
    with database.transaction() as transaction:
        transaction.execute(
            f"INSERT INTO job ({COLUMNS}) SELECT 'bench-' || n, '/bench', CAST(n AS TEXT),"  # noqa: S608  # ours
            f" 'dev.errands.ics.requested.v1', 'local', 'completed', '', {now_ms} - 86400000 + n * 86,"
            f" {now_ms}, {now_ms}, 1 FROM ({numbers}) AS numbers"
        )


async def asked(port: int, seconds: float, count: int) -> list[float]:
    """Milliseconds from when each was to be asked to its answer."""
    chance = random.Random(1)  # noqa: S311  # repeatable, not secret
    keys = [f"bench-{chance.randint(1, count)}" for _ in range(KNOWN)]
    total, begin_s, waits_ms = int(PER_S * seconds), time.perf_counter() + 0.1, []
    turn = iter(range(total))

    async def connection() -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        for number in turn:
            due_s = begin_s + number / PER_S
            await asyncio.sleep(max(0.0, due_s - time.perf_counter()))
            writer.write(f"GET /jobs/{keys[number % KNOWN]} HTTP/1.1\r\nhost: localhost\r\n\r\n".encode())
            head = await reader.readuntil(b"\r\n\r\n")
            assert head.startswith(b"HTTP/1.1 200"), head
            await reader.readexactly(int(head.lower().partition(b"content-length: ")[2].split(b"\r")[0]))
            waits_ms.append((time.perf_counter() - due_s) * 1000)
        writer.close()

    await asyncio.gather(*(connection() for _ in range(CONNECTIONS)))
    return sorted(waits_ms)


def events_ms(gateway: GatewayProcess) -> list[float]:
    """From the telling of an outcome to the stream's event, one job after another."""
    return sorted(_event_ms(gateway, f"event-{number}") for number in range(SAMPLES))


def _event_ms(gateway: GatewayProcess, id_: str) -> float:
    stream = gateway.post(job(id_)).json()["stream"]
    until(
        lambda: gateway.get("/jobs", source=job(id_)["source"], id=id_).json()["state"] == "sent", what="the broker's"
    )
    with httpx.stream("GET", f"{gateway.url}{stream}", timeout=60) as response:
        lines = response.iter_lines()
        _until_state(lines, "sent")
        begun_s = time.perf_counter()
        gateway.tell(outcome(id_))
        _until_state(lines, "completed")
        return (time.perf_counter() - begun_s) * 1000


def _until_state(lines: Iterator[str], state: str) -> None:
    for line in lines:
        if line.startswith("data:") and json.loads(line[5:]).get("state") == state:
            return
    raise AssertionError(f"the stream ended before {state}")


def streams_bytes(gateway: GatewayProcess) -> int:
    """What so many open streams of as many jobs take."""
    answers = [gateway.post(job(f"stream-{number}")).json()["stream"] for number in range(STREAMS)]
    before = memory([gateway.process.pid]).pss_bytes

    async def opened() -> int:
        async with asyncio.timeout(120):
            pairs = [await asyncio.open_connection("127.0.0.1", gateway.port) for _ in answers]
            for (_, writer), stream in zip(pairs, answers, strict=True):
                writer.write(f"GET {stream} HTTP/1.1\r\nhost: localhost\r\n\r\n".encode())
            for reader, _ in pairs:
                await reader.readuntil(b"\n\n")
            return memory([gateway.process.pid]).pss_bytes

    return asyncio.run(opened()) - before


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--jobs", type=int, default=JOBS)
    parser.add_argument("--seconds", type=float, default=10.0)
    parser.add_argument("--database", default="", help="SQLite's file in a folder of its own unless told")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as kept, ExitStack() as stack:
        url = given.database or f"sqlite:///{kept}/ledger.db"
        fill(open_ledger(url), given.jobs)
        gateway, _ = stack.enter_context(gateway_process(Path(kept), url))
        print(f"at rest {memory([gateway.process.pid]).pss_bytes / 1e6:.0f} MB (PSS)", flush=True)
        waits_ms = asyncio.run(asked(gateway.port, given.seconds, given.jobs))
        shown = f"p50 {statistics.median(waits_ms):.1f} ms, p99 {quantile(waits_ms, 0.99):.1f} ms"
        print(f"the state of one of {given.jobs:,} jobs, {PER_S} a second: {shown}", flush=True)
        told_ms = events_ms(gateway)
        shown = f"p50 {statistics.median(told_ms):.0f} ms, p99 {quantile(told_ms, 0.99):.0f} ms"
        print(f"from an outcome to its event on a stream: {shown}", flush=True)
        print(f"{STREAMS:,} open streams: {streams_bytes(gateway) / 1e6:.0f} MB more (PSS)")


if __name__ == "__main__":
    main()
