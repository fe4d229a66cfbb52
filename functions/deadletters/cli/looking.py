"""The commands that show dead letters, groups, replays and the audit trail."""

import sys
import time
from typing import Annotated, Final

import typer

from functions.deadletters.cli import terminal
from functions.deadletters.cli.arguments import (
    AsJson,
    GroupNumber,
    Limit,
    Number,
    app,
    show_group,
)
from functions.deadletters.cli.options import ConsoleConnection, at_console, command, filtered
from functions.deadletters.cli.terminal import plain
from functions.deadletters.service import commands, results
from functions.deadletters.service.commands import Filter

WATCH_PAUSE_S: Final = 1.0


@app.command("list")
@at_console
@filtered
def list_dead_letters(
    console: ConsoleConnection, matching: Filter, limit: Limit = 100, as_json: AsJson = False
) -> None:
    """List the dead letters, the newest first."""
    page = console.ask(commands.List(matching=matching, limit=limit), results.DeadLetterPage)
    for dead_letter in page.dead_letters:
        terminal.show_as(dead_letter, terminal.dead_letter_lines, as_json=as_json)
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
    console: ConsoleConnection,
    state: Annotated[str, typer.Option(help="waiting, open, acknowledged, resolved or all.")] = "waiting",
    limit: Limit = 100,
    as_json: AsJson = False,
) -> None:
    """List the dead letters by kind and cause, the most first."""
    found = console.ask(command(commands.ListGroups, state=state, limit=limit), results.Groups).groups
    for group in found:
        terminal.show_as(group, terminal.group_lines, as_json=as_json)
    if not found and not as_json:
        terminal.show(["no groups"])


@app.command()
@at_console
def group(console: ConsoleConnection, number: GroupNumber, as_json: AsJson = False) -> None:
    """Show one group, and what was done to it."""
    show_group(console.ask(commands.ShowGroup(group=number), results.GroupDetail), as_json)


@app.command()
@at_console
def show(
    console: ConsoleConnection,
    number: Number,
    unmask: Annotated[bool, typer.Option("--unmask", help="With nothing hidden; that is noted.")] = False,
    raw: Annotated[bool, typer.Option("--raw", help="The data only, byte for byte.")] = False,
    as_json: AsJson = False,
) -> None:
    """Show one dead letter: the event, the error, what befell it, the job's other dead letters, and how to send it by
    hand.
    """
    asked = commands.Unmask(dead_letter=number) if unmask else commands.Show(dead_letter=number)
    detail = console.ask(asked, results.Detail)
    if raw:
        sys.stdout.buffer.write(detail.body.data_base64 or (detail.body.data or "").encode())
    else:
        terminal.show_as(detail, terminal.dead_letter_detail, as_json=as_json)


@app.command()
@at_console
def replays(console: ConsoleConnection, limit: Limit = 20, as_json: AsJson = False) -> None:
    """List the latest replays, and how far they are."""
    for run in console.ask(commands.Replays(limit=limit), results.Runs).runs:
        terminal.show_as(run, terminal.run_line, as_json=as_json)


@app.command()
@at_console
def watch(
    console: ConsoleConnection,
    count: Annotated[int, typer.Option(min=0, help="End after so many; 0 goes on until Ctrl-C.")] = 0,
    as_json: AsJson = False,
) -> None:
    """Show dead letters as they arrive."""
    cursor, shown = console.ask(commands.Watch(), results.Arrivals).cursor, 0
    while True:
        asked_s = time.monotonic()
        arrivals = console.ask(commands.Watch(cursor=cursor, wait_s=20), results.Arrivals)
        if not arrivals.dead_letters and time.monotonic() < asked_s + WATCH_PAUSE_S:
            time.sleep(WATCH_PAUSE_S)  # the console lets a few wait, and answers everybody else at once
        cursor = arrivals.cursor
        for dead_letter in arrivals.dead_letters:
            terminal.show_as(dead_letter, terminal.dead_letter_lines, as_json=as_json)
            shown += 1
            if shown == count:
                return
        sys.stdout.flush()


@app.command()
@at_console
def audit(console: ConsoleConnection, limit: Limit = 100, as_json: AsJson = False) -> None:
    """Show who did what, the newest first."""
    for action in console.ask(commands.Audit(limit=limit), results.Trail).actions:
        terminal.show_as(action, terminal.action_line, as_json=as_json)


@app.command()
@at_console
def whoami(console: ConsoleConnection, as_json: AsJson = False) -> None:
    """Say who asks there, and what they may do."""
    told = console.ask(commands.WhoAmI(), results.Permissions)
    only = " (read-only)" if told.read_only else ""
    terminal.show_as(told, lambda each: plain(f"{each.name}: {', '.join(each.rights)}{only}"), as_json=as_json)
