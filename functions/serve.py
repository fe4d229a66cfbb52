"""Starts one function: functions-framework, with JSON logs and a stop that waits for the job in flight.

    python -m functions.serve     # FUNCTION_SOURCE, FUNCTION_TARGET, PORT and HOST as functions-framework reads them

functions-framework's own command gives gunicorn 30 s to stop, which cuts a long report off, and closes an idle
connection after 2 s, which races with the broker's next delivery; neither can be set from outside.
"""

import gc
import os
import signal
from typing import Final

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
    gc.disable()  # while all of it is loaded: a tenth of that time
    if preload := os.environ.get("SANDBOX_PRELOAD"):  # before our own imports, which take as long as its
        from functions.sandbox import start_early

        start_early(tuple(preload.split(",")))
    from events import log
    from events.function import tell_failures
    from functions import evidence

    log.configure()
    if "ERRANDS_RUNNER_PID" in os.environ:
        stop_with(int(os.environ["ERRANDS_RUNNER_PID"]))
    handover = evidence.from_environment()
    if handover is not None:
        tell_failures(handover)
    # after the logging is set up, since they log while they load
    from functions_framework import create_app
    from functions_framework._http import create_server

    app = create_app(os.environ.get("FUNCTION_TARGET"), os.environ.get("FUNCTION_SOURCE"))  # type: ignore[no-untyped-call]
    host, port = os.environ.get("HOST", "0.0.0.0"), os.environ.get("PORT", "8080")  # noqa: S104  # inside a container
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
    gc.freeze()
    gc.enable()
    server.run(host, port)


def stop_with(parent_pid: int) -> None:
    """Have the kernel send SIGTERM here when the parent (the local runner; gunicorn's master) dies, however it dies."""
    import ctypes

    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGTERM)
    if os.getppid() != parent_pid:  # it died before
        raise SystemExit("the process that started this function is gone")


if __name__ == "__main__":
    main()
