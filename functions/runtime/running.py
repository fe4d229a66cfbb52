"""Where the ingress of a running `errands up` is, for commands on its data: told by a file for its owner alone."""

import json
import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

FILE: Final = "ingress.json"
LOOK_S: Final = 2.0


@dataclass(frozen=True, slots=True)
class Running:
    """The ingress of this start, and the secret with which it takes what comes from functions and operators alone.

    `front_door` is where APIs send to: the gateway, or the ingress itself where there is none.
    """

    url: str
    token: str
    front_door: str = ""


@contextmanager
def announced(data: Path, running: Running) -> Iterator[None]:
    """Tell commands on this data where the ingress is, for as long as it is there."""
    file, made = data / FILE, data / f"{FILE}.new"
    made.unlink(missing_ok=True)
    descriptor = os.open(made, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "w") as stream:
        json.dump(asdict(running), stream)
    made.replace(file)
    try:
        yield
    finally:
        file.unlink(missing_ok=True)


def listens(url: str) -> bool:
    """Whether somebody does: a runner that was killed leaves its announcement."""
    parts = urlsplit(url)
    try:
        with socket.create_connection((parts.hostname or "", parts.port or 80), LOOK_S):
            return True
    except OSError:
        return False


def find(data: Path) -> Running | None:
    """The ingress that was announced for this data; None where none was, or the file says nothing."""
    try:
        told = json.loads((data / FILE).read_text())
        return Running(str(told["url"]), str(told["token"]), str(told["front_door"]))
    except (OSError, ValueError, KeyError, TypeError):
        return None
