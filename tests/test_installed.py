"""Errands as others have it: the wheel in an environment of its own, with no clone, and a project of functions there.

The libraries are those of this environment, linked to by a .pth file: no index is asked.
"""

import os
import re
import shutil
import signal
import subprocess
import sys
import sysconfig
import zipfile
from collections.abc import Sequence
from pathlib import Path

import httpx
import pytest

from tests.support.local_runner import ROOT, until
from tests.support.ports import free_port
from tests.support.wheel import build_wheel

pytestmark = pytest.mark.slow

SOURCES = ("errands", "events", "functions", "keda", "knative")
AUTHORS = (ROOT / "functions/public/errands/README.md").read_text()
SHELL, PYTHON = (re.compile(rf"^```{each}\n(.*?)^```$", re.MULTILINE | re.DOTALL) for each in ("sh", "python"))
REFUSED = "the manifests have changed, and cannot be run so; the old ones still are"
OF_PYTHON = ("-m", "pip", "install", "--quiet", "--no-deps", "--no-index", "--disable-pip-version-check")


@pytest.fixture(scope="session")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel as others get it."""
    return build_wheel(tmp_path_factory.mktemp("wheel"))


@pytest.fixture(scope="session")
def environment(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An environment in which nothing but the wheel is Errands."""
    folder = tmp_path_factory.mktemp("installed") / "venv"
    subprocess.run([sys.executable, "-m", "venv", folder], check=True, timeout=300)
    subprocess.run([folder / "bin/python", *OF_PYTHON, wheel], check=True, timeout=300)
    packages = next(folder.glob("lib/python*/site-packages"))
    (packages / "libraries.pth").write_text(sysconfig.get_path("purelib") + "\n")
    return folder


@pytest.fixture(scope="session")
def project(environment: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project that `errands new` has begun, with one function."""
    folder = tmp_path_factory.mktemp("projects")
    run(environment, folder, "errands", "new", "my-shop")
    run(environment, folder / "my-shop", "errands", "new", "function", "greet")
    return folder / "my-shop"


def run(environment: Path, folder: Path, program: str, *arguments: str, code: int = 0, stdin: str = "") -> str:
    """What a program of the environment prints, run in a folder; its exit code is the one that is expected."""
    command: list[str | Path] = [environment / "bin" / program, *arguments]
    done = subprocess.run(
        command,
        check=False,
        cwd=folder,
        env=variables(environment),
        input=stdin,
        capture_output=True,
        text=True,
        timeout=240,
    )
    shown: str = done.stdout + done.stderr
    assert done.returncode == code, shown
    return shown


def variables(environment: Path) -> dict[str, str]:
    """This process' variables, without what leads to this checkout."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("PYTHON", "ERRANDS", "K_SINK"))}
    return {**kept, "PATH": f"{environment / 'bin'}:{os.environ['PATH']}", "VIRTUAL_ENV": str(environment)}


class Started:
    """An `errands up` of the environment, in a folder."""

    def __init__(self, environment: Path, folder: Path, log: Path, *arguments: str) -> None:
        self.port, self.log = free_port(), log
        command: Sequence[str | Path] = [environment / "bin/errands", "up", "--port", str(self.port), *arguments]
        with log.open("w") as stream:
            self.process = subprocess.Popen(
                command, cwd=folder, env=variables(environment), stdout=stream, stderr=subprocess.STDOUT
            )

    def __enter__(self) -> "Started":
        return self.ready()

    def __exit__(self, *_: object) -> None:
        self.process.send_signal(signal.SIGTERM)
        self.process.wait(60)

    def ready(self, times: int = 1) -> "Started":
        """Once it has said so as often."""
        until(lambda: self.log.read_text().count("errands is ready") >= times or self.process.poll() is not None)
        assert self.process.poll() is None, self.log.read_text()
        return self

    @property
    def sink(self) -> str:
        return f"http://127.0.0.1:{self.port}/"


def test_the_wheel_has_what_it_needs_and_says_that_it_is_typed(wheel: Path) -> None:
    held = zipfile.ZipFile(wheel).namelist()

    packages = {name.partition("/")[0] for name in held if name.endswith("/__init__.py")}
    assert packages == set(SOURCES)
    assert {"errands/py.typed", "events/py.typed", "functions/py.typed"} <= set(held)
    assert {f"knative/base/{each.name}" for each in (ROOT / "knative/base").iterdir() if each.is_file()} <= set(held)


def test_the_built_in_functions_run_from_the_wheel(environment: Path, tmp_path: Path) -> None:
    with Started(environment, tmp_path, tmp_path / "log") as up:
        shown = run(environment, tmp_path, "errands", "send", "ics", "--wait", "--sink", up.sink)

    assert "\ncompleted " in shown


def test_what_authors_import_has_types(environment: Path, tmp_path: Path) -> None:
    (tmp_path / "shop.py").write_text(
        "from errands import Event, Request, Result, function\n\n\n"
        "class PackRequested(Request, frozen=True, kw_only=True):\n    count: int\n\n\n"
        "class PackCompleted(Result, frozen=True, kw_only=True):\n    count: int\n\n\n"
        "@function(PackRequested)\n"
        "def handle(job: PackRequested, event: Event) -> PackCompleted:\n"
        "    return PackCompleted(count=job.cuont)\n\n\n"
        "reveal_type(handle)\n"
    )
    python: list[str | Path] = [sys.executable, "-m", "mypy", "--python-executable", environment / "bin/python"]
    command = [*python, "--strict", "shop.py"]

    done = subprocess.run(command, check=False, cwd=tmp_path, capture_output=True, text=True, timeout=300)
    shown = done.stdout

    assert '"PackRequested" has no attribute "cuont"; maybe "count"?' in shown
    assert "starlette.requests.Request" in shown
    assert "import-untyped" not in shown


def test_a_project_runs_one_handler_once_and_shows_what_came_of_it(environment: Path, project: Path) -> None:
    shown = run(environment, project, "errands", "run", "my_shop/greet/main.py", "--set", "SALUTATION=Hi")

    assert "event    dev.errands.greet.requested.v1" in shown
    assert "dev.errands.greet.completed.v1  type=" in shown.replace("\x1b[0m", "").replace("\x1b[2m", "")
    assert "outcome  completed in " in shown
    assert '"text": "Hi, Ada"' in shown


def test_a_debugger_stops_in_the_handler(environment: Path, project: Path) -> None:
    main = project / "my_shop/greet/main.py"
    written = main.read_text()
    main.write_text(written.replace("    try:\n", "    breakpoint()\n    try:\n"))
    try:
        shown = run(environment, project, "python", "-m", "errands", "run", str(main), stdin="p job.name\nc\n")
    finally:
        main.write_text(written)

    assert "(Pdb) 'Ada'" in shown
    assert "outcome  completed" in shown


def test_a_projects_own_tests_pass_by_themselves_and_against_an_errands_of_their_own(
    environment: Path, project: Path
) -> None:
    alone = run(environment, project, "python", "-m", "pytest", "-q")
    whole = run(environment, project, "errands", "exec", "--", "python", "-m", "pytest", "-q")

    assert "3 passed, 1 skipped" in alone
    assert "4 passed" in whole


def test_a_project_is_linted_with_the_built_in_manifests(environment: Path, project: Path) -> None:
    assert "0 errors, 0 warnings" in run(environment, project, "errands", "lint", "--strict")


@pytest.mark.skipif(shutil.which("kubectl") is None, reason="kubectl is needed")
def test_a_projects_overlay_is_rendered_with_what_the_wheel_has(environment: Path, project: Path) -> None:
    (project / "overlay/builtin").unlink()  # as in a repository that was cloned

    linted = run(environment, project, "errands", "lint", "overlay", "--production", "--strict")

    assert "0 errors, 0 warnings" in linted
    assert (project / "overlay/builtin").resolve().is_relative_to(environment)


def test_a_projects_functions_and_the_built_in_ones_run_together_and_a_changed_manifest_is_taken_up(
    environment: Path, project: Path, tmp_path: Path
) -> None:
    manifest = project / "manifests/greet.yaml"
    written = manifest.read_text()
    with Started(environment, project, tmp_path / "log", "--reload", "--data", str(tmp_path / "data")) as up:
        for name in ("greet", "ics"):
            run(environment, project, "errands", "send", name, "--wait", "--sink", up.sink)
        try:
            manifest.write_text(written.replace("retry: 3", "retry: many"))
            until(lambda: up.log.read_text().count(REFUSED) == 1 or up.process.poll())
            manifest.write_text(written.replace("    retry: 3\n", "    retries: 3\n"))
            until(lambda: up.log.read_text().count(REFUSED) == 2 or up.process.poll())
            manifest.write_text(written.replace('parallelism: "8"', 'parallelism: "1"'))  # the linter's to see
            until(lambda: up.log.read_text().count(REFUSED) == 3 or up.process.poll())
            named = "            - name: SALUTATION\n              value: Moin\n            - name: THREADS"
            manifest.write_text(written.replace("            - name: THREADS", named))
            up.ready(times=2)
            run(environment, project, "errands", "send", "greet", "--wait", "--sink", up.sink)
            stored = [each.read_text() for each in (tmp_path / "data/store/ledger").rglob("*") if each.is_file()]
        finally:
            manifest.write_text(written)

    assert any("Moin, Ada" in each for each in stored)


def test_what_the_readme_for_authors_shows_works_as_it_is_written(environment: Path, tmp_path: Path) -> None:
    elsewhere = ("install", "--port", "deploy")  # an index, a server, a cluster
    begin, once = (block for block in SHELL.findall(AUTHORS) if not any(each in block for each in elsewhere))
    [test] = [block for block in PYTHON.findall(AUTHORS) if "def test_" in block]  # the other: test_progress.py
    (tmp_path / "test_readme.py").write_text(test)
    script = f"set -e\n{begin}{once}cp ../test_readme.py tests/\npython -m pytest -q tests/test_readme.py\n"

    shown = shell(environment, tmp_path, script)

    assert shown.count(" passed") == 3
    assert '"text": "Moin, Ada"' in shown


def shell(environment: Path, folder: Path, script: str) -> str:
    """What a script prints, in which the programs of the environment come first."""
    command = ["bash", "-c", script]
    done = subprocess.run(
        command, check=False, cwd=folder, env=variables(environment), capture_output=True, text=True, timeout=300
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_functions_frameworks_own_command_serves_a_projects_function(
    environment: Path, project: Path, tmp_path: Path
) -> None:
    port, script = free_port(), shutil.which("functions-framework", path=Path(sys.executable).parent)
    assert script
    command = [str(environment / "bin/python"), script, "--target", "handle", "--source", "my_shop/greet/main.py"]
    settings = {**variables(environment), "STORE_URL": tmp_path.as_uri(), "PYTHONPATH": "."}
    process = subprocess.Popen([*command, "--host", "127.0.0.1", "--port", str(port)], cwd=project, env=settings)
    try:
        event = run(environment, project, "errands", "test-event", "greet")
        until(lambda: _answers(port))
        answer = httpx.post(
            f"http://127.0.0.1:{port}/", content=event, headers={"content-type": "application/cloudevents+json"}
        )
    finally:
        process.terminate()
        process.wait(30)

    assert answer.json() == {"text": "Hello, Ada"}


def _answers(port: int) -> bool:
    try:
        return httpx.get(f"http://127.0.0.1:{port}/healthz").is_success
    except httpx.TransportError:
        return False


def test_a_package_that_would_take_the_place_of_errands_own_is_refused_with_the_line_that_mends_it(
    environment: Path, project: Path
) -> None:
    taking = project / "functions"
    taking.mkdir()
    try:
        (taking / "__init__.py").touch()
        shown = run(environment, project, "errands", "up", "--port", "0", code=64)
    finally:
        shutil.rmtree(taking)

    assert f"{taking} takes the place of Errands' own package 'functions'" in shown
    assert f"mv {taking} {project / 'my_shop_functions'}" in shown
