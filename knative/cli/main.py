"""`errands`: run everything on one machine, send a job, deal with dead letters, look a machine over."""

import importlib
import os
import platform
import shlex
import sys
import tempfile
from collections.abc import Coroutine
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final, NoReturn, TypeVar

import typer
from typer.core import TyperGroup

from functions.runtime.running import find
from knative.cli import authoring, cluster
from knative.cli import broker as broker_commands
from knative.local.data_folder import OTHERS
from knative.local.process.environment import Machine, make_secrets
from knative.manifests import project
from knative.manifests.documents import ManifestError
from knative.manifests.manifests import MANIFESTS, load
from knative.manifests.queues import WORK_QUEUES

if TYPE_CHECKING:
    from typer._click import Command, Context

    from functions.runtime.proxies import TrustedProxies

# Loaded when asked for: no other command need wait for them, and `errands up` would hold their memory for ever.
GROUPS: Final = {
    "dead": "functions.deadletters.cli.app",
    "callbacks": "knative.cli.callbacks",
    "flows": "functions.flows.cli",
    "jobs": "knative.cli.jobs",
    "admission": "knative.cli.admission",
    "schedules": "knative.cli.schedules",
}


class Commands(TyperGroup):
    """Those of this module, and the groups of others."""

    def list_commands(self, ctx: "Context") -> list[str]:
        """Their names, as the help shows them."""
        return [*super().list_commands(ctx), *GROUPS]

    def get_command(self, ctx: "Context", cmd_name: str) -> "Command | None":
        """One of them, or None."""
        if cmd_name not in GROUPS:
            return super().get_command(ctx, cmd_name)
        group = typer.main.get_command(importlib.import_module(GROUPS[cmd_name]).app)
        group.name = cmd_name
        return group


app = typer.Typer(
    cls=Commands,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)
app.add_typer(broker_commands.app, name="broker")


def _version(asked: bool) -> None:
    if asked:
        typer.echo(f"errands {version('errands')}, Python {platform.python_version()}")
        raise typer.Exit


@app.callback()
def errands(
    version: Annotated[
        bool, typer.Option("--version", help="Say which release this is, and end.", callback=_version, is_eager=True)
    ] = False,
) -> None:
    """Hand work over from an API: events in, work done, signed callbacks out."""


T = TypeVar("T")

EXIT_BY_OUTCOME: Final = {"completed": 0, "failed": 1, "deadlettered": 2}
EXIT_NO_OUTCOME: Final = 3
MISTAKE: Final = 64  # EX_USAGE of sysexits.h: apart from the outcomes

Data = Annotated[Path, typer.Option("--data", help="Where everything is kept.", envvar="ERRANDS_DATA")]
Manifest = broker_commands.Manifest
WorkQueueFolder = Annotated[
    Path | None,
    typer.Option("--queues", "--lanes", help="The folder of the work queues' manifests; keda/ with our own manifests."),
]
Settings = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="FUNCTION.NAME=VALUE", help="Over a function's environment; may be repeated."),
]
TokenFile = Annotated[Path | None, typer.Option("--token-file", help="A file with the token that clients must send.")]
Sink = Annotated[str, typer.Option("--sink", help="The broker's ingress.", envvar="K_SINK")]
FrontDoorUrl = Annotated[
    str | None, typer.Option("--sink", help="The gateway; otherwise that of the runner of --data.", envvar="K_SINK")
]


@app.command()
def up(
    data: Data = Path(".errands"),
    *,
    manifests: Manifest = None,
    work_queues: WorkQueueFolder = None,
    host: Annotated[str, typer.Option(help="Where to listen; other than loopback needs a token.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="0 takes a free one.")] = 8080,
    token_file: TokenFile = None,
    trusted_proxy: Annotated[
        list[str] | None,
        typer.Option(metavar="ADDRESS", help="Whose X-Forwarded-... headers count, or a network; may be repeated."),
    ] = None,
    public_url: Annotated[str | None, typer.Option(help="Where others reach it; artefacts' URLs begin so.")] = None,
    settings: Settings = None,
    catch_mail: Annotated[
        bool, typer.Option("--catch-mail", help="Show e-mails at /mail in place of sending them, with a token too.")
    ] = False,
    backlog_limit: Annotated[int, typer.Option(min=1, help="Deliveries kept at most; beyond: 503.")] = 1_000_000,
    max_processes: Annotated[int | None, typer.Option(min=1, help="Per CPU-bound function; default: cores.")] = None,
    reload: Annotated[
        bool, typer.Option("--reload", help="Restart a function whose source changed, and all when manifests did.")
    ] = False,
    lint: Annotated[bool, typer.Option(help="Look the manifests over before anything starts.")] = True,
    broker: broker_commands.Url = None,
    broker_credentials: broker_commands.Credentials = None,
    broker_tls: broker_commands.Tls = None,
) -> None:
    """Run the broker and every function here, as the manifests declare, until Ctrl-C."""
    _require_linux()
    os.umask(OTHERS)  # of the functions, too
    folders = _folders(manifests)
    if lint and folders != (MANIFESTS,):  # our own are linted by who changes them
        _lint_first(folders)
    from knative.local.process.fork_server import ForkServer

    fork_server = ForkServer(data.resolve())  # before anything has a thread

    from knative.local import log_lines
    from knative.local.lifetime import serve_until_stopped
    from knative.local.mail_catcher import catches
    from knative.local.runner import Options

    log_lines.configure()
    options = Options(
        manifests=folders,
        data=data,
        host=host,
        port=port,
        token=_token(token_file),
        trusted_proxies=_trusted_proxies(trusted_proxy),
        public_url=public_url,
        settings=_settings(settings),
        catch_mail=catch_mail,
        backlog_limit=backlog_limit,
        max_processes=max_processes or os.cpu_count() or 1,
        reload=reload,
        lint=lint,
        rabbitmq=broker_commands.server_of(broker, broker_credentials, broker_tls),
        work_queues=_work_queues(work_queues, folders),
    )

    def announce(url: str) -> None:
        kept = f", its events on {options.rabbitmq.place}" if options.rabbitmq else ""
        typer.echo(f"errands is ready at {url}, its data in {data.resolve()}{kept}")
        typer.echo(f"  send events to {url}")
        typer.echo(f"  console at {url}console")
        typer.echo(f"  try: errands send ics --wait --sink {url}")
        if catches(options.settings, options.token, asked=options.catch_mail):
            typer.echo(f"  mail is caught, and shown at {url}mail; --set message.SMTP_HOST=... sends it")

    if _guarded(serve_until_stopped(options, announce, fork_server)):
        os.execv(sys.executable, [sys.executable, *sys.orig_argv[1:]])  # noqa: S606  # its manifests have changed


@app.command(
    context_settings={"allow_extra_args": True, "ignore_unknown_options": True},
    options_metavar="[OPTIONS] -- COMMAND...",
)
def exec(  # noqa: A001  # the command's name
    context: typer.Context,
    *,
    data: Annotated[Path | None, typer.Option(help="Default: a new folder that is removed at the end.")] = None,
    manifests: Manifest = None,
    work_queues: WorkQueueFolder = None,
    settings: Settings = None,
    broker: broker_commands.Url = None,
    broker_credentials: broker_commands.Credentials = None,
    broker_tls: broker_commands.Tls = None,
) -> None:
    """Start everything on free ports, run a command against it, stop everything: `errands exec -- phpunit`.

    The command finds the broker in K_SINK and the callbacks' secret in ERRANDS_WEBHOOK_SECRET; its exit code is ours.
    """
    if not context.args:
        _stop("give the command to run after --")
    _require_linux()
    os.umask(OTHERS)
    from knative.local.process.fork_server import ForkServer

    with tempfile.TemporaryDirectory(prefix="errands-") as folder:
        fork_server = ForkServer(data.resolve() if data else Path(folder))  # before anything has a thread

        from knative.local import log_lines
        from knative.local.lifetime import run_command
        from knative.local.runner import Options

        log_lines.configure(level="WARNING")
        folders = _folders(manifests)
        options = Options(
            manifests=folders,
            data=data or Path(folder),
            port=0,
            settings=_settings(settings),
            rabbitmq=broker_commands.server_of(broker, broker_credentials, broker_tls),
            work_queues=_work_queues(work_queues, folders),
        )
        code = _guarded(run_command(options, context.args, fork_server))
    raise SystemExit(code if code >= 0 else 128 - code)  # as a shell tells that a signal ended it


@app.command()
def send(
    file: Annotated[str, typer.Argument(help="A sample (ics, image, message, report), a file with an event, or -.")],
    *,
    type_: Annotated[str | None, typer.Option("--type", help="The file holds data only; this is its type.")] = None,
    id_: Annotated[str | None, typer.Option("--id", help="The job's id; the same id is done once.")] = None,
    source: Annotated[str | None, typer.Option(help="Who asks; with the id it names the job.")] = None,
    subject: Annotated[str | None, typer.Option(help="Your own handle, on every later event of the job.")] = None,
    callback_url: Annotated[str | None, typer.Option(help="Where the outcome is posted, signed.")] = None,
    data: Data = Path(".errands"),
    sink: FrontDoorUrl = None,
    token_file: TokenFile = None,
    wait: Annotated[bool, typer.Option("--wait", help="Wait for the outcome and show it.")] = False,
    timeout_s: Annotated[float, typer.Option("--timeout", min=0, help="Seconds to wait.")] = 120.0,
) -> None:
    """Send one job. With --wait the exit code is 0 completed, 1 failed, 2 dead-lettered, 3 no outcome in time.

    While it waits it says at once when an attempt has failed, and why, and how far the job is.
    """
    from events.problem import NotAnEvent
    from knative.cli import client
    from knative.cli.event_file import build
    from knative.cli.front_door import address, options

    given = {"id": id_, "source": source, "subject": subject, "callbackurl": callback_url}
    url, token = address(sink, data), _token(token_file)
    try:
        event = build(file, type_, {name: value for name, value in given.items() if value is not None})
        stream = client.post(event, url, token=token)
    except (NotAnEvent, client.NotAccepted) as error:
        _stop(str(error))
    typer.echo(f"accepted {event.type} {event.id}")
    if wait:
        try:
            outcome = client.wait(event, url, token=token, timeout_s=timeout_s, stream=stream, say=_say)
        except client.NoOutcome as error:
            hint = f": errands jobs watch {shlex.quote(event.id)}{options(sink, data)}" if stream else ""
            typer.echo(_plain(f"{error}; the job goes on{hint}"), err=True)
            raise SystemExit(EXIT_NO_OUTCOME) from error
        typer.echo(_plain(client.describe(outcome)))
        raise SystemExit(EXIT_BY_OUTCOME[outcome.attributes["outcome"]])


@app.command()
def status(
    data: Data = Path(".errands"),
    sink: FrontDoorUrl = None,
    token_file: TokenFile = None,
    *,
    as_json: Annotated[bool, typer.Option("--json", help="One object, for programs.")] = False,
) -> None:
    """Say how all is: jobs by state and type, the oldest that is open, what ended in the last hour and day."""
    from knative.cli.jobs import show_status

    show_status(data, sink, token_file, as_json=as_json)


@app.command()
def work(
    function: Annotated[str, typer.Argument(help="A work queue of the manifests, such as longreport.")],
    *,
    broker: broker_commands.Url = None,
    broker_credentials: broker_commands.Credentials = None,
    broker_tls: broker_commands.Tls = None,
    manifests: Manifest = None,
    work_queues: WorkQueueFolder = None,
    data: Data = Path(".errands"),
    settings: Settings = None,
    sink: Sink = "http://127.0.0.1:8080",
    token_file: TokenFile = None,
) -> None:
    """Run one worker of a work queue, as its manifest declares, beside an `errands up --broker` of the same data."""
    _require_linux()
    from knative.local.exceptions import CannotStart
    from knative.local.queues.queues import amqp_variables, worker_environment
    from knative.local.runner import work_named

    server = broker_commands.server_of(broker, broker_credentials, broker_tls)
    if server is None:
        _stop("--broker amqp://... is expected, or ERRANDS_BROKER: a work queue is a queue of RabbitMQ")
    running = find(data)
    url = running.url if running else sink.rstrip("/") + "/"
    machine = Machine(
        data=data.resolve(),
        ingress_url=url,
        ingress_secret=running.token if running else "",
        invoker_secret="",
        public_url=running.front_door if running else url,
        gateway_url=running.front_door if running else "",
        token=_token(token_file),
        settings=_settings(settings),
        work_queue=amqp_variables(server),
    )
    try:
        folders = _folders(manifests)
        work_queue = work_named(function, _work_queues(work_queues, folders))
        read = load(*folders)
        make_secrets(machine)
        environment = worker_environment(work_queue, read, machine) | {"TMPDIR": tempfile.gettempdir()}
    except (CannotStart, ManifestError) as error:
        _stop(str(error))
    os.chdir(work_queue.root)
    del environment["ERRANDS_RUNNER_PID"]  # it is nobody's child
    os.execve(sys.executable, [sys.executable, "-m", "keda.worker.worker"], environment)  # noqa: S606  # no shell


@app.command()
def doctor(
    data: Data = Path(".errands"),
    port: Annotated[int, typer.Option(min=0, max=65535, help="The port that up will use.")] = 8080,
    *,
    as_json: Annotated[bool, typer.Option("--json", help="A JSON array of what was looked at.")] = False,
) -> None:
    """Say what this machine has and lacks, and the one line that mends each; exit 1 when it lacks what is needed."""
    from knative.cli.doctor import lacks, look, told

    findings = look(data, port)
    typer.echo(told(findings, as_json=as_json))
    raise SystemExit(lacks(findings))


@app.command()
def backup(
    to: Annotated[Path, typer.Argument(help="A folder that is not there yet.")],
    data: Data = Path(".errands"),
) -> None:
    """Copy everything that a runner keeps, also while it runs; knative/README.md says how it is restored."""
    from knative.cli.backup import NoBackup, back_up

    os.umask(OTHERS)
    try:
        made = back_up(data, to)
    except NoBackup as error:
        _stop(str(error))
    files = f"{made.files} stored files of {made.size_bytes} bytes"
    typer.echo(f"{to} holds {made.databases} databases, {made.waiting} deliveries that wait, and {files}")


@app.command()
def lint(
    targets: Annotated[list[str] | None, typer.Argument(help="Folders, files, or - for what kustomize prints.")] = None,
    *,
    format_: Annotated[str, typer.Option("--format", help="text, brief, json, or github.")] = "text",
    events: Annotated[Path | None, typer.Option(help="A folder with a sample of each event that is emitted.")] = None,
    production: Annotated[bool, typer.Option("--production", help="Refuse images without a version.")] = False,
    broker_class: Annotated[
        str,
        typer.Option("--broker-class", help="Look at every Broker as of this class: what of it is RabbitMQ's alone."),
    ] = "",
    strict: Annotated[bool, typer.Option("--strict", help="Exit 1 on warnings too.")] = False,
    rules: Annotated[bool, typer.Option("--rules", help="List the rules, and look at nothing.")] = False,
) -> None:
    """Find what loses events on the RabbitMQ broker, before it is applied; exit 1 on errors."""
    from knative.lint import look as look_for
    from knative.lint import report

    if rules:
        typer.echo(report.table())
        raise SystemExit(0)
    if format_ not in report.FORMATS:
        _stop(f"--format must be one of {', '.join(report.FORMATS)}, got {format_}")
    try:
        own = project.find(Path.cwd())
        if own:
            project.link_builtin(own)
            events = events or (None if targets else own.samples)
        places = targets or [str(each) for each in project.chosen(None)]
        linted = look_for(places, events=events, production=production, broker_class=broker_class)
    except ManifestError as error:
        _stop(str(error))
    shown = report.FORMATS[format_](linted)
    if shown:
        typer.echo(_plain(shown) if format_ in report.FOR_PEOPLE else shown)
    raise SystemExit(any(strict or each.severity == "error" for each in linted.findings))


for _command in (cluster.preflight, cluster.deploy, cluster.undeploy, cluster.cluster_test):
    app.command()(_command)
for _name, _command in authoring.COMMANDS.items():
    app.command(_name)(_command)
for _command in (cluster.preflight, cluster.deploy, cluster.undeploy, cluster.cluster_test):
    app.command()(_command)


def main() -> None:
    """The console script; a mistake in the options exits as every mistake does, since 2 means dead-lettered."""
    setattr(typer.BadParameter.__base__, "exit_code", MISTAKE)  # noqa: B010  # UsageError, of which typer has its own
    app()


def _require_linux() -> None:
    """Processes are forked, watched and walled in by Linux's own means (pidfd, prctl, Landlock)."""
    if sys.platform != "linux":
        _stop(f"functions are run on Linux alone, and this is {sys.platform}: use the image errands/runner (README.md)")


def _folders(given: list[Path] | None) -> tuple[Path, ...]:
    """The folders of manifests that are run."""
    try:
        return project.chosen(given)
    except ManifestError as error:
        _stop(str(error))


def _work_queues(given: Path | None, folders: tuple[Path, ...]) -> Path | None:
    return given or (WORK_QUEUES if MANIFESTS in folders else None)


def _lint_first(folders: tuple[Path, ...]) -> None:
    """Show what the linter finds, and stop where an error is among it.

    In a process of its own, before there is a thread: what it loads would be in the runner's memory for ever.
    """
    child = os.fork()
    if not child:
        os._exit(_linted(folders))
    if os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]):
        _stop("errands up does not start with these errors; errands lint explains them, --no-lint passes over them")


def _linted(folders: tuple[Path, ...]) -> bool:
    """Show what the linter finds, a line each; whether an error is among it."""
    from knative.lint import look, report

    try:
        linted = look([str(each) for each in folders])
    except ManifestError as error:
        typer.echo(_plain(str(error)), err=True)
        return True
    for line in report.brief(linted).splitlines():
        typer.echo(_plain(line), err=True)
    return any(each.severity == "error" for each in linted.findings)


def _guarded(work: Coroutine[Any, Any, T]) -> T:
    """Run the work; a reason not to start is one sentence, and no stack trace."""
    import uvloop  # with asyncio, which no other command need wait for

    from knative.local.exceptions import CannotStart, RunnerFailed
    from knative.local.lifetime import EXIT_FAILED

    try:
        return uvloop.run(work)
    except (CannotStart, ManifestError) as error:
        _stop(str(error))
    except RunnerFailed as error:
        _stop(f"the runner could not go on: {error}", EXIT_FAILED)


def _settings(given: list[str] | None) -> dict[str, dict[str, str]]:
    settings: dict[str, dict[str, str]] = {}
    for each in given or ():
        target, equals, value = each.partition("=")
        function, dot, name = target.partition(".")
        if not (equals and dot and function and name):
            _stop(f"--set expects FUNCTION.NAME=VALUE, such as message.SMTP_HOST=mail.example, got {each!r}")
        settings.setdefault(function, {})[name] = value
    return settings


def _trusted_proxies(given: list[str] | None) -> "TrustedProxies":
    from functions.runtime.proxies import TrustedProxies, networks

    try:
        return TrustedProxies(networks(given or ()))
    except ValueError as error:
        _stop(f"--trusted-proxy expects an address or a network, such as 127.0.0.1 or 10.1.0.0/16: {error}")


def _token(file: Path | None) -> str | None:
    from knative.cli.front_door import BadToken, read_token

    try:
        return read_token(file)
    except BadToken as error:
        _stop(str(error))


def _say(line: str) -> None:
    """Something on the way, which is not the outcome."""
    typer.echo(_plain(line), err=True)


def _plain(text: str) -> str:
    from functions.deadletters.cli.terminal import plain  # as the groups

    return plain(text)


def _stop(reason: str, code: int = MISTAKE) -> NoReturn:
    typer.echo(_plain(reason), err=True)
    sys.exit(code)


if __name__ == "__main__":
    main()
