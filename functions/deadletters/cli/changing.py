"""The commands that mend, replay and close dead letters, and say something of a group."""

import os
import shlex
import subprocess
import sys
import tempfile
from functools import partial
from pathlib import Path
from typing import Annotated

import typer
from msgspec import structs

from functions.deadletters.cli import terminal
from functions.deadletters.cli.arguments import (
    All,
    AsJson,
    GroupNumber,
    Number,
    Numbers,
    ReplayNumber,
    app,
    read_text,
    selected,
    show_group,
)
from functions.deadletters.cli.options import SINK, ConsoleConnection, at_console, command, filtered, stop
from functions.deadletters.cli.terminal import plain
from functions.deadletters.replay.following import NOT_ALL, follow
from functions.deadletters.service import commands, results
from functions.deadletters.service.commands import Filter
from functions.deadletters.service.contract import pretty
from functions.deadletters.service.results import Run


@app.command()
@at_console
def edit(
    console: ConsoleConnection,
    number: Number,
    *,
    file: Annotated[Path | None, typer.Option("--file", help="The new data; - reads it from standard input.")] = None,
    attributes: Annotated[
        list[str] | None, typer.Option("--attribute", metavar="NAME=VALUE", help="Without a value it goes.")
    ] = None,
    revert: Annotated[bool, typer.Option("--revert", help="Take back what was changed before.")] = False,
    as_json: AsJson = False,
) -> None:
    """Change what a replay sends, in $EDITOR when nothing is given. What came is kept, and the change shown."""
    data = read_text(file) if file else None
    if not (file or attributes or revert):
        data = _in_editor(console.ask(commands.Show(dead_letter=number), results.Detail).body)
    changes = dict(_pair(each) for each in attributes or ())
    detail = console.ask(
        commands.Edit(dead_letter=number, data=data, attributes=changes, revert=revert), results.Detail
    )
    terminal.show_as(detail, lambda each: plain(each.diff or "as it came"), as_json=as_json)


@app.command()
@at_console
@filtered
def replay(
    console: ConsoleConnection,
    matching: Filter,
    *,
    numbers: Numbers = None,
    everything: All = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what would be sent.")] = False,
    as_new: Annotated[bool, typer.Option("--as-new", help="As new jobs, with ids of their own.")] = False,
    trigger_only: Annotated[bool, typer.Option("--trigger-only", help="Only to the function that failed.")] = False,
    rate_per_s: Annotated[float, typer.Option("--rate", min=0.01, max=1_000, help="Dead letters a second.")] = 50.0,
    stop_after: Annotated[int, typer.Option(min=1, help="End after so many failures.")] = 10,
    sink: SINK = None,
    as_json: AsJson = False,
) -> None:
    """Send dead letters to the broker again, with their ids: what was done is not done twice. Ctrl-C cancels."""
    asked = commands.Replay(
        selection=selected(numbers, everything, matching),
        dry_run=dry_run,
        as_new=as_new,
        trigger_only=trigger_only,
        rate_per_s=rate_per_s,
        stop_after=stop_after,
    )
    rehearsed = console.ask(structs.replace(asked, dry_run=True), Run)
    if dry_run:
        terminal.show_as(rehearsed, terminal.rehearsal_line, as_json=as_json)
    else:  # and nothing is noted where nobody would take it
        ingress = console.ingress(sink)
        follow(console, console.ask(asked, Run), ingress, as_json)


@app.command()
@at_console
def resume(console: ConsoleConnection, number: ReplayNumber, sink: SINK = None, as_json: AsJson = False) -> None:
    """Go on with a replay that was cancelled, stopped or interrupted; what was refused is tried again."""
    console.ask(commands.Progress(replay=number), Run)
    ingress = console.ingress(sink)
    follow(console, console.ask(commands.Resume(replay=number), Run), ingress, as_json)


@app.command()
@at_console
def cancel(console: ConsoleConnection, number: ReplayNumber, as_json: AsJson = False) -> None:
    """End a replay that runs."""
    run = console.ask(commands.Cancel(replay=number), Run)
    terminal.show_as(run, terminal.run_line, as_json=as_json)


@app.command()
@at_console
@filtered
def discard(
    console: ConsoleConnection,
    matching: Filter,
    *,
    numbers: Numbers = None,
    everything: All = False,
    reason: Annotated[str, typer.Option(help="Why: it stands in the dead letter's history.")] = "",
    as_json: AsJson = False,
) -> None:
    """Close dead letters without a replay. They stay for a while, and for a day `undo` takes it back."""
    if not reason:
        stop("say why: --reason TEXT")
    asked = commands.Discard(selection=selected(numbers, everything, matching), reason=reason)
    _finish(console.ask(asked, results.Done), "discarded", as_json)


@app.command()
@at_console
@filtered
def undo(
    console: ConsoleConnection,
    matching: Filter,
    numbers: Numbers = None,
    everything: All = False,
    as_json: AsJson = False,
) -> None:
    """Take back what was discarded within the last 24 hours."""
    chosen = selected(numbers, everything, matching, state="discarded")
    _finish(console.ask(commands.Undo(selection=chosen), results.Done), "is open again", as_json)


@app.command()
@at_console
def acknowledge(console: ConsoleConnection, number: GroupNumber, as_json: AsJson = False) -> None:
    """Say that somebody looks after a group."""
    show_group(console.ask(commands.Acknowledge(group=number), results.GroupDetail), as_json)


@app.command()
@at_console
def resolve(console: ConsoleConnection, number: GroupNumber, as_json: AsJson = False) -> None:
    """Say that a group's cause is mended; when it comes back it says so."""
    show_group(console.ask(commands.Resolve(group=number), results.GroupDetail), as_json)


@app.command()
@at_console
def reopen(console: ConsoleConnection, number: GroupNumber, as_json: AsJson = False) -> None:
    """Say that a group's cause is not mended."""
    show_group(console.ask(commands.Reopen(group=number), results.GroupDetail), as_json)


@app.command()
@at_console
def note(console: ConsoleConnection, number: GroupNumber, text: str, as_json: AsJson = False) -> None:
    """Write down what there is to know of a group."""
    show_group(console.ask(command(commands.Note, group=number, text=text), results.GroupDetail), as_json)


@app.command()
@at_console
def owner(console: ConsoleConnection, number: GroupNumber, name: str, as_json: AsJson = False) -> None:
    """Say who looks after a group; an empty name is nobody."""
    show_group(console.ask(command(commands.Owner, group=number, name=name), results.GroupDetail), as_json)


def _finish(done: results.Done, verb: str, as_json: bool) -> None:
    terminal.show_as(done, partial(terminal.done_lines, verb=verb), as_json=as_json)
    if done.passed:
        sys.exit(NOT_ALL)


def _in_editor(body: results.ShownEvent) -> str:
    """The data as it is after $EDITOR has had it."""
    if body.data is None:
        stop("the data is no text; give --file")
    with tempfile.NamedTemporaryFile("w+", suffix=".json") as stream:
        stream.write(pretty(body.data))
        stream.flush()
        done = subprocess.run([*shlex.split(os.environ.get("EDITOR", "vi")), stream.name], check=False)
        if done.returncode:
            stop("the editor ended with an error: nothing is changed")
        return Path(stream.name).read_text()


def _pair(text: str) -> tuple[str, str | None]:
    name, equals, value = text.partition("=")
    if not equals:
        stop(f"--attribute expects NAME=VALUE, got {text!r}")
    return name, value or None
