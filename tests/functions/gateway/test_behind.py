"""What is handed on to the runner: who sent it is told, and no long body is read of who is not known there."""

import asyncio
from http.server import BaseHTTPRequestHandler
from typing import Any

import pytest

from functions.gateway.behind import Behind
from functions.runtime.port import IngressRequest, IngressResponse
from functions.runtime.proxy import ASKING, CLIENT, SECRET, sent_by
from functions.runtime.request import STRANGER_BYTES
from tests.support.http_server import http_server


class Runner:
    """Answers with `status` whether a long body would be read, and 200 to what it is given."""

    def __init__(self, status: int) -> None:
        self.status = status
        self.asked: list[tuple[dict[str, str], bytes]] = []

    def handler(self) -> type[BaseHTTPRequestHandler]:
        runner = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                headers = {name.lower(): value for name, value in self.headers.items()}
                runner.asked.append((headers, self.rfile.read(int(headers.get("content-length", "0")))))
                self.send_response(runner.status if ASKING in headers else 200)
                self.send_header("content-length", "0")
                self.end_headers()

        return Handler


class Body:
    """One that is counted as it is taken."""

    def __init__(self, content: bytes) -> None:
        self.content = content
        self.was_taken = False

    async def receive(self) -> dict[str, Any]:
        self.was_taken = True
        return {"type": "http.request", "body": self.content, "more_body": False}


def request(body: Body, **headers: str) -> IngressRequest:
    named = {
        "content-length": str(len(body.content)),
        **{name.replace("_", "-"): text for name, text in headers.items()},
    }
    sent = [(name.encode(), value.encode()) for name, value in named.items()]
    scope = {"method": "POST", "path": "/dead", "raw_path": b"/dead", "query_string": b"", "headers": sent}
    return IngressRequest({**scope, "client": ("192.0.2.7", 1)}, body.receive)


def console(runner: Runner, asked: IngressRequest) -> IngressResponse:
    with http_server(runner.handler()) as url:
        answer = asyncio.run(Behind(f"{url}/", "secret-of-both").console(asked))
    assert isinstance(answer, IngressResponse)
    return answer


@pytest.mark.parametrize(("status", "answered"), [(401, 401), (413, 413), (204, 200)])
def test_a_long_body_is_read_once_the_runner_knows_who_sends_it(status: int, answered: int) -> None:
    runner, body = Runner(status), Body(b"a" * (STRANGER_BYTES + 1))

    answer = console(runner, request(body))

    assert answer.status == answered
    assert body.was_taken is (status == 204)
    assert [len(content) for _, content in runner.asked] == ([0, STRANGER_BYTES + 1] if status == 204 else [0])


def test_a_form_is_handed_on_with_its_client_and_without_what_the_client_says_of_that() -> None:
    runner, body = Runner(204), Body(b"token=x")

    console(runner, request(body, **{CLIENT.replace("-", "_"): "127.0.0.1", SECRET.replace("-", "_"): "guessed"}))
    ((headers, content),) = runner.asked

    assert content == b"token=x"
    assert (headers[CLIENT], headers[SECRET]) == ("192.0.2.7", "secret-of-both")


@pytest.mark.parametrize(("secret", "client"), [("secret-of-both", "198.51.100.9"), ("guessed", "192.0.2.7")])
def test_who_sent_it_is_believed_of_one_with_the_secret_alone(secret: str, client: str) -> None:
    told = request(Body(b""), **{CLIENT.replace("-", "_"): "198.51.100.9", SECRET.replace("-", "_"): secret})

    assert sent_by(told, "secret-of-both").client == client
