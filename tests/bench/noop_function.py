"""The function of the broker's benchmark: it does nothing, counts, and waits while a file is there.

On functions-framework's ASGI side, so that as little as can be of a delivery's time is the function's own.
"""

import asyncio
import os
import struct
from pathlib import Path

import functions_framework.aio
from starlette.requests import Request
from starlette.responses import Response

FOLDER = Path(os.environ.get("BENCH_FOLDER", "."))
COUNT = os.open(FOLDER / "count", os.O_CREAT | os.O_WRONLY)
state = {"count": 0}


@functions_framework.aio.http
async def handle(request: Request) -> Response:
    """Take an event, once the file `hold` is gone."""
    await request.body()
    while state["count"] == 0 and (FOLDER / "hold").exists():
        await asyncio.sleep(0.05)
    state["count"] += 1
    os.pwrite(COUNT, struct.pack("q", state["count"]), 0)
    return Response(status_code=202)
