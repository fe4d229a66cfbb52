"""Whether a function's process still answers, asked as Kubernetes' liveness probe does.

A process that computes answers all the same: its server's loop does, and the work is in a thread or a child. One that
was stopped, or whose loop hangs, does not, and would keep its events until each of them is too late, one after another.
"""

import asyncio
import re
from contextlib import suppress
from typing import Final

from knative.manifests.probe import Probe

STATUS_LINE: Final = re.compile(rb"HTTP/1\.[01] ([0-9]{3}) ")
WELL: Final = range(200, 400)


async def until_hung(port: int, probe: Probe) -> str:
    """Ask again and again; returns why, once the process has failed as often in a row as the probe allows."""
    failed = 0
    while failed < probe.failures:
        await asyncio.sleep(probe.period_s)
        why = await refusal(port, probe)
        failed = failed + 1 if why else 0
    return f"{probe.failures} times in a row GET {probe.path} {why}"


async def refusal(port: int, probe: Probe) -> str | None:
    """What is wrong with the answer to one question; None where the process is well.

    Where the manifest says only how a process tells that it is ready, any answer will do: one that is not ready lives.
    """
    try:
        async with asyncio.timeout(probe.timeout_s):
            status = await _status(port, probe.path)
    except TimeoutError:
        return f"had no answer within {probe.timeout_s:g} s"
    except (OSError, EOFError, ValueError) as error:
        return f"failed: {error}"
    return f"answered {status}" if probe.by_status and status not in WELL else None


async def _status(port: int, path: str) -> int:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        writer.write(f"GET {path} HTTP/1.1\r\nhost: 127.0.0.1\r\nconnection: close\r\n\r\n".encode())
        line = STATUS_LINE.match(await reader.readline())
        if line is None:
            raise EOFError("the connection was closed")
        return int(line[1])
    finally:
        with suppress(OSError):
            writer.close()
