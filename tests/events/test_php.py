"""The PHP client and the example API, run by PHP itself against real servers on this machine."""

import base64
import hashlib
import hmac
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from types import MappingProxyType
from typing import Any, NamedTuple

import pytest

from events.http import read, rfc3339
from events.problem import decode
from events.types import REGISTRY, IcsRequested, ImageRequested, MessageRequested, ReportRequested
from tests.support.absent import absent
from tests.support.http_server import http_server
from tests.support.ports import free_port

ROOT = Path(__file__).parents[2]
PHP = ROOT / "events" / "php"
SAMPLES = ROOT / "events" / "samples"
SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"  # the public vector of Standard Webhooks
CALLBACK_URL = "http://127.0.0.1:8000/callbacks"
STARTING_S = 60.0

if shutil.which("php") is None and os.environ.get("CI") != "true":
    absent("php is not installed")

pytestmark = pytest.mark.php


class Sent(NamedTuple):
    """An answer as the test reads it."""

    status: int
    headers: dict[str, str]
    body: bytes

    def json(self) -> Any:
        return json.loads(self.body)


class Reply(NamedTuple):
    """What the ingress answers."""

    status: int
    headers: Mapping[str, str] = MappingProxyType({})
    body: bytes = b""


@dataclass
class Ingress:
    """Takes events as Errands does and keeps what came; answers `replies` in turn, the last for ever."""

    replies: list[Reply] = field(default_factory=lambda: [Reply(202)])
    requests: list[tuple[dict[str, str], bytes]] = field(default_factory=list)
    files: dict[str, bytes] = field(default_factory=dict)
    url: str = ""


class _Handler(BaseHTTPRequestHandler):
    ingress: Ingress

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["content-length"]))
        self.ingress.requests.append((dict(self.headers.items()), body))
        replies = self.ingress.replies
        reply = replies.pop(0) if len(replies) > 1 else replies[0]
        self.send_response(reply.status)
        for name, value in {"content-length": str(len(reply.body)), **reply.headers}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(reply.body)

    def do_GET(self) -> None:
        """It knows of no job, as a broker's own ingress."""
        self.send_error(404)

    def do_PUT(self) -> None:
        content = self.rfile.read(int(self.headers["content-length"]))
        self.ingress.files[self.path] = content
        body = json.dumps({"key": f"uploads/{hashlib.sha256(content).hexdigest()}/a.png"}).encode()
        self.send_response(self.ingress.replies[0].status if self.ingress.replies[0].status > 399 else 201)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


@pytest.fixture
def ingress() -> Iterator[Ingress]:
    ingress = Ingress()
    handler = type("Handler", (_Handler,), {"ingress": ingress})
    with http_server(handler) as ingress.url:
        yield ingress


@dataclass(frozen=True)
class Shop:
    """The example API under `php -S`, with four processes, and the folder it keeps its jobs in."""

    url: str
    data: Path

    def get(self, path: str) -> Sent:
        return send(urllib.request.Request(self.url + path))

    def post(self, path: str, body: bytes, headers: dict[str, str]) -> Sent:
        return send(urllib.request.Request(self.url + path, body, headers, method="POST"))

    def order(self, job: str, **more: object) -> str:
        """Order the sample of `job` and return the job's id."""
        body = json.dumps({"job": job, "data": sample(f"{job}.requested")["data"], **more}).encode()
        response = self.post("/jobs", body, {"content-type": "application/json"})
        assert response.status == 202, response.body
        return str(response.json()["id"])

    def job(self, id_: str) -> Any:
        return self.get(f"/jobs/{id_}").json()

    def call_back(self, job: str, outcome: str, id_: str, **changes: str) -> Sent:
        """Post the sample of this outcome for the job `id_`, rightly signed; `changes` replace attributes."""
        event = sample(f"{job}.{outcome}") | {"jobid": id_} | changes
        body = json.dumps(event).encode()
        return self.post("/callbacks", body, signed(str(event["id"]), body))


@pytest.fixture
def shop(ingress: Ingress, tmp_path: Path) -> Iterator[Shop]:
    with serving(tmp_path, K_SINK=ingress.url, ERRANDS_WEBHOOK_SECRET=SECRET) as shop:
        yield shop


@contextmanager
def serving(data: Path, **environment: str) -> Iterator[Shop]:
    port = free_port()
    set_here = {
        "PHP_CLI_SERVER_WORKERS": "4",
        "ERRANDS_EXAMPLE_DATA": str(data / "jobs"),
        "ERRANDS_CALLBACK_URL": CALLBACK_URL,
    }
    public = PHP / "example" / "public"
    command = ["php", "-S", f"127.0.0.1:{port}", "-t", str(public), str(public / "index.php")]
    with (data / "php.log").open("wb") as log:
        server = subprocess.Popen(
            command, env=clean_environment() | set_here | environment, stdout=log, stderr=log, start_new_session=True
        )
        try:
            wait_for(port, server)
            yield Shop(f"http://127.0.0.1:{port}", data / "jobs")
        finally:
            os.killpg(server.pid, signal.SIGTERM)
            server.wait(timeout=STARTING_S)


def wait_for(port: int, server: subprocess.Popen[bytes]) -> None:
    deadline_s = time.monotonic() + STARTING_S
    while time.monotonic() < deadline_s and server.poll() is None:
        with socket.socket() as probe:
            probe.settimeout(1)
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return
        threading.Event().wait(0.02)
    raise AssertionError(f"php -S must listen within {STARTING_S} s")


def clean_environment() -> dict[str, str]:
    """This process's environment without settings of ours and without a proxy."""
    kept = {name: value for name, value in os.environ.items() if not name.upper().endswith("_PROXY")}
    return {name: value for name, value in kept.items() if not name.startswith(("ERRANDS_", "K_SINK"))}


def send(request: urllib.request.Request) -> Sent:
    class NoRedirect(urllib.request.HTTPRedirectHandler):
        def redirect_request(self, *args: object) -> None:
            return None

    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}), NoRedirect)
    try:
        with opener.open(request, timeout=120) as response:
            return Sent(response.status, {k.lower(): v for k, v in response.headers.items()}, response.read())
    except urllib.error.HTTPError as error:
        with error:
            return Sent(error.code, {k.lower(): v for k, v in error.headers.items()}, error.read())


def sample(name: str) -> dict[str, Any]:
    event: dict[str, Any] = json.loads((SAMPLES / f"dev.errands.{name}.v1.json").read_text())
    return event


def signed(id_: str, body: bytes, *, secret: str = SECRET, shift_s: int = 0) -> dict[str, str]:
    """The headers of Standard Webhooks 1.0 for this body."""
    timestamp = str(int(time.time()) + shift_s)
    key = base64.b64decode(secret.removeprefix("whsec_"))
    digest = hmac.new(key, f"{id_}.{timestamp}.".encode() + body, hashlib.sha256).digest()
    signature = f"v1,{base64.b64encode(digest).decode()}"
    return {
        "content-type": "application/cloudevents+json",
        "webhook-id": id_,
        "webhook-timestamp": timestamp,
        "webhook-signature": signature,
    }


def emit(sink: str, *, retries: int = 3, token: str | None = None, proxy: str | None = None, **environment: str) -> Any:
    """Emit the message sample with the PHP client and return what it tells."""
    more = [each for each in (token, proxy) if each]
    command = ["php", str(PHP / "tests" / "emit.php"), sink, str(retries), *more]
    data = json.dumps(sample("message.requested")["data"]).encode()
    env = clean_environment() | environment
    done = subprocess.run(command, input=data, capture_output=True, check=False, env=env, timeout=60)
    assert done.returncode == 0, done.stderr.decode()
    return json.loads(done.stdout)


def lint(source: str) -> str:
    done = subprocess.run(["php", "-l"], input=source.encode(), capture_output=True, check=False, timeout=60)
    return "" if done.returncode == 0 else done.stdout.decode() + done.stderr.decode()


# --- the library


def test_the_tests_in_php_pass() -> None:
    done = subprocess.run(
        ["php", str(PHP / "tests" / "run.php")], capture_output=True, text=True, check=False, timeout=60
    )

    assert done.returncode == 0, done.stdout + done.stderr
    assert "Warning" not in done.stdout + done.stderr
    assert "Deprecated" not in done.stdout + done.stderr


def test_every_file_is_strict_php() -> None:
    for file in sorted(PHP.rglob("*.php")):
        source = file.read_text()

        assert lint(source) == "", file
        assert "declare(strict_types=1);" in source, file


def test_every_snippet_of_the_readme_is_php() -> None:
    snippets = re.findall(r"```php\n(.*?)```", (PHP / "README.md").read_text(), re.DOTALL)

    assert len(snippets) >= 4
    for snippet in snippets:
        method = snippet.startswith("#[Route")
        assert lint(f"<?php\nclass C {{ {snippet} }}" if method else f"<?php\n{snippet}") == "", snippet


def test_composer_json_names_what_the_code_needs() -> None:
    package = json.loads((PHP / "composer.json").read_text())

    assert package["require"] == {"php": ">=8.1", "ext-curl": "*", "ext-json": "*"}
    assert package["autoload"]["psr-4"] == {"Errands\\": "src/"}
    for file in (PHP / "src").rglob("[A-Z]*.php"):
        assert re.search(rf"\n(?:(?:final |abstract )*class|interface|trait) {file.stem}\b", file.read_text()), file


def composer(*arguments: str, folder: Path) -> str:
    """What Composer says, which asks no registry."""
    program = shutil.which("composer")
    if program is None:
        assert not os.environ.get("CI"), "CI must have composer"
        absent("composer is not installed")
    env = clean_environment() | {"COMPOSER_HOME": str(folder / ".composer"), "COMPOSER_DISABLE_NETWORK": "1"}
    done = subprocess.run(
        [program, "--no-interaction", *arguments],
        cwd=folder,
        env=env,
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout + done.stderr


def test_a_registry_takes_the_package_as_it_is(tmp_path: Path) -> None:
    assert "is valid" in composer(
        "validate", "--strict", "--no-check-lock", str(PHP / "composer.json"), folder=tmp_path
    )


def test_a_project_requires_it_with_composer(tmp_path: Path) -> None:
    package = Path(shutil.copytree(PHP, tmp_path / "errands"))
    project = tmp_path / "project"
    project.mkdir()
    composer("init", "--name=shop/api", folder=project)
    composer("config", "repositories.errands", "path", str(package), folder=project)
    composer("config", "repositories.packagist.org", "false", folder=project)
    composer("require", "errands/client:@dev", folder=project)

    code = "require 'vendor/autoload.php'; echo Errands\\Job::image()->page(2)->dataToJson();"
    made = subprocess.run(["php", "-r", code], cwd=project, capture_output=True, text=True, check=True, timeout=60)

    assert made.stdout == '{"page":2}'


# --- emit


def test_an_emitted_job_is_an_event_of_the_contract(ingress: Ingress) -> None:
    told = emit(ingress.url)

    [(headers, body)] = ingress.requests
    event = read(headers, body)
    assert event.id == told["id"]
    assert event.source == "https://shop.example/orders"
    assert event.get("datacontenttype") == "application/json"
    assert event.attributes["time"].endswith("Z")
    assert isinstance(decode(event.data, REGISTRY[event.type]), MessageRequested)
    assert "Authorization" not in headers


def test_a_busy_sink_is_tried_again_with_the_same_event(ingress: Ingress) -> None:
    ingress.replies = [Reply(503), Reply(429, {"retry-after": "2"}), Reply(202)]

    told = emit(ingress.url)

    events = [read(*request) for request in ingress.requests]
    assert len(events) == 3
    assert events[0] == events[1] == events[2]
    assert events[0].id == told["id"]
    assert 0.1 <= told["waits"][0] <= 0.3
    assert told["waits"][1] == 2


def test_pauses_grow_and_a_long_retry_after_is_capped(ingress: Ingress) -> None:
    ingress.replies = [Reply(503), Reply(503), Reply(503, {"Retry-After": "86400"}), Reply(500)]

    told = emit(ingress.url)

    first, second, third = told["waits"]
    assert 0.1 <= first <= 0.3
    assert 0.2 <= second <= 0.6
    assert third == 5
    assert told["exception"] == "Errands\\Unreachable"
    assert told["attempts"] == 4
    assert "HTTP 500" in told["message"]


def test_a_retry_after_may_be_a_date(ingress: Ingress) -> None:
    ingress.replies = [Reply(503, {"retry-after": "Wed, 21 Oct 2015 07:28:00 GMT"}), Reply(503), Reply(202)]

    told = emit(ingress.url)

    assert 0.1 <= told["waits"][0] <= 0.3


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        (b'{"title": "Not an event", "detail": "attribute id is required"}', "HTTP 400: attribute id is required"),
        (b'{"title": "Not an event"}', "HTTP 400: Not an event"),
        (b"no such broker\n", "HTTP 400: no such broker"),
        (b"", "HTTP 400: no reason given"),
        ("ł".encode() * 5_000, "HTTP 400: łł"),
        (b"\xff" * 5_000, "HTTP 400: a reason that is not UTF-8"),
    ],
)
def test_a_refusal_is_told_in_the_sinks_words_and_not_tried_again(ingress: Ingress, body: bytes, reason: str) -> None:
    ingress.replies = [Reply(400, {"content-type": "application/problem+json"}, body)]

    told = emit(ingress.url)

    assert told["exception"] == "Errands\\Refused"
    assert told["status"] == 400
    assert reason in told["message"]
    assert len(ingress.requests) == 1


def test_a_redirect_is_refused_not_followed(ingress: Ingress) -> None:
    ingress.replies = [Reply(307, {"location": "/elsewhere"})]

    told = emit(ingress.url)

    assert told["exception"] == "Errands\\Refused"
    assert "redirects are not followed" in told["message"]
    assert len(ingress.requests) == 1


FOLLOWING = """
$client = new Errands\\Client('/shop', sink: $argv[1], retries: 0);
$job = Errands\\Job::ics();
$id = $client->emit($job);
echo $client->streamUrl($id), ' ', $client->streamUrl($job);
try {
    $client->streamUrl('another');
} catch (Errands\\UnknownJob) {
    echo ' unknown';
}
"""


def test_a_job_s_stream_is_known_from_its_acceptance(ingress: Ingress) -> None:
    ingress.replies = [Reply(202, {}, b'{"job": "k", "state": "waiting", "stream": "/jobs/k/stream?ticket=1"}')]
    code = f"require '{PHP}/src/autoload.php';{FOLLOWING}"

    told = subprocess.run(
        ["php", "-r", code, "--", f"{ingress.url}/"], capture_output=True, text=True, check=True, timeout=60
    )

    assert told.stdout == f"{ingress.url}/jobs/k/stream?ticket=1 {ingress.url}/jobs/k/stream?ticket=1 unknown"


def test_a_dead_port_is_unreachable_after_every_retry() -> None:
    told = emit(f"http://127.0.0.1:{free_port()}", retries=2)

    assert told["exception"] == "Errands\\Unreachable"
    assert told["attempts"] == 3
    assert told["status"] == 0
    assert len(told["waits"]) == 2


def test_a_sink_that_never_answers_is_left_after_the_timeout() -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        told = emit(f"http://127.0.0.1:{silent.getsockname()[1]}", retries=0)

    assert told["exception"] == "Errands\\Unreachable"
    assert "timed out" in told["message"]


PROXIES = ("http_proxy", "HTTP_PROXY", "https_proxy", "HTTPS_PROXY", "all_proxy", "ALL_PROXY")


@pytest.mark.parametrize("name", PROXIES)
@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "errands.invalid"])
def test_token_and_event_go_to_no_proxy_of_the_environment_and_its_202_accepts_nothing(
    ingress: Ingress, name: str, host: str
) -> None:
    told = emit(f"http://{host}:{free_port()}", retries=0, token="abc.def", **{name: ingress.url})

    assert told["exception"] == "Errands\\Unreachable"
    assert ingress.requests == []


def test_a_proxy_that_is_named_is_used(ingress: Ingress) -> None:
    told = emit("http://errands.invalid/", retries=0, token="abc.def", proxy=ingress.url)

    assert "id" in told
    assert len(ingress.requests) == 1


def test_a_token_goes_as_bearer(ingress: Ingress) -> None:
    emit(ingress.url, token="abc.def")

    assert ingress.requests[0][0]["Authorization"] == "Bearer abc.def"


# --- the example API


@pytest.mark.parametrize(
    ("job", "struct"),
    [("ics", IcsRequested), ("image", ImageRequested), ("report", ReportRequested), ("message", MessageRequested)],
)
def test_an_order_becomes_an_event_of_the_contract(
    shop: Shop, ingress: Ingress, job: str, struct: type[object]
) -> None:
    id_ = shop.order(job, subject="order-1042")

    [(headers, body)] = ingress.requests
    event = read(headers, body)
    assert (event.id, event.get("subject"), event.get("callbackurl")) == (id_, "order-1042", CALLBACK_URL)
    assert rfc3339(event.attributes["time"])
    assert isinstance(decode(event.data, REGISTRY[event.type]), struct)
    assert decode(event.data, dict) == sample(f"{job}.requested")["data"]
    assert shop.job(id_)["state"] == "accepted"


FORMS = {
    "ics": {"summary": "Party <b>", "start": "2026-12-01T14:00", "end": "", "timezone": "UTC", "guest": "a@b.example"},
    "image": {"width": "640", "order": "order-1042"},
    "report": {
        "number": "7",
        "buyer": "Łódź Ltd",
        "address": "a\r\nb",
        "description": "x",
        "quantity": "2",
        "price": "9",
    },
    "message": {"to": "a@b.example, c@d.example", "topic": "Hello", "text": "One\r\nTwo"},
}


@pytest.mark.parametrize("job", FORMS)
def test_a_form_becomes_an_event_of_the_contract(shop: Shop, ingress: Ingress, job: str) -> None:
    picture = base64.b64decode(sample("image.requested")["data"]["source"]["data_base64"])
    body, headers = multipart({"job": job, **FORMS[job]}, picture if job == "image" else None)

    response = shop.post("/jobs", body, headers)

    assert response.status == 202
    event = read(*ingress.requests[0])
    assert event.id == response.json()["id"]
    decode(event.data, REGISTRY[event.type])
    assert "Party &lt;b&gt;" in shop.get("/").body.decode() or job != "ics"
    if job == "image":
        assert ingress.files == {"/files/a.png": picture}
        assert json.loads(ingress.requests[0][1])["source"]["key"].endswith("/a.png")
        assert event.get("subject") == "order-1042"


def test_a_picture_that_is_not_taken_is_told_and_no_job_is_made(shop: Shop, ingress: Ingress) -> None:
    ingress.replies = [Reply(403)]
    body, headers = multipart({"job": "image", **FORMS["image"]}, b"a picture")

    told = shop.post("/jobs", body, headers | {"accept": "text/html"})

    assert told.status == 503
    assert "could not be handed over" in told.body.decode()
    assert ingress.requests == []


def test_a_browser_is_sent_back_to_the_page_and_a_bad_form_says_why(shop: Shop, ingress: Ingress) -> None:
    body, headers = multipart({"job": "message", **FORMS["message"]}, None)
    good = shop.post("/jobs", body, headers | {"accept": "text/html"})
    body, headers = multipart({"job": "message", "to": '"><script>', "topic": "", "text": "x"}, None)
    bad = shop.post("/jobs", body, headers | {"accept": "text/html"})

    assert (good.status, good.headers["location"]) == (303, "/?job=message")
    assert bad.status == 422
    assert "Enter a subject." in bad.body.decode()
    assert "&quot;&gt;&lt;script&gt;" in bad.body.decode()
    assert len(ingress.requests) == 1


def test_another_site_cannot_order(shop: Shop, ingress: Ingress) -> None:
    body, headers = multipart({"job": "message", **FORMS["message"]}, None)

    response = shop.post("/jobs", body, headers | {"sec-fetch-site": "cross-site"})

    assert response.status == 403
    assert ingress.requests == []


@pytest.mark.parametrize("body", [b"", b"[]", b"{}", b'{"job": "ics"}', b'{"job": "bake", "data": {}}', b"\xff"])
def test_a_bad_order_is_a_422_with_problem_details(shop: Shop, ingress: Ingress, body: bytes) -> None:
    response = shop.post("/jobs", body, {"content-type": "application/json"})

    assert response.status == 422
    assert response.headers["content-type"] == "application/problem+json"
    assert ingress.requests == []


@pytest.mark.parametrize(
    "data",
    [
        {"template": [1], "data": {"number": {}}, "outputs": "x", "source": "y", "subject": [], "events": "abc"},
        {"template": {}, "data": "x", "source": [], "events": [1], "subject": {}},
    ],
)
@pytest.mark.parametrize("job", FORMS)
def test_data_of_any_shape_is_left_for_errands_to_judge(
    shop: Shop, ingress: Ingress, job: str, data: dict[str, object]
) -> None:
    body = json.dumps({"job": job, "data": data}).encode()

    response = shop.post("/jobs", body, {"content-type": "application/json"})

    assert response.status == 202
    assert json.loads(ingress.requests[0][1]) == data
    assert shop.get("/").status == 200


def test_a_job_that_errands_refuses_is_told_and_kept_as_unsent(shop: Shop, ingress: Ingress) -> None:
    ingress.replies = [Reply(400, {}, b'{"detail": "no such broker"}')]

    response = shop.post("/jobs", b'{"job": "ics", "data": {}}', {"content-type": "application/json"})

    assert response.status == 503
    assert "no such broker" in response.json()["detail"]
    id_ = read(*ingress.requests[0]).id
    assert shop.job(id_)["state"] == "unsent"
    shop.call_back("ics", "completed", id_)
    assert shop.job(id_)["state"] == "completed"


def test_data_that_errands_does_not_take_is_told_by_its_fields(shop: Shop, ingress: Ingress) -> None:
    errors = [{"pointer": "#/events/0/start", "detail": "must be a time"}]
    ingress.replies = [Reply(422, {}, json.dumps({"detail": "data breaks the contract", "errors": errors}).encode())]
    body, headers = multipart({"job": "ics", **FORMS["ics"]}, None)

    program = shop.post("/jobs", b'{"job": "ics", "data": {}}', {"content-type": "application/json"})
    person = shop.post("/jobs", body, headers | {"accept": "text/html"})

    assert (program.status, program.json()["errors"]) == (422, errors)
    assert person.status == 422
    assert "events/0/start must be a time" in person.body.decode()
    assert shop.job(read(*ingress.requests[0]).id)["state"] == "unsent"


@pytest.mark.parametrize("outcome", ["completed", "failed", "deadlettered"])
def test_a_callback_moves_the_job_to_its_outcome(shop: Shop, outcome: str) -> None:
    id_ = shop.order("ics")

    response = shop.call_back("ics", outcome, id_)

    job = shop.job(id_)
    assert (response.status, response.body) == (204, b"")
    assert job["state"] == outcome
    page = shop.get("/").body.decode()
    if outcome == "completed":
        assert job["artifacts"][0]["name"] == "kickoff.ics"
        assert f'href="{job["artifacts"][0]["url"]}"' in page
    if outcome == "failed":
        assert "<code>#/events/0/timezone</code>" in page
    if outcome == "deadlettered":
        assert job["reason"] == "the store does not answer"


def test_a_bad_signature_is_a_401_and_changes_nothing(shop: Shop) -> None:
    id_ = shop.order("ics")
    body = json.dumps(sample("ics.completed") | {"jobid": id_}).encode()
    other = "whsec_AAECAwQFBgcICQoLDA0ODxAREhMUFRYX"
    forged: list[Callable[[], Sent]] = [
        lambda: shop.post("/callbacks", body, signed("a", body, secret=other)),
        lambda: shop.post("/callbacks", body + b" ", signed("a", body)),
        lambda: shop.post("/callbacks", body, signed("a", body, shift_s=-301)),
        lambda: shop.post("/callbacks", body, signed("a", body, shift_s=330)),
        lambda: shop.post("/callbacks", body, {"content-type": "application/json"}),
    ]

    assert [attempt().status for attempt in forged] == [401] * 5
    assert shop.job(id_)["state"] == "accepted"


def test_a_signed_body_that_is_no_outcome_is_a_400(shop: Shop) -> None:
    body = json.dumps(sample("ics.requested")).encode()

    assert shop.post("/callbacks", body, signed("a", body)).status == 400


def test_a_repeated_or_late_callback_does_not_undo_a_later_one(shop: Shop) -> None:
    id_ = shop.order("ics")
    shop.call_back("ics", "deadlettered", id_)
    assert shop.job(id_)["state"] == "deadlettered"
    shop.call_back("ics", "completed", id_)
    before = shop.job(id_)
    assert before["state"] == "completed"

    for outcome in ("completed", "deadlettered", "failed"):
        assert shop.call_back("ics", outcome, id_).status == 204
        assert shop.call_back("ics", outcome, id_, id=f"late-{outcome}").status == 204

    after = shop.job(id_)
    assert after["state"] == "completed"
    assert after["artifacts"] == before["artifacts"]
    assert after["updated"] == before["updated"]


def test_a_callback_that_is_faster_than_the_response_is_kept(ingress: Ingress, tmp_path: Path) -> None:
    with serving(tmp_path, K_SINK=ingress.url, ERRANDS_WEBHOOK_SECRET=SECRET) as shop:
        ingress.replies = _Impatient(shop, ingress)

        id_ = shop.order("ics")

        assert shop.job(id_)["state"] == "completed"


class _Impatient(list[Reply]):
    """Calls back before it answers 202."""

    def __init__(self, shop: Shop, ingress: Ingress) -> None:
        super().__init__([Reply(202)])
        self.shop, self.ingress = shop, ingress

    def __len__(self) -> int:
        id_ = read(*self.ingress.requests[-1]).id
        assert self.shop.call_back("ics", "completed", id_).status == 204
        return 1


def test_parallel_callbacks_lose_no_state(shop: Shop) -> None:
    ids = [shop.order("ics") for _ in range(20)]
    wanted = [(outcome, id_) for id_ in ids for outcome in ("deadlettered", "completed", "completed", "failed")]

    with ThreadPoolExecutor(16) as pool:
        responses = list(pool.map(lambda each: shop.call_back("ics", each[0], each[1]).status, wanted))

    assert set(responses) == {204}
    assert {shop.job(id_)["state"] for id_ in ids} == {"completed"}
    for file in shop.data.glob("job-*.json"):
        assert len(set(json.loads(file.read_text())["callbacks"])) == 3
    assert list(shop.data.glob("*.new")) == []


def test_the_callback_of_a_job_from_elsewhere_is_listed(shop: Shop) -> None:
    shop.call_back("report", "completed", "order-1042-invoice")

    assert shop.job("order-1042-invoice")["state"] == "completed"
    assert shop.call_back("report", "failed", "order-1042-invoice", jobsource="/other").status == 204
    assert shop.job("order-1042-invoice")["state"] == "completed"


def test_the_page_runs_no_foreign_script(shop: Shop) -> None:
    event = sample("ics.completed") | {"jobid": "<img src=x onerror=alert(1)>", "subject": "<script>"}
    event["data"]["artifacts"][0] |= {"url": "javascript:alert(1)", "name": '"onclick="'}
    body = json.dumps(event).encode()
    shop.post("/callbacks", body, signed("a", body))

    page = shop.get("/")

    text = page.body.decode()
    assert "default-src 'none'" in page.headers["content-security-policy"]
    assert "<img src=x" not in text
    assert "<script>" not in text
    assert "javascript:" not in text
    assert "unsafe" not in page.headers["content-security-policy"]


def test_the_secret_may_come_from_a_file_that_is_written_later(ingress: Ingress, tmp_path: Path) -> None:
    file = tmp_path / "secret"
    with serving(tmp_path, K_SINK=ingress.url, ERRANDS_WEBHOOK_SECRET_FILE=str(file)) as shop:
        id_ = shop.order("ics")
        early = shop.call_back("ics", "completed", id_).status
        file.write_text(f"whsec_AAECAwQFBgcICQoLDA0ODxAREhMUFRYX\n{SECRET}\n")
        late = shop.call_back("ics", "completed", id_).status

        assert (early, late) == (503, 204)
        assert shop.job(id_)["state"] == "completed"


def test_unknown_pages_are_404_and_files_beside_the_public_folder_stay_private(shop: Shop) -> None:
    for path in ("/nothing", "/jobs/nothing", "/../src/Shop.php", "/index.php", "/jobs/..%2F..", "/%ff"):
        assert shop.get(path).status == 404, path
    assert shop.get("/style.css").headers["content-type"].startswith("text/css")


def multipart(fields: dict[str, str], picture: bytes | None) -> tuple[bytes, dict[str, str]]:
    """A form as a browser sends it."""
    edge = "----errands"
    parts = [
        f'--{edge}\r\nContent-Disposition: form-data; name="{name}"\r\n\r\n{value}\r\n'.encode()
        for name, value in fields.items()
    ]
    if picture is not None:
        head = f'--{edge}\r\nContent-Disposition: form-data; name="picture"; filename="a.png"\r\n'
        parts.append(f"{head}Content-Type: image/png\r\n\r\n".encode() + picture + b"\r\n")
    return b"".join(parts) + f"--{edge}--\r\n".encode(), {"content-type": f"multipart/form-data; boundary={edge}"}
