"""`errands dead`: what an operator does with dead letters, on the command line."""

import json
import os
import sqlite3
import sys
import typing
from pathlib import Path
from typing import Annotated

import typer

from events.http import STRUCTURED, structured
from functions.deadletters.letters import Letter, Letters

app = typer.Typer(help="Dead letters: list them, look at one, replay or discard it.", no_args_is_help=True)

MISTAKE = 64  # EX_USAGE of sysexits.h, as in all of `errands`
LAST = 2**63 - 1  # of SQLite's numbers

Data = Annotated[Path, typer.Option("--data", help="The runner's data directory.", envvar="ERRANDS_DATA")]
Sink = Annotated[str, typer.Option("--sink", help="The broker's ingress.", envvar="K_SINK")]
Numbers = Annotated[
    list[int] | None, typer.Argument(metavar="LETTER...", min=1, max=LAST, help="Numbers, as `list` shows them.")
]
Number = Annotated[int, typer.Argument(metavar="LETTER", min=1, max=LAST, help="Its number, as `list` shows it.")]
Token = Annotated[Path | None, typer.Option("--token-file", help="A file with the token that the broker asks for.")]
All = Annotated[bool, typer.Option("--all", help="Every open letter.")]


@app.command("list")
def list_letters(
    data: Data = Path(".errands"),
    state: Annotated[str, typer.Option(help="open, replayed, discarded, or all.")] = "open",
    limit: Annotated[int, typer.Option(min=1, max=10_000)] = 100,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object a line.")] = False,
) -> None:
    """List the letters, the newest first."""
    if state not in ("open", "replayed", "discarded", "all"):
        raise typer.BadParameter(f"--state must be open, replayed, discarded or all, got {state!r}")
    found = _letters(data).list(state=None if state == "all" else state, limit=limit)
    for letter in found:
        if as_json:
            typer.echo(json.dumps(_fields(letter)))
        else:
            where = letter.trigger or letter.destination
            seen = letter.last_seen[:19]
            typer.echo(plain(f"{letter.id:>6}  {seen}  {letter.code:>4}  {where:<20} {letter.event.id}"))
            typer.echo(plain(f"        {' '.join(letter.error[:150].split())}"))
    if not found and not as_json:
        typer.echo(f"no letters ({state})")


@app.command()
def show(number: Number, data: Data = Path(".errands")) -> None:
    """Show one letter: what failed, how often, the event itself, and how to send it again by hand."""
    letter = _find(_letters(data), number)
    for name, value in _fields(letter).items():
        typer.echo(plain(f"{name + ':':<14}{value}"))
    event = json.dumps(json.loads(structured(letter.event)), indent=2)
    typer.echo(plain(event[:20_000]))
    typer.echo(f"\nerrands dead replay {letter.id}")


@app.command()
def replay(
    numbers: Numbers = None,
    everything: All = False,
    data: Data = Path(".errands"),
    sink: Sink = "http://127.0.0.1:8080",
    token_file: Token = None,
) -> None:
    """Send letters to the broker again, with their original ids, so that what was done is not done twice."""
    import httpx  # 78 ms that no other command need wait for

    letters, headers = _letters(data), {"content-type": STRUCTURED} | _authorization(token_file)
    for letter in _chosen(letters, numbers, everything):
        try:
            answer = httpx.post(sink, content=structured(letter.event), headers=headers, timeout=10)
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            _stop(f"the broker at {sink} cannot be reached ({error}); start it with: errands up")
        if answer.status_code != 202:
            _stop(f"letter {letter.id} was refused by {sink} with {answer.status_code}: {answer.text[:500]}")
        letters.mark(letter, "replayed")
        typer.echo(f"letter {letter.id} replayed: {plain(letter.event.id)}")


@app.command()
def discard(numbers: Numbers = None, everything: All = False, data: Data = Path(".errands")) -> None:
    """Close letters without a replay. They stay in the store, as `list --state discarded` shows."""
    letters = _letters(data)
    for letter in _chosen(letters, numbers, everything):
        letters.mark(letter, "discarded")
        typer.echo(f"letter {letter.id} discarded")


def plain(text: str) -> str:
    """Text from an event, without what a terminal would take as a command."""
    return "".join(char if char.isprintable() or char in "\n\t" else "�" for char in text)


def _letters(data: Path) -> Letters:
    if not os.path.isdir(data):  # pathlib raises for a name that is too long
        _stop(f"there is no data directory {data}: give --data DIR, as `errands up` was given")
    letters = Letters(f"sqlite:///{data.resolve() / 'deadletters.db'}")
    try:
        letters.list(limit=1)
    except (sqlite3.Error, OSError) as error:
        _stop(f"{data / 'deadletters.db'} cannot be used: {error}")
    return letters


def _authorization(token_file: Path | None) -> dict[str, str]:
    try:
        token = token_file.read_text().strip() if token_file else os.environ.get("ERRANDS_TOKEN", "")
        return {"authorization": f"Bearer {token}".encode("ascii").decode()} if token else {}
    except (OSError, UnicodeError) as error:
        _stop(f"the token cannot be read: {error}")


def _chosen(letters: Letters, numbers: list[int] | None, everything: bool) -> list[Letter]:
    if bool(numbers) == everything:
        _stop("say which: numbers of letters, or --all")
    return (
        list(reversed(letters.list(limit=-1))) if everything else [_find(letters, number) for number in numbers or ()]
    )


def _find(letters: Letters, number: int) -> Letter:
    letter = letters.get(number)
    if letter is None:
        _stop(f"there is no letter {number}; `errands dead list --state all` shows them")
    return letter


def _fields(letter: Letter) -> dict[str, object]:
    shown = ("id", "state", "code", "trigger", "destination", "error", "attempts", "times", "replays")
    seen = {"first_seen": letter.first_seen, "last_seen": letter.last_seen}
    event = {"event_id": letter.event.id, "event_source": letter.event.source, "event_type": letter.event.type}
    return {name: getattr(letter, name) for name in shown} | seen | event


def _stop(reason: str) -> typing.NoReturn:
    typer.echo(plain(reason), err=True)
    sys.exit(MISTAKE)
