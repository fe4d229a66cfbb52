"""A backlog costs disk, not memory."""

import asyncio
from pathlib import Path

import pytest

from tests.bench.backlog import drain, fill
from tests.support.local_runner import Up, service, trigger, write_manifests

pytestmark = pytest.mark.slow

EVENTS = 100_000
MEMORY_LIMIT_BYTES = 150_000_000
DRAINED = 20_000


def test_a_backlog_of_100_000_events_is_held_and_drained_in_150_mb(tmp_path: Path) -> None:
    """Its first 20,000 are drained here; `tests/bench/backlog.py` drains all and compares beginning and end."""
    asyncio.run(fill(tmp_path / "data" / "journal.db", EVENTS))
    manifests = write_manifests(tmp_path / "manifests", [service(), trigger(parallelism=16)])

    with Up(tmp_path, manifests) as runner:
        depth = runner.metric("errands_queue_depth", queue="echo")
        _, highest_bytes = drain(runner, DRAINED)

    assert depth == EVENTS
    assert highest_bytes < MEMORY_LIMIT_BYTES
