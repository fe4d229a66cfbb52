"""What the processes of functions print, line by line into the runner's log.

What comes within TOGETHER_S is written at once: a write and a log record for each line is much of the runner's
processor time under load.
"""

import asyncio
import os
from collections.abc import Callable, Sequence
from typing import Final

LINE_LIMIT_BYTES: Final = 1024 * 1024
TOGETHER_S: Final = 0.01


async def relay(
    read_fd: int, *, show: Callable[[str], None], keep: Callable[[Sequence[str]], object] = lambda lines: None
) -> None:
    """Until a pipe ends: `show` is given texts of one or more of its lines, `keep` the lines at once.

    A line over the limit is left out.
    """
    output = _Output(keep, show)
    transport, _ = await asyncio.get_running_loop().connect_read_pipe(lambda: output, os.fdopen(read_fd, "rb"))
    try:
        await output.ended
    finally:
        transport.close()
        output.flush()


class _Output(asyncio.Protocol):
    def __init__(self, keep: Callable[[Sequence[str]], object], show: Callable[[str], None]) -> None:
        self._keep = keep
        self._show = show
        self._loop = asyncio.get_running_loop()
        self._begun = bytearray()  # of a line whose end has not come yet
        self._too_long = False
        self._waiting: list[str] = []
        self.ended: asyncio.Future[None] = self._loop.create_future()

    def data_received(self, data: bytes) -> None:
        whole, newline, begun = data.rpartition(b"\n")
        if newline:
            self._take(bytes(self._begun) + whole)
            self._begun.clear()
        self._begun += begun
        if len(self._begun) > LINE_LIMIT_BYTES:
            self._begun.clear()
            self._too_long = True

    def connection_lost(self, error: Exception | None) -> None:
        if self._begun:
            self._take(bytes(self._begun))
        if not self.ended.done():
            self.ended.set_result(None)

    def flush(self) -> None:
        """Show what waits."""
        if self._waiting:
            text = "\n".join(self._waiting)
            self._waiting.clear()
            self._show(text)

    def _take(self, whole: bytes) -> None:
        lines = [line.rstrip() for line in whole.decode(errors="replace").split("\n")]
        if self._too_long:  # this is the end of it
            del lines[0]
            self._too_long = False
        self._keep(lines)
        if lines and not self._waiting:
            self._loop.call_later(TOGETHER_S, self.flush)
        self._waiting += lines
