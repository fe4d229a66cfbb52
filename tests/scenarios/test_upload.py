"""An upload: through the gateway into S3, three pictures made of it, and the PHP shop hears of them by a webhook."""

import io
import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import httpx
import pytest
from PIL import Image

from tests.support.absent import absent
from tests.support.example_api import PhpApi
from tests.support.impatient import impatient
from tests.support.local_runner import ROOT, Up, until
from tests.support.ports import free_port
from tests.support.s3_server import S3Server, s3_server

pytestmark = pytest.mark.slow

PHOTO: Final = ROOT / "tests/files/raccoon.jpg"
WIDTHS: Final = (800, 400, 100)
BUCKET: Final = "shop"
STORING: Final = ("gateway", "image", "notifier", "deadletters")


@contextmanager
def shop(folder: Path, up: Up) -> Iterator[PhpApi]:
    """The example shop on PHP's own server."""
    api = PhpApi(free_port())
    secret = up.data / "secrets/callback/secrets"
    environment = {**os.environ, **api.environment(up.url, secret, folder / "shop")}
    with (folder / "php.log").open("wb") as log:
        process = subprocess.Popen(api.command(), env=environment, stdout=log, stderr=log)
    try:
        until(lambda: _answers(api.url), what="php -S")
        yield api
    finally:
        process.terminate()
        process.wait(30)


def _answers(url: str) -> bool:
    try:
        return httpx.get(url).status_code < 500
    except httpx.TransportError:
        return False


@pytest.fixture
def s3(tmp_path: Path) -> Iterator[S3Server]:
    with s3_server(tmp_path) as server:
        server.bucket(BUCKET)
        yield server


def test_a_photo_is_uploaded_resized_and_told_of_though_all_is_killed_on_the_way(tmp_path: Path, s3: S3Server) -> None:
    if not PhpApi.possible():
        absent("PHP with curl is not installed (apt-get install php-cli php-curl)")
    bucket = {**s3.environment, "STORE_URL": f"s3://{BUCKET}", "STORE_PUBLIC_URL": ""}
    given = [f"{function}.{name}={value}" for function in STORING for name, value in bucket.items()]
    up = Up(tmp_path, impatient(tmp_path / "manifests"), *(each for one in given for each in ("--set", one)))
    with up, shop(tmp_path, up) as api:
        key = up.client.put("/files/photo.jpg", content=PHOTO.read_bytes()).raise_for_status().json()["key"]
        outputs = [{"name": f"{width}.webp", "format": "webp", "width_px": width} for width in WIDTHS]
        id_ = api.order("image", {"source": {"key": key}, "outputs": outputs})
        up.kill()
        up.start()
        told: dict[str, Any] = until(
            lambda: (state := api.state(id_))["state"] != "accepted" and state, what="the webhook"
        )
        pictures = [httpx.get(each["url"]).raise_for_status().content for each in told["artifacts"]]

    assert told["state"] == "completed", told
    assert [Image.open(io.BytesIO(each)).width for each in pictures] == list(WIDTHS)
    assert (s3.folder / BUCKET / key).read_bytes() == PHOTO.read_bytes()
