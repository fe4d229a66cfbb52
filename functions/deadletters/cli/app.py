"""`errands dead`: what an operator does with dead letters, on the command line.

The dead letters are those of this machine (`--data`), of a database (`--database`), or of a console elsewhere
(`--url`).

Exit codes: 0 done; 1 not all of it (dead letters passed over or refused, a replay that ended before its end); 64 a
mistake in what was asked; 69 the dead letters cannot be reached; 77 not allowed.
"""

import os
import shlex
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Annotated, Final

import msgspec
import typer

from functions.deadletters.cli import terminal
from functions.deadletters.cli.options import SINK, Connection, at_console, command, filtered, stop
from functions.deadletters.cli.terminal import plain
from functions.deadletters.replay.following import NOT_ALL, follow
from functions.deadletters.service import commands
from functions.deadletters.service.commands import Filter, Run, Selection, State
from functions.deadletters.service.contract import pretty

__all__ = ["app", "plain"]

app = typer.Typer(
    help="Dead letters: find them, look at one, mend, replay or discard it. Exit codes: 0 done, 1 not all of it,"
    " 64 a mistake, 69 the dead letters cannot be reached, 77 not allowed.",
    no_args_is_help=True,
    rich_markup_mode=None,
)

LAST: Final = 2**62
EXPORTED: Final = 100
IMPORTED_BYTES: Final = 4 * 1024 * 1024

Numbers = Annotated[
    list[int] | None, typer.Argument(metavar="DEAD_LETTER...", min=1, max=LAST, help="Numbers, as `list` shows them.")
]
Number = Annotated[int, typer.Argument(metavar="DEAD_LETTER", min=1, max=LAST, help="Its number, as `list` shows it.")]
GroupNumber = Annotated[int, typer.Argument(metavar="GROUP", min=1, max=LAST, help="As `groups` shows it.")]
ReplayNumber = Annotated[int, typer.Argument(metavar="REPLAY", min=1, max=LAST, help="As `replay` told it.")]
All = Annotated[bool, typer.Option("--all", help="Every dead letter that is open.")]
AsJson = Annotated[bool, typer.Option("--json", help="JSON, one object a line.")]
Limit = Annotated[int, typer.Option(min=1, max=1_000)]


@app.command("list")
@at_console
@filtered
def list_dead_letters(console: Connection, matching: Filter, limit: Limit = 100, as_json: AsJson = False) -> None:
    """List the dead letters, the newest first."""
    page = console.ask(commands.List(matching=matching, limit=limit), commands.Page)
    for dead_letter in page.dead_letters:
        terminal.show([terminal.json_line(dead_letter)] if as_json else terminal.dead_letter_lines(dead_letter))
    if not as_json:
        terminal.show(
            [
                "no dead letters"
                if not page.dead_letters
                else f"{len(page.dead_letters):,} of {page.total or 'many'} dead letters"
            ]
        )


@app.command("groups")
@at_console
def list_groups(
    console: Connection,
    state: Annotated[str, typer.Option(help="waiting, open, acknowledged, resolved or all.")] = "waiting",
    limit: Limit = 100,
    as_json: AsJson = False,
) -> None:
    """List the dead letters by kind and cause, the most first."""
    found = console.ask(command(commands.ListGroups, state=state, limit=limit), commands.Groups).groups
    for group in found:
        terminal.show([terminal.json_line(group)] if as_json else terminal.group_lines(group))
    if not found and not as_json:
        terminal.show(["no groups"])


@app.command()
@at_console
def group(console: Connection, number: GroupNumber, as_json: AsJson = False) -> None:
    """Show one group, and what was done to it."""
    _show_group(console.ask(commands.ShowGroup(group=number), commands.GroupDetail), as_json)


@app.command()
@at_console
def show(
    console: Connection,
    number: Number,
    unmask: Annotated[bool, typer.Option("--unmask", help="With nothing hidden; that is noted.")] = False,
    raw: Annotated[bool, typer.Option("--raw", help="The data only, byte for byte.")] = False,
    as_json: AsJson = False,
) -> None:
    """Show one dead letter: the event, the error, what befell it, the job's other dead letters, and how to send it by
    hand.
    """
    asked = commands.Unmask(dead_letter=number) if unmask else commands.Show(dead_letter=number)
    detail = console.ask(asked, commands.Detail)
    if raw:
        sys.stdout.buffer.write(detail.body.data_base64 or (detail.body.data or "").encode())
    else:
        terminal.show([terminal.json_line(detail)] if as_json else terminal.dead_letter_detail(detail))


@app.command()
@at_console
def edit(
    console: Connection,
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
    data = _read(file) if file else None
    if not (file or attributes or revert):
        data = _in_editor(console.ask(commands.Show(dead_letter=number), commands.Detail).body)
    changes = dict(_pair(each) for each in attributes or ())
    detail = console.ask(
        commands.Edit(dead_letter=number, data=data, attributes=changes, revert=revert), commands.Detail
    )
    terminal.show([terminal.json_line(detail)] if as_json else [plain(detail.diff or "as it came")])


@app.command()
@at_console
@filtered
def replay(
    console: Connection,
    matching: Filter,
    *,
    numbers: Numbers = None,
    everything: All = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what would be sent.")] = False,
    as_new: Annotated[bool, typer.Option("--as-new", help="As new jobs, with ids of their own.")] = False,
    trigger_only: Annotated[bool, typer.Option("--trigger-only", help="Only to the function that failed.")] = False,
    rate_per_s: Annotated[float, typer.Option("--rate", min=0.01, max=1_000, help="Dead letters a second.")] = 50.0,
    stop_after: Annotated[int, typer.Option(min=1, help="End after so many failures.")] = 10,
    sink: SINK = "http://127.0.0.1:8080",
    as_json: AsJson = False,
) -> None:
    """Send dead letters to the broker again, with their ids: what was done is not done twice. Ctrl-C cancels."""
    order = commands.Replay(
        selection=_selection(numbers, everything, matching),
        dry_run=dry_run,
        as_new=as_new,
        trigger_only=trigger_only,
        rate_per_s=rate_per_s,
        stop_after=stop_after,
    )
    run = console.ask(order, Run)
    if dry_run:
        shown = ", ".join(map(str, run.would_send[:20])) + (", ..." if run.total > 20 else "")
        terminal.show(
            [terminal.json_line(run)]
            if as_json
            else [f"{run.total:,} would be sent, {run.passed:,} passed over: {shown}"]
        )
    else:
        follow(console, run, sink, as_json)


@app.command()
@at_console
def resume(
    console: Connection, number: ReplayNumber, sink: SINK = "http://127.0.0.1:8080", as_json: AsJson = False
) -> None:
    """Go on with a replay that was cancelled, stopped or interrupted."""
    follow(console, console.ask(commands.Resume(replay=number), Run), sink, as_json)


@app.command()
@at_console
def cancel(console: Connection, number: ReplayNumber, as_json: AsJson = False) -> None:
    """End a replay that runs."""
    run = console.ask(commands.Cancel(replay=number), Run)
    terminal.show([terminal.json_line(run) if as_json else terminal.run_line(run)])


@app.command()
@at_console
def replays(console: Connection, limit: Limit = 20, as_json: AsJson = False) -> None:
    """List the latest replays, and how far they are."""
    for run in console.ask(commands.Replays(limit=limit), commands.Runs).runs:
        terminal.show([terminal.json_line(run) if as_json else terminal.run_line(run)])


@app.command()
@at_console
@filtered
def discard(
    console: Connection,
    matching: Filter,
    *,
    numbers: Numbers = None,
    everything: All = False,
    reason: Annotated[str, typer.Option(help="Why: it stands in the letter's history.")] = "",
    as_json: AsJson = False,
) -> None:
    """Close dead letters without a replay. They stay for a while, and for a day `undo` takes it back."""
    if not reason:
        stop("say why: --reason TEXT")
    order = commands.Discard(selection=_selection(numbers, everything, matching), reason=reason)
    _finish(console.ask(order, commands.Done), "discarded", as_json)


@app.command()
@at_console
@filtered
def undo(
    console: Connection, matching: Filter, numbers: Numbers = None, everything: All = False, as_json: AsJson = False
) -> None:
    """Take back what was discarded within the last 24 hours."""
    chosen = _selection(numbers, everything, matching, state="discarded")
    _finish(console.ask(commands.Undo(selection=chosen), commands.Done), "is open again", as_json)


@app.command("export")
@at_console
@filtered
def export_dead_letters(
    console: Connection,
    matching: Filter,
    unmask: Annotated[bool, typer.Option("--unmask", help="With nothing hidden, so that it can be imported.")] = False,
) -> None:
    """Write dead letters as JSON Lines, the oldest first; --state all for every one."""
    after: int | None = 0
    while after is not None:
        asked = commands.Export(matching=matching, unmasked=unmask, after=after, limit=EXPORTED)
        page = console.ask(asked, commands.Records)
        terminal.show(terminal.json_line(each) for each in page.records)
        after = page.next_after


@app.command("import")
@at_console
def import_dead_letters(
    console: Connection, file: Annotated[Path, typer.Argument(help="JSON Lines; - reads standard input.")]
) -> None:
    """Keep the dead letters of an export; those that are here already stay as they are."""
    batch: list[commands.Record] = []
    size_bytes, kept, passed = 0, 0, 0
    for number, line in enumerate([*_read(file).splitlines(), ""], 1):
        if line.strip():
            batch.append(_record(line, number))
            size_bytes += len(line)
        if batch and (not line or size_bytes > IMPORTED_BYTES or len(batch) == EXPORTED):
            done = console.ask(commands.Import(records=tuple(batch)), commands.Done)
            kept, passed = kept + len(done.dead_letters), passed + len(done.passed)
            batch, size_bytes = [], 0
    terminal.show([f"{kept:,} dead letters imported, {passed:,} passed over: masked, or here already"])


@app.command()
@at_console
def watch(
    console: Connection,
    count: Annotated[int, typer.Option(min=0, help="End after so many; 0 goes on until Ctrl-C.")] = 0,
    as_json: AsJson = False,
) -> None:
    """Show dead letters as they arrive."""
    cursor, shown = console.ask(commands.Watch(), commands.Arrivals).cursor, 0
    while True:
        arrivals = console.ask(commands.Watch(cursor=cursor, wait_s=20), commands.Arrivals)
        cursor = arrivals.cursor
        for dead_letter in arrivals.dead_letters:
            terminal.show([terminal.json_line(dead_letter)] if as_json else terminal.dead_letter_lines(dead_letter))
            shown += 1
            if shown == count:
                return
        sys.stdout.flush()


@app.command()
@at_console
def acknowledge(console: Connection, number: GroupNumber, as_json: AsJson = False) -> None:
    """Say that somebody looks after a group."""
    _show_group(console.ask(commands.Acknowledge(group=number), commands.GroupDetail), as_json)


@app.command()
@at_console
def resolve(console: Connection, number: GroupNumber, as_json: AsJson = False) -> None:
    """Say that a group's cause is mended; when it comes back it says so."""
    _show_group(console.ask(commands.Resolve(group=number), commands.GroupDetail), as_json)


@app.command()
@at_console
def reopen(console: Connection, number: GroupNumber, as_json: AsJson = False) -> None:
    """Say that a group's cause is not mended."""
    _show_group(console.ask(commands.Reopen(group=number), commands.GroupDetail), as_json)


@app.command()
@at_console
def note(console: Connection, number: GroupNumber, text: str, as_json: AsJson = False) -> None:
    """Write down what there is to know of a group."""
    _show_group(console.ask(command(commands.Note, group=number, text=text), commands.GroupDetail), as_json)


@app.command()
@at_console
def owner(console: Connection, number: GroupNumber, name: str, as_json: AsJson = False) -> None:
    """Say who looks after a group; an empty name is nobody."""
    _show_group(console.ask(command(commands.Owner, group=number, name=name), commands.GroupDetail), as_json)


@app.command()
@at_console
def audit(console: Connection, limit: Limit = 100, as_json: AsJson = False) -> None:
    """Show who did what, the newest first."""
    for action in console.ask(commands.Audit(limit=limit), commands.Trail).actions:
        terminal.show([terminal.json_line(action) if as_json else terminal.action_line(action)])


@app.command()
@at_console
def whoami(console: Connection, as_json: AsJson = False) -> None:
    """Say who asks there, and what they may do."""
    told = console.ask(commands.WhoAmI(), commands.Permissions)
    only = " (read-only)" if told.read_only else ""
    terminal.show([terminal.json_line(told)] if as_json else [plain(f"{told.name}: {', '.join(told.rights)}{only}")])


def _selection(
    numbers: list[int] | None, everything: bool, matching: Filter, *, state: State | None = None
) -> Selection:
    """What is meant: numbers, or all that match; nothing given is a mistake, and not everything."""
    chosen = everything or matching != Filter()
    if bool(numbers) == chosen:
        stop("say which: numbers of dead letters, or --all, or a filter")
    if state is not None:
        matching = msgspec.structs.replace(matching, state=state)
    return Selection(matching=matching) if chosen else Selection(dead_letters=tuple(numbers or ()))


def _finish(done: commands.Done, verb: str, as_json: bool) -> None:
    terminal.show([terminal.json_line(done)] if as_json else terminal.done_lines(done, verb))
    if done.passed:
        sys.exit(NOT_ALL)


def _show_group(detail: commands.GroupDetail, as_json: bool) -> None:
    terminal.show([terminal.json_line(detail)] if as_json else terminal.group_detail(detail))


def _in_editor(body: commands.Body) -> str:
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


def _record(line: str, number: int) -> commands.Record:
    try:
        return msgspec.json.decode(line, type=commands.Record)
    except msgspec.DecodeError as error:
        stop(f"line {number} is no dead letter of an export: {error}")


def _read(file: Path) -> str:
    try:
        return sys.stdin.read() if str(file) == "-" else file.read_text()
    except (OSError, UnicodeError) as error:
        stop(f"{file} cannot be read: {error}")


def _pair(text: str) -> tuple[str, str | None]:
    name, equals, value = text.partition("=")
    if not equals:
        stop(f"--attribute expects NAME=VALUE, got {text!r}")
    return name, value or None
