"""The folder in which a runner keeps everything: one runner's at a time, and its user's alone.

Functions have their temporary files there as well, so that what a killed runner left is found at the next start.
"""

import contextlib
import fcntl
import logging
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from knative.local.exceptions import CannotStart

log = logging.getLogger("errands.runner")

FOLDER_MODE: Final = 0o700
FILE_MODE: Final = 0o600
OTHERS: Final = 0o077


@contextmanager
def locked(data: Path) -> Iterator[None]:
    """Hold the folder for one runner; raise CannotStart when it cannot be written or is held."""
    try:
        data.mkdir(parents=True, exist_ok=True, mode=FOLDER_MODE)
        stream = (data / "lock").open("w")
    except OSError as error:
        raise CannotStart(f"the data directory {data} cannot be written: {error.strerror}") from error
    with stream:
        try:
            fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            raise CannotStart(f"another runner uses the data directory {data}; stop it or give --data DIR") from error
        _keep_private(data)
        _clear(temporary(data))
        yield


def held(data: Path) -> bool:
    """Whether a runner has the folder now."""
    try:
        with (data / "lock").open() as stream:
            fcntl.flock(stream, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except OSError:
        return False
    return False


def temporary(data: Path) -> Path:
    """Where functions have their temporary files."""
    return data / "tmp"


def _keep_private(data: Path) -> None:
    """Take from others what a folder or a database made under another umask, or by hand, lets them see."""
    files = [each for pattern in ("*.db", "*.db-wal*", "*.db-shm", "*.count") for each in data.glob(pattern)]
    for path, mode in ((data, FOLDER_MODE), *((each, FILE_MODE) for each in files if each.is_file())):
        was = path.stat().st_mode & 0o777
        if not was & OTHERS:
            continue
        try:
            path.chmod(mode)
            log.warning("%s was open to other users (%03o): it is %03o now", path, was, mode)
        except OSError as error:
            log.warning("%s is open to other users (%03o), and cannot be changed: %s", path, was, error.strerror)


def _clear(folder: Path) -> None:
    """Make it anew; what a killed function left there is nobody's."""
    with contextlib.suppress(FileNotFoundError):
        shutil.rmtree(folder)
    folder.mkdir(mode=FOLDER_MODE, exist_ok=True)
