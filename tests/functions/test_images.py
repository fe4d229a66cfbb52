"""Each function's image, built and run as on a cluster: not as root, nothing to write to, stopped by SIGTERM.

The base is a Debian made by debootstrap, because no registry is needed for it; ERRANDS_TEST_BASE names another.
"""

import contextlib
import functools
import hashlib
import http.client
import http.server
import json
import os
import re
import shutil
import socket
import subprocess
import sys
import tempfile
import threading
import time
import tomllib
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import httpx
import pika
import psycopg
import pytest
import yaml
from aiosmtpd.controller import Controller
from aiosmtpd.handlers import Sink

from knative.manifests.project import Project
from knative.scaffold import new_function, new_project
from tests.conftest import sample
from tests.support.absent import absent
from tests.support.database_servers import new_database, postgresql_server
from tests.support.http_server import http_server
from tests.support.ports import free_port
from tests.support.rabbitmq_server import RabbitServer
from tests.support.wheel import build_wheel

__all__ = ["postgresql_server"]  # a fixture

ROOT = Path(__file__).parents[2]
FUNCTIONS = sorted(each.parent.name for each in ROOT.glob("functions/*/main.py"))
# names that nobody else's images have: the base by its recipe, ours by this checkout
BASE = f"localhost/errands-base:{hashlib.sha256((ROOT / '.ci/base-image').read_bytes()).hexdigest()[:12]}"
REGISTRY = f"localhost/errands-test-{hashlib.sha256(str(ROOT).encode()).hexdigest()[:12]}"
COMPOSE = ROOT / "events" / "php" / "example" / "compose.yaml"
TOKEN = "a-token-of-these-tests"
START_LIMIT_S = 120.0
DATA = (".html", ".css", ".js", ".json", ".svg", ".icc", ".ttf", ".otf", ".txt", ".conf")
# In a sandbox without CAP_SYS_RESOURCE podman's own limits are above what may be set.
LIMITS = ("--ulimit", "nofile=1024:1024", "--ulimit", "nproc=4096:4096")


def podman(*arguments: str, check: bool = True) -> str:
    done = subprocess.run(["podman", *arguments], capture_output=True, check=False, text=True, timeout=600)
    assert done.returncode == 0 or not check, done.stderr[-2000:]
    return done.stdout.strip()


@pytest.fixture(scope="session")
def base() -> str:
    """The base image; made once on a machine, in a minute and a half."""
    given = os.environ.get("ERRANDS_TEST_BASE")
    if given:
        return given
    missing = [each for each in ("podman", "debootstrap") if shutil.which(each) is None]
    if missing or os.geteuid() != 0:
        absent(f"images need {' and '.join(missing) or 'root'} to be built, or ERRANDS_TEST_BASE")
    if not podman("images", "--quiet", BASE):
        subprocess.run([ROOT / ".ci/base-image", BASE], check=True, timeout=600)
    return BASE


@pytest.fixture(scope="session")
def image(base: str) -> Callable[[str], str]:
    """Builds a function's image as `make image` does, the unchanged parts from the cache."""
    environment = {**os.environ, "BASE": base, "REGISTRY": REGISTRY, "VERSION": "test", "BUILDER": "podman"}
    environment["BUILD_FLAGS"] = "--quiet --network host"

    @functools.cache
    def built(function: str) -> str:
        command = [str(ROOT / "functions/images.sh"), function]
        done = subprocess.run(command, env=environment, capture_output=True, check=False, text=True, timeout=600)
        assert done.returncode == 0, done.stderr[-2000:]
        return f"{REGISTRY}/{function}:test"

    return built


class Received(NamedTuple):
    """What the API and the broker's ingress of these tests got."""

    port: int
    bodies: list[bytes]
    arrived: threading.Event
    answering: threading.Event


@contextmanager
def receiving() -> Iterator[Received]:
    """A server that takes callbacks and events, and answers while `answering` is set."""
    bodies: list[bytes] = []
    arrived, answering = threading.Event(), threading.Event()
    answering.set()

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            bodies.append(self.rfile.read(int(self.headers["content-length"])))
            arrived.set()
            answering.wait(START_LIMIT_S)
            self.send_response(202)
            self.end_headers()

        def do_GET(self) -> None:
            self.send_response(200)
            self.end_headers()
            self.wfile.write(b'{"data": []}')

    with http_server(Handler) as url:
        yield Received(int(url.rpartition(":")[2]), bodies, arrived, answering)


@pytest.fixture
def receiver() -> Iterator[Received]:
    with receiving() as received:
        yield received


@contextmanager
def taking_mail() -> Iterator[int]:
    """The port of a mail server that takes everything."""
    controller = Controller(Sink(), hostname="127.0.0.1", port=free_port())
    controller.start()
    yield controller.port
    controller.stop()


@pytest.fixture
def mail_port() -> Iterator[int]:
    with taking_mail() as port:
        yield port


class Container:
    """A running image; `start_s` is from the container's start to the probe's first good answer."""

    def __init__(self, image: str, environment: dict[str, str], *options: str, arguments: Sequence[str] = ()) -> None:
        self.port = free_port()
        given = {"PORT": str(self.port), "STORE_URL": "file:///tmp/store", **environment}
        variables = [argument for name, value in given.items() for argument in ("--env", f"{name}={value}")]
        given_to = [each.format(port=self.port) for each in arguments]
        hardened = ("--read-only", "--cap-drop=ALL", "--security-opt=no-new-privileges")
        options = options or ("--tmpfs=/data:mode=1777",)
        self.id = podman(
            "run", "--detach", "--network=host", *hardened, *LIMITS, *options, *variables, image, *given_to
        )
        self.start_s = self._wait()

    def _wait(self) -> float:
        begun = time.monotonic()
        while time.monotonic() - begun < START_LIMIT_S:
            try:
                if self.ask("GET", "/healthz")[0] == 200:
                    return time.monotonic() - begun
            except OSError:
                threading.Event().wait(0.01)
        logged = subprocess.run(["podman", "logs", self.id], capture_output=True, check=False, text=True, timeout=60)
        pytest.fail(f"no answer in {START_LIMIT_S} s: {logged.stdout}{logged.stderr}")

    def wait_until_deaf(self) -> None:
        """Until it takes no more requests."""
        while True:
            try:
                socket.create_connection(("127.0.0.1", self.port), 1).close()
                threading.Event().wait(0.01)
            except OSError:
                return

    def ask(self, method: str, path: str, body: bytes = b"") -> tuple[int, dict[str, str], bytes]:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)
        headers = {"content-type": "application/cloudevents+json"} if body else {}
        connection.request(method, path, body or None, headers)
        response = connection.getresponse()
        return response.status, {name.lower(): value for name, value in response.getheaders()}, response.read()

    def send(self, event: dict[str, Any]) -> tuple[int, dict[str, str], bytes]:
        return self.ask("POST", "/", json.dumps(event).encode())

    def run(self, *command: str) -> str:
        return podman("exec", self.id, *command, check=False)

    def stop(self) -> int:
        """SIGTERM; the exit code."""
        podman("stop", "--time", "20", self.id)
        return int(podman("inspect", "--format", "{{.State.ExitCode}}", self.id))

    def remove(self) -> None:
        podman("rm", "--force", "--time", "0", self.id)


@pytest.fixture
def start(image: Callable[[str], str]) -> Iterator[Callable[..., Container]]:
    started: list[Container] = []

    def run(function: str, **environment: str) -> Container:
        started.append(Container(image(function), environment))
        return started[-1]

    yield run
    for each in started:
        each.remove()


def test_the_function_of_a_project_is_built_by_its_own_recipe_and_answers(base: str, tmp_path: Path) -> None:
    folder, registry = tmp_path / "my-shop", f"{REGISTRY}-project"
    new_project(folder)
    new_function("greet", Project(folder=folder, package="my_shop", version="0.1.0"))
    build_wheel(folder / "wheels")
    build = [sys.executable, "-m", "knative.cli.main", "image", "greet", "--registry", registry, "--base", base]
    flags = {"BUILDER": "podman", "BUILD_FLAGS": "--quiet --network host"}
    done = subprocess.run(build, cwd=folder, env=os.environ | flags, check=False, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-2000:]

    container = Container(f"{registry}/greet:0.1.0", {"SALUTATION": "Moin"})
    try:
        status, headers, body = container.send(json.loads((folder / "samples/greet.json").read_text()))
        user, code = container.run("id", "-u"), container.stop()
    finally:
        container.remove()

    assert (status, headers["ce-type"]) == (200, "dev.errands.greet.completed.v1")
    assert json.loads(body) == {"text": "Moin, Ada"}
    assert (user, code) == ("65532", 0)


@pytest.fixture
def runner(image: Callable[[str], str]) -> Iterator[tuple[Container, Path]]:
    """The image of the runner, with a project of one function mounted and its data in a volume."""
    volume = f"{REGISTRY.rpartition('/')[2]}-data"
    with tempfile.TemporaryDirectory() as folder:
        Path(folder).chmod(0o755)
        shop = Path(folder, "my-shop")
        new_project(shop)
        new_function("greet", Project(folder=shop, package="my_shop", version="0.1.0"))
        mounted = ("--volume", f"{volume}:/data", "--volume", f"{shop}:/project:ro", "--workdir", "/project")
        started = Container(image("runner"), {"ERRANDS_TOKEN": TOKEN}, *mounted, arguments=("--port", "{port}"))
        yield started, shop
        started.remove()
    podman("volume", "rm", "--force", volume)


def test_the_image_of_the_runner_does_the_jobs_of_a_project_and_its_own(runner: tuple[Container, Path]) -> None:
    container, _ = runner
    sink = ("--sink", f"http://127.0.0.1:{container.port}")

    shown = [container.run("errands", "send", name, "--wait", *sink) for name in ("ics", "report", "greet")]
    health = subprocess.run(["podman", "healthcheck", "run", container.id], check=False, timeout=60).returncode
    user, kept = container.run("id", "-u"), container.run("ls", "/data").split()

    assert ["\ncompleted " in each for each in shown] == [True, True, True], shown
    assert (health, user, container.stop()) == (0, "65532", 0)
    assert {"journal.db", "store", "secrets"} <= set(kept)


@pytest.fixture(scope="session")
def php(base: str) -> str:
    """An image with PHP, from Debian's packages."""
    install = "apt-get update -qq && apt-get install -y -qq --no-install-recommends php-cli php-curl >/dev/null"
    recipe = f"FROM {base}\nRUN {install}\n"
    build = ["podman", "build", "--quiet", "--network", "host", "--tag", f"{REGISTRY}/php:test", "-"]
    subprocess.run(build, input=recipe, text=True, check=True, capture_output=True, timeout=600)
    return f"{REGISTRY}/php:test"


def machine(network: str, addresses: dict[str, str]) -> dict[str, Any]:
    """What compose.yaml lacks on a machine whose podman resolves no names and may not lift its limits."""
    limits = {"nofile": 1024, "nproc": 4096}
    services = {
        name: {
            "ulimits": limits,
            "networks": {"default": {"ipv4_address": address}},
            "extra_hosts": [f"{other}:{at}" for other, at in addresses.items()],
        }
        for name, address in addresses.items()
    }
    return {"services": services, "networks": {"default": {"ipam": {"config": [{"subnet": network}]}}}}


class Composed(NamedTuple):
    """Containers that compose.yaml describes."""

    errands_url: str
    shop_url: str
    command: list[str]
    environment: dict[str, str]

    def run(self, *arguments: str) -> str:
        command = [*self.command, *arguments]
        done = subprocess.run(command, env=self.environment, check=False, capture_output=True, text=True, timeout=300)
        assert done.returncode == 0, done.stderr[-2000:]
        return done.stdout


@pytest.fixture
def composed(image: Callable[[str], str], php: str, tmp_path: Path) -> Iterator[Composed]:
    """The example, with the images of this checkout in place of a registry's."""
    ports = {"ERRANDS_PORT": str(free_port()), "SHOP_PORT": str(free_port())}
    images = {"ERRANDS_IMAGE": image("runner"), "PHP_IMAGE": php}
    third = int(hashlib.sha256(str(ROOT).encode()).hexdigest(), 16) % 200
    addresses = {"errands": f"10.123.{third}.10", "shop": f"10.123.{third}.11"}
    here = tmp_path / "here.yaml"
    here.write_text(yaml.safe_dump(machine(f"10.123.{third}.0/24", addresses)))
    name = REGISTRY.rpartition("/")[2]
    program = [sys.executable, "-m", "podman_compose", "--project-name", name]
    command = [*program, "--file", str(COMPOSE), "--file", str(here)]
    environment = {**os.environ, **ports, **images, "ERRANDS_TOKEN": TOKEN}
    urls = [f"http://127.0.0.1:{each}" for each in ports.values()]
    made = Composed(urls[0], urls[1], command, environment)
    try:
        made.run("up", "--detach", "--no-build")
        yield made
    finally:
        made.run("down", "--volumes")


def until_answered(url: str) -> None:
    end_s = time.monotonic() + START_LIMIT_S
    while time.monotonic() < end_s:
        with contextlib.suppress(httpx.TransportError):
            if httpx.get(url).status_code == 200:
                return
        threading.Event().wait(0.05)
    pytest.fail(f"{url} did not answer in {START_LIMIT_S} s")


def ended(shop_url: str, job: str) -> dict[str, Any]:
    """What the shop heard of a job that is ordered there."""
    ordered = httpx.post(f"{shop_url}/jobs", json={"job": job, "data": sample(job)["data"]}, timeout=60)
    end_s = time.monotonic() + START_LIMIT_S
    while time.monotonic() < end_s:
        state = dict(httpx.get(f"{shop_url}/jobs/{ordered.json()['id']}").json())
        if state["state"] not in ("unsent", "accepted"):
            return state
        threading.Event().wait(0.05)
    pytest.fail(f"{job} did not end in {START_LIMIT_S} s")


def test_the_example_runs_as_its_compose_file_says_and_its_mail_is_shown(composed: Composed) -> None:
    until_answered(f"{composed.errands_url}/readyz")
    until_answered(f"{composed.shop_url}/healthz")

    states = [ended(composed.shop_url, job) for job in ("report", "message")]
    signed_in = {"authorization": f"Bearer {TOKEN}"}
    mail = httpx.get(f"{composed.errands_url}/mail", headers=signed_in, follow_redirects=True).text
    stranger = httpx.get(f"{composed.errands_url}/mail").status_code
    sent = composed.run("exec", "-T", "errands", "errands", "send", "ics", "--wait")

    assert [each["state"] for each in states] == ["completed", "completed"], states
    assert "lee@client.example" in mail
    assert stranger == 303
    assert "\ncompleted " in sent


def test_the_compose_file_has_the_servers_in_a_profile_and_the_runner_of_this_version() -> None:
    described = yaml.safe_load(COMPOSE.read_text())
    version = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]

    in_profile = {name for name, each in described["services"].items() if each.get("profiles") == ["servers"]}
    assert in_profile == {"rabbitmq", "postgresql"}
    assert described["services"]["errands"]["image"] == f"${{ERRANDS_IMAGE:-errands/runner:{version}}}"
    published = [port for each in described["services"].values() for port in each.get("ports", [])]
    assert [each for each in published if not each.startswith("127.0.0.1:")] == []


def test_the_runner_of_the_compose_file_works_on_the_servers_of_its_profile(
    image: Callable[[str], str], rabbit: RabbitServer, postgresql_server: str
) -> None:
    given = yaml.safe_load(COMPOSE.read_text())["services"]["errands"]["command"]
    database = new_database(postgresql_server)
    command = [re.sub(r"\$\{ERRANDS_DEADLETTERS:[^}]*\}", lambda _: database, each) for each in given]
    environment = {"ERRANDS_TOKEN": TOKEN, "ERRANDS_BROKER": rabbit.url}
    volume = f"{REGISTRY.rpartition('/')[2]}-servers"
    kept = ("--volume", f"{volume}:/data")
    container = Container(image("runner"), environment, *kept, arguments=[*command, "--port", "{port}"])
    try:
        sink = ("--sink", f"http://127.0.0.1:{container.port}")
        sent = container.run("errands", "send", "ics", "--wait", *sink)
        signed_in = {"authorization": f"Bearer {TOKEN}"}
        page = httpx.get(
            f"http://127.0.0.1:{container.port}/dead", headers=signed_in, follow_redirects=True, timeout=60
        )
        status = container.stop()
    finally:
        container.remove()
        podman("volume", "rm", "--force", volume)

    assert "\ncompleted " in sent
    assert any("ics" in each for each in rabbit.queues())
    with psycopg.connect(database) as connection:  # its tables were made when they were asked for
        assert connection.execute("SELECT to_regclass('dead_letter')").fetchone() != (None,), page.text
    assert status == 0


def test_the_service_that_the_php_readme_shows_is_that_of_the_compose_file() -> None:
    readme = (COMPOSE.parents[1] / "README.md").read_text()
    [shown] = re.findall(r"^```yaml\n(services:.*?)^```$", readme, re.MULTILINE | re.DOTALL)
    [settings] = re.findall(r"^```sh\nCOMPOSE_PROFILES=servers\n(.*?)^```$", readme, re.MULTILINE | re.DOTALL)
    service, whole = (yaml.safe_load(each)["services"]["errands"] for each in (shown, COMPOSE.read_text()))

    def options(command: list[str]) -> set[str]:
        return {each.rpartition("=")[0] or each for each in command}

    assert options(service["command"]) <= options(whole["command"])
    assert f"{{ERRANDS_IMAGE:-{service['image']}}}" in whole["image"]
    assert [each for each in settings.split() if f"${{{each.partition('=')[0]}:-" not in COMPOSE.read_text()] == []


def environment(function: str, receiver: Received, mail_port: int) -> dict[str, str]:
    """What a function needs beside the store."""
    dead_letters = {
        "DEADLETTERS_URL": "sqlite:////data/deadletters.db",
        "K_SINK": f"http://127.0.0.1:{receiver.port}",
    }
    return {
        "call": {
            "CALLBACK_SECRETS": "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw",
            "CALL_URL": f"http://127.0.0.1:{receiver.port}/steps",
            "ALLOWED_NETWORKS": "127.0.0.0/8",
        },
        "fetch": {"ALLOWED_NETWORKS": "127.0.0.0/8"},
        "flows": {
            "FLOWS_URL": "sqlite:////data/flows.db",
            "FLOWS": "functions.flows.examples.onboarding",
            "K_SINK": dead_letters["K_SINK"],
        },
        "console": {**dead_letters, "DEADLETTERS_OPERATORS": "anna all anna-has-a-long-token"},
        "deadletters": dead_letters,
        "gateway": {
            "LEDGER_URL": "sqlite:////data/ledger.db",
            "K_SINK": dead_letters["K_SINK"],
            "GATEWAY_ROUTES": "{}",
            "GATEWAY_TOKENS": "shop all shop-has-a-long-token",
            "GATEWAY_PORT": str(free_port()),
        },
        "message": {
            "SMTP_HOST": "127.0.0.1",
            "SMTP_PORT": str(mail_port),
            "SMTP_SECURITY": "none",
            "SENDER": "errands@shop.example",
        },
        "notifier": {
            "CALLBACK_SECRETS": "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw",
            "CALLBACK_URL": f"http://127.0.0.1:{receiver.port}/callbacks",
            "ALLOWED_NETWORKS": "127.0.0.0/8",
            "ALLOWED_ORIGINS": f"http://127.0.0.1:{receiver.port}",
        },
        "telemetry": {"READINGS_URL": "sqlite:////data/readings.db"},
    }.get(function, {})


@contextmanager
def work_queue(rabbit: RabbitServer) -> Iterator[dict[str, str]]:
    """A queue that takes long reports, and what the function enqueue needs to find it."""
    connection = pika.BlockingConnection(pika.URLParameters(rabbit.url))
    channel = connection.channel()
    channel.exchange_declare("images", durable=True)
    channel.queue_declare("images", durable=True)
    channel.queue_bind("images", "images", "dev.errands.longreport.requested.v1")
    yield {"AMQP_URL": rabbit.url, "WORK_EXCHANGE": "images"}
    assert channel.queue_purge("images").method.message_count == 1
    connection.close()


def job(function: str) -> dict[str, Any]:
    """A sample event that this function gets."""
    if function == "deadletters":
        return {**sample("ics"), "knativeerrorcode": "503", "knativeerrordest": "http://ics"}
    if function == "telemetry":
        data = {"sensor": "hall-3", "metric": "temperature", "value": 21.5}
        return {**sample("ics"), "type": "dev.errands.telemetry.requested.v1", "data": data}
    others = {
        "console": ("ics", "failed"),
        "enqueue": ("longreport", "requested"),
        "flows": ("onboarding", "requested"),
    }
    others |= dict.fromkeys(("gateway", "notifier"), ("ics", "completed"))
    return sample(*others.get(function, (function, "requested")))


@pytest.fixture
def beside(function: str, request: pytest.FixtureRequest) -> Iterator[dict[str, str]]:
    """A server that only this function needs."""
    if function != "enqueue":
        yield {}
        return
    with work_queue(request.getfixturevalue("rabbit")) as settings:
        yield settings


@pytest.mark.parametrize("function", FUNCTIONS)
def test_it_does_its_sample_job_hardened_and_stops_on_sigterm(
    function: str, start: Callable[..., Container], receiver: Received, mail_port: int, beside: dict[str, str]
) -> None:
    container = start(function, **environment(function, receiver, mail_port), **beside)

    event = job(function)
    if function == "fetch":
        event["data"]["url"] = f"http://127.0.0.1:{receiver.port}/"
    status, headers, body = container.send(event)

    assert (status, headers.get("ce-outcome", "completed")) in ((200, "completed"), (202, "completed")), body
    assert bool(receiver.bodies) == (function in ("call", "deadletters", "flows", "notifier"))
    assert container.run("id", "-u") == "65532"
    assert container.run("sh", "-c", "touch /x /app/x /errands/x 2>/dev/null || echo refused") == "refused"
    assert container.stop() == 0


def test_a_stop_waits_for_the_job_in_flight(
    start: Callable[..., Container], receiver: Received, mail_port: int
) -> None:
    container = start("notifier", **environment("notifier", receiver, mail_port))
    receiver.answering.clear()
    with ThreadPoolExecutor() as at_once:
        response = at_once.submit(container.send, job("notifier"))
        assert receiver.arrived.wait(START_LIMIT_S)
        stopped = at_once.submit(container.stop)
        container.wait_until_deaf()
        receiver.answering.set()

    assert (response.result()[0], stopped.result()) == (202, 0)


def files_of(image: str) -> set[str]:
    listed = podman("run", "--rm", "--user=0", *LIMITS, image, "find", "/", "-xdev", "-type", "f")
    return set(listed.splitlines())


@pytest.mark.parametrize("function", FUNCTIONS)
def test_it_holds_what_it_runs_and_nothing_else(function: str, base: str, image: Callable[[str], str]) -> None:
    files = files_of(image(function)) - files_of(base)
    ours = {each for each in files if each.startswith(("/app/", "/errands/"))}
    modules = {each for each in ours if each.endswith(".py") and "/bin/" not in each}

    assert f"/app/functions/{function}/main.py" in files
    assert not [each for each in FUNCTIONS if each != function and f"/app/functions/{each}/main.py" in files]
    assert not [each for each in ours if "/tests/" in each or each.endswith(".env")]
    assert not [
        each for each in ours if each.startswith("/app/") and not each.endswith((".py", ".pyc", ".jinja", *DATA))
    ]
    assert not [each for each in files if "/.git/" in each or "id_rsa" in each or "/.cache/" in each]
    assert not [
        each for each in files if each.startswith(("/var/lib/apt/lists/", "/var/cache/apt/", "/root/", "/src/"))
    ]
    assert not [each for each in files if each.endswith(("/bin/gcc", "/bin/cc", "/bin/pip", "/bin/pip3"))]
    assert len([each for each in ours if each.endswith(".pyc")]) >= 0.99 * len(modules)


def test_the_templates_of_reports_are_compiled_in_it(image: Callable[[str], str]) -> None:
    files = [each for each in files_of(image("report")) if each.startswith("/app/functions/report/")]

    templates = {each.name for each in (ROOT / "functions/report/templates").iterdir()}
    assert {Path(each).name for each in files if "/templates/" in each} == templates
    assert len([each for each in files if "/__pycache__/" in each and each.endswith(".jinja")]) == len(templates)


def test_only_its_own_libraries_are_in_it(image: Callable[[str], str]) -> None:
    def libraries(function: str) -> str:
        return podman("run", "--rm", *LIMITS, image(function), "sh", "-c", "ls /errands/lib/python*/site-packages")

    assert "PIL" in libraries("image").split()
    assert not {"PIL", "weasyprint", "icalendar", "uvloop", "typer", "pip"} & set(libraries("message").split())


def test_it_says_what_it_is_and_keeps_no_secret_in_its_configuration(image: Callable[[str], str]) -> None:
    [inspected] = json.loads(podman("inspect", image("ics")))
    configuration = inspected["Config"]

    assert configuration["User"] == "65532:65532"
    assert configuration["Labels"]["org.opencontainers.image.title"] == "errands/ics"
    assert configuration["Labels"]["org.opencontainers.image.version"] == "test"
    assert {each.partition("=")[0] for each in configuration["Env"]} <= {
        "FUNCTION_SOURCE",
        "FUNCTION_TARGET",
        "HOME",
        "PATH",
        "PYTHONDONTWRITEBYTECODE",
        "PYTHONUNBUFFERED",
        "GPG_KEY",
        "LANG",
        "PYTHON_SHA256",
        "PYTHON_VERSION",
        "container",
    }
