"""PHP applications that check callbacks, each by its framework's rule, over requests read by that framework."""

import json
import os
import shutil
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import httpx
import pytest

from tests.support.absent import absent
from tests.support.callback_peers import ROOT, SECRET, notifying, sample
from tests.support.ports import free_port

LIBRARIES = [Path("/usr/share/php") / each for each in ("Symfony/Component/HttpFoundation", "GuzzleHttp/Psr7")]
PLAIN = "a secret as a PHP application's configuration has it"

if not (shutil.which("php") and all(each.is_dir() for each in LIBRARIES)):
    absent("needs php-cli, php-symfony-http-foundation and php-guzzlehttp-psr7")

pytestmark = pytest.mark.php


@contextmanager
def php_api(secret: str) -> Iterator[str]:
    port = free_port()
    command = ["php", "-S", f"127.0.0.1:{port}", str(ROOT / "tests/files/webhook_receiver.php")]
    environment = os.environ | {"WEBHOOK_SECRET": secret}
    process = subprocess.Popen(command, env=environment, stderr=subprocess.DEVNULL)
    try:
        until_open(port)
        yield f"http://127.0.0.1:{port}"
    finally:
        process.terminate()
        process.wait(60)


def until_open(port: int) -> None:
    for _ in range(3_000):
        with suppress(ConnectionRefusedError), socket.create_connection(("127.0.0.1", port)):
            return
        time.sleep(0.02)
    pytest.fail("php -S does not open its port")


Deliver = Callable[[str, str, str], httpx.Response]
PROFILES = pytest.mark.parametrize(
    ("profile", "secret"),
    [("standard", SECRET), ("symfony-legacy", PLAIN), ("spatie", PLAIN)],
    ids=["standard", "symfony-legacy", "spatie"],
)


@pytest.fixture
def deliver() -> Deliver:
    """What the notifier answers when an endpoint of a profile has one secret and the PHP application another."""

    def call(profile: str, ours: str, theirs: str) -> httpx.Response:
        with php_api(theirs) as url:
            endpoints = json.dumps([{"url": f"{url}/{profile}", "profile": profile, "secrets": [ours]}])
            with notifying(CALLBACK_ENDPOINTS=endpoints) as notifier:
                return notifier.post(sample(subject="Größe 42, 50 %"))

    return call


@PROFILES
def test_a_php_application_takes_a_callback_of_its_profile(deliver: Deliver, profile: str, secret: str) -> None:
    assert deliver(profile, secret, secret).status_code == 202


@PROFILES
def test_a_php_application_refuses_a_callback_of_another_secret(deliver: Deliver, profile: str, secret: str) -> None:
    response = deliver(profile, secret, secret[:-4] + "AAAA")

    assert response.status_code == 503
    assert "answered 406" in response.json()["detail"]
