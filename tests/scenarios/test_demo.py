"""The demonstration is the widest test: real PHP, a real mail server, every function, a dead letter replayed."""

import os
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, suppress
from functools import partial
from pathlib import Path

import httpx
import pytest

from tests.support.absent import absent
from tests.support.local_runner import ROOT, until

pytestmark = pytest.mark.slow


@pytest.mark.parametrize("api", [pytest.param("PHP", marks=pytest.mark.php), "Python"])
def test_the_demonstration_ends_well(tmp_path: Path, api: str) -> None:
    if api == "PHP" and shutil.which("php") is None:
        assert not os.environ.get("CI"), "CI must have php"
        absent("php is not installed")
    without_php = {} if api == "PHP" else {"PATH": str(tmp_path)}
    project = tmp_path / "project"
    for folder in ("events", "functions", "knative", "tests"):
        shutil.copytree(ROOT / folder, project / folder, ignore=shutil.ignore_patterns("__pycache__"))

    done = subprocess.run(
        [sys.executable, "-m", "tests.demo"],
        cwd=project,
        env={**os.environ, **without_php, "PYTHONPATH": str(project)},
        capture_output=True,
        text=True,
        timeout=180,
        check=False,
    )

    assert done.returncode == 0, done.stdout + done.stderr
    assert f"the API ({api})" in done.stdout
    assert done.stdout.count("verified") == 7
    assert "the same, replayed" in done.stdout
    assert [page for page in pages(project, done.stdout) if page.status_code != 200] == []


def pages(project: Path, said: str) -> Iterator[httpx.Response]:
    """What one sees who runs the lines that the demonstration ends with: dead letters, the shop, a result there."""
    _, _, ending = said.partition("To look at it")
    environment = {**os.environ, "PYTHONPATH": str(project)}
    with ExitStack() as stack:
        for line in re.findall(r"^  (\S.*)$", ending, re.MULTILINE):
            started = subprocess.Popen(["bash", "-c", line], cwd=project, env=environment, start_new_session=True)
            stack.callback(started.wait, 60)
            stack.callback(os.killpg, started.pid, signal.SIGTERM)
        for url in re.findall(r"http://\S+$|http://\S+(?=, )", ending, re.MULTILINE):
            page = until(partial(answer, url), what=f"an answer at {url}")
            yield page
            yield from (httpx.get(each) for each in re.findall(r'href="(http[^"]+/artifacts/[^"]+)"', page.text)[:1])


def answer(url: str) -> httpx.Response | None:
    with suppress(httpx.TransportError):
        return httpx.get(url, follow_redirects=True)
    return None


def test_the_demonstration_fails_when_a_job_does_not_end_as_expected() -> None:
    """The check can fail: a row with another outcome than expected is no success."""
    from tests.demo import Row

    row = Row("a job", "ics", {}, "completed", ended={"state": "failed", "reason": "x", "artifacts": []})

    assert not row.well
