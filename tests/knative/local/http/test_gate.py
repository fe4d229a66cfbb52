"""Who is not known costs the runner nothing: no process, no import, no byte kept, and no wait of others."""

import asyncio
import contextlib
import hashlib
import socket
import subprocess
import sys
import time
from collections.abc import AsyncIterator
from contextlib import ExitStack, asynccontextmanager
from pathlib import Path
from typing import Any, cast

import httpx
import pytest

from events.http import BODY_LIMIT_BYTES
from functions.console import tickets
from functions.runtime.guesses import LAST_S, Guesses
from functions.runtime.port import Application, IngressRequest, IngressResponse
from functions.runtime.proxies import TrustedProxies, networks
from knative.local.http.console import SERVICE, STRANGERS, ConsoleProxy
from knative.local.http.gate import ConsoleGate
from knative.local.process.processes import Pool
from tests.support.local_runner import ROOT, Up, bound, event, service, trigger, until, up

TOKEN = "a-secret-of-sixteen"
KEY = "k" * 32
OPERATORS = "anna all anna-has-a-long-token\n* see proxy"
SETTINGS = {"DEADLETTERS_OPERATORS": OPERATORS, "DEADLETTERS_SESSION_KEY": KEY}
PROXIED = SETTINGS | {"DEADLETTERS_PROXY_HEADER": "X-Operator"}
ANNA = {"authorization": "Bearer anna-has-a-long-token"}


class CountedConsoles:
    """A pool that counts who wants a process; nobody listens at its own."""

    url = "http://127.0.0.1:9/"

    def __init__(self) -> None:
        self.wanted = 0

    @asynccontextmanager
    async def lease(self) -> AsyncIterator["CountedConsoles"]:
        self.wanted += 1
        yield self


class Body:
    """A body of which it is counted how much was asked for."""

    def __init__(self, size_bytes: int) -> None:
        self.left_bytes = size_bytes
        self.taken_bytes = 0

    async def receive(self) -> dict[str, Any]:
        part = min(65_536, self.left_bytes)
        self.left_bytes -= part
        self.taken_bytes += part
        return {"type": "http.request", "body": b"a" * part, "more_body": self.left_bytes > 0}


def request(
    path: str, *, method: str = "GET", headers: dict[str, str] | None = None, body: Body | None = None, client: str = ""
) -> IngressRequest:
    named = [(name.encode(), value.encode()) for name, value in {"host": "localhost", **(headers or {})}.items()]
    scope = {"method": method, "path": path, "raw_path": path.encode(), "query_string": b"", "headers": named}
    return IngressRequest({**scope, "client": (client or "192.0.2.7", 1)}, (body or Body(0)).receive)


def answered(
    asked: IngressRequest,
    *,
    settings: dict[str, str] | None = None,
    trusted: str = "203.0.113.1",
    consoles: CountedConsoles | None = None,
) -> IngressResponse:
    pools = cast("dict[str, Pool]", {SERVICE: consoles or CountedConsoles()})
    proxies = TrustedProxies(networks([trusted]))
    gate = ConsoleGate(lambda: SETTINGS if settings is None else settings)

    async def handle() -> Application:
        return await ConsoleProxy(pools, gate=gate, proxies=proxies, guesses=Guesses(_at_once)).handle(asked)

    return cast(IngressResponse, asyncio.run(handle()))


async def _at_once(seconds: float) -> None:
    """No wait."""


def a_session(*, key: str = KEY, token: str = "anna-has-a-long-token", ends_in_s: int = 3600) -> dict[str, str]:  # noqa: S107  # of a test
    """The cookie of an operator who has signed in."""
    digest = hashlib.sha256(token.encode()).hexdigest()
    session = {"id": "1", "ticket": tickets.ticket(key, digest), "ends_at": int(time.time()) + ends_in_s}
    return {"cookie": f"other=1; {tickets.COOKIE}={tickets._reader(key).dumps(session)}"}


STRANGE: list[dict[str, str]] = [
    {},
    {"authorization": "Bearer anna-has-a-long-toke"},
    {"authorization": "Basic YW5uYTphbm5h"},
    {"authorization": "Bearer "},
    {"cookie": "errands_dead=eyJpZCI6IjEifQ.x.y"},
    {"cookie": "errands_dead=" + "." * 4_000},
    a_session(key="l" * 32),
    a_session(token="of nobody who is known"),
    a_session(ends_in_s=-1),
    {"x-operator": "anna"},
    {"x-operator": "anna", "x-forwarded-for": "203.0.113.1"},
]


@pytest.mark.parametrize("headers", STRANGE, ids=range(len(STRANGE)))
@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/dead/"),
        ("GET", "/dead/api/list"),
        ("POST", "/dead/api/list"),
        ("POST", "/dead/replay"),
        ("GET", "/dead/metrics"),
        ("PUT", "/dead/sign-in"),
        ("POST", "/dead/static/page.css"),
        ("GET", "/console"),
    ],
)
def test_for_who_is_not_known_nothing_is_started_and_no_byte_is_taken(
    method: str, path: str, headers: dict[str, str]
) -> None:
    consoles, body = CountedConsoles(), Body(32 * 1024 * 1024)

    response = answered(request(path, method=method, headers=headers, body=body), settings=PROXIED, consoles=consoles)

    assert response.status in (303, 401)
    assert (consoles.wanted, body.taken_bytes) == (0, 0)


@pytest.mark.parametrize("headers", [ANNA, a_session()], ids=["token", "session"])
def test_who_is_known_is_handed_on(headers: dict[str, str]) -> None:
    consoles = CountedConsoles()

    response = answered(request("/dead/", headers=headers), consoles=consoles)

    assert response.status == 503  # nobody listens there
    assert consoles.wanted == 1


def test_a_proxys_word_is_taken_of_a_trusted_one_alone() -> None:
    consoles = CountedConsoles()
    named = {"x-operator": "anna"}

    believed = answered(request("/dead/", headers=named, client="203.0.113.1"), settings=PROXIED, consoles=consoles)
    other = answered(request("/dead/", headers=named), settings=PROXIED, consoles=consoles)

    assert (believed.status, other.status) == (503, 303)
    assert consoles.wanted == 1


def test_who_signs_in_sends_a_form_and_no_more() -> None:
    consoles, body = CountedConsoles(), Body(32 * 1024 * 1024)

    page = answered(request("/dead/sign-in"), consoles=consoles)
    form = answered(request("/dead/sign-in", method="POST", body=body), consoles=consoles)

    assert (page.status, form.status) == (503, 413)
    assert consoles.wanted == 1
    assert body.taken_bytes <= 65_536


def test_few_sign_in_at_a_time() -> None:
    never = asyncio.Event

    async def scenario() -> tuple[set[int], int]:
        consoles, waits = CountedConsoles(), never()

        async def receive() -> dict[str, Any]:
            await waits.wait()
            return {"type": "http.request", "body": b"", "more_body": False}

        proxy = ConsoleProxy(cast("dict[str, Pool]", {SERVICE: consoles}), gate=ConsoleGate(lambda: SETTINGS))
        asked = [request("/dead/sign-in", method="POST") for _ in range(40)]
        for each in asked:
            each.receive = receive
        tasks = [asyncio.ensure_future(proxy.handle(each)) for each in asked]
        done, waiting = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        for task in waiting:
            task.cancel()
        return {cast(IngressResponse, each.result()).status for each in done}, len(waiting)

    assert asyncio.run(scenario()) == ({503}, STRANGERS)


def test_a_person_is_led_to_the_form_and_back_to_the_page_that_was_wanted() -> None:
    led = answered(request("/dead/letters/7"))

    assert (led.status, led.headers["location"]) == (303, "/dead/sign-in?after=%2Fdead%2Fletters%2F7")


def test_where_nobody_is_configured_the_console_itself_asks() -> None:
    consoles = CountedConsoles()

    answered(request("/dead/"), settings={}, consoles=consoles)

    assert consoles.wanted == 1


def test_the_gate_and_its_client_load_no_other_client() -> None:
    code = "import sys; from tests.knative.local.http.test_gate import answered, request;"
    code = "import asyncio, sys; from knative.local.http.console import ConsoleProxy; "
    code += "from knative.local.http.gate import ConsoleGate; from functions.runtime.port import IngressRequest; "
    code += "scope = dict(method='GET', path='/dead/', raw_path=b'/dead/', query_string=b'', headers=[]); "
    code += "gate = ConsoleGate(lambda: {'ERRANDS_TOKEN': 'a-secret-of-sixteen'}); "
    code += "print(asyncio.run(ConsoleProxy({}, gate=gate).handle(IngressRequest(scope, None))).status); "
    code += "print([each for each in ('httpx', 'flask', 'ssl', 'jinja2') if each in sys.modules])"
    said = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60, cwd=ROOT
    ).stdout

    assert said.splitlines() == ["303", "[]"] or said.splitlines() == ["303", "['ssl']"]  # asyncio loads that


def test_each_wrong_token_is_answered_later_and_a_right_one_at_once() -> None:
    waits: list[float] = []

    async def pause(seconds: float) -> None:
        waits.append(seconds)

    async def guess() -> list[int]:
        guesses = Guesses(pause)
        return [(await guesses.refuse("192.0.2.7")).status for _ in range(15)] + [(await guesses.refuse("::1")).status]

    statuses = asyncio.run(guess())

    assert statuses == [401] * 10 + [429] * 5 + [401]
    assert waits[:3] == [waits[0], 2 * waits[0], 4 * waits[0]]
    assert max(waits) == LAST_S
    assert waits[-1] == waits[0]  # another client's first


FORGED = {
    "x-forwarded-for": "127.0.0.1",
    "forwarded": "for=127.0.0.1",
    "x-real-ip": "127.0.0.1",
    "x-forwarded-proto": "https",
    "x-operator": "anna",
    "cookie": "a=1",
}


@pytest.mark.parametrize("client", ["192.0.2.7", "127.0.0.1", "unknown"])
def test_what_only_a_proxy_may_say_is_replaced(client: str) -> None:
    asked = request("/", headers=FORGED, client=client)

    told = dict(TrustedProxies(networks(["203.0.113.0/24"])).told(asked, "X-Operator"))

    assert told == {b"host": b"localhost", b"cookie": b"a=1", b"x-forwarded-for": client.encode()}


def test_a_trusted_proxy_tells_who_asks() -> None:
    proxies = TrustedProxies(networks(["203.0.113.0/24", "::1"]))
    through = request("/", headers=FORGED | {"x-forwarded-for": "1.2.3.4, 192.0.2.9"}, client="203.0.113.5")

    assert proxies.client(through) == "192.0.2.9"
    assert dict(proxies.told(through, "X-Operator"))[b"x-operator"] == b"anna"
    assert proxies.client(request("/", headers=FORGED, client="192.0.2.7")) == "192.0.2.7"


BOUND = bound("console")


@pytest.fixture
def guarded(tmp_path: Path) -> Any:
    """`errands up` with a token, and a console that nobody has started."""
    token = tmp_path / "token"
    token.write_text(TOKEN)
    console = service("console", source=ROOT / "functions/console/main.py", min_scale=0, max_scale=1, concurrency=0)
    with up(tmp_path, (service(), trigger(), console, BOUND), "--token-file", str(token)) as runner:
        yield runner


@pytest.mark.slow
def test_forty_unknown_connections_start_nothing_and_healthz_is_answered(guarded: Up) -> None:
    head = f"POST /dead/api/list HTTP/1.1\r\nhost: localhost\r\ncontent-length: {BODY_LIMIT_BYTES}\r\n\r\n".encode()
    with ExitStack() as stack:
        for _ in range(40):
            client = stack.enter_context(socket.create_connection(("127.0.0.1", guarded.port), timeout=60))
            client.sendall(head)
            assert client.recv(64).startswith(b"HTTP/1.1 401 ")
            with contextlib.suppress(OSError):  # cut off
                client.sendall(b"a" * BODY_LIMIT_BYTES)
        well = [httpx.get(f"{guarded.url}healthz").status_code for _ in range(10)]
        accepted = guarded.client.post("/", json=event("1"), headers={"authorization": f"Bearer {TOKEN}"})

    assert well == [200] * 10
    assert accepted.status_code in (202, 400)
    assert "console started" not in guarded.log.read_text()


@pytest.mark.slow
def test_an_operator_signs_in_through_the_runner(guarded: Up) -> None:
    with httpx.Client(base_url=guarded.url, timeout=60, follow_redirects=True) as browser:
        form = browser.get("/dead/")
        token = form.text.split('name="form_token" value="')[1].split('"')[0]
        page = browser.post("/dead/sign-in", data={"form_token": token, "token": TOKEN, "after": "/dead/"})
        again = browser.get("/dead/audit")
        by_a_link = browser.get("/dead/sign-in?after=%2Fdead%2Faudit")
        styled = httpx.get(f"{guarded.url}dead/static/page.css").status_code
        api = httpx.get(f"{guarded.url}dead/api/whoami", headers={"authorization": f"Bearer {TOKEN}"})

    assert "Token" in form.text
    assert page.status_code == 200
    assert "sign-out" in page.text
    assert (again.url.path, by_a_link.url.path) == ("/dead/audit", "/dead/audit")
    assert styled == 200
    assert api.json()["name"] == "token"
    until(lambda: "console started" in guarded.log.read_text(), what="the console's start")
