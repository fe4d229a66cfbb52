"""What an endpoint that was gone has missed is kept, and sent when it is called again."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.callback_peers import SECRET, receiving, say
from tests.support.local_runner import ROOT, event, service, sink, trigger, until, up, waits

NOTIFIER = service("notifier", source=ROOT / "functions/notifier/main.py", max_scale=1)
TELLS = trigger("tells", subscriber="notifier", filter="{outcome: completed}", retry=8, delay="PT30S")


@pytest.mark.slow
@pytest.mark.parametrize("replay", [(), ("--replay",)], ids=["by a command of its own", "with the resumption"])
def test_callbacks_to_an_endpoint_that_is_gone_are_dead_letters_at_once_and_sent_when_it_is_resumed(
    tmp_path: Path, replay: tuple[str, ...]
) -> None:
    documents = (service(), sink(), trigger(), NOTIFIER, *waits("P1D", TELLS))
    options = ("--set", f"notifier.CALLBACK_SECRETS={SECRET}")
    with receiving() as api, up(tmp_path, documents, *options) as runner:
        url = f"{api.url}/errands"
        api.response = lambda handler: say(handler, 410)
        for number in range(3):
            runner.post(event(str(number), callbackurl=f"{url}?n={number}"))
        until(lambda: dead(runner.data) == 3, what="three dead letters")
        assert len(api.calls) == 3  # each URL has said so itself
        api.response = lambda handler: say(handler, 204)

        resumed = errands("resume", runner.data, url, *replay)
        assert resumed.returncode == 0, resumed.stdout + resumed.stderr
        if not replay:
            assert f"3 callbacks that it has missed are kept: errands callbacks replay {url} sends" in resumed.stdout
            assert errands("replay", runner.data, url).returncode == 0
        until(lambda: len(api.calls) == 6, timeout_s=30, what="the callbacks that were missed")

        assert sorted(call.path for call in api.calls[3:]) == [f"/errands?n={number}" for number in range(3)]
        assert errands("replay", runner.data, f"{api.url}/other").returncode == 64


def dead(data: Path) -> int:
    command = [sys.executable, "-m", "knative.cli.main", "dead", "list", "--json", "--data", str(data)]
    found = subprocess.run(command, check=False, capture_output=True, text=True)
    return found.stdout.count(" is gone: ")


def errands(verb: str, folder: Path, *arguments: str) -> "subprocess.CompletedProcess[str]":
    command = [sys.executable, "-m", "knative.cli.main", "callbacks", verb, *arguments, "--data", str(folder)]
    return subprocess.run(command, check=False, capture_output=True, text=True, env=os.environ | {"COLUMNS": "200"})
