"""An S3 server of the tests' own: versitygw over a folder, on a free port."""

import os
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import httpx

from tests.support.absent import absent
from tests.support.local_runner import until
from tests.support.ports import free_port

CACHE: Final = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "errands"
KEY: Final = "errands"
SECRET: Final = "errands-tests"  # of a server that lives for the tests


class S3Server:
    """Its buckets are folders."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.url = f"http://127.0.0.1:{free_port()}"

    def bucket(self, name: str) -> Path:
        """Make one."""
        (self.folder / name).mkdir()
        return self.folder / name

    @property
    def environment(self) -> Mapping[str, str]:
        """How a function reaches it."""
        return {
            "AWS_ACCESS_KEY_ID": KEY,
            "AWS_SECRET_ACCESS_KEY": SECRET,
            "AWS_REGION": "us-east-1",
            "AWS_ENDPOINT_URL": self.url,
            "AWS_ALLOW_HTTP": "true",
        }


@contextmanager
def s3_server(folder: Path) -> Iterator[S3Server]:
    """A started one; skips the test where it is not built."""
    programs = sorted(CACHE.glob("versitygw-*/versitygw"))
    if not programs:
        absent("versitygw is not built (.ci/versitygw)")
    server = S3Server(folder / "buckets")
    server.folder.mkdir()
    port = f":{server.url.rpartition(':')[2]}"
    command = [str(programs[-1]), "--access", KEY, "--secret", SECRET, "--port", port, "--health", "/health"]
    with (folder / "s3.log").open("w") as log:
        process = subprocess.Popen([*command, "posix", str(server.folder)], stdout=log, stderr=log)
    try:
        until(lambda: _answers(f"{server.url}/health"), what="the S3 server")
        yield server
    finally:
        process.terminate()
        process.wait()


def _answers(url: str) -> bool:
    try:
        return httpx.get(url, timeout=5).status_code == 200
    except httpx.TransportError:
        return False
