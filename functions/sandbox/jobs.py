"""The fork server of a sandbox: a clean interpreter that forks one child for each job, watches it, and ends it.

The child of the next job is forked while there is none. Per job comes one WorkRequest with open files. The socket
*status* stays here and carries one ExitStatus at last, which a child cannot forge; the socket *data*, for frames, and
the files with the argument and the attachments go to the child. The server ends with its parent, whose end of the
control socket closes, and its children end with it.

A module that it loads may have WARM_UP: functions that make ready what later children find. They are called once the
first job is done, which should not wait for them, and while there is no other.
"""

import errno
import gc
import importlib
import os
import resource
import select
import signal
import socket
import time
import traceback
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from itertools import islice
from typing import Final

import msgspec

from functions.sandbox import fork_server, walls
from functions.sandbox.child import mapped_bytes_of, perform
from functions.sandbox.protocol import ExitStatus, WorkRequest

_ARENA_BYTES: Final = 1 << 20  # what CPython asks for when its small objects need more (pymalloc)
_LOOK_S: Final = 0.5  # between two looks at the children's memory and folders
_FILES: Final = 4_096  # of one job: what has more is over its limit, however small they are
_BLOCK_BYTES: Final = 512  # of st_blocks


@dataclass(frozen=True)
class _Job:
    status: socket.socket
    end_s: float
    folder: str
    folder_bytes: int


@dataclass(frozen=True)
class _Spare:
    """A child that waits for the request of its one job."""

    pid: int
    requests: socket.socket


@dataclass
class JobServer:
    """The loop: takes requests, forks, keeps the deadlines, reaps."""

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
            if self.control.fileno() in ready and not self._take_request():
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
        """Those whose folder is over its limit, or that are at their memory limit at two looks in a row.

        Without a byte left, CPython (3.11 to 3.13) can spin until the deadline: to leave a `with` block it makes an
        int, and tries that again when it fails (exception_unwind of ceval.c). One report of two hundred did it.
        """
        now_s = time.monotonic()
        if now_s - self.looked_at_s < _LOOK_S:
            return
        for pid, job in self.jobs.items():
            if _is_over(job.folder, job.folder_bytes):
                self.killed_for.setdefault(pid, "folder")
                _kill_group(pid)
        full = {pid for pid in self.jobs if _is_full(pid)}
        for pid in full & self.full:
            self.killed_for.setdefault(pid, "memory")
            _kill_group(pid)
        self.full, self.looked_at_s = full, now_s

    def _take_request(self) -> bool:
        received = fork_server.receive(self.control, WorkRequest)
        if received is None:
            return False
        request, (status, *others) = received
        pid = self._give(request, others)
        for fd in others:
            os.close(fd)
        self.jobs[pid] = _Job(
            socket.socket(fileno=status),
            time.monotonic() + request.limits.timeout_s,
            request.directory,
            request.limits.folder_bytes,
        )
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
        fork_server.share_memory()
        if self.spare:
            self.spare.requests.close()  # it ends by itself
        self.spare = self._fork()

    def _give(self, request: WorkRequest, fds: list[int]) -> int:
        """The child that has it."""
        while True:
            spare, self.spare = self.spare or self._fork(), None
            with spare.requests, suppress(BrokenPipeError):  # one that was killed while it waited
                fork_server.send(spare.requests, request, fds)
                return spare.pid

    def _fork(self) -> _Spare:
        return _Spare(*fork_server.fork(self._be_child))

    def _be_child(self, requests: socket.socket) -> None:
        """Wait for the request, with nothing open that is the server's."""
        parent = os.getppid()
        signal.set_wakeup_fd(-1)
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        for other in (self.control, *(job.status for job in self.jobs.values())):
            other.close()
        for end in self.wakeup:
            os.close(end)
        with requests:
            received = fork_server.receive(requests, WorkRequest)
        if received:
            request, (data, *files) = received
            perform(request, socket.socket(fileno=data), files, parent)

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
                self.spare.requests.close()
                self.spare = None
            if job := self.jobs.pop(ended.si_pid, None):
                self._kill_strays()
                self._report(job, ended.si_pid, status, usage)

    def _report(self, job: _Job, pid: int, status: int, usage: resource.struct_rusage) -> None:
        code = os.waitstatus_to_exitcode(status)
        ending = ExitStatus(code, self.killed_for.pop(pid, ""), usage.ru_utime + usage.ru_stime)
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
        """Processes that left their job's group come to this one when their parent dies, as it adopts orphans."""
        for pid in fork_server.children():
            if pid not in self.jobs and not (self.spare and pid == self.spare.pid):
                os.kill(pid, signal.SIGKILL)


def _kill_group(pid: int) -> None:
    # both: the child may not have made its group yet
    for kill in (os.killpg, os.kill):
        with suppress(ProcessLookupError):
            kill(pid, signal.SIGKILL)


def _is_full(pid: int) -> bool:
    """Whether less than an arena is left below its limit."""
    try:
        limit_bytes = resource.prlimit(pid, resource.RLIMIT_AS)[0]
        mapped_bytes = mapped_bytes_of(pid)
    except OSError:  # a kernel that does not tell: the deadline is left
        return False
    return limit_bytes != resource.RLIM_INFINITY and mapped_bytes > limit_bytes - _ARENA_BYTES


def _is_over(folder: str, limit_bytes: int) -> bool:
    """Whether the files that have a name there take more, or are too many, or too deep, to be looked at."""
    size_bytes, count, folders = 0, 0, [folder]
    while folders and size_bytes <= limit_bytes and count <= _FILES:
        try:
            with os.scandir(folders.pop()) as found:
                for each in islice(found, _FILES + 1):
                    count += 1
                    size_bytes += each.stat(follow_symlinks=False).st_blocks * _BLOCK_BYTES
                    folders += [each.path] if each.is_dir(follow_symlinks=False) else []
        except FileNotFoundError:  # it was removed meanwhile
            continue
        except OSError:
            return True
    return size_bytes > limit_bytes or count > _FILES


def main(control_fd: int, preload: list[str]) -> None:
    """Loads the libraries, then serves requests on the control socket."""
    fork_server.adopt_orphans()
    modules = [importlib.import_module(name) for name in preload]
    chores = [chore for module in modules for chore in getattr(module, "WARM_UP", ())]
    walls.prepare()
    fork_server.share_memory()
    gc.enable()
    JobServer(socket.socket(fileno=control_fd), chores).serve()
