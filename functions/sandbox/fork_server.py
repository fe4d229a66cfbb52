"""What a fork server and those who give it requests share; it knows neither jobs nor functions.

A fork server is a process of one thread that has loaded what its children need, and forks one for each request. There
are two: that of a sandbox (functions/sandbox/jobs.py) forks hostile jobs, that of `errands up`
(knative/local/process/forked.py) the processes of functions. A request is a message with open files over a socket of
packets; the socket ends with whoever gives the requests, and the fork server with the socket.

`multiprocessing.forkserver` does not serve here: a result comes back as pickle, by which a child that was taken over
runs code in its parent; a child has neither limits, nor a group, nor walls, and nobody tells why it ended; and none is
forked before its request comes. Functions must be the children of the runner, with an environment of their own.
"""

import ctypes
import errno
import gc
import os
import signal
import socket
import traceback
from collections.abc import Callable, Sequence
from functools import cache
from pathlib import Path
from typing import Final, TypeVar

import msgspec

Request = TypeVar("Request")

REQUEST_LIMIT_BYTES: Final = 1 << 16
FILES_LIMIT: Final = 64  # of one request: what is beyond would be cut off, and nobody told
OUT_OF_MEMORY: Final = errno.ENOMEM  # the exit code of a child that had not even the memory to tell it
_PR_SET_PDEATHSIG, _PR_SET_CHILD_SUBREAPER = 1, 36  # linux/prctl.h


def channel() -> tuple[socket.socket, socket.socket]:
    """Two ends, which keep each message whole and tell when the other has closed."""
    return socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)


def send(control: socket.socket, request: object, files: Sequence[int]) -> None:
    """Give a request, and a copy of each file; ValueError for one that is too long, OSError when nobody is there."""
    message = msgspec.msgpack.encode(request)
    if len(message) > REQUEST_LIMIT_BYTES:
        raise ValueError(f"a request must have at most {REQUEST_LIMIT_BYTES} bytes, got {len(message)}")
    if len(files) > FILES_LIMIT:
        raise ValueError(f"a request must have at most {FILES_LIMIT} files, got {len(files)}")
    socket.send_fds(control, [message], files)


def receive(control: socket.socket, kind: type[Request]) -> tuple[Request, list[int]] | None:
    """The next request with its files; None when no more will come."""
    message, files, _, _ = socket.recv_fds(control, REQUEST_LIMIT_BYTES, FILES_LIMIT)
    if not message:
        return None
    return msgspec.msgpack.decode(message, type=kind), files


def fork(begin: Callable[[socket.socket], object]) -> tuple[int, socket.socket]:
    """A child that does `begin` with its end of a channel and ends, and ours; it waits there for its sign to go.

    Nothing that `begin` raises reaches the frames below, which are the parent's, with what that would tidy up.
    """
    near, far = channel()
    with far:
        pid = os.fork()
        if not pid:
            _be_child(begin, near, far)
    return pid, near


def _be_child(begin: Callable[[socket.socket], object], near: socket.socket, far: socket.socket) -> None:
    try:
        near.close()
        begin(far)
    except MemoryError:
        os._exit(OUT_OF_MEMORY)
    except BaseException:  # told, and no further
        traceback.print_exc()
    finally:
        os._exit(1)


def share_memory() -> None:
    """Keep what is loaded shared between the children to come: the collector does not write to its pages."""
    gc.freeze()


def adopt_orphans() -> None:
    """Have what a child leaves behind become a child of this process (a subreaper)."""
    prctl(_PR_SET_CHILD_SUBREAPER, 1)


def die_with(parent: int) -> None:
    """Have the kernel kill this process when its parent dies, also when that is dead by now."""
    prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:
        os._exit(1)


def children() -> list[int]:
    """The processes whose parent this one is, those that have ended and were not waited for among them."""
    file = Path(f"/proc/self/task/{os.getpid()}/children")
    return [int(pid) for pid in file.read_text().split()] if file.exists() else []


@cache
def libc() -> ctypes.CDLL:
    """The C library; a fork server loads it before its first fork."""
    return ctypes.CDLL(None, use_errno=True)


def prctl(option: int, value: int) -> None:
    """prctl(2); raises OSError."""
    if libc().prctl(option, ctypes.c_ulong(value), 0, 0, 0):
        raise OSError(ctypes.get_errno(), f"prctl({option}, {value}) failed")
