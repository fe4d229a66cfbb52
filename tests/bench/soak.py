"""Many jobs through one runner: `python -m tests.bench.soak 20000`.

What it holds after the first thousand, and at the end: memory, descriptors and threads of the runner and its functions,
and files beside the results. Nothing may grow with the number of jobs but the results and the ledger. Exits 1 where a
job has no outcome.
"""

import asyncio
import json
import sys
import tempfile
import time
from pathlib import Path
from typing import Any, Final

import httpx
from rich.console import Console
from rich.table import Table

from events.http import STRUCTURED
from tests.support.local_runner import ROOT, Up, children

WARM: Final = 1_000
AT_ONCE: Final = 32
SAMPLE: Final = json.loads((ROOT / "events/samples/dev.errands.ics.requested.v1.json").read_text())


def main() -> int:
    """Send, wait, look, show."""
    count = int(sys.argv[1]) if len(sys.argv) > 1 else 20_000
    with tempfile.TemporaryDirectory(prefix="errands-soak-") as folder:
        with Up(Path(folder), ROOT / "knative" / "base") as runner:
            asyncio.run(send(runner, 0, WARM))
            begin, began_s = held(runner), time.monotonic()
            asyncio.run(send(runner, WARM, count))
            took_s, end = time.monotonic() - began_s, held(runner)
            lost = [n for n in range(0, count, max(1, count // 500)) if not ended(runner, n)]
        rate = f"{(count - WARM) / took_s:.0f} a second"
        show(begin, end, f"{count:,} jobs, {rate}, {len(lost)} of 500 without an outcome")
        return 1 if lost else 0


async def send(runner: Up, first: int, last: int) -> None:
    """Hand the jobs over and wait until nothing of them is left to do."""
    numbers = iter(range(first, last))
    async with httpx.AsyncClient(base_url=runner.url, timeout=60) as client:

        async def some() -> None:
            for number in numbers:
                event = {**SAMPLE, "id": f"soak-{number}"}
                event.pop("callbackurl", None)
                answer = await client.post("/", content=json.dumps(event), headers={"content-type": STRUCTURED})
                answer.raise_for_status()

        await asyncio.gather(*(some() for _ in range(AT_ONCE)))
        while any(runner.metric("errands_queue_depth", queue=each) for each in ("ics", "notifier-completed")):
            await asyncio.sleep(0.2)


def ended(runner: Up, number: int) -> bool:
    """Whether the job has an outcome."""
    outcome = runner.outcome(f"soak-{number}", source=SAMPLE["source"], wait_s=10)
    return outcome is not None and outcome["outcome"] == "completed"


def held(runner: Up) -> dict[str, Any]:
    """What the runner's processes hold, and the files that are no results."""
    pids = [runner.process.pid, *children(runner.process.pid)]
    files = [each for each in runner.data.rglob("*") if each.is_file() and "store" not in each.parts]
    return {
        "runner's memory, MB": rss_mb(runner.process.pid),
        "all processes' memory, MB": sum(map(rss_mb, pids)),
        "processes": len(pids),
        "runner's descriptors": len(list(Path(f"/proc/{runner.process.pid}/fd").iterdir())),
        "runner's threads": len(list(Path(f"/proc/{runner.process.pid}/task").iterdir())),
        "files beside the results": len(files),
        "event log and databases, MB": round(sum(each.stat().st_size for each in files) / 1e6, 1),
    }


def rss_mb(pid: int) -> int:
    """A process' resident memory."""
    rows = (line.split() for line in Path(f"/proc/{pid}/status").read_text().splitlines())
    return next(int(row[1]) // 1024 for row in rows if row[:1] == ["VmRSS:"])


def show(begin: dict[str, Any], end: dict[str, Any], title: str) -> None:
    """Both side by side."""
    table = Table(title=title)
    for heading in ("", f"after {WARM:,}", "at the end"):
        table.add_column(heading, justify="left" if heading == "" else "right")
    for name, value in begin.items():
        table.add_row(name, str(value), str(end[name]))
    Console().print(table)


if __name__ == "__main__":
    raise SystemExit(main())
