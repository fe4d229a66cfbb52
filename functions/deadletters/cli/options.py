"""The options that many of `errands dead` share: where the dead letters are, and which of them are meant.

A command that is decorated gets one argument (`console`, `matching`) in place of all those options.
"""

import getpass
import inspect
import os
import re
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import wraps
from pathlib import Path
from typing import Annotated, Any, Final, NoReturn, Protocol, TypeVar

import msgspec
import typer

from events.problem import JobFailed
from functions.deadletters.cli.remote import Remote
from functions.deadletters.cli.terminal import plain
from functions.deadletters.service.commands import Command, Filter
from functions.deadletters.service.operations import Console, NotFound
from functions.deadletters.service.operators import Forbidden, everything
from functions.deadletters.service.results import CommandResult
from functions.deadletters.store.schema import open_dead_letters
from functions.runtime.masking import rules
from functions.runtime.running import Running, listens
from functions.runtime.running import find as running_ingress
from functions.storage.database import Database, StorageUnavailable

MISTAKE: Final = 64  # EX_USAGE of sysexits.h, as in all of `errands`
UNAVAILABLE: Final = 69  # EX_UNAVAILABLE
NOT_ALLOWED: Final = 77  # EX_NOPERM
UNITS_S: Final = {"s": 1, "m": 60, "h": 3_600, "d": 86_400}

A = TypeVar("A", bound=CommandResult)
CliFunction = Callable[..., None]

SINK = Annotated[
    str | None,
    typer.Option("--sink", help="The broker's ingress; otherwise that of the runner of --data.", envvar="K_SINK"),
]
WHERE: Final[Mapping[str, tuple[Any, Any]]] = {
    "data": (
        Annotated[Path, typer.Option("--data", help="The runner's data directory.", envvar="ERRANDS_DATA")],
        Path(".errands"),
    ),
    "database": (
        Annotated[str | None, typer.Option("--database", help="postgresql://...", envvar="ERRANDS_DEAD_DATABASE")],
        None,
    ),
    "url": (
        Annotated[
            str | None,
            typer.Option("--url", help="A console: https://host/dead, with a token.", envvar="ERRANDS_DEAD_URL"),
        ],
        None,
    ),
    "token_file": (
        Annotated[Path | None, typer.Option("--token-file", help="A file with the console's, or the broker's, token.")],
        None,
    ),
}
AGE: Final = "such as 90s, 15m, 2h or 3d"
FILTERS: Final[Mapping[str, tuple[Any, Any]]] = {
    "job": (Annotated[str | None, typer.Option(help="Of this job, such as image.")], None),
    "type_": (Annotated[str | None, typer.Option("--type", help="Of this event type.")], None),
    "code": (Annotated[int | None, typer.Option(help="With this code.")], None),
    "trigger": (Annotated[str | None, typer.Option(help="Of this Trigger.")], None),
    "destination": (Annotated[str | None, typer.Option(help="For this address.")], None),
    "id_": (Annotated[str | None, typer.Option("--id", help="The event with this id, or of the job with it.")], None),
    "subject": (Annotated[str | None, typer.Option(help="With this subject.")], None),
    "source": (Annotated[str | None, typer.Option(help="From this source.")], None),
    "text": (Annotated[str | None, typer.Option(help="With this text in the data, the id or the subject.")], None),
    "older_than": (Annotated[str | None, typer.Option(help=f"That came before: {AGE}.")], None),
    "newer_than": (Annotated[str | None, typer.Option(help=f"That came since: {AGE}.")], None),
    "state": (
        Annotated[
            str,
            typer.Option(help="unresolved, open, quarantined, replayed, completed, failed, discarded or all."),
        ],
        "unresolved",
    ),
    "of_group": (Annotated[int | None, typer.Option("--group", help="Of this group.")], None),
}


class AnyConsole(Protocol):
    """A console here or elsewhere."""

    def ask(self, command: Command) -> CommandResult:
        """Do what a command says."""


@dataclass(frozen=True)
class ConsoleConnection:
    """The console that a command talks to. `database` is there where it is on this machine; `data` is the runner's."""

    asked: AnyConsole
    database: Database | None
    token: str
    data: Path

    def ask(self, command: Command, response: type[A]) -> A:
        """Do what a command says; a refusal ends the command with its reason and its exit code."""
        try:
            found = self.asked.ask(command)
        except (NotFound, JobFailed) as error:
            stop(_reason(error))
        except Forbidden as error:
            stop(str(error), code=NOT_ALLOWED)
        except StorageUnavailable as error:
            stop(str(error), code=UNAVAILABLE)
        assert isinstance(found, response)  # noqa: S101  # a console answers each command with its own struct
        return found

    def ingress(self, sink: str | None) -> Running:
        """Where a replay is sent to from here, with the token for it; the end of the command where nobody listens."""
        running = running_ingress(self.data)
        if sink is not None and running is not None and sink.rstrip("/") in _of(running):
            return running
        if sink is not None or self.database is None:
            return Running(sink or "", self.token)
        if running is None or not listens(running.url):
            stop(
                f"no runner of {self.data} is up: start `errands up --data {self.data}`, or give --sink URL",
                code=UNAVAILABLE,
            )
        return running


def _of(running: Running) -> frozenset[str]:
    """The addresses of a runner."""
    return frozenset(each.rstrip("/") for each in (running.url, running.front_door))


def at_console(command: CliFunction) -> CliFunction:
    """Replace the parameter `console` by the options that say where the dead letters are."""
    return _expanded(command, "console", WHERE, _connection)


def filtered(command: CliFunction) -> CliFunction:
    """Replace the parameter `matching` by the options of a filter."""
    return _expanded(command, "matching", FILTERS, _filter)


def seconds(age: str | None) -> float | None:
    """An age in seconds."""
    if age is None:
        return None
    parts = re.fullmatch(r"([0-9]{1,9}(?:\.[0-9]{1,3})?)([smhd])", age)
    if parts is None:
        stop(f"an age is expected, {AGE}, got {age!r}")
    return float(parts[1]) * UNITS_S[parts[2]]


def stop(reason: str, *, code: int = MISTAKE) -> NoReturn:
    """End the command with a sentence."""
    typer.echo(plain(reason), err=True)
    sys.exit(code)


def _expanded(
    command: CliFunction, name: str, options: Mapping[str, tuple[Any, Any]], made: Callable[..., Any]
) -> CliFunction:
    @wraps(command)
    def call(**given: Any) -> None:
        taken = {each: given.pop(each) for each in options}
        command(**given, **{name: made(**taken)})

    own = [each for each in inspect.signature(command).parameters.values() if each.name != name]
    added = [
        inspect.Parameter(each, inspect.Parameter.KEYWORD_ONLY, default=default, annotation=annotation)
        for each, (annotation, default) in options.items()
    ]
    own = [each.replace(kind=inspect.Parameter.KEYWORD_ONLY) for each in own]
    setattr(call, "__signature__", inspect.Signature([*own, *added]))  # noqa: B010  # typer reads it
    call.__annotations__ = {each.name: each.annotation for each in (*own, *added)}
    return call


def _connection(data: Path, database: str | None, url: str | None, token_file: Path | None) -> ConsoleConnection:
    token = _token(token_file)
    if url is not None:
        return ConsoleConnection(Remote(url, token), None, token, data)
    try:
        dead_letters = open_dead_letters(database or _file(data))
    except ValueError as error:
        stop(f"--database {str(error).removeprefix('DEADLETTERS_URL ')}")
    running = running_ingress(data)
    sink_url = os.environ.get("K_SINK") or (running.url if running else "http://127.0.0.1:8080/")
    console = Console(database=dead_letters, rules=rules(os.environ.get("DEADLETTERS_MASKED", "")), sink_url=sink_url)
    return ConsoleConnection(console.operator_session(everything(_user())), dead_letters, token, data)


def _file(data: Path) -> str:
    if not os.path.isdir(data):  # pathlib raises for a name that is too long
        stop(f"there is no data directory {data}: give --data DIR, as `errands up` was given")
    return f"sqlite:///{data.resolve() / 'deadletters.db'}"


def _user() -> str:
    try:
        return getpass.getuser()
    except (OSError, KeyError):  # a container's user has no name
        return f"user {os.getuid()}"


def _token(token_file: Path | None) -> str:
    try:
        token = token_file.read_text().strip() if token_file else os.environ.get("ERRANDS_TOKEN", "")
        return token.encode("ascii").decode()
    except (OSError, UnicodeError) as error:
        stop(f"the token cannot be read: {error}")


def _filter(**given: Any) -> Filter:
    fields = {
        "older_than_s": seconds(given.pop("older_than")),
        "newer_than_s": seconds(given.pop("newer_than")),
        "type": given.pop("type_"),
        "id": given.pop("id_"),
        "group": given.pop("of_group"),
    }
    return command(Filter, **given, **fields)


W = TypeVar("W", bound=Command)


def command(struct: type[W], **fields: Any) -> W:
    """A command of what was given; a mistake in it ends the command."""
    try:
        return msgspec.convert({name: value for name, value in fields.items() if value is not None}, struct)
    except msgspec.ValidationError as error:
        stop(str(error))


def _reason(error: Exception) -> str:
    listed = [f"\n  {each.pointer}: {each.detail}" for each in getattr(error, "errors", ())]
    return str(error) + "".join(listed)
