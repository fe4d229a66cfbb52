"""Each function by functions-framework's own command, as its documentation says and with nothing of ours around it."""

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import httpx
import pytest

from events.http import STRUCTURED, read
from knative.local.process.environment import Machine, environment, make_secrets
from knative.manifests.manifests import load
from tests.support.local_runner import ROOT, until
from tests.support.ports import free_port

SAMPLES = ROOT / "events" / "samples"
FUNCTIONS = sorted(file.parent.name for file in (ROOT / "functions").glob("*/main.py"))
DONE = ("ics", "image", "report")  # what needs no server beside it
WRONG = b'{"specversion": "1.0", "id": "1", "source": "/s", "type": "dev.errands.wrong.requested.v1"}'


@contextmanager
def command(name: str, folder: Path) -> Iterator[str]:
    """The function of this name in the environment of its manifest; its URL."""
    port, script = free_port(), shutil.which("functions-framework", path=Path(sys.executable).parent)
    arguments = ["--target", "handle", "--source", f"functions/{name}/main.py", "--host", "127.0.0.1"]
    assert script is not None
    process = subprocess.Popen([script, *arguments, "--port", str(port)], cwd=ROOT, env=settings(name, folder))
    try:
        until(partial(answers, port), timeout_s=30, what=f"{name} on its port")
        yield f"http://127.0.0.1:{port}/"
    finally:
        process.terminate()
        process.wait(30)


def settings(name: str, folder: Path) -> dict[str, str]:
    """What the manifests say, but for the function's own name: it is in the command."""
    url = "http://127.0.0.1:1/"
    queue = {"AMQP_URL": "amqp://127.0.0.1:1", "WORK_EXCHANGE": "work"}
    own: dict[str, Any] = {"ingress_url": url, "ingress_secret": "", "invoker_secret": "", "public_url": url}
    machine = Machine(data=folder, token=None, settings={}, work_queue=queue, mail_port=None, **own)
    make_secrets(machine)
    manifests = load(ROOT / "knative" / "base")
    service = manifests.services.get(name)
    beyond = {"READINGS_URL": f"sqlite:///{folder}/readings.db", "LEDGER_URL": f"sqlite:///{folder}/ledger.db"}
    beyond |= {"K_SINK": url, "GATEWAY_ROUTES": "{}", "GATEWAY_HOST": "127.0.0.1"}
    given = environment(service, manifests, machine) if service else beyond
    kept = {key: value for key, value in given.items() if key not in ("FUNCTION_SOURCE", "FUNCTION_TARGET", "PORT")}
    return {**os.environ, **kept, "HOST": "127.0.0.1"}


def answers(port: int) -> bool:
    """Whether its health probe is answered."""
    try:
        return httpx.get(f"http://127.0.0.1:{port}/healthz").is_success
    except httpx.TransportError:
        return False


def sample(name: str) -> bytes:
    """The request that it is for, or else an event that is none of its own."""
    file = SAMPLES / f"dev.errands.{name}.requested.v1.json"
    return file.read_bytes() if file.exists() else WRONG


@pytest.mark.slow
@pytest.mark.parametrize("name", FUNCTIONS)
def test_each_function_runs_by_functions_frameworks_own_command_and_answers_lawfully(name: str, tmp_path: Path) -> None:
    with command(name, tmp_path) as url:
        reply = httpx.post(url, content=sample(name), headers={"content-type": STRUCTURED}, timeout=60)
        wrong = httpx.post(url, content=b"no event", timeout=60)

    assert (reply.status_code in (200, 202, 500, 503), wrong.status_code in (202, 500)) == (True, True), reply.text
    if name in DONE:
        assert read(dict(reply.headers), reply.content).get("outcome") == "completed"
    if reply.status_code >= 500:
        assert reply.headers["content-type"] == "application/problem+json"
