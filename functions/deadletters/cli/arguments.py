"""The application `errands dead`, and the arguments that its commands share."""

import sys
from pathlib import Path
from typing import Annotated, Final

import msgspec
import typer

from functions.deadletters.cli import terminal
from functions.deadletters.cli.options import stop
from functions.deadletters.service import results
from functions.deadletters.service.commands import Filter, Selection
from functions.deadletters.service.results import State

app = typer.Typer(
    help="Dead letters: find them, look at one, mend, replay or discard it. Exit codes: 0 done, 1 not all of it,"
    " 64 a mistake, 69 the dead letters cannot be reached, 77 not allowed.",
    no_args_is_help=True,
    rich_markup_mode=None,
)

LAST: Final = 2**62

Numbers = Annotated[
    list[int] | None, typer.Argument(metavar="DEAD_LETTER...", min=1, max=LAST, help="Numbers, as `list` shows them.")
]
Number = Annotated[int, typer.Argument(metavar="DEAD_LETTER", min=1, max=LAST, help="Its number, as `list` shows it.")]
GroupNumber = Annotated[int, typer.Argument(metavar="GROUP", min=1, max=LAST, help="As `groups` shows it.")]
ReplayNumber = Annotated[int, typer.Argument(metavar="REPLAY", min=1, max=LAST, help="As `replay` told it.")]
All = Annotated[bool, typer.Option("--all", help="Every dead letter that is open.")]
AsJson = Annotated[bool, typer.Option("--json", help="JSON, one object a line.")]
Limit = Annotated[int, typer.Option(min=1, max=1_000)]


def selected(numbers: list[int] | None, everything: bool, matching: Filter, *, state: State | None = None) -> Selection:
    """What is meant: numbers, or all that match; nothing given is a mistake, and not everything."""
    chosen = everything or matching != Filter()
    if bool(numbers) == chosen:
        stop("say which: numbers of dead letters, or --all, or a filter")
    if state is not None:
        matching = msgspec.structs.replace(matching, state=state)
    return Selection(matching=matching) if chosen else Selection(dead_letters=tuple(numbers or ()))


def show_group(detail: results.GroupDetail, as_json: bool) -> None:
    """Show a group, and what was done to it."""
    terminal.show_as(detail, terminal.group_detail, as_json=as_json)


def read_text(file: Path) -> str:
    """The text of a file, or of standard input for -; ends the command where it cannot be read."""
    try:
        return sys.stdin.read() if str(file) == "-" else file.read_text()
    except (OSError, UnicodeError) as error:
        stop(f"{file} cannot be read: {error}")
