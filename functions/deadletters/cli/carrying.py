"""The commands that write dead letters as JSON Lines, and keep them elsewhere."""

from pathlib import Path
from typing import Annotated, Final

import msgspec
import typer

from functions.deadletters.cli import terminal
from functions.deadletters.cli.arguments import app, read_text
from functions.deadletters.cli.options import ConsoleConnection, at_console, filtered, stop
from functions.deadletters.service import commands, results
from functions.deadletters.service.commands import Filter

EXPORTED: Final = 100
IMPORTED_BYTES: Final = 4 * 1024 * 1024


@app.command("export")
@at_console
@filtered
def export_dead_letters(
    console: ConsoleConnection,
    matching: Filter,
    unmask: Annotated[bool, typer.Option("--unmask", help="With nothing hidden, so that it can be imported.")] = False,
) -> None:
    """Write dead letters as JSON Lines, the oldest first; --state all for every one."""
    after: int | None = 0
    while after is not None:
        asked = commands.Export(matching=matching, unmasked=unmask, after=after, limit=EXPORTED)
        page = console.ask(asked, results.Records)
        terminal.show(terminal.json_line(each) for each in page.records)
        after = page.next_after


@app.command("import")
@at_console
def import_dead_letters(
    console: ConsoleConnection, file: Annotated[Path, typer.Argument(help="JSON Lines; - reads standard input.")]
) -> None:
    """Keep the dead letters of an export; those that are here already stay as they are."""
    batch: list[results.Record] = []
    size_bytes, kept, passed = 0, 0, 0
    for number, line in enumerate([*read_text(file).splitlines(), ""], 1):
        if line.strip():
            batch.append(_record(line, number))
            size_bytes += len(line)
        if batch and (not line or size_bytes > IMPORTED_BYTES or len(batch) == EXPORTED):
            done = console.ask(commands.Import(records=tuple(batch)), results.Done)
            kept, passed = kept + len(done.dead_letters), passed + len(done.passed)
            batch, size_bytes = [], 0
    terminal.show([f"{kept:,} dead letters imported, {passed:,} passed over: masked, or here already"])


def _record(line: str, number: int) -> results.Record:
    try:
        return msgspec.json.decode(line, type=results.Record)
    except msgspec.DecodeError as error:
        stop(f"line {number} is no dead letter of an export: {error}")
