"""Starts the fork server of a sandbox, with little imported: a server does it before its own imports.

The libraries of a function's first job load beside the server then, on another core. functions/sandbox/sandbox.py,
which has the fork server do its work, imports much that the fork server imports once more.
"""

import os
import socket
import subprocess
import sys
from collections.abc import Mapping

# Not `-m functions.sandbox.jobs`, which would execute that file twice. No collector, a tenth of the imports' time.
_COMMAND = "import gc, sys; gc.disable(); from functions.sandbox.jobs import main; main(int(sys.argv[1]), sys.argv[2:])"
_PASSED_ON = ("PATH", "LANG", "LC_ALL", "TZ", "TMPDIR")

Started = tuple[subprocess.Popen[bytes], socket.socket, int]
"""The process, the socket that takes its requests (it ends when that is closed), and a pidfd."""

_early: dict[tuple[str, ...], Started] = {}


def start(preload: tuple[str, ...], env: Mapping[str, str]) -> Started:
    """A clean interpreter in a session of its own, with a scrubbed environment and `env`."""
    near, far = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)  # as fork_server.channel
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
    """Start the fork server of a Sandbox with this `preload` to come, which may be made in a fork of this process."""
    _early[preload] = start(preload, {})


def started_early(preload: tuple[str, ...]) -> Started | None:
    """For the first that asks."""
    return _early.pop(preload, None)


def _environment(extra: Mapping[str, str]) -> dict[str, str]:
    passed_on = {name: os.environ[name] for name in _PASSED_ON if name in os.environ}
    root = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
    python_path = os.pathsep.join(filter(None, [os.environ.get("PYTHONPATH"), root]))
    home = os.environ.get("TMPDIR", "/tmp")  # noqa: S108  # no file of ours, and `tempfile` takes long to import
    return {**passed_on, "HOME": home, "PYTHONPATH": python_path, **extra}
