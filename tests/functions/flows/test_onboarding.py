"""The onboarding flow under `errands up`: real processes, a real API that does steps, two days made short."""

import json
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any, Final

import pytest
from aiosmtpd.controller import Controller
from aiosmtpd.handlers import Sink
from standardwebhooks import Webhook

from functions.flows.flow_record import FlowRecord, find, flow_id
from functions.flows.schema import open_flows
from tests.support.http_server import http_server
from tests.support.impatient import impatient
from tests.support.local_runner import ROOT, Up, until
from tests.support.ports import free_port

pytestmark = pytest.mark.slow

LAPSE: Final = 172_800  # two days pass in a second
SOURCE: Final = "/shop/users"
MANY: Final = 30


@dataclass
class Api:
    """Does steps; `answers` are by their names, a list of them in turn."""

    url: str = ""
    answers: dict[str, list[tuple[int, Any]]] = field(default_factory=dict)
    asked: list[dict[str, Any]] = field(default_factory=list)
    secret: str = ""

    def names(self) -> list[str]:
        return [each["data"]["name"] for each in self.asked]

    def answer(self, event: dict[str, Any]) -> tuple[int, Any]:
        self.asked.append(event)
        given = self.answers.get(event["data"]["name"], [(200, {})])
        return given.pop(0) if len(given) > 1 else given[0]


@contextmanager
def api() -> Iterator[Api]:
    served = Api()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["content-length"]))
            Webhook(served.secret).verify(body, dict(self.headers.items()))
            status, value = served.answer(json.loads(body))
            self.send_response(status)
            self.end_headers()
            self.wfile.write(json.dumps(value).encode())

    with http_server(Handler) as url:
        served.url = f"{url}/steps"
        yield served


class Shop:
    """A runner of the real manifests, whose Triggers try again sooner, and the API beside it."""

    def __init__(self, folder: Path, api: Api, *options: str) -> None:
        self.api = api
        port = free_port()
        self._mail = Controller(Sink(), hostname="127.0.0.1", port=port)
        settings = [f"call.CALL_URL={api.url}", f"flows.TIME_LAPSE={LAPSE}", f"message.SMTP_PORT={port}"]
        given = [each for setting in settings for each in ("--set", setting)]
        self.up = Up(folder, impatient(folder / "manifests"), *given, *options)

    def __enter__(self) -> "Shop":
        self._mail.start()
        self.up.start()
        self.api.secret = (self.up.data / "secrets/callback/secrets").read_text()
        return self

    def __exit__(self, *_: object) -> None:
        self.up.stop()
        self._mail.stop()

    def sign_up(self, id_: str, **answers: list[tuple[int, Any]]) -> None:
        """Ask for the flow, of an API that answers as the scenario wants."""
        known: dict[str, list[tuple[int, Any]]] = {
            "create-account": [(200, {"id": "acc-1"})],
            "activity": [(200, {"active": False})],
        }
        self.api.answers = known | {name.replace("_", "-"): given for name, given in answers.items()}
        self.api.asked.clear()
        self.send("onboarding", id_, {"email": "lee@client.example"})

    def send(self, job: str, id_: str, data: dict[str, Any]) -> None:
        event = {"specversion": "1.0", "id": id_, "source": SOURCE, "type": f"dev.errands.{job}.requested.v1"}
        assert self.up.post({**event, "datacontenttype": "application/json", "data": data}).status_code == 202

    def outcome(self, id_: str) -> dict[str, Any]:
        found = self.up.outcome(id_, source=SOURCE)
        assert found is not None, self.up.log.read_text()[-3_000:]
        return found

    def flow(self, id_: str) -> FlowRecord | None:
        with open_flows(f"sqlite:///{self.up.data / 'flows.db'}").transaction(writes=False) as transaction:
            return find(transaction, flow_id(SOURCE, id_))

    def held(self, id_: str) -> str:
        """Why the flow is held, once it is."""
        return until(lambda: (flow := self.flow(id_)) and flow.state == "held" and flow.reason)  # type: ignore[no-any-return]

    def errands(self, *arguments: str) -> str:
        command = [sys.executable, "-m", "knative.cli.main", *arguments, "--data", str(self.up.data)]
        done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=ROOT)
        assert done.returncode == 0, done.stderr
        return done.stdout


@pytest.fixture(scope="module", params=["embedded", "rabbitmq"])
def shop(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shop]:
    options = ["--broker", request.getfixturevalue("rabbit").url] if request.param == "rabbitmq" else []
    with api() as served, Shop(tmp_path_factory.mktemp("shop"), served, *options) as shop:
        yield shop


def test_the_steps_are_done_in_order_by_the_api_and_by_functions_and_two_days_pass_between(shop: Shop) -> None:
    shop.sign_up("user-1")

    outcome = shop.outcome("user-1")
    assert outcome["type"] == "dev.errands.onboarding.completed.v1"
    assert outcome["data"] == {"account": "acc-1", "active": False}
    assert shop.api.names() == ["create-account", "provision", "activity"]
    assert shop.api.asked[1]["data"]["data"] == {"account": "acc-1"}
    assert {each["source"] for each in shop.api.asked} == {"/errands/onboarding"}


def test_a_step_that_cannot_be_done_undoes_what_was_done_and_fails_the_flow(shop: Shop) -> None:
    problem = {"type": "https://shop.example/no-room", "title": "No room", "detail": "all servers are full"}
    shop.sign_up("user-2", provision=[(422, problem)])

    outcome = shop.outcome("user-2")
    assert outcome["outcome"] == "failed"
    assert outcome["data"]["detail"] == "all servers are full"
    assert shop.api.names() == ["create-account", "provision", "delete-account"]
    undo = shop.api.asked[2]["data"]
    assert (undo["undo"], undo["data"], undo["result"]) == (
        "create-account",
        {"email": "lee@client.example"},
        {"id": "acc-1"},
    )


def test_a_step_that_is_a_dead_letter_holds_the_flow_which_goes_on_once_it_is_replayed(shop: Shop) -> None:
    shop.sign_up("user-3", provision=[(500, {}), (500, {}), (200, {})])

    assert "(call provision) is kept as dead letter" in shop.held("user-3")
    shop.errands("dead", "replay", "--job", "call")

    assert shop.outcome("user-3")["outcome"] == "completed"
    assert shop.api.names() == ["create-account", "provision", "provision", "provision", "activity"]
    until(lambda: "completed" in shop.errands("dead", "list", "--job", "call", "--state", "all"))


def test_a_call_that_is_answered_202_ends_by_a_signal(shop: Shop) -> None:
    shop.sign_up("user-4", provision=[(202, {})])
    asked = until(lambda: next((each for each in shop.api.asked if each["data"]["name"] == "provision"), None))

    shop.send("signal", "user-4-done", {"flow": "user-4", "name": "complete", "data": {"step": int(asked["step"])}})

    assert shop.outcome("user-4")["outcome"] == "completed"


def test_a_cancel_undoes_what_was_done(shop: Shop) -> None:
    shop.sign_up("user-5", provision=[(202, {})])
    asked = until(lambda: next((each for each in shop.api.asked if each["data"]["name"] == "provision"), None))

    shop.send("signal", "user-5-cancel", {"flow": "user-5", "name": "cancel"})
    shop.send("signal", "user-5-done", {"flow": "user-5", "name": "complete", "data": {"step": int(asked["step"])}})

    assert shop.outcome("user-5")["data"]["title"] == "Cancelled"
    assert shop.api.names() == ["create-account", "provision", "tear-down", "delete-account"]


def test_a_runner_that_is_killed_at_every_step_changes_nothing(shop: Shop) -> None:
    shop.sign_up("user-6", activity=[(200, {"active": True})])
    for step in ("create-account", "provision", "activity"):
        until(lambda step=step: step in shop.api.names())  # type: ignore[misc]  # of this round
        shop.up.kill()
        shop.up.start()

    assert shop.outcome("user-6")["data"] == {"account": "acc-1", "active": True}


def test_many_flows_end_once_each_whatever_is_killed_meanwhile(shop: Shop) -> None:
    shop.sign_up("many-0")
    for number in range(1, MANY):
        shop.send("onboarding", f"many-{number}", {"email": "lee@client.example"})
    for part in range(1, 4):
        until(lambda part=part: len({each["id"] for each in shop.api.asked}) >= part * MANY // 2)  # type: ignore[misc]
        shop.up.kill()
        shop.up.start()

    ids = [f"many-{number}" for number in range(MANY)]
    until(lambda: all((flow := shop.flow(each)) and flow.state == "completed" for each in ids))
    assert len({each["id"] for each in shop.api.asked}) == 3 * MANY
    assert shop.errands("flows", "list") == "no flows\n"
