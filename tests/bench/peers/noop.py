"""The job that does nothing, as a user would write it: no ledger, because there is no effect to do only once, and a
coroutine, because nothing is computed and nothing blocks.

While the file that BENCH_HOLD names is there it waits, so that a backlog can be built before warm functions.
"""

import asyncio
import os
from pathlib import Path

from events.http import Event
from events.types import Request, Result
from functions.runtime.adapter import function

HOLD = Path(os.environ.get("BENCH_HOLD", "/nonexistent"))


class NoopRequested(Request, frozen=True, kw_only=True):
    """Nothing is asked."""


class NoopCompleted(Result, frozen=True, kw_only=True):
    """Nothing came of it."""


@function(NoopRequested)
async def handle(job: NoopRequested, event: Event) -> NoopCompleted:
    """Nothing in, nothing out."""
    while HOLD.exists():
        await asyncio.sleep(0.01)
    return NoopCompleted()
