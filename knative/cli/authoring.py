"""The commands of who writes functions: `new`, `run`, `test-event`, `image`."""

import os
import shutil
import subprocess
import sys
import uuid
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final, NoReturn

import typer

from knative.cli import broker
from knative.manifests import project
from knative.manifests.documents import ManifestError
from knative.manifests.manifests import Manifests, Service, load

if TYPE_CHECKING:
    from events.http import Event
    from functions.runtime.trial import Outcome

MISTAKE: Final = 64  # EX_USAGE of sysexits.h
EXIT_CODES: Final = {"completed": 0, "done": 0, "failed": 1}  # anything else is delivered again: 2
BUILDERS: Final = ("docker", "podman", "buildah")

EventOption = Annotated[
    str | None, typer.Option("--event", help="A sample's name, a file with an event, or -. Default: its own sample.")
]
SetOption = Annotated[
    list[str] | None, typer.Option("--set", metavar="NAME=VALUE", help="Over its environment; may be repeated.")
]


def new(
    what: Annotated[str, typer.Argument(metavar="PROJECT | function", help="A folder, or the word function.")],
    name: Annotated[str | None, typer.Argument(metavar="[NAME]", help="The function's name.")] = None,
) -> None:
    """Begin a project of functions in a new folder, or a function in the project that one is in."""
    from knative import scaffold

    try:
        if what == "function" and name:
            made = scaffold.new_function(name, _project())
            following = f"errands run {_shown(next(each for each in made if each.name == 'main.py'))}"
        elif name is None and what != "function":
            made = scaffold.new_project(Path(what))
            following = f"cd {what} && errands new function NAME"
        else:
            _stop("errands new PROJECT, or errands new function NAME")
    except (scaffold.CannotMake, ManifestError) as error:
        _stop(str(error))
    for each in made:
        typer.echo(f"made {_shown(each)}")
    typer.echo(f"  try: {following}")


def run(
    source: Annotated[Path, typer.Argument(help="The function's file, such as shop/greet/main.py.")],
    *,
    event: EventOption = None,
    type_: Annotated[str | None, typer.Option("--type", help="The file holds data only; this is its type.")] = None,
    settings: SetOption = None,
    data: Annotated[Path, typer.Option(help="Where results are kept.", envvar="ERRANDS_DATA")] = Path(".errands"),
    manifests: broker.Manifest = None,
) -> None:
    """Call one function once, in this process and as its manifest says, where breakpoint() stops: no runner is needed.

    Shows the event, what is logged, the outcome and how long it took. Exit code: 0 done, 1 failed, 2 to be tried again.
    """
    from events.problem import NotAnEvent
    from functions.runtime import trial
    from knative.cli.event_file import build
    from knative.local import log_lines

    try:
        folders = project.chosen(manifests)
        read = load(*folders)
        service = _service_of(source, read)
        # an id of its own, since a job that was done is not done again
        asked = build(event or service.name, type_, {"id": str(uuid.uuid4())})
        _be(service, read, data, _given(settings))
    except (ManifestError, NotAnEvent) as error:
        _stop(str(error))
    log_lines.configure(terminal=True)
    _show("event", asked.type, asked)
    function = trial.load(str(service.root / str(service.environment["FUNCTION_SOURCE"])), _target(service))
    outcome = function.call(asked)
    _show("outcome", _sentence(outcome), outcome.event)
    raise SystemExit(EXIT_CODES.get(outcome.name, 2))


def make_event(
    name: Annotated[str, typer.Argument(help="A sample's name, or a file with an event.")],
    type_: Annotated[str | None, typer.Option("--type", help="The file holds data only; this is its type.")] = None,
) -> None:
    """Print an event for a function, with a new id and time: for curl, a test, or a file to change."""
    from events.http import structured
    from events.problem import NotAnEvent
    from knative.cli.event_file import build

    try:
        typer.echo(_pretty(structured(build(name, type_, {}))))
    except NotAnEvent as error:
        _stop(str(error))


def image(
    name: Annotated[str, typer.Argument(help="The function's name.")],
    *,
    registry: Annotated[str | None, typer.Option(help="Before its name. Default: the project's.")] = None,
    base: Annotated[str | None, typer.Option(help="The image to start from. Default: the Dockerfile's.")] = None,
    builder: Annotated[str | None, typer.Option(help="docker, podman or buildah.", envvar="BUILDER")] = None,
) -> None:
    """Build the image of one function of the project that one is in, by the project's Dockerfile."""
    try:
        own = _project()
    except ManifestError as error:
        _stop(str(error))
    found = builder or next(filter(shutil.which, BUILDERS), None)
    module = name.replace("-", "_")
    if not (own.folder / own.package / module / "main.py").is_file():
        _stop(f"the project {own.folder.name} has no {own.package}/{module}/main.py; errands new function {name}")
    if found is None:
        _stop(f"{', '.join(BUILDERS[:-1])} or {BUILDERS[-1]} is needed to build images")
    tag = f"{registry or own.folder.name}/{name}:{own.version}"
    arguments = ["--build-arg", f"FUNCTION={module}", *(["--build-arg", f"BASE={base}"] if base else []), "--tag", tag]
    flags = os.environ.get("BUILD_FLAGS", "").split()
    built = subprocess.run(
        [found, "build", *flags, *arguments, "--file", "Dockerfile", "."], check=False, cwd=own.folder
    )
    if built.returncode:
        _stop(f"{found} could not build {tag}", 1)
    typer.echo(f"built {tag}")


COMMANDS: Final[Mapping[str, Callable[..., Any]]] = {
    "new": new,
    "run": run,
    "test-event": make_event,
    "image": image,
}


def _project() -> project.Project:
    own = project.find(Path.cwd())
    if own is None:
        _stop("this is no project of functions: go to one, or begin one with: errands new PROJECT")
    return own


def _service_of(source: Path, read: Manifests) -> Service:
    """The Service that runs a file."""
    if not source.is_file():
        _stop(f"there is no file {source}")
    files = {name: each.root / str(each.environment["FUNCTION_SOURCE"]) for name, each in read.services.items()}
    found = next((name for name, file in files.items() if file.is_file() and file.samefile(source)), None)
    if found is None:
        _stop(f"no manifest has {source} as its FUNCTION_SOURCE; give its folder of manifests with --manifests")
    return read.services[found]


def _target(service: Service) -> str:
    target = service.environment.get("FUNCTION_TARGET")
    return target if isinstance(target, str) else "handle"


def _be(service: Service, read: Manifests, data: Path, given: Mapping[str, str]) -> None:
    """Have the environment and the folder that the function has in a runner of this data."""
    from functions.runtime.running import find
    from knative.local.process.environment import Machine, environment, make_secrets

    running = find(data)
    url = running.url if running else "http://127.0.0.1:8080/"
    machine = Machine(
        data=data.resolve(),
        ingress_url=url,
        ingress_secret=running.token if running else "",
        invoker_secret="",
        public_url=url,
        token=None,
        settings={service.name: given},
    )
    make_secrets(machine)
    variables = environment(service, read, machine)
    for name in ("ERRANDS_RUNNER_PID", "TMPDIR"):  # it is nobody's child
        variables.pop(name, None)
    os.environ.update(variables)
    os.chdir(service.root)
    sys.path.insert(0, str(service.root))


def _given(settings: list[str] | None) -> dict[str, str]:
    found = {}
    for each in settings or ():
        name, equals, value = each.partition("=")
        if not (name and equals):
            _stop(f"--set expects NAME=VALUE, got {each!r}")
        found[name] = value
    return found


def _sentence(outcome: "Outcome") -> str:
    said = f": {outcome.detail}" if outcome.detail else ""
    return f"{outcome.name} in {outcome.elapsed_s * 1000:.1f} ms{said}"


def _show(heading: str, sentence: str, event: "Event | None") -> None:
    from functions.deadletters.cli.terminal import plain

    typer.echo(plain(f"{heading:<8} {sentence}"))
    if event:
        typer.echo(plain(_indented(_pretty(event.data))))


def _pretty(content: bytes) -> str:
    import msgspec

    try:
        return msgspec.json.format(content).decode()
    except (msgspec.DecodeError, UnicodeDecodeError):
        return content.decode(errors="replace")


def _indented(text: str) -> str:
    return "\n".join(f"         {line}" for line in text.splitlines())


def _shown(file: Path) -> str:
    """The file as one would type it here."""
    return os.path.relpath(file)


def _stop(reason: str, code: int = MISTAKE) -> NoReturn:
    typer.echo(reason, err=True)
    raise SystemExit(code)
