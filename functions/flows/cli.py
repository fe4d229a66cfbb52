"""`errands flows`: what an operator does with flows, on the command line.

What changes a flow is an event, a signal, as an API sends them: the function of the flows takes it.
"""

import sys
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Annotated, Any, Final, NoReturn

import msgspec
import typer

from events.http import Event, binary
from events.problem import sentence
from functions.runtime.running import find
from functions.storage.database import StorageUnavailable

if TYPE_CHECKING:  # slow to import, and no other command need wait for it
    from functions.flows.flow_record import FlowRecord
    from functions.storage.database import Database, Transaction

app = typer.Typer(
    help="Flows: list them, look at one, signal, cancel or resume it, check them before a deployment. Exit codes:"
    " 0 done, 1 a flow would be held, 64 a mistake, 69 the flows cannot be reached.",
    no_args_is_help=True,
    rich_markup_mode=None,
)

MISTAKE: Final = 64  # EX_USAGE of sysexits.h, as in all of `errands`
UNAVAILABLE: Final = 69  # EX_UNAVAILABLE
WOULD_BE_HELD: Final = 1
TIMEOUT_S: Final = 10.0

Data = Annotated[Path, typer.Option("--data", help="The runner's data directory.", envvar="ERRANDS_DATA")]
DatabaseUrl = Annotated[str | None, typer.Option("--database", help="postgresql://...", envvar="FLOWS_URL")]
Sink = Annotated[
    str | None, typer.Option("--sink", help="The broker's ingress; otherwise that of the runner.", envvar="K_SINK")
]
Named = Annotated[str, typer.Argument(metavar="FLOW", help="Its id, as `list` shows it, or its request's.")]
HERE: Final = Path(".errands")


@app.command("list")
def list_flows(
    data: Data = HERE,
    database: DatabaseUrl = None,
    *,
    state: Annotated[str, typer.Option(help="open, running, held, completed, failed or all.")] = "open",
    name: Annotated[str | None, typer.Option(help="Of this flow, such as onboarding.")] = None,
    limit: Annotated[int, typer.Option(min=1, max=10_000)] = 100,
) -> None:
    """List flows, the newest first."""
    from functions.flows import report
    from functions.flows.flow_record import OPEN

    states = {"open": OPEN, "all": report.STATES, **{each: (each,) for each in report.STATES}}
    if state not in states:
        _stop(f"--state must be one of {', '.join(states)}, got {state!r}")
    with _reading(data, database) as transaction:
        lines = list(report.listed(transaction, states=states[state], name=name, limit=limit))
    _show(lines or ["no flows"])


@app.command("show")
def show_flow(
    flow: Named,
    data: Data = HERE,
    database: DatabaseUrl = None,
    *,
    mermaid: Annotated[bool, typer.Option("--mermaid", help="As a diagram, of what has happened so far.")] = False,
) -> None:
    """Show a flow: its state and why, what it waits for and until when, and its steps."""
    from functions.flows import diagram, report, steps

    with _reading(data, database) as transaction:
        found = _one(transaction, flow)
        if mermaid:
            lines = list(diagram.mermaid(found, steps.all_of(transaction, found.id)))
        else:
            lines = list(report.described(transaction, found))
    _show(lines)


@app.command("signal")
def signal_flow(  # noqa: PLR0917  # arguments, then where
    flow: Named,
    name: Annotated[str, typer.Argument(help="What the flow waits for, such as paid.")],
    value: Annotated[str, typer.Argument(metavar="JSON", help="What the flow gets.")] = "null",
    data: Data = HERE,
    database: DatabaseUrl = None,
    sink: Sink = None,
) -> None:
    """Say something to a flow."""
    try:
        said = msgspec.json.decode(value)
    except msgspec.DecodeError as error:
        _stop(f"JSON is expected, such as 7 or '\"yes\"', got {value!r}: {error}")
    _signal(flow, name, said, data=data, database=database, sink=sink)


@app.command("cancel")
def cancel_flow(flow: Named, data: Data = HERE, database: DatabaseUrl = None, sink: Sink = None) -> None:
    """End a flow; what it has done is undone."""
    _signal(flow, "cancel", None, data=data, database=database, sink=sink)


@app.command("resume")
def resume_flow(flow: Named, data: Data = HERE, database: DatabaseUrl = None, sink: Sink = None) -> None:
    """Have a flow that is held go on: by the functions of now, its steps that are dead letters sent again."""
    _signal(flow, "resume", None, data=data, database=database, sink=sink)


@app.command("check")
def check_flows(
    flows: Annotated[str, typer.Option(help="The modules that hold the flows, with commas.", envvar="FLOWS")],
    data: Data = HERE,
    database: DatabaseUrl = None,
) -> None:
    """Replay every flow that runs by the functions here, and change nothing: which would be held by them."""
    from functions.flows.definitions import Definitions
    from functions.flows.engine import Engine
    from functions.flows.flow_record import open_ids
    from functions.runtime.adapter import system_clock

    opened = _database(data, database)
    try:
        engine = Engine(opened, Definitions.load(flows), system_clock)
    except ValueError as error:
        _stop(str(error))
    with _reading(data, database) as transaction:
        ids = open_ids(transaction)
    found = [(id_, reason) for id_ in ids if (reason := engine.check(id_)) is not None]
    _show([*(f"{id_}  {reason}" for id_, reason in found), f"{len(found)} of {len(ids)} flows would be held"])
    raise SystemExit(WOULD_BE_HELD if found else 0)


def _signal(flow: str, name: str, value: Any, *, data: Path, database: str | None, sink: str | None) -> None:
    with _reading(data, database) as transaction:
        request = _one(transaction, flow).request
    attributes = {
        "specversion": "1.0",
        "id": str(uuid.uuid4()),
        "source": request.source,
        "type": "dev.errands.signal.requested.v1",
        "datacontenttype": "application/json",
    }
    said = msgspec.json.encode({"flow": request.id, "name": name, "data": value})
    _post(Event(MappingProxyType(attributes), said), data, sink)
    _show([f"{name} is sent to the flow {request.id}"])


def _post(event: Event, data: Path, sink: str | None) -> None:
    import httpx

    from functions.net.configured import client

    running = find(data)
    if sink is None and running is None:
        _stop(f"no runner of {data} is up: start `errands up --data {data}`, or give --sink URL", UNAVAILABLE)
    headers, body = binary(event)
    if running is not None and sink in (None, running.url):
        headers["authorization"] = f"Bearer {running.token}"
    try:
        url = sink or (running.url if running else "")
        response = client().post(url, content=body, headers=headers, timeout=TIMEOUT_S)
    except (httpx.HTTPError, httpx.InvalidURL) as error:
        _stop(f"the broker cannot be reached: {error}", UNAVAILABLE)
    if response.status_code != 202:
        _stop(f"the broker answered {response.status_code}: {sentence(response.content)[:500]}", UNAVAILABLE)


def _one(transaction: "Transaction", name: str) -> "FlowRecord":
    from functions.flows.flow_record import named

    found = named(transaction, name)
    if len(found) > 1:
        _stop(f"{len(found)} flows have a request {name!r}: give one's own id, as `errands flows list` shows it")
    if not found:
        _stop(f"there is no flow {name!r}; `errands flows list --state all` shows those that are")
    return found[0]


def _database(data: Path, url: str | None) -> "Database":
    from functions.flows.schema import open_flows

    if url is None and not data.is_dir():
        _stop(f"there is no data directory {data}: give --data DIR, as `errands up` was given")
    try:
        return open_flows(url or f"sqlite:///{data.resolve() / 'flows.db'}")
    except ValueError as error:
        _stop(f"--database: {error}")


@contextmanager
def _reading(data: Path, url: str | None) -> "Iterator[Transaction]":
    try:
        with _database(data, url).transaction(writes=False) as transaction:
            yield transaction
    except StorageUnavailable as error:
        _stop(str(error), UNAVAILABLE)


def _show(lines: list[str]) -> None:
    """Nothing in them can command the terminal."""
    text = "\n".join(lines)
    typer.echo("".join(each if each.isprintable() or each == "\n" else "�" for each in text))


def _stop(reason: str, code: int = MISTAKE) -> NoReturn:
    typer.echo(reason, err=True)
    sys.exit(code)
