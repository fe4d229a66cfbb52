"""`errands callbacks`: the notifier's commands, and those that need the dead letters beside them."""

import os
from pathlib import Path
from typing import Annotated, Final

import typer

from functions.deadletters.cli import app as dead_letters
from functions.deadletters.cli.options import ConsoleConnection, at_console, stop
from functions.deadletters.service import commands
from functions.deadletters.service.commands import Filter
from functions.deadletters.service.results import DeadLetterPage
from functions.notifier.cli import Data, StoreUrl, app, resume
from functions.notifier.endpoint_state import gone_words
from functions.runtime.running import find

__all__ = ["app"]

PAGE: Final = 1_000
DEAD_LETTERS: Final = "deadletters.db"
UNAVAILABLE: Final = 69  # EX_UNAVAILABLE of sysexits.h


@app.command("resume")
def resume_endpoint(
    url: Annotated[str, typer.Argument(help="As `list` shows it.")],
    replay: Annotated[bool, typer.Option("--replay", help="And send what it has missed.")] = False,
    data: Data = Path(".errands"),
    store: StoreUrl = None,
) -> None:
    """Call an endpoint again that answered 410, from its next callback on; say what it has missed, or send it."""
    if replay and store is not None:
        stop("--replay is for a runner of this machine: elsewhere `errands dead replay` sends what was missed")
    resume(url, data, store)
    missed = _missed(url, data) if (data / DEAD_LETTERS).is_file() and store is None else []
    if missed and replay:
        replay_missed(url, data)
    elif missed:
        typer.echo(f"{len(missed)} callbacks that it has missed are kept: errands callbacks replay {url} sends them")


@app.command("replay")
def replay_missed(
    endpoint: Annotated[str, typer.Argument(metavar="URL", help="As `list` showed it while it was gone.")],
    data: Data = Path(".errands"),
) -> None:
    """Send the callbacks again that an endpoint has missed while it was gone; resume it before."""
    running = find(data)
    if running is None:
        stop(f"no runner of {data} is up: start `errands up --data {data}`", code=UNAVAILABLE)
    os.environ["ERRANDS_TOKEN"] = running.token  # outcomes are taken from who knows the secret of this start
    found = _missed(endpoint, data)
    if not found:
        stop(f"no dead letter waits for {endpoint}")
    replay = ["replay", *map(str, reversed(found)), "--sink", running.url, "--data", str(data)]
    typer.main.get_command(dead_letters.app)(replay)


def _missed(endpoint: str, data: Path) -> list[int]:
    """The numbers of the dead letters that wait for an endpoint, the newest first."""
    found: list[int] = []
    _missed_by(words=gone_words(endpoint), found=found, data=data, database=None, url=None, token_file=None)
    return found


@at_console
def _missed_by(console: ConsoleConnection, words: str, found: list[int]) -> None:
    """Add to `found` the numbers of the dead letters that say so, the newest first."""
    before: int | None = None
    while True:
        asked = commands.List(matching=Filter(code=500), before=before, limit=PAGE)
        page = console.ask(asked, DeadLetterPage).dead_letters
        found += [each.id for each in page if words in each.error]
        if len(page) < PAGE:
            return
        before = page[-1].id
