"""What is missing from the event log is said, with its number; what is whole is not complained of."""

import asyncio
import logging
import shutil
import sqlite3
from collections.abc import Callable
from pathlib import Path
from types import MappingProxyType

import pytest

from events.http import Event
from knative.cli import doctor
from knative.local.broker import integrity
from knative.local.broker.broker import BrokerUnusable
from knative.local.broker.embedded import EmbeddedBroker
from knative.local.data_folder import locked

JOBS = 60


def cut(folder: Path) -> None:
    wal = folder / "journal.db-wal"
    wal.write_bytes(wal.read_bytes()[: wal.stat().st_size // 2])


def flip_a_bit(folder: Path) -> None:
    wal = folder / "journal.db-wal"
    content = bytearray(wal.read_bytes())
    content[len(content) // 2] ^= 1
    wal.write_bytes(content)


def remove_wal(folder: Path) -> None:
    (folder / "journal.db-wal").unlink()


def empty_file(folder: Path) -> None:
    (folder / "journal.db").write_bytes(b"")


def remove_file(folder: Path) -> None:
    (folder / "journal.db").unlink()


def zero_wal(folder: Path) -> None:
    wal = folder / "journal.db-wal"
    wal.write_bytes(bytes(wal.stat().st_size))


@pytest.mark.parametrize("damage", [cut, flip_a_bit, remove_wal, empty_file, remove_file, zero_wal])
def test_what_a_damaged_event_log_lost_is_said_with_its_number_and_the_doctor_explains(
    killed: Path, damage: Callable[[Path], None], caplog: pytest.LogCaptureFixture
) -> None:
    damage(killed)
    waiting = start(killed)
    said = [record.getMessage() for record in caplog.records if record.levelno == logging.ERROR]
    (found,) = doctor._event_log(killed / "journal.db")

    assert len(said) == 1
    assert f"{JOBS - waiting} of {JOBS} accepted deliveries are missing" in said[0]
    assert not found.well
    assert f"{JOBS - waiting} of {JOBS} accepted deliveries are missing" in found.line
    assert "Backup and restore" in found.mend
    if damage is not remove_wal:
        (kept,) = killed.glob("journal.db-wal.*")
        assert str(kept) in said[0]


@pytest.mark.parametrize("damage", [cut, remove_wal, empty_file])
def test_the_doctor_tells_before_a_start_and_changes_nothing(killed: Path, damage: Callable[[Path], None]) -> None:
    damage(killed)
    before = {file.name: file.read_bytes() for file in killed.iterdir()}
    (found,) = doctor._event_log(killed / "journal.db")

    assert "accepted deliveries are missing" in found.line
    assert {file.name: file.read_bytes() for file in killed.iterdir()} == before


def test_a_loss_is_said_once_and_what_is_kept_from_then_on_is_counted_again(
    killed: Path, caplog: pytest.LogCaptureFixture
) -> None:
    remove_wal(killed)
    start(killed)
    caplog.clear()

    assert start(killed) == 0
    assert not caplog.records


def test_a_killed_runner_whose_count_is_behind_has_lost_nothing(killed: Path, caplog: pytest.LogCaptureFixture) -> None:
    (killed / "journal.count").write_text("57 kept, 0 done, running")

    assert start(killed) == JOBS
    assert not [record for record in caplog.records if record.levelno >= logging.WARNING]
    assert doctor._event_log(killed / "journal.db")[0].well
    assert not list(killed.glob("journal.db-wal.*"))


def test_after_a_clean_stop_the_file_is_not_looked_over(killed: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    start(killed)
    looked: list[object] = []
    monkeypatch.setattr(integrity, "problems_of", looked.append)
    start(killed)

    assert not looked


def test_a_count_that_is_gone_is_said(killed: Path, caplog: pytest.LogCaptureFixture) -> None:
    (killed / "journal.count").unlink()

    assert start(killed) == JOBS
    assert "cannot be told" in caplog.text


def test_a_file_that_is_damaged_itself_is_refused_with_what_explains_it(killed: Path) -> None:
    with sqlite3.connect(killed / "journal.db") as db:
        db.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        (page,) = db.execute("SELECT rootpage FROM sqlite_schema WHERE name = 'event'").fetchone()
        (size_bytes,) = db.execute("PRAGMA page_size").fetchone()
    content = bytearray((killed / "journal.db").read_bytes())
    content[(page - 1) * size_bytes : page * size_bytes] = bytes(range(256)) * (size_bytes // 256)
    (killed / "journal.db").write_bytes(content)

    with pytest.raises(BrokerUnusable, match=r"is damaged, .*errands doctor --data"):
        start(killed)
    assert not doctor._event_log(killed / "journal.db")[0].well


def test_the_doctor_finds_nothing_wrong_with_a_log_that_a_runner_writes(tmp_path: Path) -> None:
    async def scenario() -> list[bool]:
        broker = EmbeddedBroker(tmp_path / "journal.db", ("q", "q.dlq"), backlog_limit=10_000)
        await broker.start(lambda _queue: None)
        looking = asyncio.ensure_future(asyncio.to_thread(look))
        while not looking.done():
            await broker.publish(numbered(1), ["q"])
        await broker.stop()
        return looking.result()

    def look() -> list[bool]:
        return [found.well for _ in range(20) for found in doctor._event_log(tmp_path / "journal.db")]

    with locked(tmp_path):
        assert asyncio.run(scenario()) == [True] * 20


def test_no_event_log_is_nothing_to_complain_of(tmp_path: Path) -> None:
    assert doctor._event_log(tmp_path / "journal.db") == []


def test_a_count_that_cannot_be_written_ends_no_commit(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / "journal.count").mkdir()

    assert asyncio.run(fill(tmp_path, tmp_path / "copy")) == JOBS
    assert "journal.count cannot be written" in caplog.text


@pytest.fixture
def killed(tmp_path: Path) -> Path:
    """The files of a runner with 60 jobs, as a kill leaves them."""
    asyncio.run(fill(tmp_path / "data", tmp_path / "killed"))
    return tmp_path / "killed"


async def fill(data: Path, copy: Path) -> int:
    """Keep 60 events, and copy the files before the broker stops; how many are kept."""
    data.mkdir(exist_ok=True)
    broker = EmbeddedBroker(data / "journal.db", ("q", "q.dlq"), backlog_limit=1_000)
    await broker.start(lambda _queue: None)
    for number in range(JOBS):
        await broker.publish(numbered(number), ["q"])
    shutil.copytree(data, copy, dirs_exist_ok=True)
    depth = broker.depths()["q"]
    await broker.stop()
    return depth


def start(folder: Path) -> int:
    """Start a broker on the files, and stop it by its own means; how much it holds."""

    async def scenario() -> int:
        broker = EmbeddedBroker(folder / "journal.db", ("q", "q.dlq"), backlog_limit=1_000)
        await broker.start(lambda _queue: None)
        depth = broker.depths()["q"]
        await broker.stop()
        return depth

    return asyncio.run(scenario())


def numbered(number: int) -> Event:
    attributes = {"specversion": "1.0", "id": str(number), "source": "/tests", "type": "t"}
    return Event(MappingProxyType(attributes), str(number).encode())
