"""Hears what WeasyPrint says while it works: how far it is, what it could not load, which characters no font has."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from events.problem import JobFailed
from functions.report.engine.weasy import FatalURLFetchingError
from functions.sandbox.sandbox import progress

# weasyprint/layout/page.py logs "Step 5 - Creating layout - Page %d" to it before each page.
PAGES_LOG: Final = "weasyprint.progress"
LOG: Final = "weasyprint"
SHOWN: Final = 20
_BROKEN: Final = ("Failed to load ", "Failed to render ", "Font-face ")
_NO_GLYPH: Final = ".notdef glyph rendered"


class AssetMissing(FatalURLFetchingError):  # type: ignore[misc]  # untyped; a BaseException: WeasyPrint lets it through
    """A picture, style sheet or font cannot be had, and the job is not to be done without it."""


class Journal(logging.Handler):
    """Raises AssetMissing at what is missing, or with `fails` false keeps it for `warnings`."""

    def __init__(self, *, pages_limit: int, fails: bool) -> None:
        super().__init__()
        self._pages_limit, self._fails = pages_limit, fails
        self._missing: dict[str, None] = {}
        self._characters: dict[str, None] = {}
        self._found: dict[str, None] = {}

    @property
    def warnings(self) -> tuple[str, ...]:
        """What is not as the template meant it."""
        said = [*list(self._missing)[:SHOWN], *list(self._found)[:SHOWN]]
        if shown := list(self._characters)[:SHOWN]:
            more = ", ..." if len(self._characters) > SHOWN else ""
            said.append(f"no font has {', '.join(shown)}{more}")
        return tuple(said)

    def emit(self, record: logging.LogRecord) -> None:
        """Raises also JobFailed at the first page over the limit; logging lets both through."""
        if record.name == PAGES_LOG:
            self._told(record)
        elif record.msg.startswith(_NO_GLYPH) and isinstance(record.args, tuple):
            self._characters[f"{record.args[0]} (U+{record.args[1]:04X})"] = None
        elif record.msg.startswith(_BROKEN):
            self.missing(record.getMessage())

    def missing(self, what: str) -> None:
        """Raise AssetMissing, or remember it."""
        shown = what[:300]
        if self._fails:
            raise AssetMissing(shown)
        self._missing[shown] = None

    def warn(self, found: str) -> None:
        """What keeps a PDF from being what its job asks for."""
        self._found[found[:300]] = None

    def check_pages(self, pages: int) -> None:
        """Raise JobFailed when there are too many."""
        if pages > self._pages_limit:
            detail = f"the document must have at most {self._pages_limit} pages, and it has more"
            raise JobFailed("limit-exceeded", detail)

    def _told(self, record: logging.LogRecord) -> None:
        if record.msg.endswith("- Page %d") and isinstance(record.args, tuple) and isinstance(record.args[0], int):
            self.check_pages(record.args[0])
            progress(f"page {record.args[0]}")


@contextmanager
def listening(journal: Journal) -> Iterator[None]:
    """While the block runs, the journal hears WeasyPrint."""
    levels = {PAGES_LOG: logging.INFO, LOG: logging.WARNING}
    before = {name: logging.getLogger(name).level for name in levels}
    logging.getLogger(LOG).addHandler(journal)  # which hears PAGES_LOG as well
    for name, level in levels.items():
        logging.getLogger(name).setLevel(level)
    try:
        yield
    finally:
        logging.getLogger(LOG).removeHandler(journal)
        for name, level in before.items():
            logging.getLogger(name).setLevel(level)
