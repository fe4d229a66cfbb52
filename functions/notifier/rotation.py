"""The destinations as the Secret's files say now, so that a secret is rotated without a restart.

A file is looked at with each callback, which costs a microsecond, and read when it has changed. What cannot be read or
is wrong, as a file that is half written, changes nothing: the last that was right holds, and the log says so once.
"""

import logging
import os
from collections.abc import Callable
from pathlib import Path

from functions.notifier.destination import Destinations

log = logging.getLogger("errands.notifier")

Mark = tuple[int, int, int] | None


def text_of(file: str | None, otherwise: str | None) -> str | None:
    """What the file holds, where there is one; Kubernetes makes it, or leaves it out, as the Secret has its key."""
    if file is None or not os.path.isfile(file):
        return otherwise
    try:
        return Path(file).read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise ValueError(f"{file} cannot be read: {type(error).__name__}") from None


class CurrentDestinations:
    """What `read` makes of the files, made again when one of them has changed."""

    def __init__(self, read: Callable[[], Destinations], *files: str | None) -> None:
        """Raises ValueError as `read` does: what is wrong at the start stops it."""
        self._read = read
        self._files = [each for each in files if each is not None]
        self._marks = self._look()
        self._destinations = read()

    def now(self) -> Destinations:
        """The destinations for the next callback."""
        marks = self._look()
        if marks != self._marks:
            self._marks = marks
            try:
                self._destinations = self._read()
                log.info("the callbacks' secrets were read again")
            except ValueError as error:
                # no traceback, which could show a value
                log.error("the callbacks' secrets have changed and are wrong, the last ones hold: %s", error)
        return self._destinations

    def _look(self) -> list[Mark]:
        return [_mark(each) for each in self._files]


def _mark(file: str) -> Mark:
    """What differs when a file was written or another one put in its place."""
    try:
        found = os.stat(file)
    except OSError:
        return None
    return found.st_ino, found.st_mtime_ns, found.st_size
