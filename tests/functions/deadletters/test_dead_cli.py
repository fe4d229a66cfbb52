"""`errands dead`: the same words on this machine's dead letters and over a console's URL, for scripts and in an
editor.
"""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from functions.deadletters.service import commands
from tests.functions.deadletters.test_dead_letters import at_console, dead
from tests.functions.deadletters.test_deadletters import process, responses_at
from tests.functions.deadletters.test_replay import Ingress, ingress
from tests.knative.cli.test_cli import Errands, clean, command, errands
from tests.support.dead_letter_store import DeadLetterStore
from tests.support.local_runner import ROOT, Up, bound, event, service, trigger, until, up
from tests.support.ports import free_port

pytestmark = pytest.mark.slow

__all__ = ["ingress"]  # fixtures

TOKEN = "anna-has-a-long-token"


@pytest.fixture
def store(tmp_path: Path) -> DeadLetterStore:
    return DeadLetterStore(f"sqlite:///{tmp_path / 'deadletters.db'}")


@pytest.fixture
def console(tmp_path: Path, ingress: Ingress) -> Iterator[str]:
    """The operators' Service in a process of its own; its URL."""
    port = free_port()
    environment = {
        "PATH": os.environ["PATH"],
        "PYTHONPATH": str(ROOT),
        "FUNCTION_SOURCE": str(ROOT / "functions/console/main.py"),
        "FUNCTION_TARGET": "handle",
        "THREADS": "4",
        "PORT": str(port),
        "HOST": "127.0.0.1",
        "DEADLETTERS_URL": f"sqlite:///{tmp_path / 'deadletters.db'}",
        "K_SINK": ingress.url,
        "DEADLETTERS_OPERATORS": f"anna all {TOKEN}\nben see ben-has-a-long-token",
    }
    with process(environment), httpx.Client(base_url=f"http://127.0.0.1:{port}") as client:
        until(lambda: responses_at(client), what="the console")
        yield f"http://127.0.0.1:{port}/dead"


def at(where: tuple[str, ...], *arguments: str, token: str = TOKEN) -> Errands:
    """The command, on the dead letters that `where` says."""
    return errands("dead", *arguments, *where, ERRANDS_TOKEN=token)


@pytest.fixture(params=["here", "over the URL"])
def where(request: pytest.FixtureRequest, tmp_path: Path) -> tuple[str, ...]:
    """The options by which the dead letters are reached."""
    if request.param == "here":
        return ("--data", str(tmp_path))
    return ("--url", request.getfixturevalue("console"))


def shown(done: Errands) -> list[dict[str, Any]]:
    """What --json printed."""
    assert done.returncode in (0, 1), done.stderr
    return [json.loads(line) for line in done.stdout.splitlines()]


def test_a_dead_letters_whole_way_is_the_same_here_and_over_the_url(
    store: DeadLetterStore, ingress: Ingress, where: tuple[str, ...], tmp_path: Path
) -> None:
    for number in range(3):
        store.keep(dead(id=f"order-{number}"))
    edited = tmp_path / "edited.json"
    edited.write_text(store.list()[0].event.data.decode().replace("Europe/Warsaw", "Europe/Berlin"))

    (group,) = shown(at(where, "groups", "--json"))
    diff = at(where, "edit", "1", "--file", str(edited), "--attribute", "subject=order-7").stdout
    wrong = at(where, "edit", "1", "--attribute", "id=")
    (rehearsed,) = shown(at(where, "replay", "--job", "ics", "--dry-run", "--json"))
    sent = shown(at(where, "replay", "1", "--sink", ingress.url, "--json"))[-1]
    discarded = at(where, "discard", "--code", "503", "--reason", "a test")
    back = at(where, "undo", "2")
    states = {each["id"]: each["state"] for each in shown(at(where, "list", "--state", "all", "--json"))}

    assert (group["open"], group["code"]) == (3, 503)
    assert '+      "timezone": "Europe/Berlin"' in diff
    assert (wrong.returncode, wrong.stderr) == (64, "attribute id is required and must not be empty\n")
    assert (rehearsed["total"], rehearsed["would_send"]) == (3, [1, 2, 3])
    assert (sent["state"], sent["sent"]) == ("done", 1)
    assert ingress.posted[0][1].attributes["subject"] == "order-7"
    assert discarded.stdout.splitlines() == ["dead letter 2 discarded", "dead letter 3 discarded"]
    assert back.stdout == "dead letter 2 is open again\n"
    assert states == {1: "replayed", 2: "open", 3: "discarded"}


def test_groups_are_looked_after(store: DeadLetterStore, where: tuple[str, ...]) -> None:
    store.keep(dead())
    for commands_ in (("acknowledge", "1"), ("note", "1", "the disk"), ("owner", "1", "Anna"), ("resolve", "1")):
        assert at(where, *commands_).returncode == 0

    told = at(where, "group", "1").stdout

    assert "[resolved] owner Anna" in told
    assert "note: the disk" in told
    assert [each["verb"] for each in shown(at(where, "audit", "--json"))] == [
        "resolved",
        "owned",
        "noted",
        "acknowledged",
    ]


def test_an_export_is_imported_elsewhere(store: DeadLetterStore, where: tuple[str, ...], tmp_path: Path) -> None:
    store.keep(dead())
    exported, other = tmp_path / "dead_letters.jsonl", tmp_path / "other"
    other.mkdir()
    exported.write_text(at(where, "export", "--unmask").stdout)

    first, again = (errands("dead", "import", exported, "--data", other).stdout for _ in range(2))

    assert first == "1 dead letters imported, 0 passed over: masked, or here already\n"
    assert again == "0 dead letters imported, 1 passed over: masked, or here already\n"
    assert DeadLetterStore(f"sqlite:///{other / 'deadletters.db'}").list()[0].event == store.list()[0].event


def test_who_watches_sees_what_comes(store: DeadLetterStore, where: tuple[str, ...]) -> None:
    store.keep(dead(id="before"))
    arguments = command("dead", "watch", "--count", "1", "--json", *where)
    with subprocess.Popen(arguments, stdout=subprocess.PIPE, env=clean({"ERRANDS_TOKEN": TOKEN}), cwd=ROOT) as watching:
        numbers = iter(range(1_000))
        until(
            lambda: store.keep(dead(id=f"{next(numbers)}")) and watching.poll() is not None, what="a dead letter seen"
        )
        assert watching.stdout is not None
        line = watching.stdout.read()

    assert json.loads(line)["event_id"] != "before"
    assert watching.returncode == 0


def test_ctrl_c_cancels_a_replay_and_resume_goes_on(
    store: DeadLetterStore, ingress: Ingress, where: tuple[str, ...]
) -> None:
    for number in range(60):
        store.keep(dead(id=str(number)))
    arguments = command("dead", "replay", "--all", "--rate", "20", "--sink", ingress.url, *where)
    with subprocess.Popen(
        arguments, env=clean({"ERRANDS_TOKEN": TOKEN}), cwd=ROOT, stderr=subprocess.DEVNULL
    ) as sending:
        until(lambda: len(ingress.ids) >= 10, what="ten dead letters")
        sending.send_signal(signal.SIGINT)
        sending.wait()
    before = len(ingress.ids)
    (run,) = shown(at(where, "replays", "--json"))
    resumed = at(where, "resume", "1", "--sink", ingress.url)

    assert (sending.returncode, run["state"], run["sent"]) == (1, "cancelled", before)
    assert before < 60
    assert resumed.returncode == 0
    assert sorted(ingress.ids, key=int) == [str(number) for number in range(60)]


def test_each_exit_code_means_what_the_help_says(store: DeadLetterStore, console: str, tmp_path: Path) -> None:
    store.keep(dead())
    here, there = ("--data", str(tmp_path)), ("--url", console)

    codes = {
        "done": at(there, "list").returncode,
        "not all": at(here, "discard", "1", "99", "--reason", "x").returncode,
        "mistake": at(there, "show", "99").returncode,
        "age": at(here, "list", "--older-than", "soon").returncode,
        "unavailable": at(("--url", "http://127.0.0.1:1/dead"), "list").returncode,
        "no console": at(("--url", console.replace("/dead", "/other")), "list").returncode,
        "not allowed": at(there, "discard", "1", "--reason", "x", token="ben-has-a-long-token").returncode,
        "unknown": at(there, "list", token="nobody-has-this-token").returncode,
    }

    assert codes == {
        "done": 0,
        "not all": 1,
        "mistake": 64,
        "age": 64,
        "unavailable": 69,
        "no console": 64,
        "not allowed": 77,
        "unknown": 77,
    }


def test_the_data_is_edited_in_an_editor(store: DeadLetterStore, tmp_path: Path) -> None:
    number = store.keep(dead())
    editor = f"{sys.executable} -c \"import sys; p = sys.argv[1]; t = open(p).read().replace('Warsaw', 'Berlin')\n" + (
        "open(p, 'w').write(t)\""
    )

    done = errands("dead", "edit", str(number), "--data", tmp_path, EDITOR=editor)

    assert done.returncode == 0, done.stderr
    body = at_console(store).unmask(commands.Unmask(dead_letter=number)).body
    assert json.loads(body.data or "")["events"][0]["timezone"] == "Europe/Berlin"


def test_raw_data_is_byte_for_byte(store: DeadLetterStore, tmp_path: Path) -> None:
    from events.http import Event

    store.keep(Event(dead().attributes, b"\x00\xff\x1b[2J"))

    done = subprocess.run(
        command("dead", "show", "1", "--raw", "--unmask", "--data", tmp_path),
        env=clean({}),
        cwd=ROOT,
        capture_output=True,
        check=False,
    )

    assert (done.returncode, done.stdout) == (0, b"\x00\xff\x1b[2J")


# --- against a runner


RECEIVER = """
from functions.runtime.adapter import Response, http_function
from pathlib import Path

def respond(event):
    if not Path("{up}").exists():
        return Response(503, {{"content-type": "application/json"}}, b'{{"detail": "the receiver is down"}}')
    with open("{heard}", "a") as heard:
        heard.write(event.type + "\\n")
    return Response(202)

handle = http_function(respond)
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("up")


@pytest.fixture(scope="module")
def runner(folder: Path) -> Iterator[Up]:
    """The echo function, one that hears of outcomes while the file `up` is there, and the console."""
    source = folder / "receiver.py"
    source.write_text(RECEIVER.format(up=folder / "up", heard=folder / "heard"))
    documents = [
        service(),
        trigger(retry=0),
        service("receiver", source=source),
        trigger("receiver", subscriber="receiver", filter="{outcome: completed}", retry=0),
        trigger("receiver-deadlettered", subscriber="receiver", filter="{outcome: deadlettered}", retry=0),
        service("console", source=ROOT / "functions/console/main.py", min_scale=1, max_scale=1, concurrency=0),
        trigger("console-completed", subscriber="console", filter="{outcome: completed}"),
        bound("console"),
    ]
    with up(folder, documents) as running:
        yield running


def one_dead(runner: Up, *filters: str) -> dict[str, Any]:
    """The one dead letter of the runner's that matches, as soon as it is there."""
    found = until(lambda: shown(errands("dead", "list", "--json", *filters, "--data", runner.data)), what="it")
    assert len(found) == 1
    return dict(found[0])


def state(runner: Up, number: int) -> str:
    listed = shown(errands("dead", "list", "--state", "all", "--json", "--data", runner.data))
    return next(str(each["state"]) for each in listed if each["id"] == number)


@pytest.mark.parametrize("by", [(), ("--trigger-only",)], ids=["to all", "to the one"])
def test_a_callback_is_replayed_to_the_runner_of_the_data(runner: Up, folder: Path, by: tuple[str, ...]) -> None:
    """Whatever its port is; and the outcome, which is not taken from outside, is taken from the command."""
    (folder / "up").unlink(missing_ok=True)
    assert runner.post(event(f"callback{len(by)}")).status_code == 202
    dead_letter = one_dead(runner, "--trigger", "receiver")
    (folder / "up").touch()

    done = errands("dead", "replay", str(dead_letter["id"]), *by, "--data", runner.data)

    assert (done.returncode, done.stderr) == (0, "")
    until(lambda: "echo.completed" in read_text(folder / "heard"), what="the callback")
    assert state(runner, dead_letter["id"]) == "completed"
    (folder / "heard").unlink()


def test_the_console_replays_a_callback_to_its_runner(runner: Up, folder: Path) -> None:
    (folder / "up").unlink(missing_ok=True)
    assert runner.post(event("by-the-console")).status_code == 202
    dead_letter = one_dead(runner, "--trigger", "receiver")
    (folder / "up").touch()

    done = errands("dead", "replay", str(dead_letter["id"]), "--url", f"{runner.url}dead")

    assert (done.returncode, done.stderr) == (0, "")
    until(lambda: "echo.completed" in read_text(folder / "heard"), what="the callback")


@pytest.mark.parametrize("left", [False, True], ids=["ended", "killed"])
def test_without_a_runner_of_the_data_nothing_is_noted(store: DeadLetterStore, tmp_path: Path, left: bool) -> None:
    store.keep(dead())
    if left:
        told = {"url": f"http://127.0.0.1:{free_port()}/", "token": "of-a-runner-that-was-killed"}
        (tmp_path / "ingress.json").write_text(json.dumps(told))

    done = errands("dead", "replay", "1", "--data", tmp_path)
    replays = shown(errands("dead", "replays", "--json", "--data", tmp_path))

    assert (done.returncode, replays) == (69, [])
    assert done.stderr == (f"no runner of {tmp_path} is up: start `errands up --data {tmp_path}`, or give --sink URL\n")


def read_text(file: Path) -> str:
    return file.read_text() if file.exists() else ""
