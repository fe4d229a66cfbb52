"""Fetches through the whole function, from a real server: files, pages of every kind, and what is refused."""

import json
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any

import pytest

from events.http import STRUCTURED
from tests.conftest import sample
from tests.support.function_client import FunctionClient
from tests.support.http_server import http_server
from tests.support.local_runner import ROOT

SAMPLE = sample("fetch")
ITEMS = [{"sku": f"s-{number}"} for number in range(5)]
Fetch = Callable[..., tuple[int, dict[str, Any]]]


class Api(BaseHTTPRequestHandler):
    """Five items, two a page; the path says how its pages follow each other."""

    def do_GET(self) -> None:
        path, _, query = self.path.partition("?")
        given = dict(each.split("=") for each in query.split("&") if each)
        status, body = self.answer(path, int(given.get("at", given.get("page", "0"))))
        self.send_response(status)
        self.send_header("content-type", "application/json; charset=utf-8")
        self.end_headers()
        self.wfile.write(body if isinstance(body, bytes) else json.dumps(body).encode())

    def answer(self, path: str, at: int) -> tuple[int, Any]:
        more = at + 2 if at + 2 < len(ITEMS) else None
        some = ITEMS[at : at + 2]
        return {
            "/file.csv": (200, b"a,b\n"),
            "/links": (200, {"data": some, "links": {"next": more and f"/links?at={more}"}}),
            "/cursor": (200, {"items": some, "cursor": more}),
            "/counted": (200, ITEMS[2 * at : 2 * at + 2]),
            "/elsewhere": (200, {"data": some, "links": {"next": "http://127.0.0.1:1/links"}}),
            "/again": (200, {"data": some, "links": {"next": "/again"}}),
            "/endless": (200, {"data": ITEMS, "links": {"next": f"/endless?at={at + 1}"}}),
            "/no-list": (200, {"data": {}}),
            "/no-json": (200, b"<html>"),
            "/down": (503, b""),
        }.get(path, (404, b""))


@pytest.fixture
def api() -> Iterator[str]:
    with http_server(Api) as url:
        yield url


@pytest.fixture
def fetch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Fetch:
    def fetched(url: str, pages: dict[str, Any] | None = None, **environment: str) -> tuple[int, dict[str, Any]]:
        settings = {"STORE_URL": f"file://{tmp_path}/store", "ALLOWED_NETWORKS": "127.0.0.0/8", **environment}
        for name, value in settings.items():
            monkeypatch.setenv(name, value)
        data = {"url": url, "name": "got", **({"pages": pages} if pages else {})}
        function = FunctionClient(ROOT / "functions/fetch/main.py")
        response = function.post(
            "/", content=json.dumps({**SAMPLE, "data": data}), headers={"content-type": STRUCTURED}
        )
        return response.status_code, json.loads(response.content)

    return fetched


def test_a_file_is_kept_as_it_is_with_the_type_that_its_server_says(api: str, fetch: Fetch, tmp_path: Path) -> None:
    _, data = fetch(f"{api}/file.csv")

    [artifact] = data["artifacts"]
    assert (tmp_path / "store" / artifact["key"]).read_bytes() == b"a,b\n"
    assert artifact["media_type"] == "application/json; charset=utf-8"


@pytest.mark.parametrize(
    ("path", "pages", "count"),
    [
        ("/links", {"items": "data", "next": "links.next"}, 3),
        ("/cursor", {"items": "items", "next": "cursor", "parameter": "at"}, 3),
        ("/counted?page=9", {"parameter": "page", "start": 0}, 4),
    ],
)
def test_pages_become_one_file_of_json_lines(
    api: str, fetch: Fetch, path: str, pages: dict[str, Any], count: int
) -> None:
    _, data = fetch(f"{api}{path}", pages)

    kept = Path(data["artifacts"][0]["url"].removeprefix("file://")).read_text()
    assert [json.loads(line) for line in kept.splitlines()] == ITEMS
    assert (data["pages"], data["items"]) == (count, len(ITEMS))


@pytest.mark.parametrize(
    ("path", "kind"),
    [
        ("/elsewhere", "pages-refused"),
        ("/again", "pages-refused"),
        ("/endless", "pages-refused"),
        ("/no-list", "pages-refused"),
        ("/no-json", "pages-refused"),
        ("/missing", "source-refused"),
    ],
)
def test_pages_that_lead_astray_or_are_none_fail_the_job(api: str, fetch: Fetch, path: str, kind: str) -> None:
    _, data = fetch(f"{api}{path}", {"items": "data", "next": "links.next", "limit": 5})

    assert data["type"].rpartition("/")[2] == kind


def test_pages_have_one_limit_together(api: str, fetch: Fetch) -> None:
    _, data = fetch(f"{api}/endless", {"items": "data", "next": "links.next"}, SOURCE_LIMIT_BYTES="500")

    assert data["type"].endswith("/source-refused")


def test_a_server_that_is_down_is_asked_again(api: str, fetch: Fetch) -> None:
    assert fetch(f"{api}/down")[0] == 503


def test_an_address_of_ours_is_not_fetched(api: str, fetch: Fetch) -> None:
    _, data = fetch(f"{api}/file.csv", ALLOWED_NETWORKS="")

    assert data["type"].endswith("/source-refused")
