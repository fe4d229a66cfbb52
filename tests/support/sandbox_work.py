"""What tests/functions/sandbox/test_sandbox.py runs in a child: each function is one way to behave, good or bad."""

import ctypes
import os
import resource
import signal
import socket
import subprocess
import tempfile
import threading
from contextlib import suppress
from pathlib import Path
from typing import IO, Any

import msgspec

from functions.sandbox.sandbox import ask, progress


class Box(msgspec.Struct, frozen=True):
    width_px: int
    content: bytes = b""


def nothing(argument: None) -> None:
    return None


def double(box: Box) -> Box:
    return Box(box.width_px * 2, box.content)


def joined(argument: str, *files: IO[bytes]) -> bytes:
    return argument.encode() + b"".join(file.read() for file in files)


def echo(argument: Any) -> Any:
    return argument


def environment(argument: None) -> dict[str, str]:
    return dict(os.environ)


def place(argument: None) -> tuple[int, str]:
    Path("left-behind").mkdir()
    return os.getpid(), os.getcwd()


def signal_other(pid: int) -> None:
    os.kill(pid, signal.SIGTERM)


def signal_itself(argument: None) -> None:
    os.abort()


def limit_other(pid: int) -> None:
    resource.prlimit(pid, resource.RLIMIT_CORE, (0, 0))


def trace(pid: int) -> None:
    attached = 16  # PTRACE_ATTACH of sys/ptrace.h
    _must(ctypes.CDLL(None, use_errno=True).ptrace(attached, pid, None, None))


def read(path: str) -> bytes:
    return Path(path).read_bytes()


def list_folder(path: str) -> list[str]:
    return os.listdir(path)


def write(path: str) -> None:
    Path(path).write_bytes(b"forged")


def change_rights(path: str) -> None:
    Path(path).chmod(0o777)


def cut(path: str) -> None:
    os.truncate(path, 0)


def link(path: str) -> bytes:
    """A name of its own for a file elsewhere."""
    os.symlink(path, "own")
    return Path("own").read_bytes()


def connect_tcp(port: int) -> None:
    socket.create_connection(("127.0.0.1", port)).close()


def send_udp(port: int) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
        sender.sendto(b"stolen", ("127.0.0.1", port))


def connect_unix(path: str) -> None:
    with socket.socket(socket.AF_UNIX) as caller:
        caller.connect(path)


def make_pair(argument: None) -> None:
    """Of datagrams, whose ends can be sent elsewhere."""
    for each in socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM):
        each.close()


def execute(argument: None) -> None:
    os.execv("/bin/true", ["true"])  # noqa: S606 - no shell is wanted


def fork(argument: None) -> None:
    if not os.fork():
        os._exit(0)


def spawn(argument: None) -> None:
    os.posix_spawn("/bin/true", ["true"], {})


def make_ring(argument: None) -> None:
    """What could open a socket where no filter sees it."""
    io_uring_setup = 425  # asm-generic/unistd.h
    _must(ctypes.CDLL(None, use_errno=True).syscall(io_uring_setup, 1, ctypes.create_string_buffer(120)))


def call_what_is_newer(number: int) -> None:
    _must(ctypes.CDLL(None, use_errno=True).syscall(number, 0, 0, 0))


def make_memory_file(argument: None) -> None:
    os.close(os.memfd_create("hoard"))


def work_in_threads(count: int) -> int:
    done: list[int] = []
    threads = [threading.Thread(target=done.append, args=(number,)) for number in range(count)]
    for each in threads:
        each.start()
    for each in threads:
        each.join()
    return len(done)


def work_in_folder(argument: None) -> bytes:
    """Everything that a job may do in its own."""
    Path("below").mkdir()
    with tempfile.NamedTemporaryFile(dir="below", delete=False) as file:
        file.write(b"kept")
    os.utime(file.name, (0, 0))
    os.rename(file.name, "moved")
    os.rmdir("below")
    return Path("moved").read_bytes()


def limits_and_state(argument: None) -> tuple[int, int]:
    """The soft limit of processes and threads, and whether the process is dumpable."""
    get_dumpable = 3  # PR_GET_DUMPABLE of linux/prctl.h
    return resource.getrlimit(resource.RLIMIT_NPROC)[0], ctypes.CDLL(None).prctl(get_dumpable, 0, 0, 0, 0)


def open_files(argument: None) -> list[int]:
    return [file for file in range(256) if _is_open(file)]


def _is_open(file: int) -> bool:
    try:
        os.fstat(file)
    except OSError:
        return False
    return True


def _must(result: int) -> None:
    if result < 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))


def loop(marker: str) -> None:
    progress(marker)
    while True:
        pass


def loop_deaf(argument: None) -> None:
    signal.signal(signal.SIGXCPU, signal.SIG_IGN)
    loop("")


def wait(argument: None) -> str:
    """Until it is told to go on; it has begun when that is asked."""
    progress("the first page")
    progress("page 212")
    ask(b"may I go on?")
    return "done"


def leave_a_stray(argument: None) -> int:
    """The id of a grandchild in a session of its own."""
    return subprocess.Popen(["sleep", "600"], start_new_session=True).pid


def eat_memory(argument: None) -> int:
    return len(bytearray(1 << 40))


def spin_out_of_memory(argument: None) -> None:
    """Has not the 32 bytes left for an int when it leaves a `with` block, where CPython makes one and asks again.

    The block begins beyond the 256th instruction: smaller ints exist already.
    """
    before = "    full = hoard is None\n" * 200
    body = "    with suppress(KeyError):\n        for each in range(1 << 24):\n            hoard[each] = each"
    names: dict[str, Any] = {"suppress": suppress}
    exec(f"def hoarding(hoard):\n{before}{body}", names)  # noqa: S102 - such a long function is not written by hand
    names["hoarding"]([None] * (1 << 24))


def fail_out_of_memory(argument: None) -> None:
    raise Untold


class Untold(Exception):
    """Not even its text can be made."""

    def __str__(self) -> str:
        raise MemoryError


def fill_file(argument: None) -> None:
    Path("big").write_bytes(bytes(1 << 20))


def fill_folder(size_bytes: int) -> None:
    for number in range(1_000_000):
        progress(f"file {number}")
        Path(f"{number}").write_bytes(bytes(size_bytes))


def dig(argument: None) -> None:
    for number in range(1_000_000):
        progress(f"file {number}")
        os.mkdir("a")
        os.chdir("a")


def response(size_bytes: int) -> bytes:
    return bytes(size_bytes)


def segfault(argument: None) -> None:
    progress("the header")
    ctypes.string_at(0)


def leave(code: int) -> None:
    os._exit(code)


def reject(argument: None) -> None:
    raise ValueError("width_px must be 1 to 16384, got 0")


def fail(argument: None) -> None:
    raise KeyError("a bug")


def forge(argument: None) -> None:
    """Writes rubbish into every descriptor, as a child that was taken over might."""
    for fd in range(3, 64):
        try:
            os.write(fd, b"\xff" * 64)
        except OSError:
            continue
    os._exit(0)


def open_sockets(argument: None) -> int:
    return sum(_is_socket(fd) for fd in range(256))


def ask_twice(argument: bytes) -> bytes:
    return ask(argument) + ask(argument)


def _is_socket(fd: int) -> bool:
    try:
        socket.socket(fileno=os.dup(fd)).close()
    except OSError:
        return False
    return True
