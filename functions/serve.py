"""Starts one function: functions-framework loads it, with JSON logs and a stop that waits for the job in flight.

    python -m functions.serve     # FUNCTION_SOURCE, FUNCTION_TARGET, PORT, HOST, THREADS as functions-framework

A target of the contract's adapter is served by uvicorn (`events.asgi`), in this one process: where the kernel kills it,
the runner or the cluster starts another. Any other target, such as the page of the dead letters, is served by
functions-framework, but with settings of our own: its command gives gunicorn 30 s to stop, which cuts a long report
off, and closes an idle connection after 2 s, which races with the broker's next delivery. Below the local runner it
runs without gunicorn's arbiter, which does nothing there that the runner does not do itself, and is a second process.
"""

import contextlib
import gc
import os
import signal
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from events import log
from events.asgi import Application, is_target
from events.function import tell_failures
from functions import evidence

if TYPE_CHECKING:  # it logs while it loads
    from gunicorn.app.base import BaseApplication  # type: ignore[import-untyped]  # it comes without types

# At least a Service's timeoutSeconds: Kubernetes ends the wait itself (terminationGracePeriodSeconds).
STOP_TIMEOUT_S: Final = 600
# Longer than a dispatcher keeps an idle connection (90 s in Go's http.Transport), so that the client closes first.
KEEP_ALIVE_S: Final = 120
# gunicorn answers a longer header, or more of them, with a 4xx, and the broker drops the event: let it come to the
# adapter, which answers 500. What comes from RabbitMQ has all its attributes in one frame of 128 KiB.
HEADER_LIMIT_BYTES: Final = 131_072
HEADER_LIMIT_COUNT: Final = 1_000

PR_SET_PDEATHSIG: Final = 1  # linux/prctl.h


def main() -> None:
    """Serve until SIGTERM."""
    log.configure()
    if "ERRANDS_RUNNER_PID" in os.environ:
        stop_with(int(os.environ["ERRANDS_RUNNER_PID"]))
    if preload := os.environ.get("SANDBOX_PRELOAD"):  # beside our own imports, which take as long as its
        from functions.sandbox import start_early

        start_early(tuple(preload.split(",")))
    handover = evidence.from_environment()
    if handover is not None:
        tell_failures(handover)
    from functions_framework import create_app  # after the logging is set up, since it logs while it loads

    source, target = os.environ.get("FUNCTION_SOURCE", "main.py"), os.environ.get("FUNCTION_TARGET", "")
    app = create_app(target, source)  # type: ignore[no-untyped-call]
    gc.collect()
    gc.freeze()  # what is loaded by now stays
    # functions-framework names the module by its file (_function_registry.load_function_module)
    function = getattr(sys.modules[Path(source).stem], target)
    host, port = os.environ.get("HOST", "0.0.0.0"), int(os.environ.get("PORT", "8080"))  # noqa: S104  # in a container
    if is_target(function):
        threads = int(os.environ.get("THREADS", (os.cpu_count() or 1) * 4))
        serve(Application(function, threads=threads), host, port)
    else:
        serve_by_framework(app, host, port)


def serve(application: Application, host: str, port: int) -> None:
    """Until SIGTERM, which lets the jobs in flight end."""
    import uvicorn

    class Server(uvicorn.Server):
        @contextlib.contextmanager
        def capture_signals(self) -> Iterator[None]:
            """As uvicorn's, which in the end dies of the signal: a stop that was asked for is no failure."""
            for number in (signal.SIGTERM, signal.SIGINT):
                signal.signal(number, self.handle_exit)
            yield

    config = uvicorn.Config(
        application,
        host=host,
        port=port,
        http="httptools",
        ws="none",
        lifespan="off",
        interface="asgi3",
        log_config=None,
        log_level="warning",
        access_log=False,
        server_header=False,
        timeout_keep_alive=KEEP_ALIVE_S,
        timeout_graceful_shutdown=STOP_TIMEOUT_S,
    )
    Server(config).run()


def serve_by_framework(app: Any, host: str, port: int) -> None:
    """As `serve`, by the server that functions-framework has for the app."""
    from functions_framework._http import create_server

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
