"""`make demo`: everything on this machine, six jobs on real input, and a table of what came of them.

An example API (PHP's, or one in Python where there is no PHP) hands the jobs over and is called back. Four are done;
a corrupt picture fails; a picture whose server is down becomes a dead letter, which is replayed once the server is
back. The exit code is 0 only when every job ended as it should and every callback's signature was verified.

With --knative the broker is Knative's own ingress and dispatchers on a RabbitMQ server; that needs Go.
"""

import base64
import json
import os
import shlex
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from email.message import EmailMessage
from email.parser import BytesParser
from email.policy import default as modern
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any, Final, Protocol, cast

import httpx
from aiosmtpd.controller import Controller
from rich.console import Console
from rich.table import Table

from tests.support.example_api import PhpApi, PythonApi
from tests.support.http_server import http_server
from tests.support.local_runner import ROOT
from tests.support.ports import free_port

DATA: Final = ROOT / ".demo"
PHOTO: Final = ROOT / "tests" / "files" / "raccoon.jpg"
POLL_S: Final = 0.1
TIMEOUT_S: Final = 90.0


class Api(Protocol):
    """The example API, as far as the demonstration uses it."""

    name: str
    callback_url: str

    def order(self, job: str, data: dict[str, Any]) -> str:
        """Hand a job over; its id."""

    def state(self, id_: str) -> dict[str, Any]:
        """What verified callbacks said of the job: state, reason, artifacts."""


@dataclass
class Row:
    """One job of the demonstration."""

    what: str
    job: str
    data: dict[str, Any]
    expected: str
    id: str = ""
    ended: dict[str, Any] | None = None
    elapsed_s: float = 0.0

    @property
    def well(self) -> bool:
        """Whether it ended as it should."""
        return self.ended is not None and self.ended["state"] == self.expected


def main() -> int:
    """Start all, order, wait, mend and replay, show; the exit code."""
    console = Console(highlight=False, width=None if sys.stdout.isatty() else 140)
    shutil.rmtree(DATA, ignore_errors=True)
    with ExitStack() as stack:
        console.print("[bold]Starting[/] a mail server, a picture server, an example API and Errands ...")
        mails = stack.enter_context(mail_server())
        pictures = stack.enter_context(picture_server())
        url = stack.enter_context(errands(mails.port, knative="--knative" in sys.argv))
        api = stack.enter_context(example_api(url))
        console.print(f"  Errands at {url}, the API ({api.name}) at {api.callback_url}\n")
        rows = jobs(pictures.url)
        run(api, rows, console)
        replayed = replay(api, rows[-1], pictures, url, console)
        well = report([*rows, replayed], mails, console)
    if "--knative" not in sys.argv:
        say_how_to_look(url, api, console)
    return 0 if well else 1


def say_how_to_look(url: str, api: Api, console: Console) -> None:
    """The commands that run all of it again with what it has made, each in a terminal of its own."""
    program = os.path.relpath(Path(sys.executable).parent / "errands", ROOT)
    console.print("\n[bold]Stopped.[/] To look at it, keep it running, with what is in .demo/:\n")
    shown(console, f"{program} up --data {DATA.name} --port {url.rpartition(':')[2]}")
    console.print(f"    dead letters at {url}/dead, e-mails from then on at {url}/mail")
    if isinstance(api, PhpApi):
        settings = (f"{name}={shlex.quote(value)}" for name, value in shop(api, url).items())
        shown(console, f"{' '.join(settings)} {shlex.join(api.command())}")
        console.print(f"    the shop, its jobs and their results at {api.url}")


def shown(console: Console, command: str) -> None:
    """A line to be copied: in one piece, however wide the terminal is."""
    console.print(f"  {command}", markup=False, soft_wrap=True)


def shop(api: PhpApi, sink: str) -> dict[str, str]:
    """The settings of the PHP example."""
    secret = DATA / "secrets" / "callback" / "secrets"
    return {**api.environment(sink, secret, DATA / "api"), "PHP_CLI_SERVER_WORKERS": "4"}


def jobs(picture_url: str) -> list[Row]:
    """The six jobs: four that are done, one that cannot be, and, last, one whose source is down."""
    photo = PHOTO.read_bytes()
    outputs = [
        {"name": "thumbnail.jpg", "width_px": 200, "height_px": 200, "mode": "fill"},
        {"name": "large.webp", "format": "webp", "width_px": 800},
        {"name": "large.avif", "format": "avif", "width_px": 800},
    ]
    corrupt = {"source": {"data_base64": base64.b64encode(photo[:20_000]).decode()}, "outputs": outputs[:1]}
    unreachable = {"source": {"url": picture_url}, "outputs": outputs[:1]}
    picture = {"source": {"data_base64": base64.b64encode(photo).decode()}, "outputs": outputs}
    return [
        Row("an invitation", "ics", sample("ics"), "completed"),
        Row("a photograph, three ways", "image", picture, "completed"),
        Row("an invoice", "report", sample("report"), "completed"),
        Row("an e-mail", "message", sample("message"), "completed"),
        Row("a corrupt picture", "image", corrupt, "failed"),
        Row("a picture, its server down", "image", unreachable, "deadlettered"),
    ]


def run(api: Api, rows: list[Row], console: Console) -> None:
    """Order them all and wait for the callbacks, telling each as it comes."""
    for row in rows:
        row.id = api.order(row.job, row.data)
        console.print(f"  ordered   {row.what}")
    await_ends(api, rows, console)


def await_ends(api: Api, rows: list[Row], console: Console) -> None:
    """Until each has ended, or too much time has passed."""
    started_s = time.monotonic()
    while (left := [row for row in rows if row.ended is None]) and time.monotonic() - started_s < TIMEOUT_S:
        for row in left:
            state = api.state(row.id)
            if state["state"] in ("completed", "failed", "deadlettered"):
                row.ended, row.elapsed_s = state, time.monotonic() - started_s
                console.print(f"  {state['state']:<13} {row.what} after {row.elapsed_s:.1f} s")
        time.sleep(POLL_S)


def replay(api: Api, row: Row, pictures: "Pictures", url: str, console: Console) -> Row:
    """Mend what was wrong, and replay the dead letter as an operator does."""
    console.print("\n[bold]Mending[/]: the picture's server is back; the dead letter is replayed")
    pictures.up = True
    command = [sys.executable, "-m", "knative.cli.main", "dead"]
    subprocess.run([*command, "list", "--data", str(DATA)], check=True)
    sink = ["--sink", url] if "--knative" in sys.argv else []  # else the runner of the data is found
    subprocess.run([*command, "replay", "--all", "--data", str(DATA), *sink], check=True)
    again = Row("the same, replayed", row.job, row.data, "completed", id=row.id)
    started_s = time.monotonic()
    while time.monotonic() - started_s < TIMEOUT_S and api.state(row.id)["state"] != "completed":
        time.sleep(POLL_S)
    again.ended, again.elapsed_s = api.state(row.id), time.monotonic() - started_s
    return again


def report(rows: list[Row], mails: "Mails", console: Console) -> bool:
    """The table; whether all is well, the e-mail's arrival included."""
    table = Table(title="\nWhat came of the jobs", title_justify="left", title_style="bold")
    for heading in ("job", "outcome", "expected", "time", "results", "callback"):
        table.add_column(heading, justify="right" if heading == "time" else "left", overflow="fold")
    for number, row in enumerate(rows, start=1):
        ended = row.ended or {"state": "no callback", "reason": None, "artifacts": []}
        paths = [linked(number, each) for each in ended["artifacts"]]
        mark = "[green]verified[/]" if row.ended else "[red]none[/]"
        colour = "green" if row.well else "red"
        results = "\n".join(paths) or ended["reason"] or ("1 e-mail delivered" if row.job == "message" else "")
        table.add_row(row.what, f"[{colour}]{ended['state']}[/]", row.expected, f"{row.elapsed_s:.1f} s", results, mark)
    console.print(table)
    files = [stored(each["url"]) for row in rows for each in (row.ended or {}).get("artifacts", [])]
    subject = sample("message")["subject"]
    checks = {
        "every job ended as expected": all(row.well for row in rows),
        "every result is on disk": bool(files) and all(file.stat().st_size > 0 for file in files),
        "the mail server has the e-mail, once": [mail["subject"] for mail in mails.all] == [subject],
    }
    for check, well in checks.items():
        console.print(f"  {'[green]yes[/]' if well else '[red]NO [/]'} {check}")
    return all(checks.values())


def linked(number: int, artifact: dict[str, Any]) -> str:
    """A short path to an artefact's file, for the person who wants to look at it."""
    link = DATA / "results" / f"{number}-{artifact['name']}"
    link.parent.mkdir(exist_ok=True)
    link.symlink_to(stored(artifact["url"]))
    return str(link.relative_to(ROOT))


def stored(url: str) -> Path:
    """Where an artefact's file is, on the machine that runs both sides."""
    return DATA / "store" / url.partition("/artifacts/")[2]


def sample(job: str) -> dict[str, Any]:
    """The data of a job's sample event."""
    file = ROOT / "events" / "samples" / f"dev.errands.{job}.requested.v1.json"
    return cast(dict[str, Any], json.loads(file.read_text())["data"])


@contextmanager
def errands(smtp_port: int, *, knative: bool) -> Iterator[str]:
    """A real `errands up`, or the same on Knative; the URL of its ingress. The logs are in .demo/."""
    DATA.mkdir()
    port = free_port()
    settings = {"SMTP_HOST": "127.0.0.1", "SMTP_PORT": str(smtp_port), "SMTP_SECURITY": "none"}
    if knative:
        from tests.conformance.on_knative import errands_on_knative  # needs Go and RabbitMQ

        with errands_on_knative(DATA, {"message": settings}) as url:
            yield url
        return
    command = [sys.executable, "-m", "knative.cli.main", "up", "--data", str(DATA), "--port", str(port)]
    for name, value in settings.items():
        command += ["--set", f"message.{name}={value}"]
    with (DATA / "errands.log").open("w") as log:
        process = subprocess.Popen(command, stdout=log, stderr=log, cwd=ROOT)
    try:
        url = f"http://127.0.0.1:{port}"
        wait_for(f"{url}/readyz", process, DATA / "errands.log")
        yield url
    finally:
        process.terminate()
        process.wait(60)


@contextmanager
def example_api(sink: str) -> Iterator[Api]:
    """The PHP example on PHP's own server, or the Python one where there is no PHP with curl."""
    if not PhpApi.possible():
        secret = (DATA / "secrets" / "callback" / "secrets").read_text()
        with PythonApi(sink, secret).serving() as in_python:
            yield in_python
        return
    port = free_port()
    api = PhpApi(port)
    environment = {**os.environ, **shop(api, sink)}
    with (DATA / "api.log").open("w") as log:
        process = subprocess.Popen(
            api.command(), stdout=log, stderr=log, env=environment, cwd=ROOT, start_new_session=True
        )
    try:
        wait_for(f"{api.url}/healthz", process, DATA / "api.log")
        yield api
    finally:
        os.killpg(process.pid, signal.SIGTERM)  # PHP's server does not end its workers
        process.wait(60)


def wait_for(url: str, process: "subprocess.Popen[bytes]", log: Path) -> None:
    """Until the URL answers 200; exits with the log's end when the process ends instead."""
    end_s = time.monotonic() + TIMEOUT_S
    while time.monotonic() < end_s and process.poll() is None:
        try:
            if httpx.get(url).status_code == 200:
                return
        except httpx.TransportError:
            time.sleep(POLL_S)
    raise SystemExit(f"{process.args!r} does not start:\n{log.read_text()[-2000:]}")


class Mails:
    """What came to the mail server."""

    def __init__(self) -> None:
        self.all: list[EmailMessage] = []
        self.port = free_port()

    async def handle_DATA(self, _server: object, _session: object, envelope: Any) -> str:  # noqa: N802  # aiosmtpd's
        """Accept a message."""
        self.all.append(BytesParser(policy=modern).parsebytes(envelope.content))
        return "250 OK"


@contextmanager
def mail_server() -> Iterator[Mails]:
    """A real SMTP server."""
    mails = Mails()
    controller = Controller(mails, hostname="127.0.0.1", port=mails.port)
    controller.start()
    try:
        yield mails
    finally:
        controller.stop()


class Pictures:
    """A web server with one photograph; 503 until it is `up`."""

    def __init__(self) -> None:
        self.up = False
        self.url = ""


@contextmanager
def picture_server() -> Iterator[Pictures]:
    """Serves the photograph."""
    pictures = Pictures()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            content = PHOTO.read_bytes() if pictures.up else b"down for maintenance"
            self.send_response(200 if pictures.up else 503)
            self.send_header("content-type", "image/jpeg" if pictures.up else "text/plain")
            self.send_header("content-length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

    with http_server(Handler) as url:
        pictures.url = f"{url}/raccoon.jpg"
        yield pictures


if __name__ == "__main__":
    raise SystemExit(main())
