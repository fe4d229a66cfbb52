"""The document says what the front door does: the same operations, and no answer that it does not name."""

import asyncio
import json
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from jsonschema import Draft202012Validator

from functions.gateway.admission import Admission
from functions.gateway.callers import Callers
from functions.gateway.disk import Disk
from functions.gateway.files import Files
from functions.gateway.gateway import Gateway
from functions.gateway.http import FrontDoor
from functions.gateway.ledger.job import key_of
from functions.gateway.ledger.schema import open_ledger
from functions.gateway.openapi import OPERATIONS, document
from functions.gateway.replies import Replies
from functions.gateway.routes import Routes
from functions.gateway.tickets import Tickets
from functions.runtime.broker_client import BrokerClient
from tests.conftest import sample
from tests.support.gateway_process import ROUTES, TOKENS
from tests.support.ports import free_port

ICS = sample("ics")
KEY = key_of(ICS["source"], ICS["id"])
TICKETS = Tickets("of-the-tests")


class Door:
    """A front door in a loop, which is asked as a server asks it."""

    def __init__(self, folder: Path) -> None:
        routes = Routes.parse(json.dumps(ROUTES))
        url, store = f"sqlite:///{folder}/ledger.db", folder / "store"
        store.mkdir()
        self.loop = asyncio.new_event_loop()
        client = BrokerClient(f"http://127.0.0.1:{free_port()}/")
        replies, files = Replies(store.as_uri()), Files(store.as_uri(), store, kept_s=3600)
        gateway = Gateway(open_ledger(url), Admission(routes), routes, client, Disk(url), replies=replies)
        callers = Callers.parse(TOKENS)
        self.front_door = FrontDoor(gateway, callers, TICKETS, store=store, files=files)
        self._working = gateway.working()
        self.loop.run_until_complete(self._working.__aenter__())

    def close(self) -> None:
        self.loop.run_until_complete(self._working.__aexit__(None, None, None))
        self.loop.close()

    def ask(
        self, method: str, path: str, *, query: str = "", headers: dict[str, str] | None = None, body: bytes = b""
    ) -> tuple[int, dict[str, str], bytes]:
        """Status, headers and body; of a stream its first part."""
        return self.loop.run_until_complete(self._ask(method, path, query, headers or {}, body))

    async def _ask(
        self, method: str, path: str, query: str, headers: dict[str, str], body: bytes
    ) -> tuple[int, dict[str, str], bytes]:
        sent: list[dict[str, Any]] = []
        enough = asyncio.Event()
        requests = [{"type": "http.request", "body": body, "more_body": False}]

        async def receive() -> dict[str, Any]:
            if requests:
                return requests.pop()
            await enough.wait()
            return {"type": "http.disconnect"}

        async def send(message: Any) -> None:
            sent.append(message)
            if message["type"] == "http.response.body":
                enough.set()

        named = [(name.lower().encode(), value.encode("latin-1", "replace")) for name, value in headers.items()]
        scope = {"type": "http", "method": method, "path": path, "raw_path": path.encode("utf-8", "replace")}
        scope |= {"query_string": query.encode("latin-1", "replace"), "headers": [(b"host", b"localhost"), *named]}
        await self.front_door({**scope, "client": ("127.0.0.1", 1)}, receive, send)
        content = b"".join(each.get("body", b"") for each in sent[1:])
        return sent[0]["status"], {name.decode(): value.decode() for name, value in sent[0]["headers"]}, content


@pytest.fixture(scope="module")
def door() -> Iterator[Door]:
    with tempfile.TemporaryDirectory() as folder:
        made = Door(Path(folder))
        try:
            yield made
        finally:
            made.close()


def authorized(token: str = "shop-token-shop-token") -> dict[str, str]:  # noqa: S107  # of a test
    return {"authorization": f"Bearer {token}"}


def test_each_operation_is_in_the_document_and_nothing_else_is(door: Door) -> None:
    served = {(each.method, each.path): each.is_open for each in door.front_door.operations}
    status, headers, body = door.ask("GET", "/openapi.json")
    shown = json.loads(body)

    assert (status, headers["content-type"]) == (200, "application/json")
    assert {key: each.is_open for key, each in OPERATIONS.items()} == served
    assert {(method.upper(), path) for path, each in shown["paths"].items() for method in each} == served.keys()
    assert shown["components"]["schemas"].keys() >= {"JobResult", "JobPage", "TimelineEntry", "StoredFile"}


def require_documented(method: str, template: str, answer: tuple[int, dict[str, str], bytes]) -> None:
    """What is answered must be what the document says of the operation, with a body of its schema."""
    status, headers, body = answer
    shown = json.loads(document())
    operation = shown["paths"][template][method.lower()]
    assert str(status) in operation["responses"], f"{method} {template} answers {status}: {body[:300]!r}"
    if status >= 400:
        assert headers["content-type"] == "application/problem+json"
        assert json.loads(body)["status"] == status if "status" in json.loads(body) else True
    content = operation["responses"][str(status)].get("content", {})
    schema = content.get("application/json", {}).get("schema")
    if schema and headers.get("content-type") == "application/json":
        Draft202012Validator({**schema, "components": shown["components"]}).validate(json.loads(body))


TEXT = st.text(max_size=30)
PARTS = st.one_of(st.just(KEY), st.just("a.txt"), TEXT.filter(lambda text: text and "/" not in text))
VALUES = st.one_of(TEXT, st.sampled_from(["0", "-1", "9" * 30, "completed", ICS["source"], ICS["id"], "1e9", "\x00"]))
NAMES = ("source", "id", "state", "type", "subject", "api", "after", "limit", "ticket", "x")
HEADERS = st.dictionaries(
    st.sampled_from(
        ["content-type", "last-event-id", "ce-specversion", "ce-id", "ce-source", "ce-type", "ce-time", "accept"]
    ),
    st.one_of(
        st.text(st.characters(min_codepoint=32, max_codepoint=255), max_size=40),
        st.sampled_from(["application/cloudevents+json", "application/cloudevents-batch+json", "1.0", ICS["type"]]),
    ),
)
TOKENS_GIVEN = st.sampled_from(["shop-token-shop-token", "pictures-token-pictures", "reader-token-reader-token"])


@st.composite
def bodies(draw: st.DrawFn) -> bytes:
    values = st.recursive(
        st.none() | st.booleans() | st.floats(allow_nan=False, allow_infinity=False) | TEXT,
        lambda each: st.lists(each, max_size=3),
    )
    changed = {**ICS, **draw(st.dictionaries(st.sampled_from([*ICS, "uniquekey"]), values, max_size=3))}
    bad = {**ICS, "data": draw(st.one_of(values, st.dictionaries(TEXT, values, max_size=3)))}
    whole = json.dumps(draw(st.sampled_from([changed, bad, [changed, bad], changed.get("data")]))).encode()
    return draw(st.sampled_from([whole, whole, whole[: draw(st.integers(0, 200))], draw(st.binary(max_size=50))]))


@pytest.mark.slow
@pytest.mark.parametrize(("method", "template"), OPERATIONS, ids=[" ".join(each) for each in OPERATIONS])
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_whatever_is_asked_is_answered_as_the_document_says(
    door: Door, method: str, template: str, data: st.DataObject
) -> None:
    parts = [data.draw(PARTS) if each.startswith("{") else each for each in template.split("/")]
    query = data.draw(st.dictionaries(st.sampled_from(NAMES), VALUES, max_size=4))
    headers = data.draw(HEADERS) | authorized(data.draw(TOKENS_GIVEN))
    body = data.draw(bodies()) if method in ("POST", "PUT") else b""
    if template == "/" and data.draw(st.booleans()):  # an event, more often than by chance
        mode = "cloudevents-batch" if body.startswith(b"[") else "cloudevents"
        headers, query = {**authorized(), "content-type": f"application/{mode}+json"}, {}

    answer = door.ask(method, "/".join(parts), query=urlencode(query, errors="replace"), headers=headers, body=body)

    require_documented(method, template, answer)


@pytest.mark.slow
@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@example(method="GET", path="//")
@example(method="\x00", path="")
@given(method=st.sampled_from(["GET", "HEAD", "POST", "PUT", "DELETE", "PATCH", "OPTIONS", "X"]), path=TEXT)
def test_what_is_nowhere_is_refused_with_a_reason(door: Door, method: str, path: str) -> None:
    status, headers, body = door.ask(method, f"/{path}", headers=authorized())

    assert status < 500
    if status >= 400:
        assert headers["content-type"] == "application/problem+json"
        assert json.loads(body)["title" if "title" in json.loads(body) else "detail"]


def test_a_job_s_whole_way_is_answered_as_the_document_says(door: Door) -> None:
    body = json.dumps({**ICS, "id": "way", "subject": "Way"}).encode()
    key = key_of(ICS["source"], "way")
    headers = {**authorized(), "content-type": "application/cloudevents+json"}
    steps = [
        ("POST", "/", "/", ""),
        ("GET", "/jobs/{key}", f"/jobs/{key}", ""),
        ("GET", "/jobs", "/jobs", "state=waiting"),
        ("DELETE", "/jobs/{key}", f"/jobs/{key}", ""),
        ("POST", "/jobs/{key}/cancel", f"/jobs/{key}/cancel", ""),
        ("GET", "/jobs/{key}/timeline", f"/jobs/{key}/timeline", ""),
        ("GET", "/jobs/{key}/stream", f"/jobs/{key}/stream", f"ticket={TICKETS.issue(key, now_s=2_000_000_000)}"),
        ("POST", "/jobs/{key}/retry", f"/jobs/{key}/retry", ""),
        ("POST", "/jobs/{key}/cancel", f"/jobs/{key}/cancel", ""),
        ("DELETE", "/jobs", "/jobs", "subject=Way"),
        ("GET", "/jobs/{key}", f"/jobs/{key}", ""),
    ]
    statuses = []
    for method, template, path, query in steps:
        answer = door.ask(method, path, query=query, headers=headers, body=body if path == "/" else b"")
        require_documented(method, template, answer)
        statuses.append(answer[0])

    assert statuses == [202, 200, 200, 409, 202, 200, 200, 202, 202, 200, 404]


def test_a_file_is_kept_under_a_key_that_a_job_can_name_and_removed_when_it_is_old(tmp_path: Path) -> None:
    made = Door(tmp_path)
    try:
        first, again = (made.ask("PUT", "/files/a.csv", headers=authorized(), body=b"a;b") for _ in range(2))
        posted = made.ask("POST", "/files", query="name=a.csv", headers=authorized(), body=b"a;b")
        nameless = made.ask("POST", "/files", headers=authorized(), body=b"a;b")[0]
        bad = made.ask("PUT", "/files/.hidden", headers=authorized(), body=b"a;b")[0]
        refused = made.ask("PUT", "/files/a.csv", headers=authorized("reader-token-reader-token"), body=b"a;b")[0]
        stored = json.loads(first[2])
        kept = (tmp_path / "store" / stored["key"]).read_bytes()
        files = Files((tmp_path / "store").as_uri(), tmp_path / "store", kept_s=3600)
        young, old = files.remove_old(0), files.remove_old(9_000_000_000)
    finally:
        made.close()

    assert (first[0], bad, nameless, refused) == (201, 400, 400, 403)
    assert {json.loads(each[2])["key"] for each in (again, posted)} == {stored["key"]}
    assert stored["key"].startswith("uploads/")
    assert kept == b"a;b"
    assert (young, old, list((tmp_path / "store" / "uploads").iterdir())) == (0, 1, [])


def test_what_is_kept_of_jobs_that_nobody_knows_goes_by_its_age_and_what_is_of_no_job_stays(tmp_path: Path) -> None:
    old_s, young_s = 1_000.0, 5_000.0
    kept = ("ledger/callbacks/gone/x.json", "ledger/rates/u/1.json", "templates/letter.html", "jobs/young/c/a.pdf")
    gone = ("jobs/old/c/a.pdf", "ledger/0b7b/reply-x.json", "evidence/abc/ics.json", "uploads/sha/a.csv")
    for name in (*kept, *gone):
        file = tmp_path / name
        file.parent.mkdir(parents=True)
        file.write_bytes(b"x")
        moment_s = young_s if "young" in name else old_s
        os.utime(file, (moment_s, moment_s))

    files = Files(tmp_path.as_uri(), tmp_path, kept_s=100, strays_kept_s=2_000)
    removed = files.remove_old(old_s + 2_001)
    again = Files(tmp_path.as_uri(), tmp_path, kept_s=100).remove_old(9e9)

    left = {str(each.relative_to(tmp_path)) for each in tmp_path.rglob("*") if each.is_file()}
    assert (removed, again) == (len(gone), 0)
    assert left == set(kept)
    assert sorted(each.name for each in (tmp_path / "jobs").iterdir()) == ["young"]
