"""How long the runner is up: until it is told to stop, a command beside it has ended, or it cannot go on."""

import asyncio
import contextlib
import logging
import os
import signal
from collections.abc import Callable, Coroutine, Sequence
from typing import Any, Final, TypeVar

from knative.local.background import Background
from knative.local.exceptions import CannotStart, RunnerFailed
from knative.local.process.fork_server import ForkServer
from knative.local.process.reload import changed, lint
from knative.local.runner import Options, check, running

log = logging.getLogger("errands.runner")

T = TypeVar("T")

FAILED_STOP_S: Final = 15.0  # for the end of a runner that cannot go on
EXIT_FAILED: Final = 70  # EX_SOFTWARE of sysexits.h


async def serve_until_stopped(
    options: Options, announce: Callable[[str], None], fork_server: ForkServer | None
) -> bool:
    """Run until SIGTERM or SIGINT, then drain; a second signal ends at once. `announce` is told the ingress' URL.

    Whether it is to be started again: where it reloads, once its manifests have changed.
    """
    stop, is_up = asyncio.Event(), asyncio.Event()

    async def serve() -> None:
        background = Background()
        async with running(options, fork_server, background) as url:
            is_up.set()
            announce(url)
            await _first(background, _stopped(stop, options))
            log.info("stopping: no new events; those in flight are finished")

    serving = asyncio.ensure_future(serve())

    def on_signal() -> None:
        if stop.is_set():
            os._exit(130)  # what is in flight is delivered again after the next start
        stop.set()
        if not is_up.is_set():
            serving.cancel()  # it may wait for a broker

    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, on_signal)
    with contextlib.suppress(asyncio.CancelledError):
        await serving
    return not stop.is_set() and is_up.is_set()


async def _stopped(stop: asyncio.Event, options: Options) -> None:
    """Until there is a reason to stop."""
    work: list[Coroutine[Any, Any, object]] = [stop.wait()]
    if options.reload:
        work.append(changed(options.manifests, lambda: _runnable(options)))
    reasons = [asyncio.ensure_future(each) for each in work]
    try:
        done, _ = await asyncio.wait(reasons, return_when=asyncio.FIRST_COMPLETED)
        for each in done:
            each.result()
    finally:
        for each in reasons:
            each.cancel()


async def _runnable(options: Options) -> None:
    """Raise CannotStart or ManifestError where what is declared now could not be started."""
    check(options)
    if options.lint:
        await lint(options.manifests)


async def _first(background: Background, work: Coroutine[Any, Any, T]) -> T:
    """What the work gives; raise RunnerFailed as soon as the runner cannot go on."""
    failed, working = asyncio.ensure_future(background.failed()), asyncio.ensure_future(work)
    try:
        await asyncio.wait((failed, working), return_when=asyncio.FIRST_COMPLETED)
        if failed.done():
            # what is in flight can hold the end for as long as a function works, and cannot be settled
            asyncio.get_running_loop().call_later(FAILED_STOP_S, os._exit, EXIT_FAILED)
            raise RunnerFailed(failed.result())
        return working.result()
    finally:
        failed.cancel()
        working.cancel()


async def run_command(options: Options, command: Sequence[str], fork_server: ForkServer | None) -> int:
    """Run a command beside everything; returns its exit code."""
    background = Background()
    async with running(options, fork_server, background) as url:
        secret = (options.data / "secrets" / "callback" / "secrets").read_text().strip()
        environment = {**os.environ, "K_SINK": url, "ERRANDS_WEBHOOK_SECRET": secret}
        try:
            child = await asyncio.create_subprocess_exec(*command, env=environment)
        except OSError as error:
            raise CannotStart(f"{command[0]} cannot be run: {error.strerror}") from error

        def pass_on(number: signal.Signals) -> None:
            with contextlib.suppress(ProcessLookupError):  # it has ended
                child.send_signal(number)

        for each in (signal.SIGTERM, signal.SIGINT):
            asyncio.get_running_loop().add_signal_handler(each, pass_on, each)
        try:
            return await _first(background, child.wait())
        except RunnerFailed:
            pass_on(signal.SIGTERM)
            raise
