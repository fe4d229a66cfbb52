"""What a function's process and the child of its sandbox say to each other: structs as MessagePack, in frames.

Nothing here is pickle, and each frame has a limit: a child that was taken over cannot run code on the other side.
"""

import socket
import struct
from dataclasses import dataclass
from typing import Final

FRAME: Final = struct.Struct("!cQ")  # kind, size_bytes
PROGRESS, RESULT, FAILURE, QUESTION, RESPONSE = b"p", b"r", b"f", b"q", b"w"
PROGRESS_LIMIT_BYTES, FAILURE_LIMIT_BYTES = 1024, 65_536


@dataclass(frozen=True, kw_only=True)
class ResourceLimits:
    """What one job may use. `cpu_s` counts whole seconds of processor time, `file_bytes` each file by itself, and
    `folder_bytes` all that have a name in the job's folder; work that writes none has 0 of `file_bytes`.

    `memory_bytes` is what a job may map *beyond* the libraries that are loaded when it begins: a plain total would have
    to be guessed anew for each library, since WeasyPrint maps hundreds of megabytes before it does anything.
    """

    timeout_s: float = 60.0
    cpu_s: int = 30
    memory_bytes: int = 1 << 30
    result_limit_bytes: int = 64 << 20
    file_bytes: int = 256 << 20
    folder_bytes: int = 512 << 20
    open_files: int = 256


@dataclass(frozen=True)
class WorkRequest:
    """`work` is "package.module:function"; `directory` an empty one of the job's own; `walled`: behind walls.py."""

    work: str
    limits: ResourceLimits
    directory: str
    walled: bool


@dataclass(frozen=True)
class WorkError:
    """What the work raised; `kind` is "value", "memory", "output" or "bug"."""

    kind: str
    message: str
    failure_report: str


@dataclass(frozen=True)
class ExitStatus:
    """How a child ended; `code` is its exit code, negative for a signal.

    `killed_for`: the limit for which the fork server killed it, "time", "memory" or "folder", or "".
    """

    code: int
    killed_for: str
    cpu_s: float


def send_frame(data: socket.socket, kind: bytes, content: bytes) -> None:
    """Raises OSError when nobody is there."""
    data.sendall(FRAME.pack(kind, len(content)))
    data.sendall(content)


def receive_exactly(data: socket.socket, size_bytes: int) -> bytearray:
    """Exactly that many bytes; EOFError when the other side ends before."""
    buffer = bytearray(size_bytes)
    view, done = memoryview(buffer), 0
    while done < size_bytes:
        count = data.recv_into(view[done:])
        if not count:
            raise EOFError(f"expected {size_bytes} bytes, got {done}")
        done += count
    return buffer
