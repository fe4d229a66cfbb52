"""The call function, whole: what an API's answers come to, and a real API in PHP that does each step once."""

import json
import os
import re
import sqlite3
import subprocess
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any, Final

import httpx
import pytest

from events.http import STRUCTURED
from tests.conftest import sample
from tests.support.absent import program
from tests.support.function_client import FunctionClient
from tests.support.http_server import http_server
from tests.support.local_runner import ROOT, until
from tests.support.ports import free_port

MAIN: Final = ROOT / "functions" / "call" / "main.py"
PHP_README: Final = ROOT / "events" / "php" / "README.md"
SECRET: Final = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
Starting = Callable[[str], "Call"]


class Call:
    """The function, and what it answers a step."""

    def __init__(self) -> None:
        self._client = FunctionClient(MAIN)

    def do(self, name: str = "create-account", *, step: int = 1, **data: Any) -> httpx.Response:
        event = sample("call")
        event |= {"id": f"{event['flowid']}.{step}", "step": str(step), "data": event["data"] | {"name": name} | data}
        return self._client.post("/", content=json.dumps(event), headers={"content-type": STRUCTURED})


@pytest.fixture
def starting(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Starting:
    def start(url: str) -> Call:
        monkeypatch.setenv("STORE_URL", (tmp_path / "store").as_uri())
        monkeypatch.setenv("CALLBACK_SECRETS", SECRET)
        monkeypatch.setenv("CALL_URL", url)
        monkeypatch.setenv("ALLOWED_NETWORKS", "127.0.0.0/8")
        return Call()

    return start


@pytest.fixture
def answering() -> Iterator[tuple[str, list[tuple[int, str, dict[str, str]]]]]:
    """An API that answers what the list says, one after the other."""
    answers: list[tuple[int, str, dict[str, str]]] = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            self.rfile.read(int(self.headers["content-length"]))
            status, body, headers = answers.pop(0)
            self.send_response(status)
            for name, value in headers.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(body.encode())

    with http_server(Handler) as url:
        yield f"{url}/steps", answers


Answering = tuple[str, list[tuple[int, str, dict[str, str]]]]


@pytest.mark.parametrize(("body", "value"), [('{"id": 7}', {"id": 7}), ("[1]", [1]), ("", None), ("null", None)])
def test_json_is_the_result_and_nothing_is_null(
    starting: Starting, answering: Answering, body: str, value: object
) -> None:
    answering[1].append((200, body, {}))

    reply = starting(answering[0]).do()

    assert (reply.status_code, reply.headers["ce-type"]) == (200, "dev.errands.call.completed.v1")
    assert reply.headers["ce-flow"] == "onboarding"
    assert reply.json().get("value") == value


def test_a_step_that_was_done_is_not_asked_for_again(starting: Starting, answering: Answering) -> None:
    answering[1].append((200, '{"id": 7}', {}))
    call = starting(answering[0])

    assert call.do().content == call.do().content


def test_422_fails_the_step_with_the_apis_own_problem(starting: Starting, answering: Answering) -> None:
    problem = {"type": "https://shop.example/no-room", "title": "No room", "detail": "all servers are full"}
    answering[1].append((422, json.dumps(problem), {}))

    reply = starting(answering[0]).do()

    assert reply.headers["ce-type"] == "dev.errands.call.failed.v1"
    assert reply.json() == {**problem, "type": "https://errands.dev/problems/no-room"}


def test_202_is_no_answer_yet(starting: Starting, answering: Answering) -> None:
    answering[1].append((202, "", {}))

    reply = starting(answering[0]).do()

    assert (reply.status_code, "ce-type" in reply.headers) == (202, False)


@pytest.mark.parametrize("status", [429, 502, 503, 504])
def test_an_api_that_is_down_or_busy_costs_no_attempt(starting: Starting, answering: Answering, status: int) -> None:
    answering[1].append((status, "later", {"retry-after": "7"}))

    reply = starting(answering[0]).do()

    assert (reply.status_code, reply.headers["retry-after"]) == (503, "7")
    assert "errands-not-now" in reply.headers


@pytest.mark.parametrize(("status", "body"), [(500, "a bug"), (404, ""), (401, ""), (302, ""), (200, "<html>")])
def test_anything_else_is_tried_again(starting: Starting, answering: Answering, status: int, body: str) -> None:
    answering[1].append((status, body, {}))

    reply = starting(answering[0]).do()

    assert (reply.status_code, "errands-not-now" in reply.headers) == (503, False)


def test_an_api_that_does_not_listen_costs_no_attempt(starting: Starting) -> None:
    reply = starting(f"http://127.0.0.1:{free_port()}/steps").do()

    assert "errands-not-now" in reply.headers


def test_without_an_api_a_step_waits_for_who_sets_it(starting: Starting) -> None:
    reply = starting("").do()

    assert (reply.status_code, "CALL_URL" in reply.text) == (503, True)


# --- an API in PHP


AROUND = """<?php
require '{autoload}';
use Errands\\{{Step, StepRefused, Steps}};
$pdo = new PDO('sqlite:' . getenv('STEPS_DATABASE'));
Steps::install($pdo);
$accounts = new class {{ function create($email) {{ return "account of $email"; }} function delete($email) {{}} }};
$rooms = new class {{ function free() {{ return false; }} function take() {{}} }};
{snippet}
"""


@pytest.fixture
def php(tmp_path: Path) -> Iterator[tuple[str, Path]]:
    """The address of an API in PHP, and its database."""
    with serving(ROOT / "tests/files/steps.php", tmp_path) as api:
        yield api


@contextmanager
def serving(script: Path, tmp_path: Path) -> Iterator[tuple[str, Path]]:
    """The address at which PHP's own server runs a script, and the script's database."""
    program("php", "php-cli")
    port, database = free_port(), tmp_path / "api.db"
    more = {"STEPS_DATABASE": str(database), "ERRANDS_WEBHOOK_SECRET": SECRET, "PHP_CLI_SERVER_WORKERS": "4"}
    command = ["php", "-S", f"127.0.0.1:{port}", str(script)]
    with (tmp_path / "php.log").open("wb") as log:
        server = subprocess.Popen(command, env={**os.environ, **more}, stdout=log, stderr=log)
    try:
        until(lambda: answers(port), what="php -S")
        yield f"http://127.0.0.1:{port}/", database
    finally:
        server.terminate()
        server.wait(30)


def answers(port: int) -> bool:
    try:
        return httpx.post(f"http://127.0.0.1:{port}/", content=b"{}").status_code == 401
    except httpx.TransportError:
        return False


def accounts(database: Path) -> int:
    with sqlite3.connect(database) as db:
        return int(db.execute("SELECT count(*) FROM accounts").fetchone()[0])


def test_php_does_a_step_and_answers_with_its_result(starting: Starting, php: tuple[str, Path]) -> None:
    reply = starting(php[0]).do(data={"email": "lee@client.example"})

    assert reply.json() == {"value": {"id": "acc-1"}}


def test_the_readme_s_steps_are_done(starting: Starting, tmp_path: Path) -> None:
    (snippet,) = re.findall(r"```php\n(\$steps = new Steps.*?)```", PHP_README.read_text(), re.DOTALL)
    script = tmp_path / "steps.php"
    script.write_text(AROUND.format(autoload=ROOT / "events/php/src/autoload.php", snippet=snippet))

    with serving(script, tmp_path) as (url, _):
        call = starting(url)
        made = call.do(data={"email": "lee@client.example"}).json()
        refused = call.do("provision", step=2).json()

    assert made == {"value": {"id": "account of lee@client.example"}}
    assert refused["detail"] == "all full"


def test_php_does_a_step_once_however_often_it_is_asked_at_once(starting: Starting, php: tuple[str, Path]) -> None:
    call = starting(php[0])
    with ThreadPoolExecutor(8) as pool:
        done = [each for each in pool.map(lambda _: call.do(), range(8)) if each.status_code == 200]
    again = call.do()

    assert {each.text for each in [*done, again]} == {'{"value":{"id":"acc-1"}}'}
    assert accounts(php[1]) == 1


def test_php_is_told_what_it_undoes(starting: Starting, php: tuple[str, Path]) -> None:
    reply = starting(php[0]).do("delete-account", undo="create-account", result={"id": "acc-1"})

    assert reply.json() == {"value": {"undoes": "create-account", "result": {"id": "acc-1"}}}


def test_php_says_that_a_step_cannot_be_done(starting: Starting, php: tuple[str, Path]) -> None:
    reply = starting(php[0]).do("no-room")

    assert (reply.headers["ce-type"], reply.json()["detail"]) == (
        "dev.errands.call.failed.v1",
        "all servers are full",
    )


def test_php_may_answer_later(starting: Starting, php: tuple[str, Path]) -> None:
    call = starting(php[0])

    assert [call.do("later").status_code, call.do("later").status_code] == [202, 202]


@pytest.mark.parametrize("name", ["broken", "unknown"])
def test_a_bug_in_php_or_a_step_that_it_does_not_know_is_tried_again_and_leaves_nothing(
    starting: Starting, php: tuple[str, Path], name: str
) -> None:
    assert starting(php[0]).do(name).status_code == 503
    assert accounts(php[1]) == 0


def test_php_refuses_a_stranger(php: tuple[str, Path]) -> None:
    assert httpx.post(php[0], content=json.dumps(sample("call"))).status_code == 401
