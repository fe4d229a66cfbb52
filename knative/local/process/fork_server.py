"""The fork server: a process with the libraries of functions loaded, of which the runner has them forked.

A function still has a process of its own, as on a cluster: a session, the environment of its manifest and nothing
else, its working directory, its output in the runner's log. It is the runner's own child, since the runner adopts
orphans, so its end, its signals and its death with the runner are those of one that was started afresh, and it outlives
the fork server. A function has our files as they are at its own start (forked.py says how), while a library that was
upgraded is seen by the next `errands up`.

The fork server is forked off the runner before that has a thread or has opened anything, so that the pages of what both
have loaded are there once, and functions share them.
Where the fork server is gone, or a function's environment speaks to the interpreter itself, it is started afresh.
"""

import asyncio
import logging
import os
import signal
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Final

from functions.sandbox import fork_server
from knative.local.process import forked

log = logging.getLogger("errands.fork_server")

# Variables that the loader, the interpreter or the C library reads once, before the first line of Python.
AT_START: Final = ("PYTHON", "LD_", "MALLOC_", "GLIBC_", "LANG", "LC_")
RESPONSE_S: Final = 10.0  # until a fork server that does not answer is given up
STRAYS_INTERVAL_S: Final = 60.0


class ForkServerGone(Exception):
    """It cannot start this function; the message says why."""


class Forked:
    """A child that the event loop did not start, with what is used of asyncio.subprocess.Process."""

    def __init__(self, pid: int) -> None:
        self.pid = pid
        self.returncode: int | None = None
        self._ended = asyncio.Event()
        pidfd = os.pidfd_open(pid)
        asyncio.get_running_loop().add_reader(pidfd, self._reap, pidfd)

    async def wait(self) -> int | None:
        """Its exit code, negative for a signal."""
        await self._ended.wait()
        return self.returncode

    def _reap(self, pidfd: int) -> None:
        asyncio.get_running_loop().remove_reader(pidfd)
        os.close(pidfd)
        self.returncode = os.waitstatus_to_exitcode(os.waitpid(self.pid, 0)[1])
        self._ended.set()


class ForkServer:
    """The runner's side of it; made before the event loop, and anything else that has a thread."""

    def __init__(self, data: Path) -> None:
        self._data = data
        self.pid, self._control = forked.start(data)
        self._control.setblocking(False)
        self._turn = asyncio.Lock()
        self._gone = ""  # why it is asked no more
        self._process: Forked | None = None

    async def start(
        self, name: str, environment: Mapping[str, str], root: Path, output_fd: int, *inherited: int
    ) -> Forked:
        """Have functions.runtime.serve run in a new process that writes to `output_fd`, and has an `inherited` socket;
        raise ForkServerGone.
        """
        if any(key.startswith(AT_START) and os.environ.get(key) != value for key, value in environment.items()):
            raise ForkServerGone("the environment speaks to the interpreter")
        if self._gone:
            raise ForkServerGone(self._gone)
        request = forked.FunctionRequest(name, str(self._data), dict(environment), str(root))
        try:
            fork_server.send(self._control, request, [output_fd, *inherited])
        except (OSError, ValueError) as error:
            raise ForkServerGone(str(error)) from error
        response = asyncio.get_running_loop().create_task(self._response())
        try:
            return await asyncio.shield(response)  # it must not be left to the next who asks
        except asyncio.CancelledError:
            response.add_done_callback(_end)
            raise

    @asynccontextmanager
    async def tended(self) -> AsyncIterator[None]:
        """Notices when it ends, and has it end; the functions do not."""
        self._process = process = Forked(self.pid)
        noticing = asyncio.get_running_loop().create_task(self._notice(process))
        try:
            yield
        finally:
            noticing.cancel()
            self._control.close()
            await process.wait()

    async def _notice(self, process: Forked) -> None:
        code = await process.wait()
        log.warning("the fork server ended with %s: functions start afresh from now on, which takes longer", code)

    async def _response(self) -> Forked:
        async with self._turn:  # in the order in which they were sent
            if self._gone:
                raise ForkServerGone(self._gone)
            try:
                async with asyncio.timeout(RESPONSE_S):
                    pid = await asyncio.get_running_loop().sock_recv(self._control, forked.PID_BYTES)
                if pid:
                    return Forked(int(pid))
            except TimeoutError:
                self._give_up(f"no answer within {RESPONSE_S:g} s")
            except (OSError, ValueError) as error:
                self._give_up(str(error))
            raise ForkServerGone(self._gone or "it has ended, or could not fork")

    def _give_up(self, why: str) -> None:
        """Ask it no more, and let it fork nothing that nobody waits for."""
        self._gone = why
        self._control.close()
        if self._process is None or self._process.returncode is None:
            os.kill(self.pid, signal.SIGKILL)


def _end(response: "asyncio.Task[Forked]") -> None:
    """Of a function that nobody wants any more."""
    if not response.cancelled() and not response.exception():
        with suppress(ProcessLookupError):
            os.kill(response.result().pid, signal.SIGKILL)


async def reap_strays() -> None:
    """Reap, until cancelled, what functions left behind: the fork server makes this process the parent of orphans."""
    dead: set[int] = set()
    while True:
        await asyncio.sleep(STRAYS_INTERVAL_S)
        dead = reap(dead)


def reap(dead: set[int]) -> set[int]:
    """Reap those that were dead at the last look already, and tell which are dead at this one.

    Whoever waits for a child has reaped it long before the second look.
    """
    found = {pid for pid in fork_server.children() if is_dead(pid)}
    for pid in found & dead:
        os.waitpid(pid, os.WNOHANG)
    return found - dead


def is_dead(pid: int) -> bool:
    """Whether a child has ended and nobody has waited for it."""
    return "\nState:\tZ" in Path(f"/proc/{pid}/status").read_text()
