"""Answers a worker's liveness probe, from the loop that keeps its connections: one that hangs has no answer.

A job computes on a thread beside the loop, so a worker that is busy answers.
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import Final

RESPONSE: Final = b"HTTP/1.1 200 OK\r\ncontent-length: 3\r\nconnection: close\r\n\r\nok\n"


@asynccontextmanager
async def answering(host: str, port: int) -> AsyncIterator[None]:
    """Answer whatever is asked at this port; nothing where it is 0."""
    if not port:
        yield
        return
    async with await asyncio.start_server(_answer, host, port):
        yield


async def _answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with suppress(OSError, ValueError):  # who asks may have gone, or send a line without end
        await reader.readline()
        writer.write(RESPONSE)
        await writer.drain()
    writer.close()
