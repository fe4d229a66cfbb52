"""How quick dead letters are: stored a second, and listed, filtered, grouped and opened among 100,000.

python -m tests.bench.deadletters [sqlite:////path.db | postgresql://...] [--dead letters 100000]
"""

import json
import statistics
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Annotated

import typer

from events.http import STRUCTURED, Event, read
from functions.deadletters.service import commands
from functions.deadletters.service.commands import Filter
from functions.deadletters.service.operations import Console, OperatorSession
from functions.deadletters.service.operators import everything
from functions.deadletters.store import dead_letters, notices
from functions.deadletters.store.dead_letter import original
from functions.deadletters.store.schema import open_dead_letters
from functions.runtime.adapter import system_clock
from functions.runtime.masking import rules
from functions.storage.database import Database
from tests.conftest import sample

JOBS = ("ics", "image", "report", "message")
CODES = (503, 500, -1, 504)
STORED = 2_000
REPEATED = 15


def main(
    url: Annotated[str, typer.Argument(help="A database of its own; default: a new SQLite file.")] = "",
    count: Annotated[int, typer.Option("--letters")] = 100_000,
) -> None:
    """Fill a database, and time what people do with it: medians, in milliseconds."""
    with tempfile.TemporaryDirectory() as folder:
        database = open_dead_letters(url or f"sqlite:///{folder}/letters.db")
        events = [event(job) for job in JOBS]
        for threads in (1, 8, 64):
            print(
                f"stored with {threads} writers: {stored_per_s(database, events, threads):,.0f} dead letters a second"
            )
        fill(database, events, count)
        console = Console(database=database, rules=rules(""), sink_url="http://sink.example/")
        operator_session = console.operator_session(everything("bench"))
        for name, ask in asked(operator_session).items():
            print(f"{name:<58} {median_ms(ask):8.1f} ms")


def event(job: str) -> Event:
    """A sample job."""
    return read({"content-type": STRUCTURED}, json.dumps(sample(job)).encode())


def dead_letter(events: list[Event], number: int) -> Event:
    """One of many, of 16 kinds and 3 causes each."""
    base, code = events[number % 4], CODES[number // 4 % 4]
    told = {"knativeerrorcode": str(code), "knativeerrortrigger": JOBS[number % 4], "knativeerrorattempts": "6"}
    cause = ("connection refused", "the disk is full", "no answer within 30 s")[number % 3]
    return base.with_attributes(id=f"bench-{number}", knativeerrordata=cause, **told)


def stored_per_s(database: Database, events: list[Event], threads: int) -> float:
    """As the sink does it: each on disk, with its notice, before the next."""
    start = stored_per_s.__dict__.setdefault("next", 10_000_000)
    stored_per_s.__dict__["next"] = start + STORED

    def keep(number: int) -> None:
        event = dead_letter(events, number)
        with database.transaction() as transaction:
            id_, why = dead_letters.keep(transaction, event, now=system_clock())
            notices.write(transaction, original(event), id_, why, now=system_clock())

    with ThreadPoolExecutor(threads) as pool:
        started_s = time.monotonic()
        list(pool.map(keep, range(start, start + STORED)))
    return STORED / (time.monotonic() - started_s)


def fill(database: Database, events: list[Event], count: int) -> None:
    """Many in few transactions."""
    for start in range(0, count, 5_000):
        with database.transaction() as transaction:
            for number in range(start, min(start + 5_000, count)):
                dead_letters.keep(transaction, dead_letter(events, number), now=system_clock())


def asked(operator_session: OperatorSession) -> dict[str, Callable[[], object]]:
    """What people ask for."""
    last = operator_session.list(commands.List(limit=1)).dead_letters[0].id
    return {
        "list the newest 100": lambda: operator_session.list(commands.List()),
        "list 100 from the middle": lambda: operator_session.list(commands.List(before=last // 2)),
        "filter by job and code": lambda: operator_session.list(commands.List(matching=Filter(job="image", code=500))),
        "filter by what no dead letter has": lambda: operator_session.list(commands.List(matching=Filter(job="none"))),
        "filter by state discarded (none)": lambda: operator_session.list(
            commands.List(matching=Filter(state="discarded"))
        ),
        "filter by a text that many have": lambda: operator_session.list(
            commands.List(matching=Filter(text="invoice"))
        ),
        "filter by a text that none has (every body is read)": lambda: operator_session.list(
            commands.List(matching=Filter(text="nowhere to be found"))
        ),
        "group": lambda: operator_session.groups(commands.ListGroups()),
        "open one": lambda: operator_session.show(commands.Show(dead_letter=last // 2)),
    }


def median_ms(ask: Callable[[], object]) -> float:
    """Of several, after one that does not count."""
    ask()
    times = []
    for _ in range(REPEATED):
        started_s = time.perf_counter()
        ask()
        times.append((time.perf_counter() - started_s) * 1_000)
    return statistics.median(times)


if __name__ == "__main__":
    typer.run(main)
