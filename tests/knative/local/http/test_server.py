"""The runner's own port, as a client meets it who is not the one of the examples."""

import asyncio
import gzip
import json
import socket
import ssl
import threading
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, cast

import httpx
import pytest

from functions.runtime.connection import HEAD_LIMIT_BYTES
from functions.runtime.port import IngressRequest, IngressResponse
from knative.local.http.console import SERVICE, ConsoleProxy
from knative.local.process.processes import Pool
from tests.support.local_runner import Up, event, service, trigger, up

pytestmark = pytest.mark.slow

ECHOING = (service(), trigger())
KEY = "jobs/a/b/result.txt"


def test_a_place_that_is_not_there_and_a_method_that_is_not_meant_are_problems_with_a_reason(tmp_path: Path) -> None:
    with up(tmp_path, ECHOING) as runner:
        nowhere = runner.client.get("/nowhere")
        put = runner.client.put("/jobs")

    assert (nowhere.status_code, nowhere.json()["detail"]) == (404, "there is nothing at /nowhere")
    assert (put.status_code, put.headers["allow"], put.json()["detail"]) == (405, "GET", "GET is expected, got PUT")


def test_the_probe_answers_head_without_a_body(tmp_path: Path) -> None:
    with up(tmp_path, ECHOING) as runner:
        response = runner.client.head("/healthz")

    assert (response.status_code, response.content) == (200, b"")


def test_a_compressed_event_is_refused_and_not_kept_as_what_it_is_not(tmp_path: Path) -> None:
    headers = {"content-type": "application/cloudevents+json", "content-encoding": "gzip"}
    with up(tmp_path, ECHOING) as runner:
        response = runner.client.post("/", content=gzip.compress(json.dumps(event("1")).encode()), headers=headers)

    assert response.status_code == 400
    assert response.json()["detail"] == "content-encoding 'gzip' is not taken: send the event as it is"


@pytest.mark.parametrize("flood", [b"x: " + b"a" * 4096, b"x: a\r\n" * 700], ids=["one header", "many headers"])
def test_headers_without_an_end_are_cut_off(tmp_path: Path, flood: bytes) -> None:
    with up(tmp_path, ECHOING) as runner, socket.create_connection(("127.0.0.1", runner.port), timeout=60) as client:
        client.sendall(b"POST / HTTP/1.1\r\nhost: 127.0.0.1\r\n")
        with pytest.raises(OSError):  # noqa: PT011  # reset, or a broken pipe
            client.sendall(flood * (100 * HEAD_LIMIT_BYTES // len(flood)))

        assert runner.client.get("/healthz").status_code == 200


def test_an_event_with_headers_near_the_limit_is_taken(tmp_path: Path) -> None:
    padding = {f"x-{number}": "a" * 4000 for number in range(60)}
    with up(tmp_path, ECHOING) as runner:
        structured = {"content-type": "application/cloudevents+json", **padding}
        first, second = (
            runner.client.post("/", content=json.dumps(event(id_)), headers=structured) for id_ in ("1", "2")
        )

    assert (first.status_code, second.status_code) == (202, 202)


def test_a_result_is_served_whole_or_in_part_and_runs_nothing(tmp_path: Path) -> None:
    with up(tmp_path, ECHOING) as runner:
        stored = runner.data / "store" / KEY
        stored.parent.mkdir(parents=True)
        stored.write_text("0123456789")
        whole = runner.client.get(f"/artifacts/{KEY}")
        part = runner.client.get(f"/artifacts/{KEY}", headers={"range": "bytes=2-4"})

    assert (whole.status_code, whole.text, whole.headers["content-type"]) == (
        200,
        "0123456789",
        "text/plain; charset=utf-8",
    )
    assert (part.status_code, part.text) == (206, "234")
    assert whole.headers["content-security-policy"].startswith("sandbox; default-src 'none'")
    assert whole.headers["x-content-type-options"] == "nosniff"


@pytest.mark.parametrize(
    "key", ["jobs/../../secret", "jobs/%2e%2e/%2e%2e/secret", "jobs/a/..%2f..%2fsecret", "jobs/a/b/c%00"]
)
def test_nothing_but_results_is_served(tmp_path: Path, key: str) -> None:
    with up(tmp_path, ECHOING) as runner:
        (runner.data / "secret").write_text("secret")
        (runner.data / "store").mkdir(exist_ok=True)
        with socket.create_connection(("127.0.0.1", runner.port), timeout=60) as client:  # httpx would tidy the path up
            client.sendall(f"GET /artifacts/{key} HTTP/1.0\r\nhost: localhost\r\n\r\n".encode())
            response = client.makefile("rb").read()

    assert response.startswith(b"HTTP/1.1 404 ")


@pytest.mark.parametrize("linked", [0, 1, 2, 3])
def test_a_link_that_was_planted_in_the_store_is_not_served(tmp_path: Path, linked: int) -> None:
    parts = KEY.split("/")
    outside = tmp_path.joinpath("outside", *parts[linked:])
    outside.parent.mkdir(parents=True)
    outside.write_text("secret")
    with up(tmp_path, ECHOING) as runner:
        link = runner.data.joinpath("store", *parts[: linked + 1])
        link.parent.mkdir(parents=True, exist_ok=True)
        link.symlink_to(tmp_path / "outside" / parts[linked])
        status = runner.client.get(f"/artifacts/{KEY}").status_code

    assert status == 404


def test_who_waits_for_an_outcome_is_answered_before_the_runner_ends(tmp_path: Path) -> None:
    responses: list[int] = []
    with up(tmp_path, ECHOING) as runner:
        waiting = threading.Thread(target=lambda: responses.append(wait_for_an_outcome(runner)))
        waiting.start()
        time.sleep(1.5)
        code = runner.stop()
        waiting.join(60)

    assert (responses, code) == ([204], 0)


class Consoles:
    """A pool whose process nobody listens for."""

    url = "http://127.0.0.1:9/"

    @asynccontextmanager
    async def lease(self) -> AsyncIterator["Consoles"]:
        yield self


def test_a_visit_whose_body_did_not_come_whole_is_not_handed_to_the_console() -> None:
    messages: Iterator[dict[str, Any]] = iter(
        [{"type": "http.request", "body": b"half", "more_body": True}, {"type": "http.disconnect"}]
    )
    scope = {"method": "POST", "path": "/dead/", "raw_path": b"/dead/", "query_string": b"", "headers": []}

    async def receive() -> dict[str, Any]:
        return next(messages)

    pools = cast("dict[str, Pool]", {SERVICE: Consoles()})
    response = asyncio.run(ConsoleProxy(pools).handle(IngressRequest(scope, receive)))

    assert isinstance(response, IngressResponse)
    assert (response.status, response.body) == (413, b"the body must come whole: the connection was closed\n")


def test_a_request_for_the_console_costs_the_runner_no_tls_context_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    """Anybody may ask for the console, and the runner's loop reads no certificates for them."""
    read: list[object] = []
    load = ssl.SSLContext.load_verify_locations

    def noted(context: ssl.SSLContext, *given: Any, **named: Any) -> None:
        read.append(context)
        load(context, *given, **named)

    monkeypatch.setattr(ssl.SSLContext, "load_verify_locations", noted)
    scope = {"method": "GET", "path": "/dead/", "raw_path": b"/dead/", "query_string": b"", "headers": []}

    async def receive() -> dict[str, Any]:
        return {"type": "http.request", "body": b"", "more_body": False}

    async def ask() -> list[Any]:
        console = ConsoleProxy(cast("dict[str, Pool]", {SERVICE: Consoles()}))
        return [await console.handle(IngressRequest(scope, receive)) for _ in range(20)]

    responses = asyncio.run(ask())

    assert {each.status for each in responses} == {503}
    assert read == []


def wait_for_an_outcome(runner: Up) -> int:
    """Of a job that never ends."""
    return httpx.get(f"{runner.url}jobs", params={"source": "/x", "id": "1", "wait_s": 4}, timeout=60).status_code


@pytest.mark.parametrize("wait_s", ["nan", "inf", "-1", "1e9", "٣", "1" * 5000])
def test_a_wait_that_is_no_number_of_seconds_is_refused(tmp_path: Path, wait_s: str) -> None:
    with up(tmp_path, ECHOING) as runner:
        response = runner.client.get("/jobs", params={"source": "/x", "id": "1", "wait_s": wait_s})

    assert response.status_code == 400
    assert "wait_s must be a number of seconds" in response.json()["detail"]


@pytest.mark.parametrize("path", ["jobs/a/b/" + "c" * 5_000, "jobs/" + "a/" * 2_000, "%ff" * 3_000, "c" * 20_000])
def test_an_artefact_that_no_file_system_could_have_is_not_found(tmp_path: Path, path: str) -> None:
    with up(tmp_path, ECHOING) as runner:
        assert runner.client.get(f"/artifacts/{path}").status_code == 404


@pytest.mark.parametrize("scheme", ["Bearer", "bearer", "BEARER", "Bearer "])
def test_the_scheme_of_a_token_is_taken_in_any_case(tmp_path: Path, scheme: str) -> None:
    token = tmp_path / "token"
    token.write_text("a-secret-of-sixteen")
    with up(tmp_path, ECHOING, "--token-file", str(token)) as runner:
        known = httpx.get(f"{runner.url}metrics", headers={"authorization": f"{scheme} a-secret-of-sixteen"})
        others = [
            httpx.get(f"{runner.url}metrics", headers={"authorization": each})
            for each in (
                "Basic a-secret-of-sixteen",
                "a-secret-of-sixteen",
                f"{scheme} a-secret-of-sixtee",
                f"{scheme} a-secret-of-sixteen a-secret-of-sixteen",
                "",
            )
        ]

    assert known.status_code == 200
    assert {each.status_code for each in others} == {401}


def test_wrong_tokens_are_held_up_and_the_right_one_is_not(tmp_path: Path) -> None:
    token = tmp_path / "token"
    token.write_text("a-secret-of-sixteen")
    with up(tmp_path, ECHOING, "--token-file", str(token)) as runner:
        wrong = [httpx.get(f"{runner.url}metrics", headers={"authorization": f"Bearer {n}"}) for n in range(15)]
        right = httpx.get(f"{runner.url}metrics", headers={"authorization": "Bearer a-secret-of-sixteen"})

    assert [each.status_code for each in wrong] == [401] * 10 + [429] * 5
    assert wrong[-1].headers["retry-after"] == "60"
    assert right.status_code == 200
