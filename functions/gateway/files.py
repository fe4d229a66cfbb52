"""Files that APIs hand over beside their jobs: a job names one by its key, which needs the content to be found."""

import hashlib
import math
import os
import re
import time
from collections.abc import Iterator
from contextlib import suppress
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Final

import msgspec

from functions.gateway.results import moment

if TYPE_CHECKING:
    from functions.storage.store import Store

LIMIT_BYTES: Final = 32 * 1024 * 1024
FOLDER: Final = "uploads/"
OF_JOBS: Final = ("jobs/", "ledger/", "evidence/")  # functions/storage/store.py, functions/runtime/failure_reports.py
KEPT: Final = ("callbacks", "rates")  # of endpoints and limits, in the ledger of replies
NAME: Final = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._ -]{0,99}")


class StoredFile(msgspec.Struct, frozen=True, kw_only=True):
    """What is told of a file that was handed over; it may be gone after `expires_at`."""

    key: str
    name: str
    sha256: str
    size_bytes: int
    expires_at: str


class Files:
    """Those of one object store; its methods block. In a folder they are removed when they are old, in a bucket by its
    lifecycle rule.
    """

    def __init__(self, store_url: str, folder: Path | None, *, kept_s: int, strays_kept_s: float = math.inf) -> None:
        """Strays are results, replies and failure reports of jobs that the ledger does not know: those that it does go
        with their job, which is sooner.
        """
        self._url = store_url
        self._folder = folder
        self.kept_s = kept_s
        self._strays_kept_s = strays_kept_s

    @cached_property
    def _store(self) -> "Store":
        from functions.storage.store import Store  # with obstore, 5 MB, and for who hands files over alone

        return Store(self._url)

    def keep(self, name: str, content: bytes) -> StoredFile:
        """Keep it; the same again is the same, and its time begins anew. Raises TryAgain."""
        sha256 = hashlib.sha256(content).hexdigest()
        key = f"{FOLDER}{sha256}/{name}"
        if not self._store.create(key, content) and self._folder is not None:
            os.utime(self._folder / key)
        expires_ms = (int(time.time()) + self.kept_s) * 1000
        return StoredFile(key=key, name=name, sha256=sha256, size_bytes=len(content), expires_at=moment(expires_ms))

    def remove_old(self, now_s: float) -> int:
        """Remove what is older than files are kept, where the store is a folder; how many."""
        old = [each for each in self._found(FOLDER) if _is_older(each, now_s - self.kept_s)]
        if self._strays_kept_s < math.inf:
            found = [each for place in OF_JOBS for each in self._found(place)]
            old += [each for each in found if _is_older(each, now_s - self._strays_kept_s)]
        for each in old:
            each.unlink(missing_ok=True)
            _remove_empty(each.parent)
        return len(old)

    def _found(self, place: str) -> Iterator[Path]:
        root = None if self._folder is None else self._folder / place
        if root is not None and root.is_dir():
            of_jobs = (each for each in root.iterdir() if each.name not in KEPT)
            yield from (file for each in of_jobs if each.is_dir() for file in each.rglob("*") if file.is_file())


def _is_older(file: Path, than_s: float) -> bool:
    try:
        return file.stat().st_mtime < than_s
    except FileNotFoundError:  # erased meanwhile
        return False


def _remove_empty(folder: Path) -> None:
    """The folder of a job, or of a content, and the one of its job, where nothing is left in it."""
    for each in (folder, folder.parent):
        if each.name + "/" in (FOLDER, *OF_JOBS):
            return
        with suppress(OSError):  # something is in it, or it is gone
            each.rmdir()
