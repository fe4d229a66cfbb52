"""A backup is taken while the runner works, and a runner goes on from it: as the README says it is done."""

import re
import sqlite3
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from knative.cli.backup import NoBackup, back_up
from tests.support.local_runner import ROOT, Up, event, service, trigger, until, write_manifests

SECTION = re.search(r"^### Backup and restore$(.*?)^### ", (ROOT / "knative/README.md").read_text(), re.M | re.S)
ERRANDS = f"{sys.executable} -m knative.cli.main"
JOBS = 1_500


def commands(data: Path, backups: Path) -> list[str]:
    """Those of the README, for these folders."""
    assert SECTION is not None
    blocks = re.findall(r"^```sh\n(.*?)^```", SECTION[1], re.M | re.S)
    text = "".join(blocks).replace("/backups", str(backups)).replace(".errands", str(data))
    return re.sub(r"^errands ", f"{ERRANDS} ", text, flags=re.M).splitlines()


@pytest.mark.slow
def test_a_runner_goes_on_from_a_backup_that_was_taken_under_load_as_the_readme_says(tmp_path: Path) -> None:
    manifests = write_manifests(tmp_path / "manifests", (service(), trigger(parallelism=4)))
    with Up(tmp_path, manifests) as runner:
        backup, *restore, start = commands(runner.data, tmp_path / "backups")
        (runner.data / "store" / "jobs").mkdir(parents=True)
        (runner.data / "store" / "jobs" / "result").write_bytes(b"a result")
        runner.post(event("dead", {"do": "status", "status": 410}))
        until(lambda: _count(runner.data / "deadletters.db", "dead_letter"), what="the dead letter")
        sender = threading.Thread(target=_send, args=(runner,))
        sender.start()
        accepted = int(until(lambda: _more_than(30, runner), what="load")) - 1  # but for the dead one
        _run(backup)
        under_load = sender.is_alive()
        sender.join()
        runner.stop()
        for command in restore:
            _run(command)
        assert start == f"{ERRANDS} up --data {runner.data}"
        before = (runner.data / "journal.db").stat().st_ino
        runner.start()
        done = [number for number in range(accepted) if runner.outcome(str(number))]
        lines = runner.log.read_text()
        kept = (runner.data / "store" / "jobs" / "result").read_bytes()

    assert under_load
    assert done == list(range(accepted))
    assert kept == b"a result"
    assert _count(runner.data / "deadletters.db", "dead_letter") == 1
    assert (runner.data / "secrets/callback/secrets").stat().st_mode & 0o077 == 0
    assert before != (Path(f"{runner.data}.lost") / "journal.db").stat().st_ino
    assert "missing" not in lines


@pytest.mark.slow
def test_a_backup_of_a_killed_runner_has_all_that_its_write_ahead_log_has(tmp_path: Path) -> None:
    manifests = write_manifests(tmp_path / "manifests", (service(), trigger(delay="PT60S")))
    with Up(tmp_path, manifests) as runner:
        for number in range(20):
            runner.post(event(str(number), {"do": "status", "status": 503}))
        runner.kill()
        before = {file: file.read_bytes() for file in runner.data.glob("journal.*")}
        made = back_up(runner.data, tmp_path / "backup")

    assert made.waiting == 20
    assert _count(tmp_path / "backup" / "journal.db", "delivery") == 20
    assert (tmp_path / "backup" / "journal.count").read_text().split() == ["20", "kept,", "0", "done,", "stopped"]
    assert {file: file.read_bytes() for file in before} == before


def test_what_is_no_data_folder_or_is_there_already_or_is_damaged_is_refused(tmp_path: Path) -> None:
    with pytest.raises(NoBackup, match="is no data directory"):
        back_up(tmp_path, tmp_path / "to")
    (tmp_path / "journal.db").write_bytes(b"not a database" * 1000)
    with pytest.raises(NoBackup, match=r"journal\.db is damaged|cannot be copied"):
        back_up(tmp_path, tmp_path / "to")
    (tmp_path / "to").mkdir()
    with pytest.raises(NoBackup, match="is there already"):
        back_up(tmp_path, tmp_path / "to")

    assert not list((tmp_path / "to").iterdir())


def _send(runner: Up) -> None:
    for number in range(JOBS):
        runner.post(event(str(number), {"n": number}))


def _more_than(count: int, runner: Up) -> float | None:
    accepted = runner.metric("errands_events_accepted_total")
    return accepted if accepted > count else None


def _run(command: str) -> None:
    done = subprocess.run(["sh", "-ec", command], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"{command}: {done.stdout}{done.stderr}"


def _count(file: Path, table: str) -> int:
    if not file.exists():
        return 0
    try:
        with sqlite3.connect(file) as db:
            return int(db.execute(f"SELECT count(*) FROM {table}").fetchone()[0])  # noqa: S608  # ours
    except sqlite3.OperationalError:  # it is being made
        return 0
