"""The runner's fork server itself: loads the libraries of functions, then forks a process for each request.

It has one thread and opens nothing, so a fork is safe. It ends when the control socket does, with the runner.

What it has loaded of our own files, a function takes over only while all of them are as they were loaded; otherwise it
reads them as they are then.
"""

import ctypes
import gc
import importlib
import os
import socket
import sys
import threading
import time
import traceback
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from itertools import chain
from pathlib import Path
from types import ModuleType
from typing import Final, NoReturn

import msgspec

from functions.runtime.serve import leave_out_command_line
from functions.sandbox import fork_server

# What the runner needs as well, loaded before the fork server is forked off it: the pages are there once.
SHARED: Final = ("msgspec", "sqlite3", "uvloop")
# Of our own files: what the runner and every function need. functions.storage.store is not among them: what runs at
# rest, the runner and the dead letters, needs it when something fails, and obstore would be in the memory of each.
BASE: Final = (
    "functions.runtime.asgi",
    "functions.runtime.loader",
    "functions.runtime.failure_reports",
    "functions.runtime.server",
    "functions.runtime.settings",
)
# What functions alone need, loaded after the fork, beside the runner's own start; of our own what runs at rest, the
# gateway, the dead letters' sink and console.
SERVER: Final = (
    "functions.runtime.framework",
    *("encodings.idna", "uvicorn.lifespan.off", "uvicorn.loops.uvloop", "zoneinfo"),
    *(f"functions.deadletters.service.{each}" for each in ("maintenance", "operators", "outbox")),
    "functions.deadletters.replay.workers",
    *(f"functions.gateway.{each}" for each in ("admission", "gateway", "http")),
)
FUNCTIONS: Final = ("events", "functions")
RUNNER: Final = ("keda", "knative")
OURS: Final = (*FUNCTIONS, *RUNNER)
PID_BYTES: Final = 32
LISTENING: Final = "GATEWAY_SOCKET"  # names the descriptor of a socket that a function inherits
GO: Final = b"go"


class FunctionRequest(msgspec.Struct, frozen=True):
    """A function's process: its name and data folder for ps, its environment, the folder that it works in."""

    name: str
    data: str
    environment: dict[str, str]
    root: str


def start(data: Path) -> tuple[int, socket.socket]:
    """Its process id and the socket for requests; this process must have one thread, and adopts what is forked."""
    leave_out_command_line()
    load(SHARED + BASE)
    began_ns, runners = _began_ns(), _ours(RUNNER)
    fork_server.adopt_orphans()
    fork_server.share_memory()
    return fork_server.fork(lambda control: _serve(control, data, began_ns, runners))


def load(modules: tuple[str, ...]) -> None:
    """Import what is installed of them: each function has its own libraries, and an installation may lack some."""
    for module in modules:
        with suppress(ImportError):
            importlib.import_module(module)


def _serve(control: socket.socket, data: Path, began_ns: int, runners: list[str]) -> NoReturn:
    """Take requests until the runner is gone."""
    os.setsid()  # Ctrl-C is for the runner
    _show(f"errands fork server, data in {data}")
    _forget(runners)
    load(SERVER)
    files = versions()
    if any(version is None or version[0] >= began_ns for version in files.values()):
        _forget(_ours(OURS))  # changed while they were loaded: nobody knows which version that was
        files = {}
    gc.collect()
    fork_server.share_memory()
    while received := fork_server.receive(control, FunctionRequest):
        request, descriptors = received
        _fork_function(request, descriptors, control, files)
        for each in descriptors:
            os.close(each)
    os._exit(0)


Versions = dict[str, tuple[int, int, int] | None]  # of files: when written, how long, and which


def versions() -> Versions:
    """Our files that functions have of here, as they are now; None for one that is gone."""
    loaded = chain.from_iterable(_loaded(sys.modules[package]) for package in FUNCTIONS)
    return {module.__file__: _version(module.__file__) for module in loaded if module.__file__}


def _version(file: str) -> tuple[int, int, int] | None:
    try:
        found = os.stat(file)
    except OSError:
        return None
    return found.st_mtime_ns, found.st_size, found.st_ino


def _loaded(module: ModuleType) -> Iterator[ModuleType]:
    """A module and those below it; to look through all of `sys.modules` writes to the pages of each, which is 1 MB."""
    yield module
    for each in list(vars(module).values()):
        if isinstance(each, ModuleType) and each.__name__.startswith(f"{module.__name__}."):
            yield from _loaded(each)


def _ours(packages: tuple[str, ...]) -> list[str]:
    return [name for name in sys.modules if name.partition(".")[0] in packages]


def _forget(names: Iterable[str]) -> None:
    """They will be read anew by whoever imports them."""
    for name in names:
        del sys.modules[name]


def _are_of(root: str) -> bool:
    """Whether it is these packages that a function in the folder `root` imports."""
    for package in FUNCTIONS:
        near, loaded = Path(root, package), sys.modules[package].__file__
        if near.exists() and not (loaded and near.samefile(Path(loaded).parent)):
            return False
    return True


def _began_ns() -> int:
    """When this process did, in the time of files."""
    ticks = int(Path("/proc/self/stat").read_text().rpartition(")")[2].split()[19])  # field 22 of proc_pid_stat(5)
    age_s = time.clock_gettime(time.CLOCK_BOOTTIME) - ticks / os.sysconf("SC_CLK_TCK")
    return time.time_ns() - int(age_s * 1e9)


def _fork_function(
    request: FunctionRequest, descriptors: Sequence[int], control: socket.socket, files: Versions
) -> None:
    """Fork twice, so that the function becomes the runner's child; it begins when the runner has been told of it."""

    def be_between(far: socket.socket) -> None:
        if os.fork():
            os._exit(0)
        control.close()
        os.setsid()  # before anybody knows of it: its group is what is signalled
        with far:
            far.send(str(os.getpid()).encode())
            begins = far.recv(len(GO)) == GO
        if begins:
            _become(request, descriptors, files)

    between, near = fork_server.fork(be_between)
    with near, suppress(BrokenPipeError):  # the runner is gone, or has killed what it has just been told of
        pid = near.recv(PID_BYTES)
        os.waitpid(between, 0)
        control.send(pid)
        near.send(GO)


def _become(request: FunctionRequest, descriptors: Sequence[int], files: Versions) -> NoReturn:
    """Be `python -m functions.runtime.serve` with this environment; its end is the end of this process.

    As in a child of multiprocessing, threads are waited for, and what `errands up` registered with atexit is not run.
    """
    code: object = 1
    try:
        output_fd, *listening = descriptors
        _direct(output_fd)
        _show(f"errands function {request.name}, data in {request.data}")
        os.environ.clear()
        for name, value in request.environment.items():
            os.environ[name] = value
        if listening:
            os.environ[LISTENING] = str(listening[0])
        time.tzset()
        os.chdir(request.root)
        unchanged = files and all(_version(file) == version for file, version in files.items())
        if not unchanged or not _are_of(request.root):
            _forget(_ours(OURS))
        sys.argv, sys.path[0] = ["functions.runtime.serve"], request.root
        importlib.import_module("functions.runtime.serve").main()
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
