"""What it costs to let jobs in later: how fast delayed ones go, what many limit keys cost, how evenly a rate is held.

    python -m tests.bench.admission [--jobs 100000] [--seconds 60]

The first two are of the ledger alone, in one process on SQLite; the third is of a gateway's process and real time.
"""

import argparse
import json
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

from functions.gateway.ledger import claims, jobs, rules
from functions.gateway.ledger.job import NewJob
from functions.gateway.ledger.rules import Limit, Rules
from functions.gateway.ledger.schema import open_ledger
from functions.storage.database import Database
from tests.functions.gateway.test_gateway import job
from tests.functions.gateway.test_ledger import NOW_MS, new, request
from tests.support.gateway_process import gateway_process
from tests.support.local_runner import until

TOGETHER = 200  # accepted in one commit
ROOM = 1_000  # claimed in one, as the gateway does
KEYS = 1_000
RATE = 50
LATER_MS = 10_000


def main() -> None:
    """Measure, and say it."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--jobs", type=int, default=100_000)
    parser.add_argument("--seconds", type=int, default=60)
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        plain = [new(request(f"plain-{number}")) for number in range(asked.jobs)]
        accepted_per_s = _per_s(asked.jobs, lambda: _accept(_ledger(folder, "plain"), plain))
        delayed_per_s = _let_in_per_s(_ledger(folder, "delayed"), asked.jobs, {})
        keyed_per_s = _let_in_per_s(
            _ledger(folder, "keyed"), asked.jobs, {"key:*": Limit(rate="999999/s", burst=99_999)}
        )
        ratio = delayed_per_s / accepted_per_s
        print(f"accepted {accepted_per_s:.0f}/s, delayed ones let in {delayed_per_s:.0f}/s: {ratio:.2f}")
        print(f"of {KEYS} limit keys let in {keyed_per_s:.0f}/s: {keyed_per_s / delayed_per_s:.2f}")
        print(f"a limit of {RATE}/s let in {_held_per_s(Path(folder), asked.seconds):.2f}/s")


def _ledger(folder: str, name: str) -> Database:
    return open_ledger(f"sqlite:///{folder}/{name}.db")


def _per_s(count: int, work: Callable[[], None]) -> float:
    begin_s = time.perf_counter()
    work()
    return count / (time.perf_counter() - begin_s)


def _accept(ledger: Database, given: Sequence[NewJob], limits: dict[str, Limit] | None = None) -> None:
    for start in range(0, len(given), TOGETHER):
        with ledger.transaction() as transaction:
            jobs.accept(transaction, given[start : start + TOGETHER], Rules(limits or {}, {}))


def _let_in_per_s(ledger: Database, count: int, limits: dict[str, Limit]) -> float:
    given = []
    for number in range(count):
        due_ms = NOW_MS + number * LATER_MS // count
        made = replace(new(request(f"{number}")), limit_key=f"k{number % KEYS}")
        given.append(replace(made, due_ms=due_ms, not_before_ms=due_ms))
    _accept(ledger, given, limits)

    def let_in() -> None:
        left = count
        while left:
            with ledger.transaction() as transaction:
                held = rules.read(transaction, limits)
                when = {"now_ms": NOW_MS + LATER_MS, "until_ms": NOW_MS + 10 * LATER_MS}
                found = claims.claim(ledger, transaction, held, **when, limit=ROOM)
                jobs.mark_sent(transaction, [(each.id, NOW_MS + 99 * LATER_MS) for each in found], now_ms=NOW_MS)
            left -= len(found)

    return _per_s(count, let_in)


def _held_per_s(folder: Path, seconds: int) -> float:
    limits = json.dumps({"type:ics": {"rate": f"{RATE}/s"}})
    with gateway_process(folder, f"sqlite:///{folder}/rate.db", GATEWAY_LIMITS=limits) as (gateway, broker):
        batch = [job(str(number)) for number in range(min(1_000, RATE * (seconds + 5)))]
        headers = {"content-type": "application/cloudevents-batch+json"}
        for start in range(0, RATE * (seconds + 5), len(batch)):
            given = [{**each, "id": f"{start}-{each['id']}"} for each in batch]
            gateway.client.post("/", content=json.dumps(given), headers=headers).raise_for_status()
        until(lambda: len(broker.events) > RATE, what="a steady rate")
        before, begin_s = len(broker.events), time.perf_counter()
        time.sleep(seconds)
        return (len(broker.events) - before) / (time.perf_counter() - begin_s)


if __name__ == "__main__":
    main()
