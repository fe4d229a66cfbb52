"""The far side of functions/sandbox/sandbox.py: a clean interpreter that forks one child for each job.

It loads the craft libraries once and stays single-threaded, so a fork is safe; the child of the next job is forked
while there is none, which is 2 ms less for each. Per job it gets one message: an Order and descriptors. The *files*,
with the argument and the attachments, and the socket *data*, for frames out, go to the child; the socket *status* stays
here and carries one Ending at last; a child cannot forge it. It dies with its parent, because the control socket
closes, and its children die with it (PR_SET_PDEATHSIG).

A module that it loads may have WARM_UP: functions that make ready what later children find. They are called once the
first job is done, which should not wait for them, and while there is no other.

2026-11-22: memory_bytes is what a job may map *beyond* the libraries loaded at the fork. A plain total would have to be
guessed anew for each library: WeasyPrint maps hundreds of megabytes before it does anything.

2026-11-22: the child runs as the same user as the function. Landlock (Linux 5.13, where the kernel has it) keeps it
from reading /proc/PID/environ or the memory of any process outside; without it only the limits hold. Files and the
network are not walled off: that is the container's part.
"""

import ctypes
import errno
import gc
import importlib
import os
import resource
import select
import signal
import socket
import struct
import sys
import tempfile
import time
import traceback
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any, NoReturn, get_type_hints

import msgspec

FRAME = struct.Struct("!cQ")  # kind, size_bytes
PROGRESS, RESULT, FAILURE, QUESTION, RESPONSE = b"p", b"r", b"f", b"q", b"w"
PROGRESS_LIMIT_BYTES, FAILURE_LIMIT_BYTES, ORDER_LIMIT_BYTES = 1024, 65_536, 32_768
DESCRIPTORS_LIMIT = 8
OUT_OF_MEMORY = errno.ENOMEM  # the exit code of a child that had not even the memory to tell it
_ARENA_BYTES = 1 << 20  # what CPython asks for when its small objects need more (pymalloc)
_LOOK_S = 0.5  # between two looks at the children's memory
_PR_SET_PDEATHSIG, _PR_SET_CHILD_SUBREAPER, _PR_SET_NO_NEW_PRIVS = 1, 36, 38  # linux/prctl.h
_CAPABILITY_VERSION_3 = 0x20080522  # linux/capability.h
_LANDLOCK_CREATE_RULESET, _LANDLOCK_RESTRICT_SELF = 444, 446  # asm-generic/unistd.h
_LANDLOCK_VERSION, _LANDLOCK_MAKE_BLOCK, _LANDLOCK_SCOPES = 1, 1 << 11, 0b11  # linux/landlock.h


@dataclass(frozen=True, kw_only=True)
class Limits:
    """What one job may use. `cpu_s` counts whole seconds of processor time, `file_bytes` each file by itself."""

    timeout_s: float = 60.0
    cpu_s: int = 30
    memory_bytes: int = 1 << 30
    result_limit_bytes: int = 64 << 20
    file_bytes: int = 256 << 20
    open_files: int = 256


@dataclass(frozen=True)
class Order:
    """`work` is "package.module:function"; `directory` an empty one of the job's own."""

    work: str
    limits: Limits
    directory: str


@dataclass(frozen=True)
class Failure:
    """`kind` is "value", "memory", "output" or "bug"."""

    kind: str
    message: str
    failure_report: str


@dataclass(frozen=True)
class Ending:
    """How a child ended; `code` is its exit code, negative for a signal.

    `killed_for`: the limit for which it was killed here, "time" or "memory", or "".
    """

    code: int
    killed_for: str
    cpu_s: float


@dataclass(frozen=True)
class _Job:
    status: socket.socket
    end_s: float


@dataclass(frozen=True)
class _Spare:
    """A child that waits for the order of its one job."""

    pid: int
    orders: socket.socket


_data: socket.socket | None = None


def progress(text: str) -> None:
    """Tells how far the work has come, such as "page 212": it stands in the message when a limit ends the work.

    Outside of a sandbox it does nothing, so the same work can be called directly.
    """
    if _data is not None:
        _send(_data, PROGRESS, text.encode()[:PROGRESS_LIMIT_BYTES])


def ask(question: bytes) -> bytes:
    """What the function's own process answers (`Ears.answer` of `Sandbox.run`); it has the network and the store.

    An answer that raises there ends the work here. Outside of a sandbox there is nobody to ask: LookupError.
    """
    if _data is None:
        raise LookupError("there is nobody to ask outside of a sandbox")
    _send(_data, QUESTION, question)
    return bytes(receive(_data, FRAME.unpack(receive(_data, FRAME.size))[1]))


def receive(data: socket.socket, size_bytes: int) -> bytearray:
    """Exactly that many bytes; EOFError when the other side ends before."""
    buffer = bytearray(size_bytes)
    view, done = memoryview(buffer), 0
    while done < size_bytes:
        count = data.recv_into(view[done:])
        if not count:
            raise EOFError(f"expected {size_bytes} bytes, got {done}")
        done += count
    return buffer


def _send(data: socket.socket, kind: bytes, content: bytes) -> None:
    data.sendall(FRAME.pack(kind, len(content)))
    data.sendall(content)


@dataclass
class Zygote:
    """The loop: takes orders, forks, keeps the deadlines, reaps."""

    control: socket.socket
    chores: list[Callable[[], object]] = field(default_factory=list)
    has_begun: bool = False
    jobs: dict[int, _Job] = field(default_factory=dict)
    killed_for: dict[int, str] = field(default_factory=dict)
    full: set[int] = field(default_factory=set)  # at the last look
    looked_at_s: float = 0.0
    spare: _Spare | None = None
    wakeup: tuple[int, int] = field(default_factory=lambda: os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC))

    def serve(self) -> None:
        """Until the parent goes away; then everything here is killed."""
        bell, ring = self.wakeup
        signal.signal(signal.SIGCHLD, lambda *_: None)
        signal.set_wakeup_fd(ring, warn_on_full_buffer=False)
        self.spare = self._fork()
        while True:
            ready = self._wait()
            if bell in ready:
                os.read(bell, 4096)
            self._reap()
            self._kill_ended(ready)
            self._kill_full()
            if self.control.fileno() in ready and not self._take_order():
                break
            if not ready and self._is_idle:
                self._do_chore()
        for pid in self.jobs:
            _kill_group(pid)

    def _wait(self) -> set[int]:
        poll = select.poll()
        for fd in (self.control.fileno(), self.wakeup[0], *(job.status.fileno() for job in self.jobs.values())):
            poll.register(fd, select.POLLIN)
        if self._is_idle:
            return {fd for fd, _ in poll.poll(0)}
        ends = [job.end_s for pid, job in self.jobs.items() if pid not in self.killed_for]
        wait_s = min(max(min(ends) - time.monotonic(), 0), _LOOK_S) if ends else None
        return {fd for fd, _ in poll.poll(None if wait_s is None else wait_s * 1000 + 1)}

    def _kill_ended(self, ready: set[int]) -> None:
        """Those past their deadline, and those whose caller has closed its side."""
        now_s = time.monotonic()
        for pid, job in self.jobs.items():
            if job.end_s <= now_s:
                self.killed_for.setdefault(pid, "time")
                _kill_group(pid)
            elif job.status.fileno() in ready:
                _kill_group(pid)

    def _kill_full(self) -> None:
        """Those that are at their memory limit at two looks in a row.

        Without a byte left, CPython (3.11 to 3.13) can spin until the deadline: to leave a `with` block it makes an
        int, and tries that again when it fails (exception_unwind of ceval.c). One report of two hundred did it.
        """
        now_s = time.monotonic()
        if now_s - self.looked_at_s < _LOOK_S:
            return
        full = {pid for pid in self.jobs if _is_full(pid)}
        for pid in full & self.full:
            self.killed_for.setdefault(pid, "memory")
            _kill_group(pid)
        self.full, self.looked_at_s = full, now_s

    def _take_order(self) -> bool:
        message, fds, _, _ = socket.recv_fds(self.control, ORDER_LIMIT_BYTES, DESCRIPTORS_LIMIT)
        if not message or len(fds) < 3:
            return False
        status, *others = fds
        order = msgspec.msgpack.decode(message, type=Order)
        pid = self._give(message, others)
        for fd in others:
            os.close(fd)
        self.jobs[pid] = _Job(socket.socket(fileno=status), time.monotonic() + order.limits.timeout_s)
        self.spare = self._fork()
        self.has_begun = True
        return True

    @property
    def _is_idle(self) -> bool:
        """Whether it is time for a chore, and there is one."""
        return bool(self.chores and self.has_begun and not self.jobs)

    def _do_chore(self) -> None:
        """The next one; after the last, the child that waits is forked anew."""
        try:
            self.chores.pop(0)()
        except Exception:  # told, and gone without: the jobs in flight should not die of it
            traceback.print_exc()
        if self.chores:
            return
        gc.freeze()
        if self.spare:
            self.spare.orders.close()  # it ends by itself
        self.spare = self._fork()

    def _give(self, message: bytes, fds: list[int]) -> int:
        """The child that has it."""
        while True:
            spare, self.spare = self.spare or self._fork(), None
            with spare.orders, suppress(BrokenPipeError):  # one that was killed while it waited
                socket.send_fds(spare.orders, [message], fds)
                return spare.pid

    def _fork(self) -> _Spare:
        near, far = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with far:
            pid = os.fork()
            if not pid:
                near.close()
                self._become_child(far)
        return _Spare(pid, near)

    def _become_child(self, orders: socket.socket) -> NoReturn:
        try:
            signal.set_wakeup_fd(-1)
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            for other in (self.control, *(job.status for job in self.jobs.values())):
                other.close()
            for end in self.wakeup:
                os.close(end)
            with orders:
                message, fds, _, _ = socket.recv_fds(orders, ORDER_LIMIT_BYTES, DESCRIPTORS_LIMIT)
            if message:
                perform(msgspec.msgpack.decode(message, type=Order), socket.socket(fileno=fds[0]), fds[1:])
        except MemoryError:
            os._exit(OUT_OF_MEMORY)
        finally:
            os._exit(1)

    def _reap(self) -> None:
        while True:
            try:
                # WNOWAIT: the group is killed while its number still belongs to the dead child
                ended = os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)
            except ChildProcessError:
                return
            if ended is None:
                return
            if ended.si_pid in self.jobs:
                _kill_group(ended.si_pid)
            _, status, usage = os.wait4(ended.si_pid, 0)
            if self.spare and ended.si_pid == self.spare.pid:
                self.spare.orders.close()
                self.spare = None
            if job := self.jobs.pop(ended.si_pid, None):
                self._kill_strays()
                self._report(job, ended.si_pid, status, usage)

    def _report(self, job: _Job, pid: int, status: int, usage: resource.struct_rusage) -> None:
        code = os.waitstatus_to_exitcode(status)
        ending = Ending(code, self.killed_for.pop(pid, ""), usage.ru_utime + usage.ru_stime)
        self.full.discard(pid)
        try:
            job.status.send(msgspec.msgpack.encode(ending), socket.MSG_DONTWAIT)
        except OSError as error:
            # the caller is gone: nobody waits for this job any more
            if error.errno not in (errno.EPIPE, errno.ECONNRESET, errno.EAGAIN):
                raise
        finally:
            job.status.close()

    def _kill_strays(self) -> None:
        """Processes that left their job's group come to us when their parent dies (PR_SET_CHILD_SUBREAPER)."""
        children = Path(f"/proc/self/task/{os.getpid()}/children")
        if not children.exists():
            return
        for pid in map(int, children.read_text().split()):
            if pid not in self.jobs and not (self.spare and pid == self.spare.pid):
                os.kill(pid, signal.SIGKILL)


def _kill_group(pid: int) -> None:
    # both: the child may not have made its group yet
    for kill in (os.killpg, os.kill):
        try:
            kill(pid, signal.SIGKILL)
        except ProcessLookupError:
            continue


def _is_full(pid: int) -> bool:
    """Whether less than an arena is left below its limit."""
    try:
        limit_bytes = resource.prlimit(pid, resource.RLIMIT_AS)[0]
        mapped_bytes = _mapped_bytes(pid)
    except OSError:  # a kernel that does not tell: the deadline is left
        return False
    return limit_bytes != resource.RLIM_INFINITY and mapped_bytes > limit_bytes - _ARENA_BYTES


def _mapped_bytes(pid: int) -> int:
    return int(Path(f"/proc/{pid}/statm").read_text().split()[0]) * resource.getpagesize()


def confine(order: Order) -> None:
    """Puts this process under the limits of the order, in a group and directory of its own. There is no way back."""
    zygote = os.getppid()
    os.setpgid(0, 0)
    _prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != zygote:
        os._exit(1)
    os.dup2(0, 2)  # standard input is /dev/null already
    os.chdir(order.directory)
    os.environ["TMPDIR"] = tempfile.tempdir = order.directory
    _set_limits(order.limits)
    _prctl(_PR_SET_NO_NEW_PRIVS, 1)
    _drop_capabilities()
    _shut_from_other_processes()


def _set_limits(limits: Limits) -> None:
    # a second more in the hard limit: SIGXCPU can be ignored, the SIGKILL after it cannot
    _lower(resource.RLIMIT_CPU, limits.cpu_s, limits.cpu_s + 1)
    _lower(resource.RLIMIT_AS, _mapped_bytes(os.getpid()) + limits.memory_bytes)
    _lower(resource.RLIMIT_FSIZE, limits.file_bytes)
    _lower(resource.RLIMIT_NOFILE, limits.open_files)
    _lower(resource.RLIMIT_CORE, 0)


def _lower(kind: int, soft: int, hard: int | None = None) -> None:
    present = resource.getrlimit(kind)[1]
    highest = sys.maxsize if present == resource.RLIM_INFINITY else present
    resource.setrlimit(kind, (min(soft, highest), min(soft if hard is None else hard, highest)))


@cache
def _libc() -> ctypes.CDLL:
    return ctypes.CDLL(None, use_errno=True)  # loaded before the first fork, by _prctl in main


def _prctl(option: int, value: int) -> None:
    if _libc().prctl(option, ctypes.c_ulong(value), 0, 0, 0):
        raise OSError(ctypes.get_errno(), f"prctl({option}, {value}) failed")


def _drop_capabilities() -> None:
    """All of them: in a container that runs as root, CAP_PERFMON and CAP_KILL would reach other processes."""
    if _libc().capset(struct.pack("=Ii", _CAPABILITY_VERSION_3, 0), bytes(24)):
        raise OSError(ctypes.get_errno(), "capset failed")


def _shut_from_other_processes() -> None:
    """Any Landlock ruleset forbids ptrace and /proc/PID/environ outside of it; since version 6 signals can be as well.

    A ruleset must handle some access to files: ours forbids making block devices, which no work misses.
    """
    libc = _libc()
    version = libc.syscall(_LANDLOCK_CREATE_RULESET, None, ctypes.c_size_t(0), _LANDLOCK_VERSION)
    if version < 1:
        return
    rules = struct.pack("=3Q", _LANDLOCK_MAKE_BLOCK, 0, _LANDLOCK_SCOPES)[: 24 if version >= 6 else 8]
    ruleset = libc.syscall(_LANDLOCK_CREATE_RULESET, rules, ctypes.c_size_t(len(rules)), 0)
    if ruleset < 0 or libc.syscall(_LANDLOCK_RESTRICT_SELF, ruleset, 0):
        raise OSError(ctypes.get_errno(), "landlock failed")
    os.close(ruleset)


def perform(order: Order, data: socket.socket, files: list[int]) -> NoReturn:
    """Confines itself, reads the argument, does the work, sends the result or the failure, and ends the process."""
    global _data  # noqa: PLW0603 - one job, one process
    _data = data
    try:
        confine(order)
        function = _function(order.work)
        argument = _argument(files[0], function)
        result = function(argument, *(os.fdopen(file, "rb") for file in files[1:]))
        _send(data, RESULT, msgspec.msgpack.encode(result))
    except BaseException as error:  # the end of the process: everything becomes a frame
        _send(data, FAILURE, msgspec.msgpack.encode(_failure(error)))
    os._exit(0)


def _function(work: str) -> Callable[[Any], Any]:
    module, _, name = work.partition(":")
    function: Callable[[Any], Any] = getattr(importlib.import_module(module), name)
    return function


def _argument(fd: int, function: Callable[[Any], Any]) -> Any:
    with os.fdopen(fd, "rb") as file:
        return msgspec.msgpack.decode(file.read(), type=_argument_type(function))


def _argument_type(function: Callable[[Any], Any]) -> Any:
    hints = {name: hint for name, hint in get_type_hints(function).items() if name != "return"}
    return next(iter(hints.values()), Any)


def _failure(error: BaseException) -> Failure:
    if isinstance(error, MemoryError):
        return Failure("memory", "", "")
    failure_report = "".join(traceback.format_exception(error))[-FAILURE_LIMIT_BYTES // 4 :]
    if isinstance(error, OSError) and error.errno == errno.EFBIG:
        return Failure("output", str(error), failure_report)
    kind = "value" if isinstance(error, ValueError) else "bug"
    return Failure(kind, str(error)[: FAILURE_LIMIT_BYTES // 8], failure_report)


def main(control_fd: int, preload: list[str]) -> None:
    """Loads the libraries, then serves orders on the control socket."""
    _prctl(_PR_SET_CHILD_SUBREAPER, 1)
    modules = [importlib.import_module(name) for name in preload]
    chores = [chore for module in modules for chore in getattr(module, "WARM_UP", ())]
    # what is loaded stays shared between the children: the collector does not write to it
    gc.freeze()
    gc.enable()
    Zygote(socket.socket(fileno=control_fd), chores).serve()
