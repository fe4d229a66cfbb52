"""The data folder is its user's alone, and nothing of a killed function stays in it."""

import json
import os
import signal
import sqlite3
import stat
from pathlib import Path

import pytest

from knative.local.data_folder import held, locked, temporary
from tests.support.local_runner import Up, event, service, trigger, until, up, write_manifests

ECHOING = (service(), trigger())
HOLDER = """
import tempfile, time
from pathlib import Path
from functions.runtime.adapter import Response, http_function

def respond(event):
    folder = tempfile.mkdtemp(prefix="errands-")
    (Path(__file__).parent / "folder").write_text(folder)
    time.sleep(30)
    return Response(202)

handle = http_function(respond)
"""


@pytest.mark.slow
def test_everything_that_a_runner_makes_is_its_users_alone(tmp_path: Path) -> None:
    with up(tmp_path, ECHOING) as runner:
        runner.post(event("1", {"do": "status", "status": 410}))
        until((runner.data / "deadletters.db").exists, what="the dead letter")

        databases = {file.name: mode(file) for file in runner.data.glob("*.db*")}
        assert mode(runner.data) == 0o700
        assert {"journal.db", "deadletters.db"} < set(databases)
        assert set(databases.values()) == {0o600}
        assert not [each for each in runner.data.rglob("*") if mode(each) & 0o077]


@pytest.mark.slow
def test_a_folder_and_its_databases_that_others_can_read_are_closed_with_a_word(tmp_path: Path) -> None:
    data = tmp_path / "data"
    data.mkdir(mode=0o755)
    for name in ("journal.db", "deadletters.db"):
        sqlite3.connect(data / name).close()
        (data / name).touch(mode=0o644)
        (data / name).chmod(0o644)
    with up(tmp_path, ECHOING) as runner:
        modes = [mode(data), mode(data / "journal.db"), mode(data / "deadletters.db")]

    assert modes == [0o700, 0o600, 0o600]
    assert f"{data} was open to other users (755): it is 700 now" in said(runner)
    assert f"{data / 'deadletters.db'} was open to other users (644): it is 600 now" in said(runner)


@pytest.mark.slow
def test_what_a_killed_function_left_is_removed_at_the_next_start(tmp_path: Path) -> None:
    source = tmp_path / "holder" / "main.py"
    source.parent.mkdir()
    source.write_text(HOLDER)
    documents = (service("holder", source=source), trigger(subscriber="holder", delay="PT60S"))
    with Up(tmp_path, write_manifests(tmp_path / "manifests", documents)) as runner:
        runner.post(event("1"))
        folder = Path(until(lambda: _text(source.parent / "folder"), what="the function's folder"))
        was_there = folder.is_dir()
        runner.kill()
        (source.parent / "folder").unlink()
        runner.start()

        assert was_there
        assert folder.parent.parent == temporary(runner.data)
        assert not folder.exists()
        runner.kill()  # the function sleeps


@pytest.mark.slow
@pytest.mark.parametrize("ending", [signal.SIGKILL, signal.SIGTERM])
def test_what_a_function_left_is_removed_when_its_process_ends(tmp_path: Path, ending: signal.Signals) -> None:
    source = tmp_path / "holder" / "main.py"
    source.parent.mkdir()
    told = HOLDER.replace("write_text(folder)", 'write_text(f"{os.getpid()} {folder}")').replace("time.sleep(30)", "")
    source.write_text(f"import os\n{told}")
    documents = (service("holder", source=source), trigger(subscriber="holder"))
    with up(tmp_path, documents) as runner:
        runner.post(event("1"))
        process, folder = until(lambda: _text(source.parent / "folder"), what="the function's folder").split()
        until(lambda: runner.metric("errands_deliveries_total", trigger="echo", code="202"), what="the answer")
        was_there = Path(folder).is_dir()
        os.kill(int(process), ending)

        until(lambda: not Path(folder).parent.exists(), what="the folder to go")
        assert was_there
        assert Path(folder).parent.parent == temporary(runner.data)


def test_whether_a_runner_has_the_folder_can_be_asked(tmp_path: Path) -> None:
    before = held(tmp_path)
    with locked(tmp_path):
        meanwhile = held(tmp_path)

    assert (before, meanwhile, held(tmp_path)) == (False, True, False)


def mode(path: Path) -> int:
    return stat.S_IMODE(path.lstat().st_mode)


def said(runner: Up) -> str:
    """All that the runner said in its log."""
    lines = [json.loads(line) for line in runner.log.read_text().splitlines() if line.startswith("{")]
    return "\n".join(str(line.get("message")) for line in lines)


def _text(file: Path) -> str:
    return file.read_text() if file.exists() else ""
