"""`errands jobs`, `errands status` and `errands send --wait`, against a runner on a port that nobody names."""

import json
import os
import shlex
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.knative.cli.test_cli import Errands, clean, command
from tests.support.local_runner import ROOT, Up, event, front_door, service, trigger, up

pytestmark = pytest.mark.slow

FAILING = {"do": "status", "status": 500, "detail": "the paint is wet"}


@pytest.fixture(scope="module")
def runner(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Up]:
    documents = (service(), trigger(retry=1, delay="PT0.5S"), *front_door())
    with up(tmp_path_factory.mktemp("up"), documents) as running:
        yield running


def errands(runner: Up, *arguments: str, stdin: str = "") -> Errands:
    """The command as it is typed where the runner's data is, without a word about its port."""
    done = subprocess.run(
        command(*arguments),
        input=stdin,
        env=clean({"ERRANDS_DATA": str(runner.data)}),
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert "Traceback" not in done.stdout + done.stderr, done.stderr
    return done


def send(runner: Up, id_: str, data: dict[str, object], *options: str) -> Errands:
    return errands(runner, "send", "-", *options, stdin=json.dumps(event(id_, data)))


def test_a_wait_says_at_once_that_an_attempt_failed_and_why(runner: Up, tmp_path: Path) -> None:
    flaky = send(runner, "flaky", {**FAILING, "once": str(tmp_path / "once")}, "--wait")
    dead = send(runner, "dead", FAILING, "--wait")
    late = send(runner, "late", {"do": "sleep", "s": 3}, "--wait", "--timeout", "0.5")

    assert (flaky.returncode, dead.returncode, late.returncode) == (0, 2, 3)
    assert "attempt failed 1 by echo: the paint is wet" in flaky.stderr
    assert "\ncompleted flaky" in flaky.stdout
    assert dead.stderr.count("the paint is wet") == 2
    assert "errands jobs watch late" in late.stderr


def test_jobs_are_listed_shown_and_watched_by_their_ids(runner: Up) -> None:
    send(runner, "shown", {"do": "fail"}, "--wait", "--subject", "order-7")
    listed = errands(runner, "jobs", "list", "--subject", "order-7")
    as_json = errands(runner, "jobs", "list", "--subject", "order-7", "--json")
    shown = errands(runner, "jobs", "show", "shown")
    watched = errands(runner, "jobs", "watch", "shown")
    every = errands(runner, "jobs", "show", "shown", "--json")
    page = errands(runner, "jobs", "list", "--state", "failed", "--limit", "1", "--api", "local")
    unknown = errands(runner, "jobs", "show", "never was")

    job = json.loads(as_json.stdout)
    assert (job["id"], job["state"]) == ("shown", "failed")
    assert listed.stdout.startswith("failed")
    assert job["job"] in listed.stdout
    assert "the job was asked to fail" in shown.stdout
    assert f"errands jobs retry {job['job']}" in shown.stdout
    assert [each["what"] for each in json.loads(every.stdout)["timeline"] if each["what"] != "sent"] == [
        "accepted",
        "failed",
    ]
    assert (watched.returncode, "failed" in watched.stdout) == (1, True)
    assert page.stdout.startswith("failed")
    assert (unknown.returncode, unknown.stderr) == (64, "there is no job 'never was'; see: errands jobs list\n")


def test_a_job_is_cancelled_and_done_again_and_the_hints_can_be_typed(runner: Up, tmp_path: Path) -> None:
    send(runner, "slow one", {"do": "sleep", "s": 15, "once": str(tmp_path / "once")})
    cancelled = errands(runner, "jobs", "cancel", "slow one")
    again = errands(runner, "jobs", "cancel", "slow one")
    shown = errands(runner, "jobs", "show", "slow one")
    hint = next(line for line in shown.stdout.splitlines() if line.startswith("errands jobs retry"))
    retried = errands(runner, *shlex.split(hint)[1:], "--json")
    watched = errands(runner, "jobs", "watch", "slow one", "--json")

    assert (cancelled.returncode, cancelled.stdout.split()[0]) == (0, "cancelled")
    assert (again.returncode, again.stderr) == (1, "the job is cancelled\n")
    assert json.loads(retried.stdout)["state"] in ("waiting", "sent")
    assert watched.returncode == 0
    assert json.loads(watched.stdout.splitlines()[-1])["job"]["state"] == "completed"


def test_the_status_counts_what_there_is(runner: Up) -> None:
    send(runner, "counted", {}, "--wait")
    text, as_json = errands(runner, "status"), errands(runner, "status", "--json")

    assert text.stdout.startswith(f"the gateway at {runner.url.rstrip('/')} is well")
    assert sum(each["completed"] for each in json.loads(as_json.stdout)["hour"]) >= 1


def test_where_nobody_answers_the_exit_code_says_so(tmp_path: Path) -> None:
    environment = clean({"ERRANDS_DATA": str(tmp_path), "K_SINK": "http://127.0.0.1:9/"})
    asked = [["jobs", "list"], ["jobs", "show", "x"], ["status"]]
    done = [subprocess.run(command(*each), env=environment, cwd=ROOT, capture_output=True, text=True) for each in asked]  # noqa: PLW1510  # below

    assert [each.returncode for each in done] == [69] * 3
    assert all("start it with: errands up" in each.stderr for each in done)
    assert not os.listdir(tmp_path)
