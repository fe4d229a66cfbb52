"""The function of the broker's benchmark: it does nothing, counts, and waits while a file is there.

A coroutine that takes events as they are, so that as little as can be of a delivery's time is the function's own.
"""

import asyncio
import os
import struct
from pathlib import Path

from events.http import Event
from functions.runtime.adapter import Response, async_http_function

FOLDER = Path(os.environ.get("BENCH_FOLDER", "."))
COUNT = os.open(FOLDER / "count", os.O_CREAT | os.O_WRONLY)
state = {"count": 0}


async def count(event: Event) -> Response:
    """Take an event, once the file `hold` is gone."""
    while state["count"] == 0 and (FOLDER / "hold").exists():
        await asyncio.sleep(0.05)
    state["count"] += 1
    os.pwrite(COUNT, struct.pack("q", state["count"]), 0)
    return Response(202)


handle = async_http_function(count)
