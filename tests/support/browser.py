"""A real Chromium without a screen, and the console of dead letters behind a real port for it to look at."""

import shutil
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from tests.support.absent import absent
from tests.support.function_client import serving
from tests.support.local_runner import ROOT, until
from tests.support.ports import free_port

if TYPE_CHECKING:
    from selenium.webdriver.chrome.webdriver import WebDriver
    from selenium.webdriver.remote.webelement import WebElement

CONSOLE = ROOT / "functions/console/main.py"
FLAGS = (
    *("--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-dev-shm-usage"),
    *("--disable-background-networking", "--disable-component-update", "--disable-sync", "--window-size=1440,900"),
)


class Browser:
    """What a test does with Chromium: it waits for what a person would wait for."""

    def __init__(self, driver: "WebDriver") -> None:
        self.driver = driver

    def open(self, url: str) -> None:
        self.driver.get(url)

    def fresh(self) -> None:
        """As a browser that was never here."""
        self.driver.execute_cdp_cmd("Network.clearBrowserCookies", {})
        self.driver.get("about:blank")

    def one(self, selector: str) -> "WebElement":
        """The first that fits, as soon as it is there."""
        found: WebElement = until(lambda: self.all(selector), what=selector)[0]
        return found

    def all(self, selector: str) -> "list[WebElement]":
        return self.driver.find_elements("css selector", selector)

    def text(self, selector: str = "main") -> str:
        """What is to read there, in a page that may go on at any moment."""
        text: str = until(lambda: self._texts(selector), what=selector)[0]
        return text

    def says(self, text: str, selector: str = "main") -> None:
        """Wait until it is there to read."""
        until(lambda: text in self._read(selector), what=f"{text!r} in {self._read(selector)[:2_000]!r}")

    def fill(self, selector: str, text: str) -> None:
        """In place of what was there; by script, since typing 5,000 characters takes long."""
        self.driver.execute_script("arguments[0].value = arguments[1]", self.one(selector), text)

    def press(self, label: str, within: str = "main") -> None:
        """A button or a link, by what it says; afterwards the next page is there."""
        found = next(each for each in self.all(f"{within} button, {within} a") if each.text.strip() == label)
        before = self.all("html")
        found.click()
        until(lambda: self._arrived(before), what=f"the page after {label!r}")

    def keys(self, keys: str) -> None:
        """As typed, wherever the focus is."""
        self.driver.switch_to.active_element.send_keys(keys)

    def script(self, source: str) -> Any:
        return self.driver.execute_script(source)

    def _read(self, selector: str) -> str:
        return next(iter(self._texts(selector)), "")

    def _texts(self, selector: str) -> list[str]:
        from selenium.common.exceptions import StaleElementReferenceException

        try:
            return [each.text for each in self.all(selector)]
        except StaleElementReferenceException:  # the page went on meanwhile
            return []

    def _arrived(self, before: "list[WebElement]") -> bool:
        """Whether another page is there; between two pages there is no element at all."""
        return self.all("html") not in ([], before) and bool(self.script("return document.readyState === 'complete'"))


@pytest.fixture(scope="session")
def chromium(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    """Debian's Chromium, with a profile of its own."""
    binary, driver = shutil.which("chromium"), shutil.which("chromedriver")
    if not binary or not driver:
        absent("chromium and its driver are not installed (apt-get install chromium chromium-driver)")
    from selenium import webdriver
    from selenium.webdriver.chrome.service import Service

    options = webdriver.ChromeOptions()
    options.binary_location = binary
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    for flag in (*FLAGS, f"--user-data-dir={tmp_path_factory.mktemp('chromium')}"):
        options.add_argument(flag)
    running = webdriver.Chrome(options=options, service=Service(driver))
    try:
        yield Browser(running)
    finally:
        running.quit()


@pytest.fixture
def browser(chromium: Browser) -> Browser:
    """Chromium without any cookie."""
    chromium.fresh()
    return chromium


@pytest.fixture
def serve(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Callable[..., str]]:
    """Starts the console on a port, with an environment of its own; returns the page's URL."""
    servers = ExitStack()

    def serve(**environment: str) -> str:
        given = {"DEADLETTERS_URL": database(tmp_path), "K_SINK": "http://127.0.0.1:1/", "HOST": "127.0.0.1"}
        for name, value in (given | environment).items():
            monkeypatch.setenv(name, value)
        return f"{servers.enter_context(serving(CONSOLE, free_port()))}/dead/"

    with servers:
        yield serve


def database(tmp_path: Path) -> str:
    """Where the console of a test has its dead letters."""
    return f"sqlite:///{tmp_path / 'deadletters.db'}"


@contextmanager
def colours(browser: Browser, scheme: str) -> Iterator[None]:
    """As for somebody who wants it `light` or `dark`."""
    wanted = [{"name": "prefers-color-scheme", "value": scheme}]
    browser.driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": wanted})
    try:
        yield
    finally:
        browser.driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": []})
