"""Free ports that no other test of this machine is given, whichever worker or checkout it runs in."""

import itertools
import socket
from collections.abc import Iterator
from typing import Final

FIRST, LAST, BLOCK = 10_240, 32_704, 64
"""Below those that the kernel gives to whoever connects or binds port 0 (ip_local_port_range begins at 32768)."""

_held: Final[list[socket.socket]] = []


def free_port() -> int:
    """A port that nobody listens on; it is given once in this process."""
    return next(_ports)


def _free() -> Iterator[int]:
    for port in itertools.chain.from_iterable(range(start, start + BLOCK) for start in _reserved()):
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # what closed a moment ago is free
            try:
                probe.bind(("", port))
            except OSError:
                continue
        yield port


def _reserved() -> Iterator[int]:
    """Where blocks of ports begin that are this process's own: each holds a name that only one process can."""
    for start in range(FIRST, LAST, BLOCK):
        name = socket.socket(socket.AF_UNIX)
        try:
            name.bind(f"\0errands-test-ports-{start}")
        except OSError:
            name.close()
            continue
        _held.append(name)
        yield start
    raise RuntimeError(f"every port from {FIRST} to {LAST} is another test's")


_ports: Final = _free()
