"""`errands schedules`: jobs by the clock, asked of the gateway."""

import json
from pathlib import Path
from typing import Annotated, Any
from urllib.parse import quote

import typer

from functions.deadletters.cli.terminal import plain
from knative.cli.front_door import moment
from knative.cli.jobs import HERE, MISTAKE, Data, Sink, TokenFile, asking

app = typer.Typer(
    help="Schedules: list them, look at one, put one from a file, run it now, pause, resume, remove.",
    no_args_is_help=True,
    rich_markup_mode=None,
)

Name = Annotated[str, typer.Argument(metavar="NAME")]


@app.command("list")
def list_schedules(data: Data = HERE, sink: Sink = None, token_file: TokenFile = None) -> None:
    """List all, with when each comes next."""
    with asking(sink, data, token_file) as door:
        found = door.ask("/schedules")
    for each in found:
        next_ = "paused" if each.get("paused_at") else moment(each["next"][0]) if each["next"] else "never"
        _say(f"{each['name']}  {next_}  {each['cron']}  {each['time_zone']}  {each['type']}")
    if not found:
        _say("no schedules")


@app.command()
def show(name: Name, data: Data = HERE, sink: Sink = None, token_file: TokenFile = None) -> None:
    """Show one, with its next five times."""
    _ask("GET", _path(name), sink, data, token_file)


@app.command()
def put(
    name: Name,
    file: Annotated[Path, typer.Argument(help='JSON: {"cron": ..., "time_zone": ..., "event": {"type": ..., ...}}')],
    data: Data = HERE,
    sink: Sink = None,
    token_file: TokenFile = None,
) -> None:
    """Keep the one of a file, in place of one of its name."""
    try:
        body = json.loads(file.read_text())
    except (OSError, ValueError) as error:
        typer.echo(f"{file} cannot be read as JSON: {error}", err=True)
        raise typer.Exit(MISTAKE) from error
    _ask("PUT", _path(name), sink, data, token_file, body=body)


@app.command()
def run(name: Name, data: Data = HERE, sink: Sink = None, token_file: TokenFile = None) -> None:
    """Make a job of it now."""
    _ask("POST", _path(name, "/run"), sink, data, token_file)


@app.command()
def pause(name: Name, data: Data = HERE, sink: Sink = None, token_file: TokenFile = None) -> None:
    """Have none made for now."""
    _ask("POST", _path(name, "/pause"), sink, data, token_file)


@app.command()
def resume(name: Name, data: Data = HERE, sink: Sink = None, token_file: TokenFile = None) -> None:
    """Have them made again; what was planned meanwhile is not made up for."""
    _ask("POST", _path(name, "/resume"), sink, data, token_file)


@app.command()
def remove(name: Name, data: Data = HERE, sink: Sink = None, token_file: TokenFile = None) -> None:
    """Remove one; its jobs go on."""
    _ask("DELETE", _path(name), sink, data, token_file)


def _ask(method: str, path: str, sink: str | None, data: Path, token_file: Path | None, *, body: Any = None) -> None:
    with asking(sink, data, token_file) as door:
        found = door.ask(path, method=method, body=body)
    for key, value in (found or {}).items():
        _say(f"{key:10}  {', '.join(map(moment, value)) if key == 'next' else value}")


def _path(name: str, verb: str = "") -> str:
    return f"/schedules/{quote(name, safe='')}{verb}"


def _say(line: str) -> None:
    """Nothing in it can command the terminal."""
    typer.echo(plain(line))
