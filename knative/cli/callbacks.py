"""`errands callbacks`: the notifier's commands, and one that needs the dead letters beside them."""

import os
from pathlib import Path
from typing import Annotated, Final

import typer

from functions.deadletters.cli import app as dead_letters
from functions.deadletters.cli.options import ConsoleConnection, at_console, stop
from functions.deadletters.service import commands
from functions.deadletters.service.commands import Filter
from functions.deadletters.service.results import DeadLetterPage
from functions.notifier.cli import app
from functions.notifier.endpoint_state import gone_words
from functions.runtime.running import find

__all__ = ["app"]

PAGE: Final = 1_000
UNAVAILABLE: Final = 69  # EX_UNAVAILABLE of sysexits.h


@app.command("replay")
def replay_missed(
    endpoint: Annotated[str, typer.Argument(metavar="URL", help="As `list` showed it while it was gone.")],
    data: Annotated[Path, typer.Option("--data", help="The runner's data directory.", envvar="ERRANDS_DATA")] = Path(
        ".errands"
    ),
) -> None:
    """Send the callbacks again that an endpoint has missed while it was gone; resume it before."""
    running = find(data)
    if running is None:
        stop(f"no runner of {data} is up: start `errands up --data {data}`", code=UNAVAILABLE)
    found: list[int] = []
    os.environ["ERRANDS_TOKEN"] = running.token  # outcomes are taken from who knows the secret of this start
    _missed_by(words=gone_words(endpoint), found=found, data=data, database=None, url=None, token_file=None)
    if not found:
        stop(f"no dead letter waits for {endpoint}")
    replay = ["replay", *map(str, reversed(found)), "--sink", running.url, "--data", str(data)]
    typer.main.get_command(dead_letters.app)(replay)


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
