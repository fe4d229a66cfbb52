"""Hostile or heavy work in a child process with limits on time, processor, memory and output, behind walls.

`Sandbox` starts, with the first job, one clean interpreter (functions/sandbox/jobs.py) that loads the craft libraries
once and forks a child for each job; the child holds none of the function's environment, and the kernel refuses it what
it does not need (functions/sandbox/walls.py). Argument and result travel as MessagePack by their types, never as
pickle: a child that was taken over cannot run code here.

    ValueError
      Rejected         the work raised ValueError: bad input
    Exception
      LimitExceeded    .limit is "time", "cpu", "memory" or "output"; .progress what the work told last
      Crashed          any other end: another exception, a signal, an exit; .failure_report is the traceback, if any
"""

import logging
import os
import select
import shutil
import signal
import socket
import subprocess
import tempfile
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, suppress
from dataclasses import dataclass, replace
from typing import IO, Self, TypeVar

import msgspec

from functions.sandbox import fork_server, launch
from functions.sandbox.child import ask, progress
from functions.sandbox.fork_server import OUT_OF_MEMORY
from functions.sandbox.protocol import (
    FAILURE_LIMIT_BYTES,
    FRAME,
    PROGRESS,
    PROGRESS_LIMIT_BYTES,
    QUESTION,
    RESPONSE,
    RESULT,
    ExitStatus,
    ResourceLimits,
    WorkError,
    WorkRequest,
    receive_exactly,
    send_frame,
)
from functions.sandbox.walls import WANTED, check

__all__ = ["Crashed", "Handlers", "LimitExceeded", "Rejected", "ResourceLimits", "Sandbox", "ask", "progress"]

log = logging.getLogger("errands.sandbox")

Result = TypeVar("Result")
_DEFAULT_LIMITS = ResourceLimits()
_GRACE_S = 60.0  # for a fork server that loads its libraries, or that has stopped answering
_STATUS_LIMIT_BYTES = 1024


class Rejected(ValueError):
    """The work raised ValueError; the message is its own."""


class LimitExceeded(Exception):
    """The work was ended by a limit."""

    def __init__(self, limit: str, exceeded: str, after: str | None) -> None:
        super().__init__(f"exceeded {exceeded}" + (f" after {after}" if after else ""))
        self.limit, self.progress = limit, after


class Crashed(Exception):
    """The work ended in a way it should not: a bug, or an attack. `code` is negative for a signal."""

    def __init__(self, message: str, *, failure_report: str = "", code: int | None = None) -> None:
        super().__init__(message)
        self.failure_report, self.code = failure_report, code


def _no_answer(question: bytes) -> bytes:
    raise Crashed(f"the work asked what it may not: {question[:80]!r}")


@dataclass(frozen=True)
class Handlers:
    """What the function's process does about what a child says.

    `on_progress` hears how far it is, `on_question` answers what it asks, `on_restart` is called before the work begins
    from its start once more.
    """

    on_progress: Callable[[str], None] = lambda _: None
    on_question: Callable[[bytes], bytes] = _no_answer
    on_restart: Callable[[], None] = lambda: None


_NO_HANDLERS = Handlers()


@dataclass(frozen=True)
class _ChildOutput:
    """What came from a child: the last progress, and the result or the failure."""

    progress: str | None = None
    result: bytearray | None = None
    failure: bytearray | None = None


class _KilledFromOutside(Exception):
    """The kernel, out of memory, chose the job or the fork server, which tells nothing about the job."""


class Sandbox:
    """Runs work in children of one fork server; any number of threads may call `run` at once.

    `preload` names modules to load before the first fork, `env` adds to the scrubbed environment. Nothing is started
    before the first job. The fork server has a session of its own: a SIGTERM to this process's group leaves a job in
    flight alone. A fork server that died is started anew with the next job.

    `walls` (SANDBOX_WALLS) is "wanted", "required" or "off": a kernel that lacks a wall is warned of, or, where they
    are required, raises WallsMissing here.
    """

    def __init__(
        self, preload: tuple[str, ...] = (), *, env: Mapping[str, str] | None = None, walls: str = WANTED
    ) -> None:
        self._preload, self._env = preload, dict(env or {})
        self._walled = check(walls)
        self._lock = threading.Lock()
        self._server: _Server | None = None
        self._closed_times = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def pid(self) -> int | None:
        """The fork server's process id, once it runs."""
        return self._server.process.pid if self._server else None

    def close(self) -> None:
        """Ends the fork server and every job in flight. The next `run` would start a new one."""
        with self._lock:
            self._closed_times += 1
            self._end_server()

    def run(
        self,
        work: str,
        argument: object,
        *attachments: bytes,
        result: type[Result],
        limits: ResourceLimits = _DEFAULT_LIMITS,
        handlers: Handlers = _NO_HANDLERS,
    ) -> Result:
        """What `work` ("package.module:function") returns for the argument, as the type `result`.

        The argument is decoded in the child by the annotation of the function's first parameter. Each attachment
        follows as an open file: large bytes that are not worth a copy more. Raises Rejected, LimitExceeded or Crashed,
        and whatever `handlers` raise.

        A job that was killed from outside is done once more, with the same limits: it need not be the one that took
        the memory.
        """
        contents, closed_times = (msgspec.msgpack.encode(argument), *attachments), self._closed_times
        try:
            return self._attempt(work, contents, result, limits, handlers)
        except _KilledFromOutside as killed:
            if self._closed_times != closed_times:
                raise _cause_of(killed) from None
            log.warning("%s is done once more: %s", work, killed.__cause__)
        handlers.on_restart()
        try:
            return self._attempt(work, contents, result, limits, handlers)
        except _KilledFromOutside as killed:
            raise _cause_of(killed) from None

    def _attempt(
        self,
        work: str,
        contents: tuple[bytes, ...],
        result: type[Result],
        limits: ResourceLimits,
        handlers: Handlers,
    ) -> Result:
        directory = tempfile.mkdtemp(prefix="errands-")
        try:
            data, status = self._submit(WorkRequest(work, limits, directory, self._walled), contents)
            with data, status:
                output, ending = _converse(data, status, limits, handlers)
        except TimeoutError:
            with self._lock:
                self._end_server()
            raise Crashed(f"the sandbox did not answer within {limits.timeout_s + _GRACE_S:g} s") from None
        finally:
            _remove(directory)
        return _judge(output, ending, result, limits)

    def _submit(self, request: WorkRequest, contents: tuple[bytes, ...]) -> tuple[socket.socket, socket.socket]:
        data, far_data = socket.socketpair()
        status, far_status = socket.socketpair()
        with far_data, far_status, ExitStack() as stack:
            files = [stack.enter_context(_memory_file(each)) for each in contents]
            fds = [far_status.fileno(), far_data.fileno(), *(each.fileno() for each in files)]
            with self._lock:
                try:
                    fork_server.send(self._control(), request, fds)
                except ConnectionError:
                    # it died between the look and the message
                    self._end_server()
                    fork_server.send(self._control(), request, fds)
        return data, status

    def _control(self) -> socket.socket:
        if self._server and not self._server.is_ours_and_alive:
            self._end_server()
        if self._server is None:
            early = None if self._env else launch.started_early(self._preload)
            started, owner = (early, None) if early else (launch.start(self._preload, self._env), os.getpid())
            self._server = _Server(*started, owner)
        return self._server.control

    def _end_server(self) -> None:
        if self._server is not None:
            self._server.end()
            self._server = None


@dataclass(frozen=True)
class _Server:
    """`owner` is the process that may use it; None: that which started it early, and each fork of that."""

    process: subprocess.Popen[bytes]
    control: socket.socket
    pidfd: int
    owner: int | None

    @property
    def is_ours_and_alive(self) -> bool:
        # a fork of the owner must not share the fork server: its children would not be ours to wait for
        ours = self.owner in (None, os.getpid())
        return ours and not select.select([self.pidfd], [], [], 0)[0]

    def end(self) -> None:
        self.control.close()
        if self.owner in (None, os.getpid()):
            with suppress(ProcessLookupError):
                signal.pidfd_send_signal(self.pidfd, signal.SIGKILL)
            with suppress(ChildProcessError):  # a fork of the one that started it cannot wait for it
                os.waitid(os.P_PIDFD, self.pidfd, os.WEXITED)
            self.process.returncode = -signal.SIGKILL
        os.close(self.pidfd)


def _memory_file(content: bytes) -> IO[bytes]:
    """The bytes for another process. Through a socket they would be copied twice, in turns with the reader."""
    file = os.fdopen(os.memfd_create("errands"), "w+b")
    file.write(content)
    file.seek(0)
    return file


def _remove(directory: str) -> None:
    try:
        os.rmdir(directory)
    except OSError:
        # rm, because a hostile tree may be deeper than shutil.rmtree can recurse
        subprocess.run([shutil.which("rm") or "/bin/rm", "-rf", "--", directory], check=False)


def _converse(
    data: socket.socket, status: socket.socket, limits: ResourceLimits, handlers: Handlers
) -> tuple[_ChildOutput, ExitStatus | None]:
    """Hears the child until its result, or to its exit status; None when the fork server died.

    With the result the work is done: the fork server ends what is left of the child, and nobody waits for that.
    """
    for near in (data, status):
        near.settimeout(limits.timeout_s + _GRACE_S)
    output = _ChildOutput()
    try:
        for heard in _hear(data, limits, handlers):
            output = heard
            if output.result is not None:
                return output, None
    except TimeoutError:
        raise
    except Exception:
        # our closed side makes the fork server kill the child; the exit status tells that it is done
        status.shutdown(socket.SHUT_WR)
        _exit_status(status)
        raise
    return output, _exit_status(status)


def _hear(data: socket.socket, limits: ResourceLimits, handlers: Handlers) -> Iterator[_ChildOutput]:
    """What the child has said so far, after each of its frames, until it ends."""
    output = _ChildOutput()
    with suppress(ConnectionError, EOFError):
        while True:
            kind, size_bytes = FRAME.unpack(receive_exactly(data, FRAME.size))
            _check_size(kind, size_bytes, limits, output)
            content = receive_exactly(data, size_bytes)
            if kind == QUESTION:
                response = handlers.on_question(bytes(content))
                with suppress(ConnectionError):  # what it said before it ended without the response is still to be read
                    send_frame(data, RESPONSE, response)
                continue
            output = _with_frame(output, kind, content)
            if kind == PROGRESS and output.progress:
                handlers.on_progress(output.progress)
            yield output


def _with_frame(output: _ChildOutput, kind: bytes, content: bytearray) -> _ChildOutput:
    if kind == PROGRESS:
        return replace(output, progress=content.decode(errors="replace"))
    if kind == RESULT:
        return replace(output, result=content)
    return replace(output, failure=content)


def _check_size(kind: bytes, size_bytes: int, limits: ResourceLimits, output: _ChildOutput) -> None:
    most_bytes = {PROGRESS: PROGRESS_LIMIT_BYTES, RESULT: limits.result_limit_bytes}.get(kind, FAILURE_LIMIT_BYTES)
    if size_bytes > most_bytes:
        raise LimitExceeded("output", f"{most_bytes} bytes of output with {size_bytes} bytes", output.progress)


def _exit_status(status: socket.socket) -> ExitStatus | None:
    with suppress(ConnectionError):
        if message := status.recv(_STATUS_LIMIT_BYTES):
            return msgspec.msgpack.decode(message, type=ExitStatus)
    return None


def _judge(output: _ChildOutput, ending: ExitStatus | None, result: type[Result], limits: ResourceLimits) -> Result:
    try:
        if output.result is not None:
            return msgspec.msgpack.decode(output.result, type=result)
        if ending is None:
            died = "the fork server of the sandbox died with the work in flight; its standard error may tell why"
            raise _KilledFromOutside from Crashed(died)
        _raise_for_limits(ending, limits, output.progress)
        if output.failure is not None:
            _raise_for_failure(msgspec.msgpack.decode(output.failure, type=WorkError), limits, output.progress)
    except msgspec.DecodeError as error:
        raise Crashed(f"the work must answer {result.__name__}: {error}") from error
    after = f" after {output.progress}" if output.progress else ""
    raise Crashed(f"the work ended by {_cause(ending.code)} without a result{after}", code=ending.code)


def _raise_for_limits(ending: ExitStatus, limits: ResourceLimits, after: str | None) -> None:
    killed = ending.code == -signal.SIGKILL
    if ending.code == OUT_OF_MEMORY or (killed and ending.killed_for == "memory"):
        raise LimitExceeded("memory", f"{limits.memory_bytes} bytes of memory", after)
    if killed and ending.killed_for == "folder":
        raise LimitExceeded("output", f"{limits.folder_bytes} bytes in its folder", after)
    if killed and ending.killed_for == "time":
        raise LimitExceeded("time", f"{limits.timeout_s:g} s", after)
    if ending.code == -signal.SIGXCPU or (killed and ending.cpu_s >= limits.cpu_s):
        raise LimitExceeded("cpu", f"{limits.cpu_s} s of processor time", after)
    if killed:
        # nobody else kills a child: the kernel was out of memory, or the container reached its own limit
        raise _KilledFromOutside from LimitExceeded("memory", "the memory of this machine or container", after)


def _raise_for_failure(failure: WorkError, limits: ResourceLimits, after: str | None) -> None:
    match failure.kind:
        case "value":
            raise Rejected(failure.message)
        case "memory":
            raise LimitExceeded("memory", f"{limits.memory_bytes} bytes of memory", after)
        case "output":
            raise LimitExceeded("output", f"{limits.file_bytes} bytes in a file", after)
    raise Crashed(f"the work failed: {failure.message}", failure_report=failure.failure_report)


def _cause_of(killed: _KilledFromOutside) -> BaseException:
    """What it is to the caller."""
    return killed.__cause__ or killed


def _cause(code: int) -> str:
    return signal.Signals(-code).name if code < 0 else f"exit code {code}"
