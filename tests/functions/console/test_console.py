"""The operators' Service through functions-framework: the HTTP API, and who may use it."""

import json
import os
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest

from functions.deadletters.service.commands import BODY_LIMIT_BYTES
from functions.deadletters.store.schema import open_dead_letters
from tests.functions.deadletters.test_dead_letters import dead, keep
from tests.support.database_servers import database_url, postgresql_server
from tests.support.function_client import FunctionClient
from tests.support.local_runner import ROOT, until
from tests.support.ports import free_port

__all__ = ["database_url", "postgresql_server"]  # fixtures

CONSOLE = ROOT / "functions/console/main.py"
OPERATORS = """
# name rights secret
anna all anna-has-a-long-token
ben  see,replay ben-has-a-long-token
"""
JSON = {"content-type": "application/json"}
START = Callable[..., FunctionClient]


@pytest.fixture
def start(monkeypatch: pytest.MonkeyPatch, database_url: str) -> START:
    """Starts the console with an environment of its own."""

    def start(**environment: str) -> FunctionClient:
        given = {"DEADLETTERS_URL": database_url, "K_SINK": "http://127.0.0.1:1/", "HOST": "127.0.0.1"}
        for name, value in (given | environment).items():
            monkeypatch.setenv(name, value)
        return FunctionClient(CONSOLE)

    return start


def bearer(name: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {name}-has-a-long-token"}


@pytest.mark.slow
def test_the_dead_letters_are_listed_and_shown_as_json(start: START, database_url: str) -> None:
    console = start(DEADLETTERS_OPERATORS=OPERATORS)
    number = keep(open_dead_letters(database_url), dead())

    page = console.get("/dead/api/list?job=ics&code=503&limit=10", headers=bearer("anna")).json()
    shown = console.post("/dead/api/show", json={"dead_letter": number}, headers=bearer("anna")).json()

    assert [each["id"] for each in page["dead_letters"]] == [number]
    assert (page["total"], page["next_before"]) == (1, None)
    assert shown["body"]["attributes"]["id"] == "order-1042-invite"
    assert shown["dead_letter"]["code"] == 503


def test_who_lacks_a_right_is_told_which(start: START, database_url: str) -> None:
    console = start(DEADLETTERS_OPERATORS=OPERATORS)
    number = keep(open_dead_letters(database_url), dead())

    unknown = console.get("/dead/api/list")
    refused = console.post(
        "/dead/api/discard", json={"selection": {"dead_letters": [number]}, "reason": "x"}, headers=bearer("ben")
    )
    shown = console.get(f"/dead/api/show?letter={number}", headers=bearer("ben")).json()

    assert (unknown.status_code, refused.status_code) == (401, 403)
    assert "the right 'discard' is needed" in refused.json()["detail"]
    assert shown["body"]["data"] is None
    assert "#" in shown["body"]["masked"]


def test_a_mistake_names_the_field(start: START) -> None:
    console = start()
    responses = [
        console.post("/dead/api/list", json={"limit": 0}),
        console.get("/dead/api/list?limit=many"),
        console.get("/dead/api/nothing"),
        console.get("/dead/api/discard"),
        console.post("/dead/api/list", content="{}", headers={"content-type": "text/plain"}),
        console.get("/dead/api/show?letter=7"),
        console.get("/dead/api/list", headers={"Host": "evil.example"}),
    ]
    assert [each.status_code for each in responses] == [422, 422, 404, 405, 422, 404, 421], [
        each.content for each in responses
    ]


@pytest.mark.parametrize("setting", ["", "DEADLETTERS_OPERATORS"])
def test_it_does_not_start_for_everybody_on_a_network(start: START, setting: str, tmp_path: Path) -> None:
    with pytest.raises(SystemExit, match=r"(?i)operators"):
        start(HOST="0.0.0.0", **({setting: "anna all short"} if setting else {}))


def test_the_ping_keeps_the_house(start: START) -> None:
    headers = {"ce-specversion": "1.0", "ce-id": "1", "ce-source": "/p", "ce-type": "dev.knative.sources.ping"}

    response = start().post("/", content=b"{}", headers=headers)

    assert response.status_code == 202
    assert json.loads(start().get("/dead/api/whoami").content)["name"] == "local"


def test_flask_is_loaded_by_the_first_visit_and_not_by_a_ping(served: "Served") -> None:
    ping = {"ce-specversion": "1.0", "ce-id": "1", "ce-source": "/p", "ce-type": "dev.knative.sources.ping"}

    pinged = served.client.post("/", content=b"{}", headers=ping)
    monitored = served.client.get("/dead/metrics", headers=bearer("anna"))
    before = served.has_flask()
    visited = served.client.get("/dead/")

    assert [pinged.status_code, monitored.status_code, visited.status_code] == [202, 200, 401]
    assert (before, served.has_flask()) == (False, True)


def test_an_operator_signs_in_over_http_and_is_told_what_was_done(served: "Served") -> None:
    form = served.client.get("/dead/sign-in")
    token = re.findall(r'name="form_token" value="([^"]+)"', form.text)[0]
    given = {"form_token": token, "token": "anna-has-a-long-token", "after": "/dead/letters?state=open"}

    response = served.client.post("/dead/sign-in", data=given)
    page = served.client.get(response.headers["location"])

    assert (response.status_code, response.headers["location"]) == (303, "/dead/letters?state=open")
    assert "errands_dead=" in response.headers["set-cookie"]
    assert page.status_code == 200
    assert "anna" in page.text


def test_a_header_that_only_looks_like_the_proxys_names_nobody(served: "Served") -> None:
    responses = [
        served.client.get("/dead/api/whoami", headers={name: "carol"}) for name in ("X-Operator", "X_Operator")
    ]
    metrics = [served.client.get("/dead/metrics", headers={name: "carol"}) for name in ("x-operator", "x_operator")]

    assert [response.status_code for response in responses] == [200, 401]
    assert [response.status_code for response in metrics] == [200, 401]


@pytest.mark.slow
def test_a_body_over_the_limit_is_refused(served: "Served") -> None:
    large = served.client.post("/dead/api/list", content=bytes(BODY_LIMIT_BYTES + 1), headers=JSON | bearer("anna"))
    chunked = served.client.post("/dead/api/list", content=iter([bytes(1 << 20)] * 33), headers=JSON | bearer("anna"))

    assert [large.status_code, chunked.status_code] == [413, 413]


@dataclass(frozen=True)
class Served:
    """The console as it runs in its container."""

    client: httpx.Client
    pid: int

    def has_flask(self) -> bool:
        """Whether a library that only Flask's templates bring is mapped."""
        return "markupsafe" in Path(f"/proc/{self.pid}/maps").read_text()


@pytest.fixture
def served(tmp_path: Path) -> Iterator[Served]:
    port = free_port()
    environment = {
        "PATH": os.environ["PATH"],
        "PYTHONPATH": str(ROOT),
        "FUNCTION_SOURCE": str(CONSOLE),
        "FUNCTION_TARGET": "handle",
        "HOST": "127.0.0.1",
        "PORT": str(port),
        "DEADLETTERS_URL": f"sqlite:///{tmp_path}/dead_letters.db",
        "K_SINK": "http://127.0.0.1:1/",
        "DEADLETTERS_OPERATORS": OPERATORS + "carol all proxy\n",
        "DEADLETTERS_PROXY_HEADER": "X-Operator",
    }
    command = [sys.executable, "-m", "functions.runtime.serve"]
    with (
        subprocess.Popen(command, env=environment, cwd=ROOT, stderr=subprocess.DEVNULL) as process,
        httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=60) as client,
    ):
        until(lambda: responses(client), what="the console")
        yield Served(client, process.pid)
        process.terminate()


def responses(client: httpx.Client) -> bool:
    with suppress(httpx.TransportError):
        return client.get("/healthz").is_success
    return False
