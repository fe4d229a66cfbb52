"""The pages of caught e-mails: who may see them, and that a hostile one runs nothing."""

from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from email.message import EmailMessage
from http.server import BaseHTTPRequestHandler
from importlib.resources import files
from pathlib import Path

import httpx
import pytest

from functions.console import caught_mail
from tests.functions.console.test_console_page import OPERATORS, Client
from tests.support.browser import Browser, browser, chromium, colours, serve
from tests.support.http_server import http_server

__all__ = ["browser", "chromium", "serve"]  # fixtures

SERVE = Callable[..., str]
NOW = datetime(2026, 12, 1, 9, 30, tzinfo=UTC)
NAME = "Rechnung März 2026.pdf"
HOSTILE = """<h1>Guten Tag</h1><img src="cid:logo" id="logo"><script>parent.document.title = "hacked"</script>
<img src="TRACKER" onerror="parent.hacked = 1"><svg onload="parent.hacked = 2"></svg>
<meta http-equiv="refresh" content="0;url=TRACKER"><link rel="stylesheet" href="TRACKER">
<form action="TRACKER"><input name="a"></form><iframe src="TRACKER"></iframe>"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "mail"


@pytest.fixture
def tracker() -> Iterator[tuple[str, list[str]]]:
    """Somebody's server that wants to know who reads."""
    asked: list[str] = []

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:  # the name that it is called by
            asked.append(self.path)
            self.send_response(200)
            self.end_headers()

    with http_server(Handler) as url:
        yield url, asked


def caught(folder: Path, *, html: str = HOSTILE, subject: str = "Ihre Rechnung <b>März</b>") -> str:
    mail = EmailMessage()
    mail["From"], mail["To"], mail["Subject"] = "post@shop.example", "lee@client.example", subject
    mail.set_content("Guten Tag\n<script>hacked = 3</script>")
    mail.add_alternative(html, subtype="html")
    related = mail.get_body(("html",))
    assert isinstance(related, EmailMessage)
    related.add_related(b"\x89PNG\r\n\x1a\n", "image", "png", cid="<logo>")
    mail.add_attachment(b"%PDF", "application", "pdf", filename=NAME)
    return caught_mail.keep(
        folder, "bounces@shop.example", ["lee@client.example", "boss@shop.example"], mail.as_bytes(), now=NOW
    )


def test_an_e_mail_is_shown_with_everybody_who_gets_it(serve: SERVE, folder: Path) -> None:
    id_ = caught(folder)

    with Client(serve(CAUGHT_MAIL=str(folder))) as client:
        listed, shown = client.get("mail").text, client.get(f"mail/{id_}").text
        part = client.get(f"mail/{id_}/parts/1")
        source = client.get(f"mail/{id_}/source")

    for page in (listed, shown):
        assert "Ihre Rechnung &lt;b&gt;März&lt;/b&gt;" in page
        assert "boss@shop.example" in page
    assert NAME in shown
    assert (part.content, part.headers["content-type"]) == (b"%PDF", "application/octet-stream")
    assert "filename*=UTF-8''Rechnung%20M%C3%A4rz%202026.pdf" in part.headers["content-disposition"]
    assert source.text.startswith("Return-Path: <bounces@shop.example>")
    assert source.headers["content-type"] == "text/plain; charset=utf-8"


def test_mail_leads_on_to_the_page(serve: SERVE, folder: Path) -> None:
    site = serve(CAUGHT_MAIL=str(folder)).removesuffix("/dead/")

    response = httpx.get(f"{site}/mail", follow_redirects=True)

    assert "No e-mail was caught yet." in response.text


def test_a_hostile_e_mail_runs_nothing_and_loads_nothing(
    browser: Browser, serve: SERVE, folder: Path, tracker: tuple[str, list[str]]
) -> None:
    url, asked = tracker
    id_ = caught(folder, html=HOSTILE.replace("TRACKER", url))
    browser.open(f"{serve(CAUGHT_MAIL=str(folder))}mail/{id_}")

    frame = browser.one("iframe.mail")
    walls = frame.get_attribute("sandbox")
    browser.driver.switch_to.frame(frame)
    browser.says("Guten Tag", "h1")
    logo = browser.one("#logo").get_attribute("src")
    browser.driver.switch_to.default_content()

    assert walls == ""
    assert str(logo).startswith("data:image/png;base64,")
    assert browser.script("return typeof window.hacked") == "undefined"
    assert browser.driver.title.startswith("Ihre Rechnung")
    assert asked == []


def test_the_html_by_itself_is_in_a_sandbox_too(serve: SERVE, folder: Path) -> None:
    id_ = caught(folder)

    with Client(serve(CAUGHT_MAIL=str(folder))) as client:
        policy = client.get(f"mail/{id_}/html").headers["content-security-policy"]
        page = client.get(f"mail/{id_}").headers["content-security-policy"]

    assert policy.split("; ")[:2] == ["sandbox", "default-src 'none'"]
    assert "script-src" not in policy
    assert page.endswith("frame-ancestors 'none'; frame-src 'self'")


@pytest.mark.slow
def test_who_may_not_see_what_is_masked_sees_no_e_mail(serve: SERVE, folder: Path) -> None:
    id_ = caught(folder)
    url = serve(CAUGHT_MAIL=str(folder), DEADLETTERS_OPERATORS=OPERATORS)
    paths = ["mail", f"mail/{id_}", f"mail/{id_}/html", f"mail/{id_}/source", f"mail/{id_}/parts/0"]

    with Client(url, "anna-has-a-long-token") as anna, Client(url, "ben-has-a-long-token") as ben:
        statuses = [(anna.get(path).status_code, ben.get(path).status_code) for path in paths]
        places = [">Mail</a>" in each.get("").text for each in (anna, ben)]

    assert statuses == [(200, 403)] * len(paths)
    assert places == [True, False]
    assert all("lee@client.example" not in httpx.get(f"{url}{path}").text for path in paths)


def test_without_a_catcher_there_is_no_page(serve: SERVE) -> None:
    with Client(serve()) as client:
        assert client.get("mail").status_code == 404
        assert ">Mail</a>" not in client.get("").text


@pytest.mark.parametrize(
    "id_", ["20261201T093000000000-00000000", "..%2f..%2fsecrets", "x", "20261201T093000000000-0000000g"]
)
def test_an_e_mail_that_is_not_there_is_none(serve: SERVE, folder: Path, id_: str) -> None:
    with Client(serve(CAUGHT_MAIL=str(folder))) as client:
        assert client.get(f"mail/{id_}").status_code == 404


def test_the_oldest_go(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(caught_mail, "KEPT", 3)

    ids = [
        caught_mail.keep(folder, None, [], b"Subject: x\r\n\r\n", now=NOW + timedelta(seconds=at)) for at in range(5)
    ]

    assert [each.id for each in caught_mail.listed(folder, 10)] == ids[:1:-1]


@pytest.mark.parametrize(
    "content", [b"", b"\xff\x00", b"Content-Type: text/plain; charset=klingon\r\n\r\nqapla", b"a" * 100]
)
def test_what_is_hardly_an_e_mail_is_shown_all_the_same(serve: SERVE, folder: Path, content: bytes) -> None:
    id_ = caught_mail.keep(folder, None, ["lee@client.example"], content, now=NOW)

    with Client(serve(CAUGHT_MAIL=str(folder))) as client:
        assert client.get("mail").status_code == client.get(f"mail/{id_}").status_code == 200


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_axe_finds_no_barrier(browser: Browser, serve: SERVE, folder: Path, scheme: str) -> None:
    id_, found = caught(folder), {}
    url = serve(CAUGHT_MAIL=str(folder))
    source = (files("axe_core_python") / "axe.min.js").read_text()
    with colours(browser, scheme):
        for each in ("mail", f"mail/{id_}"):
            browser.open(f"{url}{each}")
            browser.script(source)
            result = browser.driver.execute_async_script("axe.run(document, {iframes: false}).then(arguments[0])")
            found[each] = [(wrong["id"], wrong["nodes"][0]["html"][:200]) for wrong in result["violations"]]

    assert found == {each: [] for each in found}
