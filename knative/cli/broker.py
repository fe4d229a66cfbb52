"""`errands broker`: what the runner made on a RabbitMQ server; and the options that name the server."""

import asyncio
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final, NoReturn

import typer

from knative.manifests.documents import ManifestError
from knative.manifests.manifests import load
from knative.manifests.project import chosen

if TYPE_CHECKING:  # pika is a large import, which no other command need wait for
    from functions.amqp.server import AmqpServer

app = typer.Typer(help="The runner's exchanges and queues on a RabbitMQ server.", no_args_is_help=True)

MISTAKE: Final = 64  # EX_USAGE of sysexits.h

Url = Annotated[
    str | None,
    typer.Option("--broker", metavar="AMQP_URL", help="Keep events on this RabbitMQ server.", envvar="ERRANDS_BROKER"),
]
Credentials = Annotated[
    Path | None,
    typer.Option("--broker-credentials", help="A file user:password, or a folder with username and password."),
]
Tls = Annotated[
    Path | None, typer.Option("--broker-tls", help="A folder with ca.crt and, for a client's own, tls.crt and tls.key.")
]

Manifest = Annotated[
    list[Path] | None,
    typer.Option(
        "--manifests",
        help="A folder of manifests, or the word builtin for Errands' own; may be repeated. "
        "Default: builtin and, in a project, its manifests/.",
    ),
]


@app.callback()
def group() -> None:
    """The runner's exchanges and queues on a RabbitMQ server."""


@app.command()
def purge(
    broker: Url = None,
    credentials: Credentials = None,
    tls: Tls = None,
    *,
    manifests: Manifest = None,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
) -> None:
    """Remove from the server what `errands up --broker` of these manifests made there, with the events in it."""
    from functions.amqp.errors import ServerRefused, ServerUnavailable
    from knative.local.broker.topology import Names, exchanges_of, queues_of, remove, survey

    server = server_of(broker, credentials, tls)
    if server is None:
        _stop("--broker amqp://... is expected, or ERRANDS_BROKER")
    try:
        read = load(*chosen(manifests))
        names = Names(read.broker)
        found = asyncio.run(survey(server, queues_of(names, read)))
        busy = [name for name, queue in found.items() if queue.consumers]
        if busy:
            _stop(f"a runner still consumes {busy[0]} and {len(busy) - 1} more on {server.place}: stop it first")
        held = sum(queue.messages for queue in found.values())
        what = f"{len(found)} queues with {held} events, and their exchanges, on {server.place}"
        if not found:
            typer.echo(f"the Broker {read.broker} has no queues on {server.place}")
        elif yes or typer.confirm(f"Remove {what}?", abort=True):
            asyncio.run(remove(server, found, exchanges_of(names, read)))
            typer.echo(f"removed {what}")
    except (ManifestError, ServerUnavailable, ServerRefused, ValueError) as error:
        _stop(str(error))


def server_of(url: str | None, credentials: Path | None, tls: Path | None) -> "AmqpServer | None":
    """The RabbitMQ server that the options name; None without a URL."""
    if not url:
        return None
    from functions.amqp.server import AmqpServer

    own = tls / "tls.crt" if tls else None
    own = own if own and own.exists() else None
    try:
        return AmqpServer(
            url=url,
            credentials=credentials,
            ca_file=tls / "ca.crt" if tls else None,
            certificate_file=own,
            key_file=tls / "tls.key" if tls and own else None,
        )
    except ValueError as error:
        _stop(f"--broker: {error}")


def _stop(reason: str) -> NoReturn:
    typer.echo(reason, err=True)
    raise SystemExit(MISTAKE)
