"""The commands of the READMEs run as they stand, in a folder where they have what they name; only ports are exchanged.

Those for authors are in tests/test_installed.py, the tutorial in test_readme.py, PHP in test_php_snippets.py, backups
in tests/knative/cli/test_backup.py.
"""

import os
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import httpx
import pytest
import yaml

from tests.support.local_runner import ROOT, until
from tests.support.overlays import kustomized
from tests.support.ports import free_port

pytestmark = pytest.mark.slow

README = (ROOT / "README.md").read_text()
KNATIVE = (ROOT / "knative/README.md").read_text()
KEDA = (ROOT / "keda/README.md").read_text()
SAMPLES = ROOT / "events/samples"
OWN_PROGRAMS = Path(sys.executable).parent
TIMEOUT_S = 300


def block(readme: str, language: str, part: str) -> str:
    """The one block of a language that has this part."""
    found = re.findall(r"^```(\w*)\n(.*?)^```$", readme, re.MULTILINE | re.DOTALL)
    [only] = [each for named, each in found if named == language and part in each]
    return str(only)


def shell(script: str, folder: Path, **variables: str) -> "subprocess.CompletedProcess[str]":
    """What a script prints whose programs are this environment's."""
    environment = {**os.environ, "PATH": f"{OWN_PROGRAMS}:{os.environ['PATH']}", **variables}
    command = ["bash", "-e", "-o", "pipefail", "-c", script]
    return subprocess.run(
        command, cwd=folder, env=environment, capture_output=True, text=True, timeout=TIMEOUT_S, check=False
    )


def answer(url: str) -> httpx.Response | None:
    try:
        return httpx.get(url)
    except httpx.TransportError:
        return None


@contextmanager
def started(line: str, folder: Path, ready_url: str) -> Iterator[None]:
    """A command that serves, until it has answered, and while one looks."""
    process = subprocess.Popen(["bash", "-c", f"exec {line}"], cwd=folder, start_new_session=True)
    try:
        until(partial(answer, ready_url), what=f"an answer at {ready_url}")
        yield
    finally:
        os.killpg(process.pid, signal.SIGTERM)
        process.wait(60)


@pytest.fixture(scope="module")
def clone(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with what the commands of README.md name: the Makefile, the environment, a job, a program of tests."""
    folder = tmp_path_factory.mktemp("clone")
    for each in ("Makefile", "pyproject.toml", "events", "functions", "knative", "keda"):
        (folder / each).symlink_to(ROOT / each)
    (folder / ".venv").mkdir()
    (folder / ".venv/bin").symlink_to(OWN_PROGRAMS)
    shutil.copy(SAMPLES / "dev.errands.report.requested.v1.json", folder / "my-job.json")
    phpunit = folder / "vendor/bin/phpunit"
    phpunit.parent.mkdir(parents=True)
    phpunit.write_text('#!/bin/sh\necho "tested against $K_SINK"\n')
    phpunit.chmod(0o755)
    return folder


@pytest.fixture(scope="module")
def port(clone: Path) -> Iterator[int]:
    """Errands, started by the line of README.md, on another port."""
    [line] = [each.partition("#")[0] for each in block(README, "sh", "make up").splitlines() if each[:7] == "make up"]
    chosen = free_port()
    there = f"{line.strip()} --old-file=.venv/ready ARGS=--port={chosen}"
    with started(there, clone, f"http://127.0.0.1:{chosen}/readyz"):
        yield chosen


def lines_of(readme: str, part: str) -> list[str]:
    """The commands of a block, without what starts Errands."""
    return [each.partition("  #")[0].strip() for each in block(readme, "sh", part).splitlines() if " up" not in each]


@pytest.mark.parametrize("line", lines_of(README, "errands send my-job.json"))
def test_each_command_of_the_first_readme_works(clone: Path, port: int, line: str) -> None:
    done = shell(line, clone, K_SINK=f"http://127.0.0.1:{port}/")

    assert done.returncode == 0, done.stdout + done.stderr
    assert "--wait" not in line or "\ncompleted " in done.stdout
    assert "phpunit" not in line or "tested against http://127.0.0.1:" in done.stdout


def test_a_long_report_is_done_as_the_work_queues_readme_sends_it(clone: Path, port: int) -> None:
    [line] = [each for each in lines_of(KEDA, "send longreport") if " send " in each]

    done = shell(line, clone, K_SINK=f"http://127.0.0.1:{port}/")

    assert "\ncompleted " in done.stdout, done.stdout + done.stderr


def test_curl_hands_a_job_over(clone: Path, port: int) -> None:
    done = shell(block(README, "sh", "curl -i http://127.0.0.1:8080/").replace(":8080/", f":{port}/"), clone)

    assert " 202 " in done.stdout.splitlines()[0], done.stdout + done.stderr


def test_functions_frameworks_own_command_serves_a_built_in_function(clone: Path, tmp_path: Path) -> None:
    chosen = free_port()
    written = block(README, "sh", "functions-framework --target").replace("8081", str(chosen))
    serve, curl = re.sub(r"file://\S+", tmp_path.as_uri(), written).split("\n", 1)

    with started(f"env {serve}", clone, f"http://127.0.0.1:{chosen}/"):
        done = shell(curl, clone)

    assert " 200 " in done.stdout.splitlines()[0], done.stdout + done.stderr
    assert "ce-type: dev.errands.ics.completed.v1" in done.stdout.lower()
    assert list(tmp_path.rglob("*.ics"))


LIVE = """
namespace: live
resources: [../../k8s]
replacements:
  - source: {kind: Service, name: deadletters, fieldPath: metadata.namespace}
    targets:
      - select: {group: serving.knative.dev, kind: Service, name: gateway}
        fieldPaths: ["spec.template.spec.containers.*.env.[name=GATEWAY_DEAD_LETTER_SINK].value"]
        options: {delimiter: ., index: 1}
"""


@pytest.fixture
def manifests(tmp_path: Path) -> Path:
    """A folder with manifests, samples and an overlay, named as the linter's README names them."""
    shutil.copytree(ROOT / "knative/base", tmp_path / "k8s")
    shutil.copytree(SAMPLES, tmp_path / "events")
    (tmp_path / "overlays/live").mkdir(parents=True)
    (tmp_path / "overlays/live/kustomization.yaml").write_text(LIVE)
    return tmp_path


@pytest.mark.parametrize("line", block(KNATIVE, "sh", "errands lint k8s/ --events").splitlines())
def test_each_command_of_the_linters_readme_works(manifests: Path, line: str) -> None:
    if "kubectl" in line:
        kustomized(manifests / "overlays/live")  # skips where there is none

    done = shell(line, manifests)

    assert done.returncode == 0, done.stdout + done.stderr


def test_a_finding_is_told_as_the_linters_readme_shows_it(manifests: Path) -> None:
    text = (ROOT / "knative/base/ics.yaml").read_text().replace("ics", "resize")
    sink = re.search(r"^    deadLetterSink:\n(?:      .*\n)+", text, re.MULTILINE)
    assert sink
    (manifests / "k8s/resize.yaml").write_text(text.replace(sink.group(), ""))

    done = shell("errands lint k8s/resize.yaml k8s/broker.yaml", manifests)

    unnumbered = re.sub(r":\d+:", ":", block(KNATIVE, "", "k8s/resize.yaml:"))
    assert unnumbered.strip() in re.sub(r":\d+:", ":", done.stdout)


@pytest.mark.parametrize(
    "line",
    [
        each
        for readme in (KNATIVE, KEDA)
        for each in block(readme, "sh", "kubectl apply --server-side").splitlines()
        if each.startswith("kubectl create")
    ],
)
def test_each_secret_is_made_by_the_line_that_the_readmes_give(tmp_path: Path, line: str) -> None:
    if shutil.which("kubectl") is None:
        pytest.skip("kubectl is needed")
    dry = 'kubectl() { command kubectl "$@" --dry-run=client --output=yaml; }; '

    if "dkim.pem" in line:
        (key,) = (each for each in KNATIVE.splitlines() if each.startswith("openssl genrsa "))
        shell(key, tmp_path)
    done = shell(dry + line, tmp_path)

    assert yaml.safe_load(done.stdout)["kind"] == "Secret", done.stderr


def test_the_component_of_waiting_jobs_stands_beside_the_bases_as_its_readme_shows(tmp_path: Path) -> None:
    for each in ("knative", "keda"):
        shutil.copytree(ROOT / each, tmp_path / each, ignore=shutil.ignore_patterns("*.py", "__pycache__", "overlays"))
    own = tmp_path / "overlays/own"
    own.mkdir(parents=True)
    bases = "resources: [../../knative/base, ../../keda/base]\n"
    (own / "kustomization.yaml").write_text(bases + block(KEDA, "yaml", "keda/waiting"))

    rendered = list(yaml.safe_load_all(kustomized(own)))

    assert {"callbacks", "mails"} <= {each["metadata"]["name"] for each in rendered if each["kind"] == "Deployment"}
