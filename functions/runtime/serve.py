"""Starts one function, with JSON logs and a stop that waits for the job in flight.

    python -m functions.runtime.serve     # FUNCTION_SOURCE, FUNCTION_TARGET, PORT, HOST, THREADS as functions-framework

functions-framework loads the function and routes to it; uvicorn serves it (server.py), in this one process: where the
kernel kills it, the runner or the cluster starts another. A function of another making is left to functions-framework's
own command, which takes the place of this process.
"""

import gc
import importlib
import logging
import os
import signal
import sys
from types import ModuleType
from typing import Final, NoReturn

PR_SET_PDEATHSIG: Final = 1  # linux/prctl.h


def main() -> None:
    """Serve until SIGTERM."""
    gc.disable()  # while all of it is loaded: a tenth of that time
    if preload := os.environ.get("SANDBOX_PRELOAD"):  # before our own imports, which take as long as its
        from functions.sandbox.launch import start_early

        start_early(tuple(preload.split(",")))
    from functions.runtime import attempt_notes, failure_reports, loader, logs, threads
    from functions.runtime.adapter import tell_failures

    logs.configure()
    if "ERRANDS_RUNNER_PID" in os.environ:
        stop_with(int(os.environ["ERRANDS_RUNNER_PID"]))
    for each in (failure_reports.from_environment(), attempt_notes.from_environment()):
        if each is not None:
            tell_failures(each)
    source, name = os.environ.get("FUNCTION_SOURCE", "main.py"), os.environ.get("FUNCTION_TARGET", "")
    host, port = os.environ.get("HOST", "0.0.0.0"), int(os.environ.get("PORT", "8080"))  # noqa: S104  # in a container
    try:
        application, function = loader.load(source, name)
    except loader.ForeignTarget as error:
        logging.getLogger("errands.function").info("functions-framework's own command runs it: %s", error)
        become_framework_command(source, name, host, port)
    threads.pool()
    server = load_server()
    gc.freeze()
    gc.enable()
    server.serve(application, function, host, port, secret=os.environ.get("ERRANDS_INVOKER_SECRET", ""))


def become_framework_command(source: str, name: str, host: str, port: int) -> NoReturn:
    """Be `functions-framework --target NAME --source SOURCE`, which executes the file anew, from its first line on."""
    where = ("--target", name, "--source", source, "--host", host, "--port", str(port))
    os.execv(sys.executable, [sys.executable, "-m", "functions_framework", *where])  # noqa: S606  # no shell is wanted


def leave_out_command_line() -> None:
    """Have uvicorn, which is imported next, come without its command line.

    The first lines of its package import that, with click, a reloader and multiprocessing: two fifths of the import.
    Nobody calls it here.
    """
    command_line = ModuleType("uvicorn.main")
    setattr(command_line, "__getattr__", lambda name: None)  # noqa: B010  # PEP 562: it has whatever is asked for
    sys.modules.setdefault(command_line.__name__, command_line)


def load_server() -> ModuleType:
    """`functions.runtime.server`, and with it uvicorn."""
    leave_out_command_line()
    return importlib.import_module("functions.runtime.server")


def stop_with(parent_pid: int) -> None:
    """Have the kernel send SIGTERM here when the parent (the local runner) dies, however it dies."""
    import ctypes

    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGTERM)
    if os.getppid() != parent_pid:  # it died before
        raise SystemExit("the process that started this function is gone")


if __name__ == "__main__":
    main()
