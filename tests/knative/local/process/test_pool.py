"""Whatever happens between the start of a function's process and its first event, the function starts again."""

import asyncio
import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from knative.local.process import launch, liveness, processes
from knative.local.process.fork_server import ForkServer, ForkServerGone
from knative.local.process.processes import Pool, PoolStopping, StartFailed
from knative.manifests.manifests import Service
from knative.manifests.probe import Probe
from tests.support.local_runner import ECHO, ROOT, event

ENVIRONMENT = {"FUNCTION_SOURCE": str(ECHO), "FUNCTION_TARGET": "handle", "PATH": os.environ["PATH"]}


class Failing(ForkServer):
    """Raises what it is told to, then has functions started afresh."""

    def __init__(self, *errors: BaseException) -> None:
        self.errors = list(errors)

    async def start(
        self, name: str, environment: Mapping[str, str], root: Path, output_fd: int, *inherited: int
    ) -> Any:
        await asyncio.sleep(0)
        raise self.errors.pop(0) if self.errors else ForkServerGone("it has ended")


@pytest.fixture(autouse=True)
def _short(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(processes, "BACKOFF_FIRST_S", 0.01)


def pool(fork_server: ForkServer, *, min_scale: int = 0, max_scale: int = 2, log: list[str] | None = None) -> Pool:
    service = Service(
        name="echo",
        root=ROOT,
        environment={},
        config_maps=(),
        concurrency=1,
        min_scale=min_scale,
        max_scale=max_scale,
        timeout_s=5.0,
        idle_s=60.0,
        where="test",
        probe=Probe(path="/healthz", period_s=0.1, timeout_s=2.0, failures=2),
    )
    told = log if log is not None else []
    return Pool(
        service,
        environment=ENVIRONMENT,
        root=ROOT,
        max_scale=max_scale,
        report=lambda level, _, text: told.append(f"{level}: {text}"),
        fork_server=fork_server,
    )


ERRORS = [
    ValueError("Invalid file descriptor: -1"),
    RuntimeError("a bug"),
    ProcessLookupError(3, "gone"),
    KeyError("x"),
]


@pytest.mark.slow
@pytest.mark.parametrize("error", ERRORS, ids=[type(each).__name__ for each in ERRORS])
def test_any_exception_of_a_start_is_told_to_who_waits_and_the_next_start_is_made(error: Exception) -> None:
    log: list[str] = []

    async def tried() -> tuple[int, int]:
        started = pool(Failing(error), log=log)
        try:
            with pytest.raises(StartFailed, match=re.escape(str(error))):
                await started.lease().__aenter__()
            failed = started.count
            async with started.lease() as process:
                return failed, process.port
        finally:
            await started.close()

    failed, port = asyncio.run(tried())

    assert failed == 0
    assert port
    assert any(line.startswith("error: does not start") for line in log)


def test_two_starts_that_fail_at_once_leave_none_counted() -> None:
    async def tried() -> int:
        started = pool(Failing(ValueError("first"), ValueError("second")))
        leases = [asyncio.create_task(started.lease().__aenter__()) for _ in range(2)]
        failures = await asyncio.gather(*leases, return_exceptions=True)
        assert [type(each) for each in failures] == [StartFailed, StartFailed]
        left = started.count
        await started.close()
        return left

    assert asyncio.run(tried()) == 0


@pytest.mark.slow
def test_a_minimum_is_kept_when_one_of_its_starts_failed_while_another_went_on() -> None:
    async def tried() -> None:
        started = pool(Failing(ValueError("one of two")), min_scale=2)
        started.keep_minimum()
        try:
            async with asyncio.timeout(20):
                while started.count - started.starting < 2:
                    await asyncio.sleep(0.01)
        finally:
            await started.close()

    asyncio.run(tried())


def test_a_start_that_fails_leaves_neither_descriptor_nor_process(monkeypatch: pytest.MonkeyPatch) -> None:
    begun: list[int] = []

    async def bug(_self: object, process: processes.Process) -> None:
        begun.append(process.child.pid)
        raise ValueError("a bug after the process began")

    monkeypatch.setattr(launch.Launcher, "_until_ready", bug)

    async def tried() -> int:
        started = pool(Failing(RuntimeError("before it began"), ForkServerGone("so it begins")))
        before = len(os.listdir("/proc/self/fd"))
        for _ in range(2):
            with pytest.raises(StartFailed):
                await started.lease().__aenter__()
        after = len(os.listdir("/proc/self/fd"))
        await started.close()
        return after - before

    assert asyncio.run(tried()) <= 0
    assert not Path(f"/proc/{begun[0]}").exists()


def test_a_pool_that_stops_while_a_start_fails_tells_those_who_wait_that_it_stops() -> None:
    async def tried() -> BaseException | None:
        started = pool(Failing(ValueError("while it stops")))
        lease = asyncio.create_task(started.lease().__aenter__())
        await asyncio.sleep(0)
        await started.close()
        await asyncio.wait([lease])
        return lease.exception()

    assert isinstance(asyncio.run(tried()), PoolStopping)


KILLED_WITH_STARTS_PENDING = """
import asyncio, os, signal, sys
from pathlib import Path
from knative.local.process.fork_server import ForkServer

fork_server = ForkServer(Path.cwd())  # before the rest is imported, as `errands up` does
import uvloop
from tests.knative.local.process.test_pool import pool

async def used(started, both):
    async with started.lease() as process:
        await both.wait()
        return process.child.returncode

async def main():
    started = pool(fork_server)
    os.kill(fork_server.pid, signal.SIGSTOP)
    both = asyncio.Barrier(2)
    leases = [asyncio.create_task(used(started, both)) for _ in range(2)]
    while started.starting < 2:
        await asyncio.sleep(0.01)
    await asyncio.sleep(0.2)  # both have asked
    os.kill(fork_server.pid, signal.{signal})
    try:
        print(await asyncio.wait_for(asyncio.gather(*leases, return_exceptions=True), 30), started.starting)
        os.waitpid(fork_server.pid, 0)
    finally:
        await started.close()

{run}
"""


@pytest.mark.slow
@pytest.mark.parametrize("run", ["asyncio.run(main())", "uvloop.run(main())"], ids=["asyncio", "uvloop"])
def test_functions_start_afresh_when_the_fork_server_is_killed_with_starts_pending(run: str) -> None:
    program = KILLED_WITH_STARTS_PENDING.format(run=run, signal="SIGKILL")
    done = subprocess.run(
        [sys.executable, "-c", program], check=False, capture_output=True, text=True, timeout=60, cwd=ROOT
    )

    assert (done.stdout, done.stderr) == ("[None, None] 0\n", "")


@pytest.mark.slow
def test_a_fork_server_that_does_not_answer_is_ended_and_functions_start_afresh() -> None:
    program = "import knative.local.process.fork_server as module; module.RESPONSE_S = 0.5\n"
    program += KILLED_WITH_STARTS_PENDING.format(run="uvloop.run(main())", signal="SIGSTOP")
    done = subprocess.run(
        [sys.executable, "-c", program], check=False, capture_output=True, text=True, timeout=60, cwd=ROOT
    )

    assert (done.stdout, done.stderr) == ("[None, None] 0\n", "")


@pytest.mark.slow
@pytest.mark.parametrize("busy", [True, False], ids=["with an event in hand", "idle"])
def test_a_process_that_hangs_is_killed_and_said_and_another_takes_its_place(busy: bool) -> None:
    log: list[str] = []

    async def hung() -> tuple[int | None, int | None]:
        started = pool(Failing(), min_scale=1, max_scale=1, log=log)
        async with started.lease() as process:
            os.kill(process.child.pid, signal.SIGSTOP)
            if busy:
                await asyncio.wait_for(process.child.wait(), 30)
        await asyncio.wait_for(process.child.wait(), 30)
        async with asyncio.timeout(30), started.lease() as other:
            code = other.child.returncode
        await started.close()
        return process.child.returncode, code

    assert asyncio.run(hung()) == (-signal.SIGKILL, None)
    assert "error: hangs and is killed: 2 times in a row GET /healthz had no answer within 2 s" in log


@pytest.mark.slow
def test_a_process_that_computes_answers_its_probe_and_is_left_alone() -> None:
    log: list[str] = []

    async def computed() -> int | None:
        started = pool(Failing(), max_scale=1, log=log)
        async with started.lease() as process:
            reader, writer = await asyncio.open_connection("127.0.0.1", process.port)
            body = json.dumps(event("1", {"do": "sleep", "s": 1.5})).encode()
            head = "POST / HTTP/1.1\r\nhost: x\r\ncontent-type: application/cloudevents+json\r\n"
            writer.write(f"{head}content-length: {len(body)}\r\n\r\n".encode() + body)
            answer = await reader.readline()
            writer.close()
        ended = process.child.returncode
        await started.close()
        assert answer.startswith(b"HTTP/1.1 200")
        return ended

    assert asyncio.run(computed()) is None
    assert not [line for line in log if "hangs" in line]


@pytest.mark.parametrize(
    ("by_status", "status", "why"),
    [
        (True, 503, "answered 503"),
        (True, 204, None),
        (False, 503, None),
        (False, 0, "failed: the connection was closed"),
    ],
)
def test_an_answer_that_is_no_success_fails_a_liveness_probe_alone(
    by_status: bool, status: int, why: str | None
) -> None:
    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(f"HTTP/1.1 {status} Whatever\r\ncontent-length: 0\r\n\r\n".encode() if status else b"")
        writer.close()

    async def asked() -> str | None:
        async with await asyncio.start_server(answer, "127.0.0.1", 0) as server:
            return await liveness.refusal(
                server.sockets[0].getsockname()[1], Probe(path="/healthz", by_status=by_status)
            )

    assert asyncio.run(asked()) == why
