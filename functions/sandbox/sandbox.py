"""Hostile or heavy work in a child process with limits on time, processor, memory and output.

`Sandbox` starts, with the first job, one clean interpreter (functions/sandbox/zygote.py) that loads the craft
libraries once and forks a child for each job: a job costs about 3 ms more than a call, and holds none of the
function's environment. Argument and result travel as MessagePack by their types, never as pickle: a child that was
taken over cannot run code here.

    ValueError
      Rejected         the work raised ValueError: bad input
    Exception
      LimitExceeded    .limit is "time", "cpu", "memory" or "output"; .progress what the work told last
      Crashed          any other end: another exception, a signal, an exit; .evidence is the traceback, if there is one
"""

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

from functions.sandbox import launch
from functions.sandbox.zygote import (
    FAILURE_LIMIT_BYTES,
    FRAME,
    ORDER_LIMIT_BYTES,
    OUT_OF_MEMORY,
    PROGRESS,
    PROGRESS_LIMIT_BYTES,
    QUESTION,
    RESPONSE,
    RESULT,
    Ending,
    Failure,
    Limits,
    Order,
    ask,
    progress,
    receive,
)

__all__ = ["Crashed", "LimitExceeded", "Limits", "Rejected", "Sandbox", "ask", "progress"]

Result = TypeVar("Result")
_DEFAULT_LIMITS = Limits()
_GRACE_S = 60.0  # for a zygote that loads its libraries, or that has stopped answering


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
class Ears:
    """What the function's process does about a child's words: `told` hears its progress, `answer` what it asks."""

    told: Callable[[str], None] = lambda _: None
    answer: Callable[[bytes], bytes] = _no_answer


_DEAF = Ears()


@dataclass(frozen=True)
class _Said:
    """What came from a child: the last progress, and the result or the failure."""

    progress: str | None = None
    result: bytearray | None = None
    failure: bytearray | None = None


class Sandbox:
    """Runs work in children of one zygote; any number of threads may call `run` at once.

    `preload` names modules to load before the first fork, `env` adds to the scrubbed environment. Nothing is started
    before the first job. The zygote has a session of its own: a SIGTERM to this process's group leaves a job in flight
    alone. A zygote that died is started anew with the next job.
    """

    def __init__(self, preload: tuple[str, ...] = (), *, env: Mapping[str, str] | None = None) -> None:
        self._preload, self._env = preload, dict(env or {})
        self._lock = threading.Lock()
        self._zygote: _Zygote | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def pid(self) -> int | None:
        """The zygote's process id, once it runs."""
        return self._zygote.process.pid if self._zygote else None

    def close(self) -> None:
        """Ends the zygote and every job in flight. The next `run` would start a new one."""
        with self._lock:
            self._end_zygote()

    def run(
        self,
        work: str,
        argument: object,
        *attachments: bytes,
        result: type[Result],
        limits: Limits = _DEFAULT_LIMITS,
        ears: Ears = _DEAF,
    ) -> Result:
        """What `work` ("package.module:function") returns for the argument, as the type `result`.

        The argument is decoded in the child by the annotation of the function's first parameter. Each attachment
        follows as an open file: large bytes that are not worth a copy more. Raises Rejected, LimitExceeded or Crashed,
        and whatever `ears` raise.
        """
        directory = tempfile.mkdtemp(prefix="errands-")
        try:
            data, status = self._submit(Order(work, limits, directory), msgspec.msgpack.encode(argument), *attachments)
            with data, status:
                said, ending = _converse(data, status, limits, ears)
        except TimeoutError:
            self.close()
            raise Crashed(f"the sandbox did not answer within {limits.timeout_s + _GRACE_S:g} s") from None
        finally:
            _remove(directory)
        return _judge(said, ending, result, limits)

    def _submit(self, order: Order, *contents: bytes) -> tuple[socket.socket, socket.socket]:
        message = msgspec.msgpack.encode(order)
        if len(message) > ORDER_LIMIT_BYTES:
            raise ValueError(f"an order must have at most {ORDER_LIMIT_BYTES} bytes, got {len(message)}")
        data, far_data = socket.socketpair()
        status, far_status = socket.socketpair()
        with far_data, far_status, ExitStack() as stack:
            files = [stack.enter_context(_memory_file(each)) for each in contents]
            fds = [far_status.fileno(), far_data.fileno(), *(each.fileno() for each in files)]
            with self._lock:
                try:
                    socket.send_fds(self._control(), [message], fds)
                except ConnectionError:
                    # it died between the look and the message
                    self._end_zygote()
                    socket.send_fds(self._control(), [message], fds)
        return data, status

    def _control(self) -> socket.socket:
        if self._zygote and not self._zygote.is_ours_and_alive:
            self._end_zygote()
        if self._zygote is None:
            early = None if self._env else launch.started_early(self._preload)
            started, owner = (early, None) if early else (launch.start(self._preload, self._env), os.getpid())
            self._zygote = _Zygote(*started, owner)
        return self._zygote.control

    def _end_zygote(self) -> None:
        if self._zygote is not None:
            self._zygote.end()
            self._zygote = None


@dataclass(frozen=True)
class _Zygote:
    """`owner` is the process that may use it; None: that which started it early, and each fork of that."""

    process: subprocess.Popen[bytes]
    control: socket.socket
    pidfd: int
    owner: int | None

    @property
    def is_ours_and_alive(self) -> bool:
        # a fork of the owner must not share the zygote: its children would not be ours to wait for
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


def _converse(data: socket.socket, status: socket.socket, limits: Limits, ears: Ears) -> tuple[_Said, Ending | None]:
    """Hears the child until its result, or to its ending; None when the zygote died.

    With the result the work is done: the zygote ends what is left of the child, and nobody waits for that.
    """
    for near in (data, status):
        near.settimeout(limits.timeout_s + _GRACE_S)
    said = _Said()
    try:
        for heard in _hear(data, limits, ears):
            said = heard
            if said.result is not None:
                return said, None
    except TimeoutError:
        raise
    except Exception:
        # our closed side makes the zygote kill the child; the ending tells that it is done
        status.shutdown(socket.SHUT_WR)
        _ending(status)
        raise
    return said, _ending(status)


def _hear(data: socket.socket, limits: Limits, ears: Ears) -> Iterator[_Said]:
    """What the child has said so far, after each of its frames, until it ends."""
    said = _Said()
    with suppress(ConnectionError, EOFError):
        while True:
            kind, size_bytes = FRAME.unpack(receive(data, FRAME.size))
            _check_size(kind, size_bytes, limits, said)
            content = receive(data, size_bytes)
            if kind == QUESTION:
                _response(data, ears.answer(bytes(content)))
                continue
            said = _with_frame(said, kind, content)
            if kind == PROGRESS and said.progress:
                ears.told(said.progress)
            yield said


def _response(data: socket.socket, content: bytes) -> None:
    data.sendall(FRAME.pack(RESPONSE, len(content)))
    data.sendall(content)


def _with_frame(said: _Said, kind: bytes, content: bytearray) -> _Said:
    if kind == PROGRESS:
        return replace(said, progress=content.decode(errors="replace"))
    if kind == RESULT:
        return replace(said, result=content)
    return replace(said, failure=content)


def _check_size(kind: bytes, size_bytes: int, limits: Limits, said: _Said) -> None:
    most_bytes = {PROGRESS: PROGRESS_LIMIT_BYTES, RESULT: limits.result_limit_bytes}.get(kind, FAILURE_LIMIT_BYTES)
    if size_bytes > most_bytes:
        raise LimitExceeded("output", f"{most_bytes} bytes of output with {size_bytes} bytes", said.progress)


def _ending(status: socket.socket) -> Ending | None:
    with suppress(ConnectionError):
        if message := status.recv(ORDER_LIMIT_BYTES):
            return msgspec.msgpack.decode(message, type=Ending)
    return None


def _judge(said: _Said, ending: Ending | None, result: type[Result], limits: Limits) -> Result:
    try:
        if said.result is not None:
            return msgspec.msgpack.decode(said.result, type=result)
        if ending is None:
            raise Crashed("the zygote of the sandbox died with the work in flight; its standard error may tell why")
        _raise_for_limits(ending, limits, said.progress)
        if said.failure is not None:
            _raise_for_failure(msgspec.msgpack.decode(said.failure, type=Failure), limits, said.progress)
    except msgspec.DecodeError as error:
        raise Crashed(f"the work must answer {result.__name__}: {error}") from error
    after = f" after {said.progress}" if said.progress else ""
    raise Crashed(f"the work ended by {_cause(ending.code)} without a result{after}", code=ending.code)


def _raise_for_limits(ending: Ending, limits: Limits, after: str | None) -> None:
    killed = ending.code == -signal.SIGKILL
    if ending.code == OUT_OF_MEMORY or (killed and ending.killed_for == "memory"):
        raise LimitExceeded("memory", f"{limits.memory_bytes} bytes of memory", after)
    if killed and ending.killed_for == "time":
        raise LimitExceeded("time", f"{limits.timeout_s:g} s", after)
    if ending.code == -signal.SIGXCPU or (killed and ending.cpu_s >= limits.cpu_s):
        raise LimitExceeded("cpu", f"{limits.cpu_s} s of processor time", after)
    if killed:
        # nobody else kills a child: the kernel was out of memory, or the container reached its own limit
        raise LimitExceeded("memory", "the memory of this machine or container", after)


def _raise_for_failure(failure: Failure, limits: Limits, after: str | None) -> None:
    match failure.kind:
        case "value":
            raise Rejected(failure.message)
        case "memory":
            raise LimitExceeded("memory", f"{limits.memory_bytes} bytes of memory", after)
        case "output":
            raise LimitExceeded("output", f"{limits.file_bytes} bytes in a file", after)
    raise Crashed(f"the work failed: {failure.message}", failure_report=failure.failure_report)


def _cause(code: int) -> str:
    return signal.Signals(-code).name if code < 0 else f"exit code {code}"
