"""The READMEs tell the truth: their function works as written, their tables and commands are those that there are."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.local_runner import ROOT

pytestmark = pytest.mark.slow

README = (ROOT / "README.md").read_text()
TUTORIAL = (ROOT / "functions" / "README.md").read_text()
READMES = [each.relative_to(ROOT) for each in sorted(ROOT.glob("[a-zA-Z]*/**/README.md")) if "vendor" not in each.parts]
SHOWN_FILE = re.compile(r"^`([\w/.-]+)`:\n\n```\w+\n(.*?)^```$", re.MULTILINE | re.DOTALL)
LINK = re.compile(r"\]\((?!https?:|mailto:)([^)#\s]*)(?:#([^)\s]*))?\)")
NEW_ROW = "| [archive](functions/archive/README.md) | `dev.errands.archive.requested.v1` | files | one ZIP archive |\n"


@pytest.fixture(scope="session")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of this project in which somebody has done what the tutorial says, to the letter."""
    copied = tmp_path_factory.mktemp("tutorial") / "project"
    copied.mkdir()
    for name in ("events", "functions", "knative", "keda", "tests", "pyproject.toml", "README.md", "Makefile"):
        if (ROOT / name).is_dir():
            shutil.copytree(ROOT / name, copied / name, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy(ROOT / name, copied / name)
    for name, content in SHOWN_FILE.findall(TUTORIAL):
        (copied / name).parent.mkdir(parents=True, exist_ok=True)
        (copied / name).write_text(content)
    (copied / "functions/archive/README.md").write_text("# archive\n\nPacks files into one ZIP archive.\n")
    with (copied / "knative/base/kustomization.yaml").open("a") as listing:
        listing.write("  - archive.yaml\n")
    declared = (copied / "pyproject.toml").read_text()
    (copied / "pyproject.toml").write_text(declared.replace("\nics = [", "\narchive = []\nics = [", 1))
    first_row = README.index("| [ics](functions/ics/README.md)")
    (copied / "README.md").write_text(README[:first_row] + NEW_ROW + README[first_row:])
    return copied


def run_there(project: Path, *command: str, timeout_s: float = 300) -> None:
    """Run a Python module in the copy, whose own files come before the installed ones; fail with what it said."""
    done = subprocess.run(
        [sys.executable, "-m", *command],
        cwd=project,
        env={**os.environ, "PYTHONPATH": str(project)},
        capture_output=True,
        text=True,
        timeout=timeout_s,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_function_of_the_tutorial_works_as_it_is_written(project: Path, tmp_path: Path) -> None:
    send = ["send", "job.json", "--type", "dev.errands.archive.requested.v1", "--wait"]
    errands = ["knative.cli.main"]
    own_errands = [sys.executable, "-m", *errands]

    run_there(project, *errands, "exec", "--data", str(tmp_path / "data"), "--", *own_errands, *send)

    stored = next((tmp_path / "data" / "store").rglob("archive.zip"))
    unzip = [sys.executable, "-m", "zipfile", "-l", str(stored)]
    listed = subprocess.run(unzip, capture_output=True, text=True, check=True)
    assert "hello.txt" in listed.stdout


@pytest.mark.parametrize(
    "check",
    [
        ["ruff", "check", "."],
        ["ruff", "format", "--check", "."],
        ["mypy", "functions/archive", "tests/functions/archive"],
        ["knative.cli.main", "lint", "knative/base", "--events", "events/samples"],
        ["pytest", "-q", "-p", "no:cacheprovider", "tests/functions/archive", "tests/knative/manifests"],
        ["pytest", "-q", "-p", "no:cacheprovider", "tests/scenarios/test_readme.py", "-k", "table_of_functions"],
    ],
    ids=["ruff", "format", "mypy", "lint", "tests", "table"],
)
def test_the_function_of_the_tutorial_passes_the_checks_when_copied_literally(project: Path, check: list[str]) -> None:
    run_there(project, *check)


def test_the_table_of_functions_lists_every_folder_and_no_other() -> None:
    listed = set(re.findall(r"^\| \[(\w+)\]\(functions/\w+/README\.md\)", README, re.MULTILINE))

    assert listed == {file.parent.name for file in (ROOT / "functions").glob("*/main.py")}


@pytest.mark.parametrize("readme", [Path("README.md"), *READMES], ids=str)
def test_every_link_leads_somewhere(readme: Path) -> None:
    broken = []
    for path, heading in LINK.findall((ROOT / readme).read_text()):
        target = (ROOT / readme).parent / path if path else ROOT / readme
        if not target.exists() or (heading and target.suffix == ".md" and heading not in headings(target)):
            broken.append(f"{path}#{heading}")

    assert not broken


def headings(markdown: Path) -> set[str]:
    """The anchors of a file, as GitHub makes them: lower case, no punctuation, hyphens for blanks."""
    titles = re.findall(r"^#+ (.*)$", markdown.read_text(), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", each.lower()).replace(" ", "-") for each in titles}


@pytest.mark.parametrize("readme", [Path("README.md"), Path("CONTRIBUTING.md"), *READMES], ids=str)
def test_every_make_command_exists(readme: Path) -> None:
    text = (ROOT / readme).read_text() if (ROOT / readme).exists() else ""
    named = set(re.findall(r"(?:`|^)make ([a-z][a-z-]+)(?=[`\s])", text, re.MULTILINE))
    makefile = (ROOT / "Makefile").read_text()

    assert [each for each in named if not re.search(rf"^{each}:", makefile, re.MULTILINE)] == []


def test_the_two_commands_stand_before_line_40() -> None:
    beginning = "\n".join(README.splitlines()[:40])

    assert "make demo" in beginning
    assert "make test" in beginning


def test_the_words_of_the_glossary_are_twenty_at_most() -> None:
    glossary = README[README.index("## Words") : README.index("## On a cluster")]

    assert 0 < len(re.findall(r"^\| \w", glossary, re.MULTILINE)) - 1 <= 20


@pytest.mark.parametrize("folder", ["events", "functions", "knative", "keda", "tests"])
def test_every_folder_has_a_readme(folder: str) -> None:
    """Each room says in a few lines what lives there and where to begin."""
    code = {file.parent for file in (ROOT / folder).rglob("*.py") if "__pycache__" not in file.parts}
    rooms = {each for each in code if (each / "__init__.py").is_file() or each == ROOT / folder}

    assert sorted(str(each.relative_to(ROOT)) for each in rooms if not (each / "README.md").is_file()) == []
