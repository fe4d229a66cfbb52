"""The README tells the truth: its function works as written, its table lists what there is, its commands exist."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.local_runner import ROOT

README = (ROOT / "README.md").read_text()
SHOWN_FILE = re.compile(r"^`([\w/.-]+)`:\n\n```\w+\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def test_the_function_of_the_readme_works_as_it_is_written(tmp_path: Path) -> None:
    project = tmp_path / "project"
    for folder in ("events", "functions", "knative"):
        shutil.copytree(ROOT / folder, project / folder, ignore=shutil.ignore_patterns("__pycache__"))
    for name, content in SHOWN_FILE.findall(README):
        (project / name).parent.mkdir(exist_ok=True)
        (project / name).write_text(content)
    with (project / "knative" / "kustomization.yaml").open("a") as listing:
        listing.write("  - archive.yaml\n")

    send = ["send", "job.json", "--type", "dev.errands.archive.requested.v1", "--wait"]
    errands = [sys.executable, "-m", "knative.cli.main"]
    done = subprocess.run(
        [*errands, "exec", "--data", str(tmp_path / "data"), "--", *errands, *send],
        cwd=project,
        env={**os.environ, "PYTHONPATH": str(project)},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )

    assert done.returncode == 0, done.stdout + done.stderr
    assert re.search(r"archive\.zip  \d+ bytes", done.stdout)
    stored = next((tmp_path / "data" / "store").rglob("archive.zip"))
    unzip = [sys.executable, "-m", "zipfile", "-l", str(stored)]
    listed = subprocess.run(unzip, capture_output=True, text=True, check=True)
    assert "hello.txt" in listed.stdout


def test_the_table_of_functions_lists_every_folder_and_no_other() -> None:
    listed = set(re.findall(r"^\| \[(\w+)\]\(functions/\w+/README\.md\)", README, re.MULTILINE))

    assert listed == {file.parent.name for file in (ROOT / "functions").glob("*/main.py")}


@pytest.mark.parametrize("target", sorted(set(re.findall(r"\]\((?!https?:)([^)#]+)\)", README))))
def test_every_link_leads_somewhere(target: str) -> None:
    assert (ROOT / target).exists()


@pytest.mark.parametrize("command", sorted(set(re.findall(r"^make (\w+)", README, re.MULTILINE))))
def test_every_make_command_exists(command: str) -> None:
    assert re.search(rf"^{command}:", (ROOT / "Makefile").read_text(), re.MULTILINE)


def test_the_two_commands_stand_before_line_40() -> None:
    beginning = "\n".join(README.splitlines()[:40])

    assert "make demo" in beginning
    assert "make test" in beginning
