"""How soon, and how small at rest: each figure beside its aim, medians of rounds that are interleaved.

python -m tests.bench.start [ROUNDS]

A function's start is measured twice: forked off the fork server, as `errands up` does, and afresh, as a container does.
The scale for both is a bare wsgiref server, started in the same rounds. Memory is that of the whole process tree, as
the kernel divides shared pages up (PSS), and as each process shows it (RSS, which counts shared pages again).
"""

import asyncio
import re
import shutil
import statistics
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, ExitStack, asynccontextmanager, contextmanager
from functools import partial
from pathlib import Path
from typing import Final

from events.http import Event
from knative.cli import client
from knative.cli.event_file import build
from knative.local.broker.broker import Delivery
from knative.local.broker.dispatch import Http
from knative.local.process.environment import Machine, environment, make_secrets
from knative.local.process.fork_server import ForkServer
from knative.local.process.processes import Pool
from knative.manifests.manifests import Manifests, load
from tests.support.example_api import PythonApi
from tests.support.local_runner import ROOT, Up, children, until
from tests.support.ports import free_port

ROUNDS: Final = 5
JOBS: Final = ("ics", "image", "report")
STARTED: Final = ("ics", "image", "notifier", "report")
READY, CALLBACK, REST, AT_MIN = "`errands up` to ready", "from zero to the first callback", "at zero", "at min-scale"
SCALE: Final = "bare wsgiref server, start to first answer"
WSGIREF: Final = "from wsgiref.simple_server import *; make_server('127.0.0.1', {}, demo_app).serve_forever()"
# What the runner is to reach, in seconds, megabytes, and times the bare server's start.
AIMS: Final = {
    READY: 2.0,
    f"memory, all functions {REST}, PSS": 60.0,
    f"{CALLBACK}: ics": 0.35,
    f"{CALLBACK}: report": 0.8,
    **{f"{each}: start to first {what}, {how}": times for how in ("forked", "afresh") for each, what, times in (
        ("ics", "response", 2.5), ("image", "response", 2.5), ("notifier", "response", 2.5), ("report", "PDF", 8.0))},
}  # fmt: skip

Figures = defaultdict[str, list[float]]


def main() -> None:
    """Rounds; a table of medians."""
    rounds = int(sys.argv[1]) if len(sys.argv) > 1 else ROUNDS
    figures: Figures = defaultdict(list)
    with tempfile.TemporaryDirectory() as folder:
        fork_server = ForkServer(Path(folder))  # before anything here has a thread
        for number in range(rounds):
            for job in JOBS:
                measure_callback(Path(folder) / f"{number}-{job}", job, figures)
            measure_rest(Path(folder) / f"{number}-rest", figures)
        asyncio.run(measure_starts(rounds, Path(folder), fork_server, figures))
    for name, values in figures.items():
        print(line(name, values, statistics.median(figures[SCALE])))


def line(name: str, values: list[float], scale_s: float) -> str:
    """One figure, its lowest and highest, and whether it reaches its aim."""
    aim, median = AIMS.get(name), statistics.median(values)
    unit, decimals = ("MB", 0) if name.startswith("memory") else ("s", 3)
    shown = f"{name:55} {median:7.{decimals}f} {unit:2}  ({min(values):.{decimals}f} to {max(values):.{decimals}f})"
    if "start to first" in name and name != SCALE:
        median /= scale_s
        shown += f"  {median:.1f} x"
    return shown if aim is None else f"{shown}  aim {aim:g}: {'reached' if median <= aim else 'MISSED'}"


def measure_callback(folder: Path, job: str, figures: Figures) -> None:
    """A fresh runner to ready, and one event to its verified callback, its function and the notifier at zero."""
    with ExitStack() as stack:
        started_s = time.monotonic()
        runner = stack.enter_context(fresh(folder, ROOT / "knative" / "base"))
        figures[READY].append(time.monotonic() - started_s)
        until(partial(sinks_are_up, runner))
        if job == JOBS[0]:
            measure_memory(AT_MIN, runner, figures)
        secret = (runner.data / "secrets" / "callback" / "secrets").read_text()
        api = stack.enter_context(PythonApi(runner.url, secret).serving())
        event = build(job, None, {"callbackurl": api.callback_url})
        figures[f"{CALLBACK}: {job}"].append(first_callback_s(api, runner, event))


def measure_rest(folder: Path, figures: Figures) -> None:
    """The same manifests without a min-scale, so that not even the dead-letter sink and its console run."""
    manifests = shutil.copytree(
        ROOT / "knative" / "base", folder / "knative", ignore=shutil.ignore_patterns("overlays", "*.py")
    )
    (folder / "functions").symlink_to(ROOT / "functions")
    for file in manifests.glob("*.yaml"):
        file.write_text(file.read_text().replace('min-scale: "1"', 'min-scale: "0"'))
    with fresh(folder, manifests) as runner:
        until(lambda: len(children(runner.process.pid)) == 1, what="the fork server alone")
        time.sleep(1)  # until it has loaded what it loads
        measure_memory(REST, runner, figures)


def measure_memory(when: str, runner: Up, figures: Figures) -> None:
    """Of the runner and all below it."""
    family = [runner.process.pid, *children(runner.process.pid)]
    for kind in ("Pss", "Rss"):
        total_kib = sum(kib(pid, kind) for pid in family)
        figures[f"memory, all functions {when}, {kind.upper()}"].append(total_kib * 1024 / 1e6)


def kib(pid: int, kind: str) -> int:
    """One figure of a process' memory."""
    found = re.search(rf"^{kind}:\s+(\d+) kB", Path(f"/proc/{pid}/smaps_rollup").read_text(), re.MULTILINE)
    assert found
    return int(found[1])


@contextmanager
def fresh(folder: Path, manifests: Path) -> Iterator[Up]:
    """A runner on a data directory of its own."""
    folder.mkdir(parents=True, exist_ok=True)
    with Up(folder, manifests) as runner:
        yield runner


def sinks_are_up(runner: Up) -> bool:
    """The dead-letter sink and its console are the only functions that run at rest."""
    log = runner.log.read_text()
    return all(f"{name} started in" in log for name in ("deadletters", "console"))


def first_callback_s(api: PythonApi, runner: Up, event: Event) -> float:
    """From the post to the verified callback."""
    api.expect(event.id)
    started_s = time.monotonic()
    client.post(event, runner.url, token=None)
    until(lambda: api.state(event.id)["state"] == "completed", poll_s=0.002)
    return time.monotonic() - started_s


async def measure_starts(rounds: int, folder: Path, fork_server: ForkServer, figures: Figures) -> None:
    """Each way to start each function, and the bare server, in turn."""
    manifests = load(ROOT / "knative" / "base")
    url = "http://127.0.0.1:1/"
    machine = Machine(
        data=folder,
        ingress_url=url,
        ingress_secret="",
        invoker_secret="",
        public_url=url,
        token=None,
        settings={},
    )
    make_secrets(machine)
    async with fork_server.tended():
        for _ in range(rounds):
            figures[SCALE].append(await bare_start_s())
            for how, source in (("forked", fork_server), ("afresh", None)):
                for name in STARTED:
                    what = "PDF" if name == "report" else "response"
                    took_s = await function_start_s(name, manifests, machine, source)
                    figures[f"{name}: start to first {what}, {how}"].append(took_s)


async def function_start_s(name: str, manifests: Manifests, machine: Machine, fork_server: ForkServer | None) -> float:
    """From the wish for a process to the first answer; of report to the first PDF."""
    async with pool(name, manifests, machine, fork_server) as started, AsyncExitStack() as stack:
        http = Http()
        stack.callback(http.close)
        event = build("report", None, {}) if name == "report" else None
        started_s = time.monotonic()
        process = await stack.enter_async_context(started.lease())
        if event is None:
            await health(process.port)
        else:
            result = await http.post(process.url, Delivery(0, name, 1, event), timeout_s=60)
            assert result.code == 200, result
        return time.monotonic() - started_s


@asynccontextmanager
async def pool(
    name: str, manifests: Manifests, machine: Machine, fork_server: ForkServer | None
) -> AsyncIterator[Pool]:
    """One function's processes as the runner has them."""
    service = manifests.services[name]
    variables = environment(service, manifests, machine)
    made = Pool(
        service,
        environment=variables,
        root=service.root,
        max_scale=1,
        report=lambda *_: None,
        fork_server=fork_server,
    )
    try:
        yield made
    finally:
        await made.close()


async def bare_start_s() -> float:
    """The scale: an interpreter with the standard library's server, looked at as the pool looks at a function."""
    port, started_s = free_port(), time.monotonic()
    child = await asyncio.create_subprocess_exec(
        sys.executable, "-c", WSGIREF.format(port), stderr=asyncio.subprocess.DEVNULL
    )
    try:
        while True:
            try:
                await health(port)
                return time.monotonic() - started_s
            except OSError:
                await asyncio.sleep(0.002)
    finally:
        child.kill()
        await child.wait()


async def health(port: int) -> None:
    """GET /healthz, to the end of the answer; OSError while nobody listens."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(b"GET /healthz HTTP/1.0\r\n\r\n")
    response = await reader.read()
    writer.close()
    assert b" 200 " in response, response


if __name__ == "__main__":
    main()
