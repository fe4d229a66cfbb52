"""A disk that is nearly full takes no new job, and keeps its room for those that are there."""

from pathlib import Path

from functions.gateway.disk import FREE_BYTES, Disk


def test_a_file_on_a_full_disk_takes_nothing_and_a_database_server_decides_itself() -> None:
    asked: list[Path] = []

    def full(folder: Path) -> int:
        asked.append(folder)
        return FREE_BYTES - 1

    assert [Disk("sqlite:////data/ledger.db", full).is_full, Disk("postgresql://host/db", full).is_full] == [
        True,
        False,
    ]
    assert asked == [Path("/data")]


def test_it_is_looked_at_again_after_a_while() -> None:
    now_s, free = [100.0], [FREE_BYTES]
    looked = Disk("sqlite:////data/ledger.db", lambda _: free[0], lambda: now_s[0])

    before = looked.is_full
    free[0] = 0
    soon = looked.is_full
    now_s[0] += 2
    later = looked.is_full

    assert (before, soon, later) == (False, False, True)


def test_a_folder_that_is_not_there_is_not_full(tmp_path: Path) -> None:
    assert not Disk(f"sqlite:///{tmp_path}/gone/ledger.db").is_full
