"""The job that does nothing, as a user would write it: no ledger, because there is no effect to do only once.

While the file that BENCH_HOLD names is there its start waits, so that a backlog can be built before anything is done.
"""

import os
import time
from pathlib import Path

from events.function import function
from events.http import Event
from events.types import Request, Result

if held := os.environ.get("BENCH_HOLD"):
    while Path(held).exists():
        time.sleep(0.01)


class NoopRequested(Request, frozen=True, kw_only=True):
    """Nothing is asked."""


class NoopCompleted(Result, frozen=True, kw_only=True):
    """Nothing came of it."""


@function(NoopRequested)
def handle(job: NoopRequested, event: Event) -> NoopCompleted:
    """Nothing in, nothing out."""
    return NoopCompleted()
