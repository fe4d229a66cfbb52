"""What tests/functions/sandbox/test_sandbox.py runs in a child: each function is one way to behave, good or bad."""

import ctypes
import os
import signal
import socket
import subprocess
import time
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


def environment_of(pid: int) -> bytes:
    return Path(f"/proc/{pid}/environ").read_bytes()


def kill(pid: int) -> None:
    os.kill(pid, signal.SIGTERM)


def loop(marker: str) -> None:
    progress(marker)
    while True:
        pass


def loop_deaf(argument: None) -> None:
    signal.signal(signal.SIGXCPU, signal.SIG_IGN)
    loop("")


def wait(path: str) -> str:
    """Until the file exists; makes path + ".started" first."""
    Path(path + ".started").touch()
    progress("the first page")
    progress("page 212")
    while not Path(path).exists():
        time.sleep(0.005)
    return "done"


def wait_with_a_stray(path: str) -> None:
    """Leaves a grandchild in a session of its own, whose id is in path + ".stray"."""
    stray = subprocess.Popen(["sleep", "600"], start_new_session=True)
    Path(path + ".stray").write_text(str(stray.pid))


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
