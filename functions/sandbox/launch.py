"""Starts the zygote of a sandbox, with little imported: a server does it before its own imports.

The libraries of a function's first job load beside the server then, on another core. functions/sandbox/sandbox.py,
which has the zygote do its work, takes 30 ms to import, and the zygote imports the same once more (2026-11-27).
"""

import os
import socket
import subprocess
import sys
from collections.abc import Mapping

# Not `-m functions.sandbox.zygote`, which would execute that file twice: 5 ms. No collector, a tenth of the imports'
# time.
_COMMAND = (
    "import gc, sys; gc.disable(); from functions.sandbox.zygote import main; main(int(sys.argv[1]), sys.argv[2:])"
)
_PASSED_ON = ("PATH", "LANG", "LC_ALL", "TZ", "TMPDIR")

Started = tuple[subprocess.Popen[bytes], socket.socket, int]
"""The process, the socket that takes its orders (it ends when that is closed), and a pidfd."""

_early: dict[tuple[str, ...], Started] = {}


def start(preload: tuple[str, ...], env: Mapping[str, str]) -> Started:
    """A clean interpreter in a session of its own, with a scrubbed environment and `env`."""
    near, far = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with far:
        process = subprocess.Popen(
            [sys.executable, "-P", "-c", _COMMAND, str(far.fileno()), *preload],
            env=_environment(env),
            pass_fds=[far.fileno()],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            start_new_session=True,
        )
    return process, near, os.pidfd_open(process.pid)


def start_early(preload: tuple[str, ...]) -> None:
    """Start the zygote of a Sandbox with this `preload` to come, which may be made in a fork of this process."""
    _early[preload] = start(preload, {})


def started_early(preload: tuple[str, ...]) -> Started | None:
    """For the first that asks."""
    return _early.pop(preload, None)


def _environment(extra: Mapping[str, str]) -> dict[str, str]:
    passed_on = {name: os.environ[name] for name in _PASSED_ON if name in os.environ}
    root = os.path.abspath(f"{__file__}/../../..")
    python_path = os.pathsep.join(filter(None, [os.environ.get("PYTHONPATH"), root]))
    home = os.environ.get("TMPDIR", "/tmp")  # noqa: S108  # no file of ours, and `tempfile` takes 4 ms to import
    return {**passed_on, "HOME": home, "PYTHONPATH": python_path, **extra}
