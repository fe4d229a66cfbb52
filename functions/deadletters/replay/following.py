"""Sees a replay through for the command line: sends it from here, or watches it where the dead letters are."""

import signal
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Final

import typer

from functions.deadletters.cli import terminal
from functions.deadletters.cli.options import UNAVAILABLE, ConsoleConnection, stop
from functions.deadletters.cli.terminal import plain
from functions.deadletters.service import commands
from functions.deadletters.service.results import Run
from functions.runtime.running import Running, find
from functions.storage.database import StorageUnavailable

NOT_ALL: Final = 1  # the exit code of what was done in part
POLL_S: Final = 0.5


def follow(console: ConsoleConnection, run: Run, ingress: Running, as_json: bool) -> None:
    """See a replay through: sent from here, where the dead letters are here; Ctrl-C cancels it."""

    def told(run: Run) -> None:
        terminal.show_as(run, terminal.run_line, as_json=as_json)
        sys.stdout.flush()

    with _cancelling(console, run):
        if console.database is not None:
            _send(console, run, ingress, told)
        else:
            _poll(console, run, told)
    ended = console.ask(commands.Progress(replay=run.id), Run)
    for dead_letter, reason in ended.refusals.items():
        typer.echo(plain(f"dead letter {dead_letter}: {reason}"), err=True)
    if ended.state != "done" or ended.refused or ended.passed:
        sys.exit(NOT_ALL)


def _send(console: ConsoleConnection, run: Run, ingress: Running, told: Callable[[Run], None]) -> None:
    from functions.deadletters.replay.engine import (
        Engine,  # with what it sends by, which no other command need wait for
    )
    from functions.deadletters.replay.sending import BrokerIngress

    assert console.database is not None  # noqa: S101  # the caller's condition
    broker = BrokerIngress(ingress.url, ingress.token, outside=ingress != find(console.data))
    try:
        Engine(console.database, broker, stop=threading.Event()).run(run.id, told)
    except StorageUnavailable as error:
        stop(f"replay {run.id} is interrupted: {error}; go on with: errands dead resume {run.id}", code=UNAVAILABLE)


def _poll(console: ConsoleConnection, run: Run, told: Callable[[Run], None]) -> None:
    waiting = threading.Event()
    while run.state == "running":
        waiting.wait(POLL_S)
        run = console.ask(commands.Progress(replay=run.id), Run)
        told(run)


@contextmanager
def _cancelling(console: ConsoleConnection, run: Run) -> Iterator[None]:
    """Ctrl-C and SIGTERM cancel the replay, which ends with its round; a thread does it, since this one is in it."""

    def cancel(*_: object) -> None:
        threading.Thread(target=console.ask, args=(commands.Cancel(replay=run.id), Run)).start()

    before = {number: signal.signal(number, cancel) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
