"""Names of files in any language: in keys, in paths, in headers of HTTP, and in an S3 store."""

import re
from collections.abc import Iterator
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from unicodedata import normalize
from urllib.parse import unquote, urlsplit

import msgspec
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from events.http import STRUCTURED, Event, read
from events.types import Artifact, ImageOutput
from functions.storage.file_name import PART_BYTES, disposition, path_part
from functions.storage.store import Store
from tests.conftest import SAMPLES
from tests.functions.message.test_email_message import NAMES
from tests.support.http_server import http_server

NOW = datetime(2026, 12, 1, tzinfo=UTC)


def is_a_name(text: str) -> bool:
    try:
        msgspec.convert({"name": text}, ImageOutput)
    except msgspec.ValidationError:
        return False
    return True


ANY_NAME = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=100).filter(is_a_name)


def job(id_: str = "1") -> Event:
    event = read({"content-type": STRUCTURED}, (SAMPLES / "dev.errands.image.requested.v1.json").read_bytes())
    return event.with_attributes(id=id_)


@given(ANY_NAME)
@example("請" * 96 + ".pdf")
@example("😀" * 100)
@example("a#1")
@example("a%2f..%2fb")
@example("a.b" + "ä" * 97)
def test_any_name_is_one_part_of_a_path_and_stays_one(name: str) -> None:
    part = path_part(name)

    assert 0 < len(part.encode()) <= PART_BYTES
    assert part == path_part(part) == normalize("NFC", part)
    assert Path(part).name == part
    assert unquote(part) == part
    assert not re.search(r"#\d+$", part)


@pytest.mark.parametrize("name", [*NAMES, "e\u0301t\u00e9.pdf", "a#1", "100%.pdf", "a%2f..%2fb", "~", "[a]{b}^`"])
def test_a_result_of_any_name_is_kept_and_found_by_its_key(name: str, tmp_path: Path) -> None:
    store = Store(tmp_path.as_uri())

    made = store.put(job(), name, b"content", "application/pdf", now=NOW)
    store.keep([made.key])

    assert made.name == name
    assert store.get(made.key, limit_bytes=100) == b"content"
    assert Path(unquote(urlsplit(made.url).path)).read_bytes() == b"content"
    assert store.list("jobs/") == (made.key,)


def test_a_name_that_is_too_long_for_a_path_keeps_its_ending() -> None:
    assert path_part("請" * 96 + ".pdf") == "請" * 65 + ".pdf"


@given(st.text(st.characters(exclude_categories=["Cs"]), max_size=100))
def test_the_header_says_the_name_and_holds_nothing_else(name: str) -> None:
    value = disposition(name)
    plain, encoded = value.split('"; filename*=')

    assert value.isascii()
    assert value.isprintable()
    assert plain.count('"') == 1
    assert unquote(encoded.removeprefix("UTF-8''")) == name
    assert re.fullmatch(r"[A-Za-z0-9!#$&+.^_`|~%'-]*", encoded)  # RFC 5987 3.2.1


class Bucket:
    """What an S3 store was asked for."""

    def __init__(self) -> None:
        self.puts: list[tuple[str, dict[str, str]]] = []


@pytest.fixture
def bucket(monkeypatch: pytest.MonkeyPatch) -> Iterator[Bucket]:
    made = Bucket()

    class Handler(BaseHTTPRequestHandler):
        def do_PUT(self) -> None:
            self.rfile.read(int(self.headers["content-length"]))
            made.puts.append((self.path, {name.lower(): value for name, value in self.headers.items()}))
            self.send_response(200)
            self.send_header("etag", '"1"')
            self.send_header("content-length", "0")
            self.end_headers()

    with http_server(Handler) as url:
        settings = {"ENDPOINT_URL": url, "ALLOW_HTTP": "true", "ACCESS_KEY_ID": "a", "SECRET_ACCESS_KEY": "b"}
        for name, value in {**settings, "REGION": "eu-central-1"}.items():
            monkeypatch.setenv(f"AWS_{name}", value)
        yield made


@pytest.mark.parametrize("name", ["Rechnung März 2026.pdf", "請求書.pdf", "invoice 1042.pdf"])
def test_a_bucket_is_told_the_name_under_which_a_browser_saves(bucket: Bucket, name: str) -> None:
    made: Artifact = Store("s3://results").put(job(), name, b"%PDF", "application/pdf", now=NOW)

    [(path, headers)] = bucket.puts
    assert unquote(path).endswith(f"/{name}")
    assert headers["content-type"] == "application/pdf"
    assert headers["content-disposition"] == disposition(name)
    assert unquote(urlsplit(made.url).path).endswith(f"/{name}")
    assert made.expires_at == "2026-12-08T00:00:00Z"
