"""The example shop in a real browser, before a real `errands up`: a picture for an order, jobs that are followed."""

import os
import signal
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.events.test_php import clean_environment, wait_for
from tests.support.absent import absent
from tests.support.browser import Browser, browser, chromium
from tests.support.example_api import PhpApi
from tests.support.local_runner import ROOT, Up, until
from tests.support.ports import free_port

__all__ = ["browser", "chromium"]

pytestmark = [pytest.mark.php, pytest.mark.chromium, pytest.mark.slow]

PICTURE = ROOT / "tests/files/raccoon.jpg"
SECRET = "secrets/callback/secrets"


@pytest.fixture
def errands(tmp_path: Path) -> Iterator[Up]:
    """E-mails go to a server that is not there."""
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        mails = ("--set", "message.SMTP_HOST=127.0.0.1", "--set", f"message.SMTP_PORT={closed.getsockname()[1]}")
        with Up(tmp_path, ROOT / "knative/base", *mails) as running:
            yield running


@pytest.fixture
def shop(errands: Up, tmp_path: Path) -> Iterator[PhpApi]:
    if not PhpApi.possible():
        absent("PHP with curl is not installed")
    api = PhpApi(free_port())
    given = api.environment(errands.url, errands.data / SECRET, tmp_path / "jobs")
    with (tmp_path / "php.log").open("wb") as log:
        environment = clean_environment() | given | {"PHP_CLI_SERVER_WORKERS": "4"}
        server = subprocess.Popen(api.command(), env=environment, stdout=log, stderr=log, start_new_session=True)
        try:
            wait_for(int(api.url.rpartition(":")[2]), server)
            yield api
        finally:
            os.killpg(server.pid, signal.SIGTERM)
            server.wait(60)


def complaints(browser: Browser) -> list[Any]:
    """What the browser has to say of the page."""
    log: Any = browser.driver
    return [each["message"] for each in log.get_log("browser") if each["level"] in ("WARNING", "SEVERE")]


def order(browser: Browser, job: str, **fields: str) -> None:
    """Fill a form in and send it."""
    browser.one(f"#pick-{job}").click()
    for name, value in fields.items():
        field = browser.one(f"#form-{job} [name={name}]")
        if field.get_attribute("type") != "file":
            field.clear()
        field.send_keys(value)
    browser.one(f"#form-{job} button").click()


def test_a_picture_for_an_order_is_handed_over_and_shown_when_it_is_there(
    browser: Browser, shop: PhpApi, errands: Up, tmp_path: Path
) -> None:
    browser.open(shop.url)

    order(browser, "image", order="order-7", picture=str(PICTURE), width="320")
    browser.says("Completed", "#jobs")
    shown = until(
        lambda: browser.script("return document.querySelector('.thumbnail')?.naturalWidth"), what="the picture"
    )

    assert "order-7" in browser.text("#jobs")
    assert "raccoon.jpg" in browser.text("#jobs h3")
    assert shown == 200
    [uploaded] = errands.data.rglob("uploads/*/raccoon.jpg")
    assert uploaded.read_bytes() == PICTURE.read_bytes()
    assert complaints(browser) == []


def test_a_job_s_troubles_are_told_while_they_last(browser: Browser, shop: PhpApi, errands: Up) -> None:
    browser.open(shop.url)
    before = browser.script("return performance.timeOrigin")

    order(browser, "message", to="lee@client.example")
    browser.says("attempt 1 failed", "#jobs .live")
    loaded = browser.script("return performance.timeOrigin")
    [job] = errands.client.get("/jobs", params={"state": "sent"}).json()["jobs"]
    stream = browser.one("#jobs li").get_attribute("data-stream")

    assert loaded != before  # the form led to a page, which nothing loaded again
    assert stream is not None
    assert stream.startswith(f"{errands.url.rstrip('/')}/jobs/{job['job']}/stream?ticket=")
    assert complaints(browser) == []


def test_a_page_follows_what_was_ordered_elsewhere(browser: Browser, shop: PhpApi) -> None:
    browser.open(shop.url)
    until(lambda: browser.script("return document.readyState") == "complete", what="the page")
    begun = browser.script("return performance.timeOrigin")

    data = {"events": [{"summary": "Fête", "start": "2026-12-01"}]}
    httpx.post(f"{shop.url}/jobs", json={"job": "ics", "data": data}, timeout=60).raise_for_status()
    browser.says("Completed", "#jobs")

    assert browser.script("return performance.timeOrigin") == begun
    assert complaints(browser) == []
