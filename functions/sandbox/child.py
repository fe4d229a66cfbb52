"""A sandbox's child: puts itself under limits and behind walls, does one job, and ends.

`progress` and `ask` are what the work may call.
"""

import ctypes
import errno
import importlib
import os
import resource
import socket
import struct
import sys
import tempfile
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final, NoReturn, get_type_hints

import msgspec

from functions.sandbox import walls
from functions.sandbox.fork_server import die_with, libc, prctl
from functions.sandbox.protocol import (
    FAILURE,
    FAILURE_LIMIT_BYTES,
    FRAME,
    PROGRESS,
    PROGRESS_LIMIT_BYTES,
    QUESTION,
    RESULT,
    ResourceLimits,
    WorkError,
    WorkRequest,
    receive_exactly,
    send_frame,
)

_TASKS_LEFT: Final = 512  # threads that this user may start on the machine while a job runs, the job's among them
_PR_SET_DUMPABLE, _PR_SET_NO_NEW_PRIVS = 4, 38  # linux/prctl.h
_CAPABILITY_VERSION_3: Final = 0x20080522  # linux/capability.h

_data: socket.socket | None = None


def progress(text: str) -> None:
    """Tells how far the work has come, such as "page 212": it stands in the message when a limit ends the work.

    Outside of a sandbox it does nothing, so the same work can be called directly.
    """
    if _data is not None:
        send_frame(_data, PROGRESS, text.encode()[:PROGRESS_LIMIT_BYTES])


def ask(question: bytes) -> bytes:
    """What the function's own process answers (`Handlers.on_question` of `Sandbox.run`): it has network and store.

    An answer that raises there ends the work here. Outside of a sandbox there is nobody to ask: LookupError.
    """
    if _data is None:
        raise LookupError("there is nobody to ask outside of a sandbox")
    send_frame(_data, QUESTION, question)
    return bytes(receive_exactly(_data, FRAME.unpack(receive_exactly(_data, FRAME.size))[1]))


def perform(request: WorkRequest, data: socket.socket, files: list[int], parent: int) -> NoReturn:
    """Confines itself, reads the argument, does the work, sends the result or the failure, and ends the process."""
    global _data  # noqa: PLW0603 - one job, one process
    _data = data
    try:
        function = _function(
            request.work
        )  # ours: a module that was not loaded before the fork is read before the walls
        confine(request, parent, [data.fileno(), *files])
        argument = _argument(files[0], function)
        result = function(argument, *(os.fdopen(file, "rb") for file in files[1:]))
        send_frame(data, RESULT, msgspec.msgpack.encode(result))
    except BaseException as error:  # the end of the process: everything becomes a frame
        send_frame(data, FAILURE, msgspec.msgpack.encode(_work_error(error)))
    os._exit(0)


def confine(request: WorkRequest, parent: int, files: list[int]) -> None:
    """Puts this process under the limits of the request, in a group and directory of its own. There is no way back."""
    os.setpgid(0, 0)
    die_with(parent)
    os.dup2(0, 2)  # standard input is /dev/null already
    _close_all_but(files)
    os.chdir(request.directory)
    os.environ["TMPDIR"] = tempfile.tempdir = request.directory
    mapped_bytes, tasks = mapped_bytes_of(os.getpid()), _tasks()
    prctl(_PR_SET_NO_NEW_PRIVS, 1)
    _drop_capabilities()
    prctl(_PR_SET_DUMPABLE, 0)  # no other process of this user looks into it
    if request.walled:
        walls.close(request.directory)
    _set_limits(request.limits, mapped_bytes, tasks)


def mapped_bytes_of(pid: int) -> int:
    """The addresses that a process has in use; OSError where the kernel does not tell."""
    return int(Path(f"/proc/{pid}/statm").read_text().split()[0]) * resource.getpagesize()


def _close_all_but(files: list[int]) -> None:
    first = 3
    for file in sorted(files):
        os.closerange(first, file)
        first = file + 1
    os.closerange(first, resource.getrlimit(resource.RLIMIT_NOFILE)[0])


def _tasks() -> int:
    """The threads of all processes of this machine: RLIMIT_NPROC counts those of the user, whatever they do."""
    return int(Path("/proc/loadavg").read_text().split()[3].partition("/")[2])  # proc_loadavg(5)


def _set_limits(limits: ResourceLimits, mapped_bytes: int, tasks: int) -> None:
    # a second more in the hard limit: SIGXCPU can be ignored, the SIGKILL after it cannot
    _lower(resource.RLIMIT_CPU, limits.cpu_s, limits.cpu_s + 1)
    _lower(resource.RLIMIT_AS, mapped_bytes + limits.memory_bytes)
    _lower(resource.RLIMIT_FSIZE, limits.file_bytes)
    _lower(resource.RLIMIT_NOFILE, limits.open_files)
    _lower(resource.RLIMIT_NPROC, tasks + _TASKS_LEFT)
    _lower(resource.RLIMIT_CORE, 0)


def _lower(kind: int, soft: int, hard: int | None = None) -> None:
    present = resource.getrlimit(kind)[1]
    highest = sys.maxsize if present == resource.RLIM_INFINITY else present
    resource.setrlimit(kind, (min(soft, highest), min(soft if hard is None else hard, highest)))


def _drop_capabilities() -> None:
    """All of them: in a container that runs as root, CAP_PERFMON and CAP_KILL would reach other processes."""
    if libc().capset(struct.pack("=Ii", _CAPABILITY_VERSION_3, 0), bytes(24)):
        raise OSError(ctypes.get_errno(), "capset failed")


def _function(work: str) -> Callable[..., Any]:
    module, _, name = work.partition(":")
    if module not in sys.modules:
        walls.readable.cache_clear()  # it may lie where nothing did that was loaded before
    function: Callable[..., Any] = getattr(importlib.import_module(module), name)
    return function


def _argument(fd: int, function: Callable[..., Any]) -> Any:
    with os.fdopen(fd, "rb") as file:
        return msgspec.msgpack.decode(file.read(), type=_argument_type(function))


def _argument_type(function: Callable[..., Any]) -> Any:
    hints = {name: hint for name, hint in get_type_hints(function).items() if name != "return"}
    return next(iter(hints.values()), Any)


def _work_error(error: BaseException) -> WorkError:
    if isinstance(error, MemoryError):
        return WorkError("memory", "", "")
    failure_report = "".join(traceback.format_exception(error))[-FAILURE_LIMIT_BYTES // 4 :]
    if isinstance(error, OSError) and error.errno == errno.EFBIG:
        return WorkError("output", str(error), failure_report)
    kind = "value" if isinstance(error, ValueError) else "bug"
    return WorkError(kind, str(error)[: FAILURE_LIMIT_BYTES // 8], failure_report)
