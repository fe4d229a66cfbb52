"""How times, counts, sizes and long texts are written for a person, and the addresses of the files of every page."""

import hashlib
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from typing import Final

import flask
from msgspec import Struct

from functions.deadletters.service.contract import pretty
from functions.deadletters.service.results import ShownEvent

FOLDER: Final = Path(__file__).parent / "static"
SHOWN_CHARACTERS: Final = 40_000
READABLE_CHARACTERS: Final = 2_000_000  # longer data is shown as it came, since only its beginning is
SPANS: Final = ((86_400, "days"), (3_600, "h"), (60, "min"))


class Excerpt(Struct, frozen=True, kw_only=True):
    """The beginning of a long text; `cut_characters` are left out."""

    text: str
    cut_characters: int


def asset_url(name: str) -> str:
    """The address of a file that the pages name; it changes with the file, so that a browser may keep it for long."""
    return flask.url_for("static", filename=name, v=_version(name))


@cache
def _version(name: str) -> str:
    return hashlib.sha256((FOLDER / name).read_bytes()).hexdigest()[:12]


def excerpt(text: str) -> Excerpt:
    """As much of a text as a page should hold."""
    return Excerpt(text=text[:SHOWN_CHARACTERS], cut_characters=max(0, len(text) - SHOWN_CHARACTERS))


def data(body: ShownEvent) -> Excerpt | None:
    """An event's data for a person; None where it is no text, or may not be shown."""
    if body.data is None:
        return None
    return excerpt(pretty(body.data) if len(body.data) <= READABLE_CHARACTERS else body.data)


def ago(text: str, now: datetime) -> str:
    """How long ago something was, roughly."""
    seconds = int((now - datetime.fromisoformat(text)).total_seconds())
    for span_s, unit in SPANS:
        if seconds >= 2 * span_s:
            return f"{seconds // span_s} {unit} ago"
    return "just now" if seconds < 10 else f"{seconds} s ago"


def clock(text: str, now: datetime) -> str:
    """A time of today as the hour, of this year with its day, and otherwise with its year."""
    moment = datetime.fromisoformat(text).astimezone(UTC)
    if moment.date() == now.date():
        return f"{moment:%H:%M:%S}"
    return f"{moment:%d %b %H:%M}" if moment.year == now.year else f"{moment:%Y-%m-%d}"


def count(number: int) -> str:
    """A number with its thousands apart."""
    return f"{number:,}"


def size(size_bytes: int) -> str:
    """Bytes as a person reads them."""
    if size_bytes < 1_000:
        return f"{size_bytes} B"
    return f"{size_bytes / 1_000:.1f} kB" if size_bytes < 1_000_000 else f"{size_bytes / 1_000_000:.1f} MB"


def code_kind(code: int) -> str:
    """The family of a code, for its colour."""
    if code <= 0:
        return "none"
    return {2: "reply", 3: "reply", 4: "refused"}.get(code // 100, "failed")


FILTERS: Final = {"ago": ago, "clock": clock, "count": count, "size": size, "code_kind": code_kind}
