import gzip
import logging
import socket
import threading
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from email.utils import formatdate
from http.server import BaseHTTPRequestHandler
from urllib.parse import quote, unquote

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from functions.net.download import Download, SourceRefused, SourceUnavailable, download
from functions.net.guard import Guard
from tests.support.http_server import http_server

HERE = Guard.parse("127.0.0.0/8")
SECRET = "X-Signature=top-secret"


class Source(BaseHTTPRequestHandler):
    """One path for each way a server can behave; a body without Content-Length ends with the connection."""

    def do_GET(self) -> None:
        name, _, argument = self.path.partition("?")[0].strip("/").partition("/")
        getattr(self, name)(argument)

    def response(self, status: int, body: bytes = b"", **headers: str) -> None:
        self.send_response(status)
        for header, value in headers.items():
            self.send_header(header.replace("_", "-"), value)
        self.end_headers()
        self.wfile.write(body)

    def bytes(self, size_bytes: str) -> None:
        self.response(200, b"x" * int(size_bytes), Content_Type="image/png")

    def claim(self, size_bytes: str) -> None:
        self.response(200, b"xxx", Content_Length=size_bytes)

    def status(self, status: str) -> None:
        self.response(int(status), Retry_After="7")

    def after(self, value: str) -> None:
        self.response(503, Retry_After=unquote(value))

    def later(self, seconds: str) -> None:
        self.response(503, Retry_After=formatdate(time.time() + int(seconds), usegmt=True))

    def gzip(self, _: str) -> None:
        self.response(200, gzip.compress(bytes(1 << 20)), Content_Encoding="gzip")

    def asked(self, header: str) -> None:
        self.response(200, self.headers.get(header, "none").encode())

    def hop(self, count: str) -> None:
        self.response(302, Location=f"/hop/{int(count) - 1}?{SECRET}" if int(count) else "/bytes/3")

    def to(self, target: str) -> None:
        self.response(307, Location=unquote(self.path.partition("/to/")[2]).encode().decode("latin-1"))

    def nowhere(self, _: str) -> None:
        self.response(302)

    def drip_body(self, _: str) -> None:
        self.response(200)
        self.drip()

    def drip_head(self, _: str) -> None:
        self.wfile.write(b"HTTP/1.0 200 OK\r\nX-Slow: ")
        self.drip()

    def drip(self) -> None:
        pause = threading.Event()
        try:
            while not pause.wait(0.02):
                self.wfile.write(b"x")
        except OSError:
            return


@pytest.fixture(scope="module")
def source() -> Iterator[str]:
    with http_server(Source) as url:
        yield url


def get(url: str, *, limit_bytes: int = 1000, timeout_s: float = 5.0, guard: Guard = HERE) -> Download:
    return download(url, guard=guard, limit_bytes=limit_bytes, timeout_s=timeout_s)


def test_a_source_is_downloaded_with_its_media_type(source: str) -> None:
    response = get(f"{source}/bytes/3?{SECRET}")

    assert response == Download(f"{source}/bytes/3?{SECRET}", b"xxx", "image/png")


def test_a_body_of_exactly_the_limit_passes_and_one_byte_more_is_refused(source: str) -> None:
    assert len(get(f"{source}/bytes/1000").content) == 1000

    with pytest.raises(SourceRefused, match=r"/bytes/1001 has more than 1000 bytes"):
        get(f"{source}/bytes/1001")


def test_a_content_length_over_the_limit_is_refused_at_once(source: str) -> None:
    with pytest.raises(SourceRefused, match=r"/claim/1001 has 1001 bytes, expected at most 1000"):
        get(f"{source}/claim/1001")


def test_a_body_shorter_than_its_content_length_is_worth_a_retry(source: str) -> None:
    with pytest.raises(SourceUnavailable, match="/claim/10"):
        get(f"{source}/claim/10")


@pytest.mark.parametrize("path", ["drip_body", "drip_head"])
def test_a_server_that_sends_a_byte_at_a_time_is_cut_off_at_the_deadline(source: str, path: str) -> None:
    start_s = time.monotonic()

    with pytest.raises(SourceUnavailable, match=r"did not answer in full within 0\.2 s"):
        get(f"{source}/{path}", timeout_s=0.2, limit_bytes=1 << 20)
    assert time.monotonic() - start_s < 2


def test_a_compressed_body_is_not_asked_for_and_refused_when_sent(source: str) -> None:
    assert get(f"{source}/asked/Accept-Encoding").content == b"identity"

    with pytest.raises(SourceRefused, match="sent as 'gzip', expected no Content-Encoding"):
        get(f"{source}/gzip", limit_bytes=1 << 22)


def test_redirects_are_followed_as_far_as_allowed(source: str) -> None:
    assert get(f"{source}/hop/2").url == f"{source}/bytes/3"

    with pytest.raises(SourceRefused, match=r"/bytes/3 is one redirect too many, expected at most 3"):
        get(f"{source}/hop/3")


@pytest.mark.parametrize("target", ["http://169.254.169.254/latest/meta-data/", "http://127.0.0.2/", "http://[::1]/"])
def test_a_redirect_to_a_refused_address_is_refused(source: str, target: str) -> None:
    with pytest.raises(SourceRefused, match="may not be called"):
        get(f"{source}/to/{target}", guard=Guard.parse("127.0.0.1/32"))


@pytest.mark.parametrize("target", ["file:///etc/passwd", "ftp://example.org/x", "gopher://example.org/"])
def test_a_redirect_to_another_scheme_is_refused(source: str, target: str) -> None:
    with pytest.raises(SourceRefused, match="must be an http or https URL"):
        get(f"{source}/to/{target}")


def test_a_redirect_without_a_location_is_refused(source: str) -> None:
    with pytest.raises(SourceRefused, match="302 without a Location"):
        get(f"{source}/nowhere")


@pytest.mark.parametrize("status", [400, 401, 403, 404, 410, 206, 304])
def test_a_response_that_will_not_change_is_refused(source: str, status: int) -> None:
    with pytest.raises(SourceRefused, match=f"answered {status}, expected 200"):
        get(f"{source}/status/{status}")


@pytest.mark.parametrize("status", [408, 425, 429, 500, 502, 503])
def test_a_response_that_may_change_is_worth_a_retry_when_the_server_says(source: str, status: int) -> None:
    with pytest.raises(SourceUnavailable, match=f"answered {status}") as raised:
        get(f"{source}/status/{status}")

    assert raised.value.retry_after_s == 7


def test_retry_after_may_be_a_date(source: str) -> None:
    with pytest.raises(SourceUnavailable) as raised:
        get(f"{source}/later/100")

    assert raised.value.retry_after_s == pytest.approx(100, abs=5)


@pytest.fixture
def tokyo() -> Iterator[None]:
    """This machine is elsewhere than in GMT."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TZ", "Asia/Tokyo")
        time.tzset()
        yield
    time.tzset()


@pytest.mark.usefixtures("tokyo")
@pytest.mark.parametrize("zone", ["GMT", "-0000"])
def test_a_date_without_a_zone_is_in_gmt_wherever_this_machine_is(source: str, zone: str) -> None:
    date = datetime.fromtimestamp(time.time() + 100, UTC).strftime(f"%a, %d %b %Y %H:%M:%S {zone}")

    with pytest.raises(SourceUnavailable) as raised:
        get(f"{source}/after/{quote(date)}")

    assert raised.value.retry_after_s == pytest.approx(100, abs=5)


def test_a_port_where_nobody_listens_is_worth_a_retry() -> None:
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))

        with pytest.raises(SourceUnavailable, match="Connection refused"):
            get(f"http://127.0.0.1:{bound.getsockname()[1]}/")


@pytest.mark.parametrize(("code", "error"), [(socket.EAI_NONAME, SourceRefused), (socket.EAI_AGAIN, SourceUnavailable)])
def test_an_unknown_name_is_final_and_a_dns_failure_is_not(code: int, error: type[Exception]) -> None:
    def fail(host: str, port: int) -> tuple[str, ...]:
        raise socket.gaierror(code, "no")

    with pytest.raises(error, match=r"some\.test cannot be resolved"):
        get("http://some.test/", guard=Guard(lookup=fail))


@pytest.mark.parametrize(
    "url",
    ["ftp://h/x", "file:///etc/passwd", "//h/x", "h/x", "", "http://", "http://u:pw@h/", "http://h:x/", "http://\n"],
)
def test_a_url_that_is_not_plain_http_is_refused(url: str) -> None:
    with pytest.raises(SourceRefused, match=r"^source URL must") as raised:
        get(url)

    assert "pw" not in str(raised.value)


NOWHERE = Guard(lookup=lambda host, port: ("10.0.0.1",))
NO_NAMES = ("xn--localhost-", "xn--", "xn--zzzzzz---", "xn--i-7iq.ws", "xn--a-ecp.ru", "a.xn--\u0661.example", "\u2100")


@pytest.mark.parametrize("host", NO_NAMES)
def test_a_name_that_idna_does_not_take_is_refused_in_a_url_and_in_a_redirect(source: str, host: str) -> None:
    with pytest.raises(SourceRefused):
        get(f"http://{host}/", guard=NOWHERE)
    with pytest.raises(SourceRefused):
        get(f"{source}/to/{quote(f'http://{host}/')}")


@pytest.mark.parametrize("port", ["99999", "65536", "0", "-1", "8_0", "\uff18"])
def test_a_port_that_is_none_is_refused_in_a_url_and_in_a_redirect(source: str, port: str) -> None:
    with pytest.raises(SourceRefused, match="source URL must"):
        get(f"http://127.0.0.1:{port}/")
    with pytest.raises(SourceRefused, match="source URL must"):
        get(f"{source}/to/{quote(f'http://127.0.0.1:{port}/')}")


def test_a_blank_in_a_path_is_encoded_as_browsers_do(source: str) -> None:
    assert get(f"{source}/bytes/3?name=a b").url == f"{source}/bytes/3?name=a%20b"


HOSTS = st.text(st.sampled_from("ax-n.1:[]%@_\u00fc\u2100\u0661\ud800 \\"), max_size=12) | st.sampled_from(NO_NAMES)


@pytest.mark.slow
@given(st.text(max_size=20) | st.builds("http{}://{}{}".format, st.sampled_from(["", "s"]), HOSTS, st.text(max_size=8)))
@settings(deadline=None, max_examples=500)
def test_whatever_stands_for_a_url_is_refused_and_nothing_else_is_raised(url: str) -> None:
    with pytest.raises(SourceRefused):
        get(url, guard=NOWHERE)


@pytest.mark.parametrize("value", ["9" * 400, "9" * 5_000, "Mon, 01 Jan 0001 00:00:00 +2359", "soon", "\xb2"])
def test_no_retry_after_is_a_fault_of_ours(source: str, value: str) -> None:
    with pytest.raises(SourceUnavailable) as raised:
        get(f"{source}/after/{quote(value)}")

    assert raised.value.retry_after_s in (None, 0, 86_400)


@pytest.mark.parametrize("size", ["9" * 400, "9" * 5_000, "-1", "1_0", "\xb2"])
def test_no_content_length_is_a_fault_of_ours(source: str, size: str) -> None:
    with pytest.raises((SourceRefused, SourceUnavailable)):
        get(f"{source}/claim/{size}")


@pytest.mark.parametrize("path", ["bytes/2000", "status/404", "status/503", "hop/9", "gzip", "claim/10", "nowhere"])
def test_no_message_and_no_log_line_holds_a_query_string(
    source: str, path: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)

    with pytest.raises((SourceRefused, SourceUnavailable)) as raised:
        get(f"{source}/{path}?{SECRET}")

    assert "secret" not in str(raised.value)
    assert "secret" not in caplog.text
