"""The worker processes of a work queue on this machine, where starting them fails."""

import asyncio
import errno
import os
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

import pytest

from knative.local.queues import workers
from knative.local.queues.workers import WorkerProcesses
from knative.manifests.queues import load_work_queues

ROOT = Path(__file__).parents[4]
[LONGREPORT] = [each for each in load_work_queues(ROOT / "keda" / "base") if each.name == "longreport"]
TRANSIENT = [OSError(errno.EMFILE, "Too many open files"), OSError(errno.ENOMEM, "out of memory"), RuntimeError("bug")]


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(60):
        while not condition():
            await asyncio.sleep(0.01)


def open_descriptors() -> int:
    return len(os.listdir("/proc/self/fd"))


@pytest.mark.parametrize("error", TRANSIENT, ids=lambda error: type(error).__name__)
def test_a_worker_whose_start_fails_is_told_and_counts_no_more(
    error: Exception, monkeypatch: pytest.MonkeyPatch
) -> None:
    start, errors = asyncio.create_subprocess_exec, [error, error]

    def started(*_: str, **options: Any) -> Coroutine[Any, Any, asyncio.subprocess.Process]:
        if errors:
            raise errors.pop()
        return start("sleep", "60", **options)

    monkeypatch.setattr(asyncio, "create_subprocess_exec", started)
    monkeypatch.setattr(workers, "FAILED_AGAIN_S", 0.0)
    told: list[tuple[str, str]] = []

    async def run() -> tuple[int, int, int]:
        processes = WorkerProcesses(
            LONGREPORT, environment=dict(os.environ), root=ROOT, report=lambda kind, _, text: told.append((kind, text))
        )
        before = open_descriptors()
        processes.scale(2)
        await until(lambda: len(told) == 2)
        count, leaked = processes.count, open_descriptors() - before
        processes.scale(2)
        await until(lambda: len(told) == 4)
        running = processes.count
        await processes.close()
        return count, leaked, running

    assert asyncio.run(run()) == (0, 0, 2)
    assert told[:2] == [("error", f"a worker does not start: {error}")] * 2
