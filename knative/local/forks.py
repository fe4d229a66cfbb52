"""The far side of nursery.py: loads the libraries of functions, then forks a process for each order.

It has one thread and opens nothing, so a fork is safe. It ends when the control socket does, with the runner.
"""

import ctypes
import gc
import importlib
import json
import os
import socket
import sys
import threading
import time
import traceback
from contextlib import suppress
from pathlib import Path
from typing import Any, Final, NoReturn

# What the runner needs as well, loaded before the nursery is forked off it: the pages are there once.
SHARED: Final = ("aiohttp.web", "msgspec", "obstore.store", "sqlite3", "uvloop")
# What functions alone need, loaded after that, beside the runner's own start.
SERVER: Final = (
    "uvicorn.lifespan.off",
    "uvicorn.loops.uvloop",
    "uvicorn.protocols.http.httptools_impl",
    "uvicorn.server",
    "zoneinfo",
)
OURS: Final = ("events", "functions", "keda", "knative")
ORDER_LIMIT_BYTES: Final = 1 << 17
PID_BYTES: Final = 32
GO: Final = b"go"
_PR_SET_CHILD_SUBREAPER: Final = 36  # linux/prctl.h


def fork_nursery(data: Path) -> tuple[int, socket.socket]:
    """Its process id and the socket for orders; this process must have one thread, and adopts what is forked there."""
    load(SHARED)
    ctypes.CDLL(None).prctl(_PR_SET_CHILD_SUBREAPER, 1)
    gc.freeze()  # the collector does not write to the pages that are shared
    near, far = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    pid = os.fork()
    if not pid:
        try:
            near.close()
            _serve(far, data)
        except BaseException:  # no further: the frames below are the runner's, with what it would tidy up
            traceback.print_exc()
        finally:
            os._exit(1)
    far.close()
    return pid, near


def load(modules: tuple[str, ...]) -> None:
    """Import what is installed of them: each function has its own libraries, and an installation may lack some."""
    for module in modules:
        with suppress(ImportError):
            importlib.import_module(module)


def _serve(control: socket.socket, data: Path) -> NoReturn:
    """Take orders until the runner is gone."""
    os.setsid()  # Ctrl-C is for the runner
    _show(f"errands nursery, data in {data}")
    # a function reads our files as they are at its own start
    for module in [name for name in sys.modules if name.partition(".")[0] in OURS]:
        del sys.modules[module]
    load(SERVER)
    gc.collect()
    gc.freeze()
    while True:
        message, fds, _, _ = socket.recv_fds(control, ORDER_LIMIT_BYTES, 1)
        if not message:
            os._exit(0)
        _fork_function(json.loads(message), fds[0], control)
        os.close(fds[0])


def _fork_function(order: dict[str, Any], output_fd: int, control: socket.socket) -> None:
    """Fork twice, so that the function becomes the runner's child; it begins when the runner has been told of it."""
    near, far = socket.socketpair()
    between = os.fork()
    if not between:
        near.close()
        if os.fork():
            os._exit(0)
        control.close()
        os.setsid()  # before anybody knows of it: its group is what is signalled
        with far:
            far.send(str(os.getpid()).encode())
            begins = far.recv(len(GO)) == GO
        if begins:
            _become(order, output_fd)
        os._exit(1)
    far.close()
    with near, suppress(BrokenPipeError):  # the runner is gone, or has killed what it has just been told of
        pid = near.recv(PID_BYTES)
        os.waitpid(between, 0)
        control.send(pid)
        near.send(GO)


def _become(order: dict[str, Any], output_fd: int) -> NoReturn:
    """Be `python -m functions.serve` with this environment; its end is the end of this process.

    As in a child of multiprocessing, threads are waited for, and what `errands up` registered with atexit is not run.
    """
    code: object = 1
    try:
        _direct(output_fd)
        _show(f"errands function {order['name']}, data in {order['data']}")
        os.environ.clear()
        os.environ.update(order["environment"])
        time.tzset()
        os.chdir(order["root"])
        sys.argv, sys.path[0] = ["functions.serve"], order["root"]
        importlib.import_module("functions.serve").main()
        code = 0
    except SystemExit as end:
        code = end.code
        if isinstance(code, str):
            sys.stderr.write(code + "\n")
    except BaseException:  # as an interpreter does, and no further
        traceback.print_exc()
    finally:
        threading._shutdown()  # type: ignore[attr-defined]  # the interpreter's own first step at its end
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code if isinstance(code, int) else int(code is not None))


def _direct(output_fd: int) -> None:
    """Standard output and error into the runner's pipe, nothing to read."""
    nothing = os.open(os.devnull, os.O_RDONLY)
    for source, target in ((nothing, 0), (output_fd, 1), (output_fd, 2)):
        os.dup2(source, target)
    os.close(nothing)
    os.close(output_fd)


def _show(title: str) -> None:
    """What ps and /proc show, in place of the command line and the environment of `errands up`, which lie there."""
    stat = Path("/proc/self/stat").read_text().rpartition(")")[2].split()
    arguments, _, _, environment_end = map(int, stat[45:49])  # fields 48 to 51 of proc_pid_stat(5)
    shown = title.encode()[: environment_end - arguments - 1]
    ctypes.memset(arguments, 0, environment_end - arguments)
    ctypes.memmove(arguments, shown, len(shown))
