"""A store that is a folder: what is written there outlives a power loss, and no link that somebody planted is followed.

A file is written under a name that no key has, and given its own in one step. What is created is brought to the disk
before that, and the folders on the way to it after: under its key is the whole of it or nothing, whenever the power
goes. Results are many and are told by what is created after them, so they are synced together, before that.
(object_store's LocalFileSystem never syncs.)
"""

import os
import re
import stat
from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from itertools import accumulate, chain, count, takewhile
from pathlib import Path
from typing import Final

STAGED: Final = ".new#"  # with digits after it: object_store neither lists nor reads such a name, nor takes it as a key
SYNCING_THREADS: Final = 16
_NO_KEY: Final = re.compile(r"[\x00-\x1f\x7f]|#\d+$")
_numbers = count()


def replace(root: Path, key: str, content: bytes) -> None:
    """Put the content under the key, over what is there, whole or not at all; only `sync` brings it to the disk.

    Raises OSError, and ValueError for what is no path.
    """
    file = _place(root, key)
    with _staged(file.parent, content) as staged:
        staged.replace(file)


def sync(root: Path, keys: Iterable[str]) -> None:
    """Bring what is under these keys to the disk, with its names."""
    files = [root / key for key in keys]
    _sync((*files, *chain.from_iterable(_on_the_way(root, file) for file in files)))


def create(root: Path, key: str, content: bytes) -> bool:
    """Put the content under the key unless there is one, on the disk; whether it was put: of several at once one does.

    Raises OSError, and ValueError for what is no path.
    """
    file = _place(root, key)
    if file.exists():
        return False
    with _staged(file.parent, content) as staged:
        _sync_one(staged)
        try:
            os.link(staged, file)
        except FileExistsError:
            return False
    _sync(_on_the_way(root, file))
    return True


def leads_astray(root: Path, path: str) -> bool:
    """Whether something stands on the way to this path, or at it, that is neither a file nor a folder: a link, a pipe.

    The root itself may be a link, which is the operator's. What is not there leads nowhere.
    """
    on_the_way = accumulate(path.strip("/").split("/"), os.path.join, initial=str(root))
    return not all(_is_plain(each) for each in list(on_the_way)[1:])


def _place(root: Path, key: str) -> Path:
    """Where the key's file is to be, in a folder that is there."""
    if _NO_KEY.search(key) or not all(part.strip(".") or len(part) > 2 for part in key.split("/")):
        raise ValueError(f"a key must be a path of names, got {key!r}")
    if leads_astray(root, key):
        raise OSError(f"a link stands where {key} is to be")
    file = root / key
    file.parent.mkdir(parents=True, exist_ok=True)
    return file


@contextmanager
def _staged(folder: Path, content: bytes) -> Iterator[Path]:
    """The content in a file of its own, which is gone afterwards unless it was renamed."""
    staged = folder / f"{STAGED}{os.getpid()}{next(_numbers):06}"
    try:
        staged.write_bytes(content)
        yield staged
    finally:
        staged.unlink(missing_ok=True)


def _on_the_way(root: Path, file: Path) -> tuple[Path, ...]:
    """The folders that lead to a file, the root among them: whoever made one may not have synced it yet."""
    return tuple(takewhile(lambda each: each != root.parent, file.parents))


def _sync(paths: Iterable[Path]) -> None:
    """All at once: a file system's journal and a disk's cache are written once for those that come together."""
    several = tuple(dict.fromkeys(paths))
    if not several:
        return
    with ThreadPoolExecutor(min(len(several), SYNCING_THREADS)) as threads:
        deque(threads.map(_sync_one, several), maxlen=0)


def _sync_one(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _is_plain(path: str) -> bool:
    try:
        mode = os.lstat(path).st_mode
    except (OSError, ValueError):  # it is not there, or no path at all: a NUL, a name that is too long
        return True
    return stat.S_ISREG(mode) or stat.S_ISDIR(mode)
