"""Starts one process of a function, off the fork server where there is one, and waits until it takes events."""

import asyncio
import contextlib
import os
import signal
import socket
import sys
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, Protocol

from knative.local.process.fork_server import ForkServer, ForkServerGone
from knative.local.process.forked import LISTENING
from knative.local.process.output import relay
from knative.local.process.temporary import own_temporary
from knative.manifests.manifests import Service

START_TIMEOUT_S: Final = 60.0
START_POLL_S: Final = 0.002
SHOWN_LINES: Final = 20
LAST_OUTPUT_S: Final = 1.0

Report = Callable[[str, str, str], None]  # (level, service, text of one or more lines)


class StartFailed(Exception):
    """The function's process did not come up; the message holds its last lines of output."""


class Child(Protocol):
    """A process of ours, whichever way it was started; it leads a process group."""

    @property
    def pid(self) -> int: ...

    @property
    def returncode(self) -> int | None: ...

    async def wait(self) -> int | None:
        """Its exit code, negative for a signal."""


@dataclass(eq=False, slots=True)
class Process:
    """One running function; `busy` counts the events it works on."""

    port: int
    child: Child
    busy: int = 0
    ready: bool = False
    retiring: bool = False
    last_events: int = 0  # that it worked on when it ended by itself
    tail: deque[str] = field(default_factory=lambda: deque(maxlen=SHOWN_LINES))
    idle_timer: asyncio.TimerHandle | None = None
    tasks: list[asyncio.Task[None]] = field(default_factory=list)

    @property
    def url(self) -> str:
        """Where its events are posted."""
        return f"http://127.0.0.1:{self.port}/"


class Launcher:
    """Starts the processes of one Service."""

    def __init__(
        self,
        service: Service,
        *,
        environment: Mapping[str, str],
        root: Path,
        report: Report,
        fork_server: ForkServer | None,
        listening: socket.socket | None = None,
    ) -> None:
        """Each process inherits what is `listening`, by the descriptor that LISTENING names, and may accept there."""
        self._service = service
        self._listening = listening
        self._environment = environment
        self._root = root
        self._report = report
        self._fork_server = fork_server

    async def launch(self) -> Process:
        """A process that takes events; raises StartFailed, and leaves nothing of it behind whatever it raises."""
        process = await self._begun()
        try:
            await asyncio.wait_for(self._until_ready(process), START_TIMEOUT_S)
        except BaseException as error:
            signal_group(process, signal.SIGKILL)
            await process.child.wait()
            await finish(process)
            if not isinstance(error, StartFailed | TimeoutError | asyncio.CancelledError):
                raise
            shown = "\n".join(process.tail) or "it printed nothing"
            raise StartFailed(f"{error or f'not ready after {START_TIMEOUT_S:.0f} s'}\n{shown}") from error
        return process

    async def _begun(self) -> Process:
        async with contextlib.AsyncExitStack() as stack:
            environment = await stack.enter_async_context(own_temporary(self._environment))
            read_fd, write_fd = os.pipe()
            try:
                port = free_port()
                child = await self._child({**environment, "PORT": str(port), "HOST": "127.0.0.1"}, write_fd)
            except BaseException:
                os.close(read_fd)
                raise
            finally:
                os.close(write_fd)
            process = Process(port, child)
            process.tasks.append(asyncio.create_task(self._relay(process, read_fd)))
            process.tasks.append(asyncio.create_task(_clear(child, stack.pop_all())))
        return process

    async def _child(self, environment: Mapping[str, str], output_fd: int) -> Child:
        """functions.runtime.serve in a process of its own: forked where that can be had, or else started afresh."""
        inherited = () if self._listening is None else (self._listening.fileno(),)
        if self._fork_server:
            with contextlib.suppress(ForkServerGone):
                return await self._fork_server.start(self._service.name, environment, self._root, output_fd, *inherited)
        named = {LISTENING: str(inherited[0])} if inherited else {}
        # a pipe of our own: with asyncio's, wait() waits for every process that holds the other end
        return await asyncio.create_subprocess_exec(
            sys.executable,
            "-m",
            "functions.runtime.serve",
            cwd=self._root,
            env={**environment, **named},
            pass_fds=inherited,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=output_fd,
            stderr=output_fd,
            start_new_session=True,  # Ctrl-C is for the runner, which lets them finish
        )

    async def _until_ready(self, process: Process) -> None:
        """Until its port opens: the module is loaded before that, so an open port is a loaded function."""
        while process.child.returncode is None:
            try:
                _, writer = await asyncio.open_connection("127.0.0.1", process.port)
            except OSError:
                await asyncio.sleep(START_POLL_S)
                continue
            writer.close()
            return
        raise StartFailed(f"its process ended with {ending(process.child.returncode)}")

    async def _relay(self, process: Process, read_fd: int) -> None:
        """Pass the function's output on, and keep the last lines as failure report."""
        await relay(
            read_fd, keep=process.tail.extend, show=lambda text: self._report("output", self._service.name, text)
        )


async def _clear(child: Child, left: contextlib.AsyncExitStack) -> None:
    """Take away what a process leaves, once it has ended."""
    async with left:
        await child.wait()


async def finish(process: Process) -> None:
    """Let the last output come through; a process that was left behind could hold the pipe for ever."""
    _, left = await asyncio.wait(process.tasks, timeout=LAST_OUTPUT_S)
    for task in left:
        task.cancel()


def signal_group(process: Process, number: signal.Signals) -> None:
    """To the function's whole group, so that nothing of it is left behind."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.child.pid, number)


def ending(code: int | None) -> str:
    if code is not None and code < 0:
        return signal.Signals(-code).name
    return f"exit code {code}"


def free_port() -> int:
    """One that nobody listens at, for a process that is told to."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
