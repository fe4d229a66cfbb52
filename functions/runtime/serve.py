"""Starts one function, with JSON logs and a stop that waits for the job in flight.

    python -m functions.runtime.serve     # FUNCTION_SOURCE, FUNCTION_TARGET, PORT, HOST, THREADS as functions-framework

A target of the contract's adapter is loaded here and served by uvicorn (`functions.runtime.asgi`), in this one
process: where the kernel kills it, the runner or the cluster starts another. functions-framework, and with it Flask,
is not loaded for it, which was 65 of the 150 ms of a start and 6 MB of each process (2026-11-27).

Any other target is served by functions-framework, but with settings of our own: its command gives gunicorn 30 s to
stop, which cuts a long job off, and closes an idle connection after 2 s, which races with the broker's next delivery.
Below the local runner it runs without gunicorn's arbiter, which does nothing there that the runner does not do itself,
and is a second process.
"""

import gc
import importlib
import os
import re
import signal
import sys
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from gunicorn.app.base import BaseApplication  # type: ignore[import-untyped]  # it comes without types

FRAMEWORK: Final = re.compile(rb"^(?:import|from)\s+(?:flask|functions_framework)\b", re.MULTILINE)

# gunicorn answers a longer header, or more of them, with a 4xx, and the broker drops the event: let it come to the
# adapter, which answers 500. What comes from RabbitMQ has all its attributes in one frame of 128 KiB.
HEADER_LIMIT_BYTES: Final = 131_072
HEADER_LIMIT_COUNT: Final = 1_000

PR_SET_PDEATHSIG: Final = 1  # linux/prctl.h


def main() -> None:
    """Serve until SIGTERM."""
    gc.disable()  # while all of it is loaded: a tenth of that time
    if preload := os.environ.get("SANDBOX_PRELOAD"):  # before our own imports, which take as long as its
        from functions.sandbox.launch import start_early

        start_early(tuple(preload.split(",")))
    from functions.runtime import failure_reports, loader, logs
    from functions.runtime.adapter import tell_failures
    from functions.runtime.asgi import Application, is_target

    logs.configure()
    if "ERRANDS_RUNNER_PID" in os.environ:
        stop_with(int(os.environ["ERRANDS_RUNNER_PID"]))
    writer = failure_reports.from_environment()
    if writer is not None:
        tell_failures(writer)
    source, name = os.environ.get("FUNCTION_SOURCE", "main.py"), os.environ.get("FUNCTION_TARGET", "")
    if is_for_framework(source):
        app = load_by_framework(source, name)
        function = getattr(sys.modules[Path(source).stem], name)
    else:
        app, function = None, loader.load(source, name)
    host, port = os.environ.get("HOST", "0.0.0.0"), int(os.environ.get("PORT", "8080"))  # noqa: S104  # in a container
    gc.freeze()
    gc.enable()
    if is_target(function):
        threads = int(os.environ.get("THREADS", (os.cpu_count() or 1) * 4))
        load_server().serve(Application(function, threads=threads), host, port)
    else:
        serve_by_framework(app or load_by_framework(source, name, sys.modules[Path(source).stem]), host, port)


def is_for_framework(source: str) -> bool:
    """Whether a file asks for functions-framework while it is executed, which needs its application around it then.

    Its decorator `errorhandler` is without effect otherwise, and Flask's `current_app` fails.
    """
    return Path(source).is_file() and bool(FRAMEWORK.search(Path(source).read_bytes()))


def load_by_framework(source: str, name: str, module: ModuleType | None = None) -> Any:
    """functions-framework's application for a target; it would execute a second time what is a `module` by now."""
    from functions_framework import _function_registry, create_app

    if module is not None:
        loaded = SimpleNamespace(loader=SimpleNamespace(exec_module=lambda _: None))
        _function_registry.load_function_module = lambda _: (module, loaded)
    return create_app(name, source)  # type: ignore[no-untyped-call]


def leave_out_command_line() -> None:
    """Have uvicorn, which is imported next, come without its command line.

    The first lines of its package import that, with click, a reloader and multiprocessing: 12 of 28 ms, and 2 MB.
    Nobody calls it here.
    """
    command_line = ModuleType("uvicorn.main")
    setattr(command_line, "__getattr__", lambda name: None)  # noqa: B010  # PEP 562: it has whatever is asked for
    sys.modules.setdefault(command_line.__name__, command_line)


def load_server() -> ModuleType:
    """`functions.runtime.server`, and with it uvicorn."""
    leave_out_command_line()
    return importlib.import_module("functions.runtime.server")


def serve_by_framework(app: Any, host: str, port: int) -> None:
    """Serve until SIGTERM, by the server that functions-framework has for the app."""
    from functions_framework._http import create_server

    from functions.runtime.server import KEEP_ALIVE_S, STOP_TIMEOUT_S

    server = create_server(  # type: ignore[no-untyped-call]
        app,
        False,
        graceful_timeout=STOP_TIMEOUT_S,
        keepalive=KEEP_ALIVE_S,
        limit_request_field_size=HEADER_LIMIT_BYTES,
        limit_request_fields=HEADER_LIMIT_COUNT,
        # uvicorn's worker does not notice that its master was killed, and would serve on by itself
        post_fork=lambda master, _worker: stop_with(master.pid),
    )
    application = server.server_class(app, host, port, False, **server.options)
    if "ERRANDS_RUNNER_PID" in os.environ and application.cfg.workers == 1:
        work(application)
    else:
        application.run()


def work(application: "BaseApplication") -> None:
    """Be the one worker oneself, as gunicorn's arbiter has its child be (Arbiter.spawn_worker), until SIGTERM."""
    from gunicorn.sock import create_sockets  # type: ignore[import-untyped]  # as above

    cfg = application.cfg
    logger = cfg.logger_class(cfg)
    worker = cfg.worker_class(1, os.getppid(), create_sockets(cfg, logger), application, cfg.timeout, cfg, logger)
    worker.pid = os.getpid()
    worker.init_process()


def stop_with(parent_pid: int) -> None:
    """Have the kernel send SIGTERM here when the parent (the local runner; gunicorn's master) dies, however it dies."""
    import ctypes

    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGTERM)
    if os.getppid() != parent_pid:  # it died before
        raise SystemExit("the process that started this function is gone")


if __name__ == "__main__":
    main()
