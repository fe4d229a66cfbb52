"""`errands` as a person or a script runs it: a process of its own, against a real `errands up`."""

import json
import os
import pty
import re
import shutil
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, suppress
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler
from importlib.metadata import version
from pathlib import Path
from typing import Any

import httpx
import pytest

from events.http import STRUCTURED, Event, read
from events.problem import NotAnEvent
from functions.deadletters.store import dead_letters as stored_dead_letters
from functions.runtime.running import find
from functions.sandbox import landlock
from knative.cli.doctor import look
from knative.cli.event_file import build, samples
from tests.conftest import SAMPLES, sample
from tests.support.dead_letter_store import DeadLetterStore, Kept
from tests.support.http_server import http_server
from tests.support.local_runner import (
    COMPLETED,
    REQUESTED,
    ROOT,
    Up,
    event,
    service,
    trigger,
    until,
    up,
    write_manifests,
)
from tests.support.overlays import PRODUCTION, kustomized
from tests.support.ports import free_port

pytestmark = pytest.mark.slow

NOW = datetime(2026, 11, 22, 9, 30, tzinfo=UTC)
ICS = "dev.errands.ics.requested.v1"
QUIET = 'def handle(request):\n    return "", 202\n'
HOSTILE = "\x1b]0;owned\x07\x1b[2J\x9b31m\u202eevil\r"
Errands = subprocess.CompletedProcess[str]


@pytest.fixture(scope="module")
def runner(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Up]:
    """The echo function, the real one for calendars, and one that hears of dead letters and is silent."""
    folder = tmp_path_factory.mktemp("up")
    with up(folder, documents(folder)) as running:
        yield running


@pytest.fixture
def dead_letters(tmp_path: Path) -> DeadLetterStore:
    """The dead letters of a data directory that no runner uses."""
    return DeadLetterStore(f"sqlite:///{tmp_path / 'deadletters.db'}")


def documents(folder: Path) -> list[str]:
    quiet = folder / "quiet.py"
    quiet.write_text(QUIET)
    return [
        service(),
        trigger(retry=0),
        service("ics", source=ROOT / "functions/ics/main.py"),
        trigger("ics", subscriber="ics", filter=f"{{type: {ICS}}}", retry=0),
        service("quiet", source=quiet),
        trigger("heard", subscriber="quiet", filter="{outcome: deadlettered}"),
    ]


def errands(*arguments: str | Path, stdin: bytes = b"", **environment: str) -> Errands:
    """Run the command to its end; in none of these tests may it show a stack trace."""
    done = subprocess.run(
        command(*arguments), input=stdin, env=clean(environment), cwd=ROOT, capture_output=True, timeout=60, check=False
    )
    shown = Errands(done.args, done.returncode, done.stdout.decode(), done.stderr.decode())
    assert "Traceback" not in shown.stdout + shown.stderr, shown.stderr
    return shown


def at_once(*commands: tuple[str | Path, ...]) -> list[Errands]:
    """Run commands that do not depend on each other side by side, since each takes a start of Python."""
    with ThreadPoolExecutor(4) as pool:
        return list(pool.map(lambda arguments: errands(*arguments), commands))


def command(*arguments: str | Path) -> list[str]:
    return [sys.executable, "-m", "knative.cli.main", *map(str, arguments)]


def clean(environment: dict[str, str]) -> dict[str, str]:
    """This process' environment without what would decide for the command."""
    deciding = ("K_SINK", "ERRANDS_DATA", "ERRANDS_TOKEN", "HTTP_PROXY", "http_proxy")
    rest = {name: value for name, value in os.environ.items() if name not in deciding}
    return {**rest, "PYTHONPATH": str(ROOT), "COLUMNS": "100", **environment}


def terminal(*arguments: str | Path) -> bytes:
    """What the command writes to a terminal: on a pipe typer would take escapes out by itself."""
    ours, theirs = pty.openpty()
    with subprocess.Popen(command(*arguments), stdout=theirs, stderr=theirs, env=clean({}), cwd=ROOT):
        os.close(theirs)
        shown = b""
        with suppress(OSError):  # EIO is the end
            while chunk := os.read(ours, 65_536):
                shown += chunk
        os.close(ours)
    return shown


def write(file: Path, content: object) -> Path:
    file.write_text(content if isinstance(content, str) else json.dumps(content))
    return file


def job(tmp_path: Path, data: dict[str, Any]) -> Path:
    """A file with a structured event for the echo function; its id is the folder's name, so it is new."""
    return write(tmp_path / "job.json", event(f"/{tmp_path.name}", data))


def keep(dead_letters: DeadLetterStore, **attributes: str) -> Kept:
    """A dead letter of the echo function's."""
    base = read({"content-type": STRUCTURED}, json.dumps(event("dead-1", {"n": 1})).encode())
    told = {"knativeerrordest": "http://echo", "knativeerrorcode": "503", "knativeerrortrigger": "echo"}
    number = dead_letters.keep(base.with_attributes(**told | attributes), now=NOW)
    return next(each for each in dead_letters.list() if each.id == number)


def discard(dead_letters: DeadLetterStore, dead_letter: Kept) -> None:
    with dead_letters.database.transaction() as session:
        assert stored_dead_letters.discard(session, dead_letter.id, now=NOW)


def using(path: Path) -> list[int]:
    """The processes that were told this path, by their command line or environment, but for this one."""
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            told = (folder / "cmdline").read_bytes() + (folder / "environ").read_bytes()
            if str(path).encode() in told and int(folder.name) != os.getpid():
                found.append(int(folder.name))
    return found


# --- send


def test_a_sample_is_sent_by_its_name_and_its_artefact_is_shown(runner: Up) -> None:
    done = errands("send", "ics", "--wait", "--sink", runner.url)

    accepted, completed, artefact = done.stdout.splitlines()
    name, size_bytes, _, url = artefact.split()
    assert done.returncode == 0
    assert accepted.startswith(f"accepted {ICS} ")
    assert completed == f"completed {accepted.split()[2]}"
    assert name == "kickoff.ics"
    assert len(httpx.get(url).content) == int(size_bytes)


def test_each_sample_is_a_new_job_and_a_structured_event_keeps_its_id(runner: Up, tmp_path: Path) -> None:
    file = write(tmp_path / "mine.json", sample("ics") | {"id": "mine"})

    names = ("ics", "ics", str(file), str(file))
    said = [done.stdout for done in at_once(*(("send", name, "--sink", runner.url) for name in names))]

    assert said[2:] == [f"accepted {ICS} mine\n"] * 2
    assert len({*said[:2], f"accepted {ICS} {sample('ics')['id']}\n"}) == 3


def test_data_with_a_type_becomes_a_job_with_the_given_attributes(runner: Up, tmp_path: Path) -> None:
    file = write(tmp_path / "data.json", {"n": 7})
    own = ("--id", f"data-{tmp_path}", "--source", "/mine", "--subject", "order 1")

    done = errands("send", file, "--type", REQUESTED, *own, "--wait", "--sink", runner.url)

    outcome = runner.outcome(f"data-{tmp_path}", source="/mine", wait_s=0)
    assert done.returncode == 0, done.stderr
    assert outcome is not None
    assert (outcome["data"]["n"], outcome["subject"], outcome["type"]) == (7, "order 1", COMPLETED)


def test_an_event_and_data_are_read_from_standard_input(runner: Up, tmp_path: Path) -> None:
    whole = json.dumps(event(f"stdin-{tmp_path}", {"n": 1})).encode()

    sent = errands("send", "-", "--wait", stdin=whole, K_SINK=runner.url)
    data = errands("send", "-", "--type", REQUESTED, "--wait", stdin=b'{"n": 2}', K_SINK=runner.url)

    assert (sent.returncode, data.returncode) == (0, 0)
    assert f"completed stdin-{tmp_path}" in sent.stdout


@pytest.mark.parametrize(
    ("data", "options", "code", "shown"),
    [
        ({}, (), 0, "completed /"),
        ({"do": "fail"}, (), 1, "  As asked: the job was asked to fail\n"),
        ({"do": "status", "status": 410}, (), 2, ", code 410: as asked\n  mend the cause, then: errands dead replay "),
        ({"do": "sleep", "s": 3}, ("--timeout", "0.3"), 3, "no outcome within 0.3 s; the job goes on\n"),
    ],
    ids=["completed", "failed", "dead-lettered", "no outcome"],
)
def test_the_exit_code_of_a_wait_is_the_outcome(
    runner: Up, tmp_path: Path, *, data: dict[str, Any], options: tuple[str, ...], code: int, shown: str
) -> None:
    done = errands("send", job(tmp_path, data), "--wait", *options, "--sink", runner.url)

    assert done.returncode == code
    assert done.stdout.startswith(f"accepted {REQUESTED} /{tmp_path.name}\n")
    assert shown in done.stdout + done.stderr


def test_a_failed_job_names_each_bad_field(runner: Up, tmp_path: Path) -> None:
    bad = sample("ics") | {"id": f"bad-{tmp_path}"}
    bad["data"]["events"][0] |= {"summary": 5, "colour": "red"}

    done = errands("send", write(tmp_path / "bad.json", bad), "--wait", "--sink", runner.url)

    assert done.returncode == 1
    assert "  #/events/0/summary: " in done.stdout
    assert "  #/events/0/colour: is unknown" in done.stdout


def test_a_refused_event_shows_the_reason_of_the_ingress(runner: Up, tmp_path: Path) -> None:
    done = errands("send", job(tmp_path, {}), "--type", "com.example.unknown", "--sink", runner.url)

    assert (done.returncode, done.stdout) == (64, "")
    assert (
        f"{runner.url.rstrip('/')} answered 400: no Trigger wants type 'com.example.unknown'; the types known"
        in done.stderr
    )


def test_without_an_ingress_the_command_says_how_to_start_one() -> None:
    sinks = ("http://127.0.0.1:1", "http://127.0.0.1:99999", "no url", "http://[::1", "ftp://a/")

    for sink, done in zip(sinks, at_once(*(("send", "ics", "--sink", sink) for sink in sinks)), strict=True):
        assert (done.returncode, done.stdout) == (64, "")
        assert done.stderr.startswith(f"the broker at {sink.rstrip('/')} cannot be reached (")
        assert done.stderr.endswith("start it with: errands up\n")


def test_an_unknown_sample_names_those_there_are(tmp_path: Path) -> None:
    done = errands("send", "icecream", "--sink", "http://127.0.0.1:1")

    assert done.returncode == 64
    assert done.stderr == (
        f"icecream is neither a file (No such file or directory) nor a sample ({', '.join(samples())})\n"
    )
    assert set(samples()) == {file.name.split(".")[2] for file in SAMPLES.glob("*.requested.v1.json")}


@pytest.mark.parametrize(
    ("content", "type_", "attributes", "sentence"),
    [
        (b'{"n": ', REQUESTED, {}, "must hold the job's data as a JSON object"),
        (b"[1]", REQUESTED, {}, "must hold the job's data as a JSON object"),
        (b'{"n": "\xff"}', REQUESTED, {}, "must hold the job's data as a JSON object"),
        (b'{"n": ' + b"[" * 100_000, REQUESTED, {}, "must hold the job's data as a JSON object"),
        (b'{"n": 1}', None, {}, "attribute specversion is required"),
        (b"\xff", None, {}, "the body must be a JSON object"),
        (b"{}", "", {}, "attribute type is required"),
        (b"{}", REQUESTED, {"id": ""}, "attribute id is required"),
        (b"{}", REQUESTED, {"source": "no uri"}, "source must be a URI reference"),
    ],
)
def test_a_file_that_is_no_job_is_not_an_event(
    tmp_path: Path, *, content: bytes, type_: str | None, attributes: dict[str, str], sentence: str
) -> None:
    file = tmp_path / "job.json"
    file.write_bytes(content)

    with pytest.raises(NotAnEvent, match=sentence):
        build(str(file), type_, attributes)


def test_a_file_that_is_no_job_is_refused_in_one_sentence(tmp_path: Path) -> None:
    done = errands("send", write(tmp_path / "job.json", '{"specversion": '), "--sink", "http://127.0.0.1:1")

    assert (done.returncode, done.stdout, done.stderr.count("\n")) == (64, "", 1)
    assert done.stderr.startswith("the body must be a JSON object of attributes and data: ")


def test_a_wait_outlives_a_restart_of_the_runner(tmp_path: Path) -> None:
    documents = (service(), trigger())
    with up(tmp_path, documents) as runner:
        waits = command("send", job(tmp_path, {"do": "sleep", "s": 1}), "--wait", "--sink", runner.url)
        with subprocess.Popen(waits, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=clean({}), cwd=ROOT) as sent:
            assert sent.stdout is not None
            assert sent.stdout.readline().startswith(b"accepted")
            until(lambda: runner.metric("errands_processes", function="echo"), what="the start of the job")
            runner.kill()
            runner.start()
            shown, errors = sent.communicate(timeout=120)

    assert (sent.returncode, errors) == (0, b"")
    assert shown.startswith(b"completed")


def test_a_broker_that_tells_no_outcomes_is_asked_only_once() -> None:
    """Knative's own ingress has no `GET /jobs`."""
    asked = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            self.rfile.read(int(self.headers["content-length"]))
            self.send_response(202)
            self.end_headers()

        def do_GET(self) -> None:
            asked.append(self.path)
            self.send_response(404)
            self.end_headers()
            self.wfile.write(HOSTILE.encode())

    with http_server(Handler) as url:
        shown = terminal("send", "ics", "--wait", "--sink", f"{url}/")

    assert len(asked) == 1
    assert b"does not tell outcomes: it answered 404" in shown
    assert_harmless(shown)


def test_a_token_is_read_from_a_file_and_sent(tmp_path: Path) -> None:
    token, short = tmp_path / "token", write(tmp_path / "short", "short")
    token.write_text("a-token-of-enough-characters\n")
    binary, accented = tmp_path / "binary", write(tmp_path / "accented", "é" * 20)
    binary.write_bytes(b"\xff" * 20)
    with up(tmp_path, (service(), trigger(retry=0)), "--token-file", str(token)) as runner:
        file, sink = job(tmp_path, {}), ("--sink", runner.url)
        right = errands("send", file, "--wait", "--token-file", token, *sink)
        by_environment = errands("send", file, "--wait", *sink, ERRANDS_TOKEN="a-token-of-enough-characters")
        without = errands("send", file, *sink)
        bad = (short, binary, accented, tmp_path)
        wrong = at_once(*(("send", file, "--token-file", each, *sink) for each in bad))
        database = f"sqlite:///{runner.data / 'deadletters.db'}"
        keep(DeadLetterStore(database))
        replays = [
            errands("dead", "replay", "1", "--database", database, "--data", tmp_path, *sink),
            errands("dead", "replay", "1", "--data", runner.data, *sink, "--token-file", token),
        ]

    assert (right.returncode, by_environment.returncode) == (0, 0)
    assert (without.returncode, "answered 401: the header Authorization" in without.stderr) == (64, True)
    assert [(done.returncode, done.stderr.count("\n")) for done in wrong] == [(64, 1)] * 4
    assert [done.returncode for done in replays] == [1, 0]


# --- dead


def test_dead_letters_are_listed_newest_first_and_by_state(dead_letters: DeadLetterStore, tmp_path: Path) -> None:
    discard(dead_letters, keep(dead_letters))
    keep(dead_letters, id="dead-2", knativeerrordata="b25lCnR3bw==")  # "one\ntwo"

    states = ("open", "discarded", "all")
    listed = at_once(*(("dead", "list", "--data", tmp_path, "--state", state) for state in states))
    opened, closed, all_ = (done.stdout for done in listed)

    assert opened.splitlines() == [
        "     2  2026-11-22T09:30:00   503  echo                 dead-2",
        "        one two",
        "1 of 1 dead letters",
    ]
    assert closed.splitlines()[0].endswith("dead-1  discarded")
    assert [line.split()[0] for line in all_.splitlines()[:4:2]] == ["2", "1"]


def test_dead_letters_as_json_are_one_object_a_line(dead_letters: DeadLetterStore, tmp_path: Path) -> None:
    keep(dead_letters, knativeerrordata="bm8=", knativeerrorattempts="6")

    listed = errands("dead", "list", "--json", "--data", tmp_path)
    none = errands("dead", "list", "--json", "--state", "discarded", "--data", tmp_path)

    (line,) = listed.stdout.splitlines()
    shown = json.loads(line)
    assert (shown["id"], shown["state"], shown["code"], shown["trigger"], shown["error"]) == (
        1,
        "open",
        503,
        "echo",
        "no",
    )
    assert (shown["attempts"], shown["event_id"], shown["type"]) == (6, "dead-1", REQUESTED)
    assert (none.returncode, none.stdout) == (0, "")


def test_a_dead_letter_is_shown_with_its_event_and_the_command_that_replays_it(
    dead_letters: DeadLetterStore, tmp_path: Path
) -> None:
    keep(dead_letters)

    done = errands("dead", "show", "1", "--data", tmp_path)

    fields, _, rest = done.stdout.partition("{")
    data = json.loads("{" + rest.partition("}")[0] + "}")
    assert done.returncode == 0
    assert "code:         503\n" in fields
    assert "specversion:      1.0\n" in fields
    assert data == {"n": 1}
    assert done.stdout.endswith("errands dead replay 1\n")


def test_a_dead_letter_of_numbers_beyond_all_bounds_is_shown(dead_letters: DeadLetterStore, tmp_path: Path) -> None:
    dead_letters.keep(Event(keep(dead_letters).event.attributes, b'{"n": ' + b"9" * 5_000 + b"}"), now=NOW)

    masked = errands("dead", "show", "2", "--data", tmp_path)
    whole = errands("dead", "show", "2", "--unmask", "--data", tmp_path)

    assert "masked: the data\n" in masked.stdout  # it cannot be read, so nobody can tell what is secret in it
    assert (whole.returncode, "9" * 5_000 in whole.stdout) == (0, True)


def test_hostile_text_never_reaches_the_terminal_raw(dead_letters: DeadLetterStore, tmp_path: Path) -> None:
    """An id cannot hold control characters, but for what was never an event; an error can hold anything."""
    attributes = dict(keep(dead_letters).event.attributes) | {"id": f"2{HOSTILE}", "knativeerrordata": f"é{HOSTILE}"}
    dead_letters.keep(Event(attributes, json.dumps({"text": HOSTILE}, ensure_ascii=False).encode()), now=NOW)
    data = ("--data", tmp_path)

    shown = {
        "list": terminal("dead", "list", *data),
        "json": terminal("dead", "list", "--json", *data),
        "show": terminal("dead", "show", "2", *data),
        "down": terminal("dead", "replay", "2", *data, "--sink", f"http://127.0.0.1:1/{HOSTILE[1:3]}"),
        "discard": terminal("dead", "discard", "2", "--reason", HOSTILE, *data),
        "audit": terminal("dead", "audit", *data),
    }

    for text in shown.values():
        assert_harmless(text)
    assert b"owned" in shown["list"]
    assert b"evil" in shown["show"]


def test_an_outcome_that_holds_hostile_text_is_shown_harmlessly(runner: Up, tmp_path: Path) -> None:
    job_id = f"/{tmp_path.name}"
    about = {
        "jobsource": "/tests",
        "jobid": job_id,
        "outcome": "deadlettered",
        "type": "dev.errands.echo.any.v1",
    }
    outcome = event("its-outcome", {"letter": "1", "code": 500, "error": HOSTILE}, **about)
    before = runner.metric("errands_events_accepted_total")

    def tell() -> None:
        """While the job is at work: sent again, it has no end yet."""
        until(lambda: runner.metric("errands_events_accepted_total") > before, what="the job")
        runner.post(outcome, inside=True)

    telling = threading.Thread(target=tell)
    telling.start()

    shown = terminal("send", job(tmp_path, {"do": "sleep", "s": 8}), "--wait", "--sink", runner.url)
    telling.join()

    assert b"dead letter 1, code 500: " in shown
    assert_harmless(shown)


def test_dead_letters_are_replayed_and_then_complete(runner: Up, tmp_path: Path) -> None:
    once, data = tmp_path / "once", ("--data", runner.data)
    order = {"do": "status", "status": 410, "once": str(once)}
    dead = errands("send", job(tmp_path, order), "--wait", "--sink", runner.url)
    number = dead.stdout.split()[-1]
    replayed = errands("dead", "replay", number, *data, "--sink", runner.url)
    outcome = until(lambda: completed(runner, f"/{tmp_path.name}"), what="the outcome of the replay")
    shown = errands("dead", "show", number, *data)

    assert (dead.returncode, replayed.returncode) == (2, 0)
    assert re.search(r": 1 of 1 sent, 1 (awaited|completed); done\n$", replayed.stdout)
    assert outcome["jobid"] == f"/{tmp_path.name}"
    assert "state:        replayed\n" in shown.stdout
    assert "replays:      1\n" in shown.stdout


def test_all_open_dead_letters_are_replayed_and_the_closed_ones_are_not(
    runner: Up, dead_letters: DeadLetterStore, tmp_path: Path
) -> None:
    _, second, _ = (keep(dead_letters, id=f"{id_}-{tmp_path.name}") for id_ in ("a", "b", "c"))
    discard(dead_letters, second)

    running = find(runner.data)
    assert running
    done = errands("dead", "replay", "--all", "--data", tmp_path, K_SINK=runner.url, ERRANDS_TOKEN=running.token)

    assert done.returncode == 0
    assert re.fullmatch(r"replay 1: 2 of 2 sent(, [12] (awaited|completed))+; done", done.stdout.splitlines()[-1])
    assert [dead_letter.state for dead_letter in dead_letters.list()] == ["replayed", "discarded", "replayed"]
    assert runner.outcome(f"a-{tmp_path.name}") is not None
    assert runner.outcome(f"b-{tmp_path.name}", wait_s=0) is None


def test_a_replay_while_the_ingress_is_down_or_refuses_leaves_the_dead_letter_open(
    runner: Up, dead_letters: DeadLetterStore, tmp_path: Path
) -> None:
    keep(dead_letters, type="com.example.unknown")
    data = ("--data", tmp_path)

    nowhere = ("http://127.0.0.1:1", "http://[::1")
    down = at_once(*(("dead", "replay", "1", *data, "--sink", url) for url in nowhere))
    refused = errands("dead", "replay", "1", *data, "--sink", runner.url)

    assert [(done.returncode, "cannot be reached" in done.stderr) for done in down] == [(1, True)] * 2
    assert refused.returncode == 1
    assert f"dead letter 1: {runner.url} answered 400: no Trigger wants type" in refused.stderr
    assert [(dead_letter.state, dead_letter.replays) for dead_letter in dead_letters.list()] == [("open", 0)]


def test_dead_letters_are_discarded_and_stay_in_the_store(dead_letters: DeadLetterStore, tmp_path: Path) -> None:
    for id_ in ("a", "b", "c"):
        keep(dead_letters, id=id_)

    one = errands("dead", "discard", "2", "--reason", "a test", "--data", tmp_path)
    rest = errands("dead", "discard", "--all", "--reason", "a test", ERRANDS_DATA=str(tmp_path))
    none = errands("dead", "list", "--data", tmp_path)

    assert one.stdout == "dead letter 2 discarded\n"
    assert rest.stdout.splitlines() == ["dead letter 1 discarded", "dead letter 3 discarded"]
    assert none.stdout == "no dead letters\n"
    assert [dead_letter.state for dead_letter in dead_letters.list()] == ["discarded"] * 3


def test_a_mistake_about_dead_letters_is_one_sentence(tmp_path: Path) -> None:
    data = ("--data", str(tmp_path))
    expected: dict[tuple[str, ...], str] = {
        ("show", "7", *data): "there is no dead letter 7",
        ("show", "99999999999999999999", *data): "Invalid value for 'DEAD_LETTER'",
        ("show", "one", *data): "Invalid value for 'DEAD_LETTER'",
        ("replay", "7", *data): "there is no dead letter 7",
        ("replay", *data): "say which: numbers of dead letters, or --all",
        ("discard", "1", "--all", "--reason", "x", *data): "say which: numbers of dead letters, or --all",
        ("list", "--state", "lost", *data): "Invalid enum value 'lost'",
        ("list", "--data", "/nowhere"): "there is no data directory /nowhere: give --data DIR",
        ("list", "--data", "x" * 300): "there is no data directory",
        ("list", "--data", __file__): "there is no data directory",
    }

    for done, sentence in zip(at_once(*(("dead", *each) for each in expected)), expected.values(), strict=True):
        assert (done.returncode, done.stdout) == (64, ""), done.args
        assert sentence in " ".join(done.stderr.split())


def test_a_store_that_is_no_database_is_said_so(tmp_path: Path) -> None:
    write(tmp_path / "deadletters.db", "this is a text, and no database at all" * 100)

    done = errands("dead", "list", "--data", tmp_path)

    assert done.returncode == 69
    assert done.stderr == f"{tmp_path / 'deadletters.db'} cannot be used: file is not a database\n"


# --- doctor


def test_the_doctor_finds_this_machine_well(tmp_path: Path) -> None:
    done = errands("doctor", "--data", tmp_path / "new", "--port", str(free_port()))

    lines = done.stdout.splitlines()
    assert done.returncode == 0, done.stdout
    assert {line.split()[0] for line in lines} <= {"ok", "optional"}
    assert not (tmp_path / "new").exists()


def test_the_doctor_has_one_mending_line_for_each_thing_that_is_missing(tmp_path: Path) -> None:
    with closing(socket.create_server(("127.0.0.1", 0))) as taken:
        port = taken.getsockname()[1]
        done = errands("doctor", "--data", "/proc/errands", "--port", str(port), PATH=str(tmp_path))

    missing = dict(line.split(maxsplit=1)[1].split(": ", 1) for line in done.stdout.splitlines() if line[:2] != "ok")
    assert done.returncode == 1
    assert [mend for what, mend in missing.items() if what.startswith(f"port {port} (Address already in use")] == [
        "stop what uses it, or give --port N"
    ]
    assert "give --data DIR" in missing["data directory /proc/errands (No such file or directory)"]
    assert missing["php"] == "apt-get install php-cli php-curl (for the PHP example)"
    assert all(missing.values())
    assert done.stderr == ""


def test_a_program_reads_what_the_doctor_found(tmp_path: Path) -> None:
    done = errands("doctor", "--data", tmp_path, "--port", "0", "--json", PATH=str(tmp_path))

    found = {each["what"]: each for each in json.loads(done.stdout)}
    assert done.returncode == 0
    assert found["Python 3.11 or later"] == {
        "what": "Python 3.11 or later",
        "well": True,
        "mend": None,
        "needed": True,
    }
    assert found["php"]["mend"] == "apt-get install php-cli php-curl (for the PHP example)"
    assert (found["php"]["well"], found["php"]["needed"]) == (False, False)


def test_a_program_reads_what_a_cluster_lacks(tmp_path: Path) -> None:
    kustomized(PRODUCTION)  # or it is missing, and that is said in place of the cluster
    done = errands("preflight", "--json", KUBECONFIG=str(tmp_path / "none"))

    (found,) = json.loads(done.stdout)
    assert done.returncode == 1
    assert (found["what"], found["well"], found["needed"]) == ("a cluster", False, True)
    assert found["mend"].startswith("kubectl config use-context ")


def test_what_is_only_useful_does_not_make_the_machine_unwell(tmp_path: Path) -> None:
    done = errands("doctor", "--data", tmp_path, "--port", "0", PATH=str(tmp_path))

    assert "optional php: apt-get install" in done.stdout
    assert done.returncode == 0, done.stdout


def test_a_kernel_without_a_wall_around_hostile_jobs_is_told_with_what_they_could_do(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(landlock, "version", lambda: 0)

    lines = [finding.line for finding in look(tmp_path, 0)]

    lacks = "this kernel lacks Landlock (Linux 5.13): a job reads every file that its function can read"
    assert f"optional walls around hostile jobs (Landlock, seccomp): {lacks}" in lines


def test_a_php_without_curl_is_no_php(tmp_path: Path) -> None:
    php = write(tmp_path / "php", f"#!{shutil.which('sh')}\necho Core\n")
    php.chmod(0o700)

    done = errands("doctor", "--data", tmp_path, "--port", "0", PATH=str(tmp_path))

    assert "optional php: " in done.stdout


@pytest.mark.parametrize("data", [__file__, f"{__file__}/below", "x" * 300], ids=["file", "below", "long"])
def test_a_data_directory_that_up_could_not_use_is_missing(data: str) -> None:
    done = errands("doctor", "--data", data, "--port", "0")

    assert done.returncode == 1
    assert "MISSING  data directory" in done.stdout
    assert "give --data DIR" in done.stdout


# --- exec


def test_exec_runs_a_command_against_errands_and_returns_its_exit_code(tmp_path: Path) -> None:
    program = f"""
import httpx, json, os, sys
sink, secret = os.environ["K_SINK"], os.environ["ERRANDS_WEBHOOK_SECRET"]
answer = httpx.post(sink, json={event("1", {"n": 7})!r}, headers={{"content-type": {STRUCTURED!r}}})
ended = httpx.get(sink + "jobs?source=/tests&id=1&wait_s=20").json()
print(json.dumps([sys.stdin.read(), sys.argv[1:], answer.status_code, ended["outcome"], secret[:6]]))
sys.exit(7)
"""
    manifests = write_manifests(tmp_path / "manifests", (service(), trigger()))
    arguments = ("--", sys.executable, "-c", program, "--data", "-x")

    done = errands("exec", "--manifests", manifests, *arguments, stdin=b"typed", TMPDIR=str(tmp_path))

    assert done.returncode == 7, done.stderr
    assert json.loads(done.stdout) == ["typed", ["--data", "-x"], 202, "completed", "whsec_"]
    assert using(tmp_path) == []
    assert list(tmp_path.glob("errands-*")) == []


@pytest.mark.parametrize(
    ("program", "code"),
    [
        ("signal.signal(signal.SIGTERM, lambda *_: sys.exit(9)); print('ready', flush=True); signal.pause()", 9),
        ("print('ready', flush=True); signal.pause()", 128 + signal.SIGTERM),
    ],
    ids=["handles it", "dies of it"],
)
def test_sigterm_to_exec_stops_the_command_and_everything(tmp_path: Path, program: str, code: int) -> None:
    manifests = write_manifests(tmp_path / "manifests", (service(), trigger()))
    program = f"import signal, sys; {program}"
    waits = command("exec", "--manifests", manifests, "--data", tmp_path / "data", "--", sys.executable, "-c", program)
    with subprocess.Popen(waits, stdout=subprocess.PIPE, env=clean({}), cwd=ROOT) as running:
        assert running.stdout is not None
        assert running.stdout.readline() == b"ready\n"
        try:
            during = until(lambda: len(using(tmp_path)) >= 3, what="exec, its command and the dead-letter sink")
            running.send_signal(signal.SIGTERM)

            assert running.wait(120) == code
        finally:
            running.kill()
    assert during
    assert using(tmp_path) == []


def test_a_mistake_about_exec_is_one_sentence(tmp_path: Path) -> None:
    manifests = write_manifests(tmp_path / "manifests", (service(), trigger()))
    expected: dict[tuple[str, ...], str] = {
        (): "give the command to run after --\n",
        ("--",): "give the command to run after --\n",
        ("--", "/nowhere/phpunit", "-v"): "/nowhere/phpunit cannot be run: No such file or directory\n",
        ("--", "/etc"): "/etc cannot be run: Permission denied\n",
        ("--set", "wrong", "--", "true"): "--set expects FUNCTION.NAME=VALUE",
        ("--set", "nobody.A=B", "--", "true"): "there is no function 'nobody'",
        ("--manifests", "/nowhere", "--", "true"): "/nowhere/kustomization.yaml:1: there is no such file",
        ("--data", "/proc/errands", "--", "true"): "the data directory /proc/errands cannot be written",
    }

    tried = at_once(*(("exec", "--manifests", str(manifests), *each) for each in expected))

    for done, sentence in zip(tried, expected.values(), strict=True):
        assert (done.returncode, done.stdout) == (64, ""), done.args
        assert sentence in done.stderr
        assert done.stderr.count("\n") == 1
    assert using(tmp_path) == []


# --- every command


def test_version_says_which_release_this_is() -> None:
    done = errands("--version")

    assert (done.returncode, done.stdout.split(",")[0]) == (0, f"errands {version('errands')}")


def test_help_names_every_option() -> None:
    expected = {
        "": ("up", "send", "exec", "dead", "doctor"),
        "up": ("--data", "--manifests", "--host", "--port", "--token-file", "--set", "--backlog-limit", "--reload"),
        "send": ("--type", "--id", "--source", "--subject", "--callback-url", "--sink", "--wait", "--timeout"),
        "exec": ("-- COMMAND", "--data", "--manifests", "--set"),
        "doctor": ("--data", "--port"),
        "dead": ("list", "show", "replay", "discard"),
        "dead list": ("--data", "--state", "--limit", "--json"),
        "dead show": ("--data", "DEAD_LETTER"),
        "dead replay": ("--data", "--all", "--sink", "--token-file"),
        "dead discard": ("--data", "--all"),
    }

    shown = at_once(*((*name.split(), "--help") for name in expected))

    assert {done.returncode for done in shown} == {0}
    for done, options in zip(shown, expected.values(), strict=True):
        assert [option for option in options if option not in done.stdout] == []


def test_a_mistake_in_an_option_is_told_apart_from_an_outcome() -> None:
    """Exit code 2, which is usual for it, means dead-lettered here."""
    mistakes: tuple[tuple[str, ...], ...] = (
        ("send", "ics", "--bogus"),
        ("send", "ics", "--timeout", "soon", "--wait"),
        ("send", "ics", "--timeout", "-1"),
        ("send",),
        ("up", "--port", "99999"),
        ("doctor", "--port", "99999"),
        ("dead", "list", "--bogus"),
        ("bogus",),
    )

    for done in at_once(*mistakes):
        assert (done.returncode, done.stdout) == (64, ""), done.args
        assert done.stderr.startswith("Usage: ")


def completed(runner: Up, id_: str) -> dict[str, Any] | None:
    outcome = runner.outcome(id_, wait_s=0)
    return outcome if outcome and outcome["outcome"] == "completed" else None


def assert_harmless(shown: bytes) -> None:
    """No control characters but line ends (which the terminal writes as CR LF), and nothing that turns text round."""
    text = shown.decode().replace("\r\n", "\n")
    assert not [char for char in text if not (char.isprintable() or char in "\n\t")], ascii(text)
