"""Effectively once: a request delivered twice, at once, or again after a crash gives one result and one reply id."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest

from tests.support.function_client import FunctionClient
from tests.support.local_runner import ROOT, until
from tests.support.ports import free_port

pytestmark = pytest.mark.slow

JOBS = ("ics", "image", "report")
STRUCTURED = {"content-type": "application/cloudevents+json"}

# A function that dies where a crash hurts most: the work is done and recorded, the answer is not given.
DYING = """
import os
from functions.storage.ledger import ReplyLedger

record = ReplyLedger.record

def record_and_die(self, cause, reply):
    record(self, cause, reply)
    os._exit(1)

ReplyLedger.record = record_and_die
exec(compile(open({source!r}).read(), {source!r}, "exec"))
"""

# The same, but it dies with the results stored and nothing recorded.
DYING_EARLIER = DYING.replace("    record(self, cause, reply)\n", "")


@contextmanager
def serving(source: Path, store: Path) -> Iterator[str]:
    """A real function process; its URL."""
    port = free_port()
    environment = {
        **os.environ,
        "PYTHONPATH": str(ROOT),
        "HOST": "127.0.0.1",
        "PORT": str(port),
        "FUNCTION_SOURCE": str(source),
        "FUNCTION_TARGET": "handle",
        "STORE_URL": f"file://{store}",
        "THREADS": "8",
    }
    process = subprocess.Popen([sys.executable, "-m", "functions.runtime.serve"], env=environment, cwd=ROOT)
    try:
        until(lambda: _healthy(port) or process.poll() is not None, what="the function")
        yield f"http://127.0.0.1:{port}/"
    finally:
        process.terminate()
        process.wait(60)


def _healthy(port: int) -> bool:
    try:
        return httpx.get(f"http://127.0.0.1:{port}/healthz").status_code == 200
    except httpx.TransportError:
        return False


def _sample(job: str) -> bytes:
    return (ROOT / "events" / "samples" / f"dev.errands.{job}.requested.v1.json").read_bytes()


def _deliver(url: str, job: str) -> httpx.Response:
    return httpx.post(url, content=_sample(job), headers=STRUCTURED, timeout=60)


def _stored(store: Path) -> list[str]:
    return sorted(str(file.relative_to(store)) for file in store.rglob("*") if file.is_file())


@pytest.mark.parametrize("job", JOBS)
def test_deliveries_at_once_to_two_processes_give_one_reply_and_one_result(tmp_path: Path, job: str) -> None:
    source = ROOT / "functions" / job / "main.py"
    with serving(source, tmp_path) as first, serving(source, tmp_path) as second, ThreadPoolExecutor(8) as pool:
        responses = list(pool.map(lambda number: _deliver((first, second)[number % 2], job), range(8)))

    assert {response.status_code for response in responses} == {200}
    assert (
        len({(response.headers["ce-id"], response.headers["ce-time"], response.content) for response in responses}) == 1
    )
    named = [each["key"] for each in responses[0].json()["artifacts"]]
    assert [key for key in _stored(tmp_path) if key.startswith("jobs/")] == sorted(named)


@pytest.mark.parametrize("job", JOBS)
@pytest.mark.parametrize("crash", [DYING, DYING_EARLIER], ids=["after the record", "before the record"])
def test_a_crash_between_the_work_and_the_response_leaves_one_result_and_the_same_reply(
    tmp_path: Path, job: str, crash: str
) -> None:
    source, store = ROOT / "functions" / job / "main.py", tmp_path / "store"
    dying = tmp_path / "dying.py"
    dying.write_text(crash.format(source=str(source)))
    with serving(dying, store) as url, pytest.raises(httpx.TransportError):
        _deliver(url, job)
    left_by_the_crash = _stored(store)
    with serving(source, store) as url:
        again, once_more = _deliver(url, job), _deliver(url, job)

    assert [key for key in left_by_the_crash if key.startswith("jobs/")]
    assert again.status_code == 200
    assert (again.headers["ce-id"], again.content) == (once_more.headers["ce-id"], once_more.content)
    assert [key for key in _stored(store) if key.startswith("jobs/")] == sorted(
        each["key"] for each in again.json()["artifacts"]
    )


def test_a_job_that_failed_is_answered_with_the_same_failure_again(tmp_path: Path) -> None:
    job = json.loads(_sample("image"))
    job["data"]["source"] = {"data_base64": "bm8gcGljdHVyZQ=="}
    with serving(ROOT / "functions/image/main.py", tmp_path) as url:
        responses = [httpx.post(url, content=json.dumps(job), headers=STRUCTURED, timeout=60) for _ in range(2)]

    assert [response.headers["ce-outcome"] for response in responses] == ["failed", "failed"]
    assert responses[0].headers["ce-id"] == responses[1].headers["ce-id"]
    assert responses[0].headers["ce-time"] == responses[1].headers["ce-time"]


def test_jobs_of_one_correlation_or_with_anothers_name_are_each_done(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("STORE_URL", tmp_path.as_uri())
    client = FunctionClient(ROOT / "functions/ics/main.py")
    request = json.loads((ROOT / "events/samples/dev.errands.ics.requested.v1.json").read_text())
    victim = {"jobsource": request["source"], "jobid": "2"}
    asked = [
        request | {"id": "attacker", "source": "/evil", **victim},
        *(request | {"id": id_, "correlationid": "one-correlation"} for id_ in ("1", "2")),
    ]

    answers = [client.post("/", content=json.dumps(each), headers=STRUCTURED) for each in asked]

    assert [each.headers["ce-outcome"] for each in answers] == ["completed"] * 3
    assert [(each.headers["ce-jobsource"], each.headers["ce-jobid"]) for each in answers] == [
        ("/evil", "attacker"),
        (request["source"], "1"),
        (request["source"], "2"),
    ]
    assert "ce-correlationid" not in answers[0].headers
    assert {each.headers["ce-correlationid"] for each in answers[1:]} == {"one-correlation"}
    assert len({each.json()["artifacts"][0]["key"] for each in answers}) == 3


def test_more_extensions_than_are_carried_fail_the_job(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STORE_URL", tmp_path.as_uri())
    client = FunctionClient(ROOT / "functions/ics/main.py")
    request = json.loads((ROOT / "events/samples/dev.errands.ics.requested.v1.json").read_text())
    many = {f"x{number}": "y" for number in range(21)}

    answer = client.post("/", content=json.dumps(request | many), headers=STRUCTURED)

    assert answer.headers["ce-outcome"] == "failed"
    assert answer.json()["detail"] == "at most 20 extension attributes are carried, got 21"
    assert "ce-x9" not in answer.headers


def test_the_same_job_delivered_twice_has_one_name_of_its_result_that_its_sender_cannot_compute(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    given = {"STORE_URL": tmp_path.as_uri(), "STORE_PUBLIC_URL": "https://files", "STORE_NAMES_SECRET": "s" * 32}
    for name, value in given.items():
        monkeypatch.setenv(name, value)
    clients = [FunctionClient(ROOT / "functions/ics/main.py") for _ in range(2)]

    replies = [json.loads(each.post("/", content=_sample("ics"), headers=STRUCTURED).content) for each in clients]

    assert replies[0] == replies[1]
    monkeypatch.setenv("STORE_NAMES_SECRET", "t" * 32)
    monkeypatch.setenv("STORE_URL", (tmp_path / "other").as_uri())
    other = FunctionClient(ROOT / "functions/ics/main.py").post("/", content=_sample("ics"), headers=STRUCTURED)
    assert json.loads(other.content)["artifacts"][0]["key"] != replies[0]["artifacts"][0]["key"]


@pytest.mark.parametrize("job", JOBS)
def test_no_function_starts_that_would_publish_results_under_names_that_anybody_computes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, job: str
) -> None:
    monkeypatch.setenv("STORE_URL", tmp_path.as_uri())
    monkeypatch.setenv("STORE_PUBLIC_URL", "https://files")

    with pytest.raises(ValueError, match="STORE_PUBLIC_URL needs a STORE_NAMES_SECRET"):
        FunctionClient(ROOT / "functions" / job / "main.py")
