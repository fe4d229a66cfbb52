"""`errands dead`: what an operator does with dead letters, on the command line."""

import json
import re
import sys
import typing
from pathlib import Path
from typing import Annotated

import httpx
import typer

from events.http import STRUCTURED, structured
from functions.deadletters.letters import Letter, Letters

app = typer.Typer(help="Dead letters: list them, look at one, replay or discard it.", no_args_is_help=True)

CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]")

Data = Annotated[Path, typer.Option("--data", help="The runner's data directory.", envvar="ERRANDS_DATA")]
Sink = Annotated[str, typer.Option("--sink", help="The broker's ingress.", envvar="K_SINK")]
Numbers = Annotated[list[int] | None, typer.Argument(metavar="LETTER...", help="Numbers, as `list` shows them.")]
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
            typer.echo(_plain(f"{letter.id:>6}  {seen}  {letter.code:>4}  {where:<20} {letter.event.id}"))
            typer.echo(_plain(f"        {letter.error[:150]}"))
    if not found and not as_json:
        typer.echo(f"no letters ({state})")


@app.command()
def show(number: int, data: Data = Path(".errands")) -> None:
    """Show one letter: what failed, how often, the event itself, and how to send it again by hand."""
    letter = _find(_letters(data), number)
    for name, value in _fields(letter).items():
        typer.echo(_plain(f"{name + ':':<14}{value}"))
    event = json.dumps(json.loads(structured(letter.event)), indent=2)
    typer.echo(_plain(event[:20_000]))
    typer.echo(f"\nerrands dead replay {letter.id}")


@app.command()
def replay(
    numbers: Numbers = None,
    everything: All = False,
    data: Data = Path(".errands"),
    sink: Sink = "http://127.0.0.1:8080",
) -> None:
    """Send letters to the broker again, with their original ids, so that what was done is not done twice."""
    letters = _letters(data)
    for letter in _chosen(letters, numbers, everything):
        try:
            headers = {"content-type": STRUCTURED}
            answer = httpx.post(sink, content=structured(letter.event), headers=headers, timeout=10)
        except httpx.HTTPError as error:
            _stop(f"the broker at {sink} cannot be reached: {error}")
        if answer.status_code != 202:
            _stop(f"letter {letter.id} was refused by {sink} with {answer.status_code}: {answer.text[:500]}")
        letters.mark(letter.id, "replayed")
        typer.echo(f"letter {letter.id} replayed: {_plain(letter.event.id)}")


@app.command()
def discard(numbers: Numbers = None, everything: All = False, data: Data = Path(".errands")) -> None:
    """Close letters without a replay. They stay in the store, as `list --state discarded` shows."""
    letters = _letters(data)
    for letter in _chosen(letters, numbers, everything):
        letters.mark(letter.id, "discarded")
        typer.echo(f"letter {letter.id} discarded")


def _letters(data: Path) -> Letters:
    if not data.is_dir():
        _stop(f"there is no data directory {data}: give --data DIR, as `errands up` was given")
    return Letters(f"sqlite:///{data.resolve() / 'deadletters.db'}")


def _chosen(letters: Letters, numbers: list[int] | None, everything: bool) -> list[Letter]:
    if bool(numbers) == everything:
        _stop("say which: numbers of letters, or --all")
    return list(letters.list(limit=-1)) if everything else [_find(letters, number) for number in numbers or ()]


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


def _plain(text: str) -> str:
    """Text from an event, without what a terminal would take as a command."""
    return CONTROL.sub("�", text)


def _stop(reason: str) -> typing.NoReturn:
    typer.echo(reason, err=True)
    sys.exit(2)
