"""Lets go of a long table's rows once their page is laid out: a third of its memory.

WeasyPrint makes each page of copies of the document's boxes, and keeps the boxes for pages that are made anew: those of
a document that tells numbers of pages in its text, such as a table of contents. No table of ours does, and should one,
the job ends in an error and not in pages without rows.
"""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from functions.report.engine.weasy import boxes, layout_page


class Pages:
    """`remake_page` of weasyprint/layout/page.py: the page of that index, and where the next one begins."""

    def __init__(self, make: Callable[..., Any]) -> None:
        self._make = make
        self._count = 0

    def __call__(self, index: int, context: Any, root_box: Any, html: Any) -> Any:
        """As it; RuntimeError for a page that was made before."""
        if index < self._count:
            raise RuntimeError(f"page {index + 1} cannot be made anew: its rows are gone")
        page, resume_at = self._make(index, context, root_box, html)
        self._count = index + 1
        _let_go(root_box, resume_at)
        return page, resume_at


def _let_go(box: Any, resume_at: Mapping[int, Any] | None) -> None:
    """Of the rows before the place: an index, and with it the place in that child, and so on."""
    while resume_at and not isinstance(box, boxes.TableRowBox):
        ((index, resume_at),) = resume_at.items()
        for earlier in reversed(box.children[:index]):
            if not _emptied(earlier):
                break
        box = box.children[index]


def _emptied(box: Any) -> bool:
    """Whether there was something to empty, so that what is before it may have something, too."""
    if isinstance(box, boxes.TableRowBox):
        had, box.children = bool(box.children), ()
        return had
    if isinstance(box, boxes.TableRowGroupBox) and not (box.is_header or box.is_footer):
        rows = [_emptied(row) for row in box.children]
        return any(rows)
    return False


@contextmanager
def let_go(*, wanted: bool) -> Iterator[None]:
    """While the block runs, rows are kept no longer than their page."""
    make = layout_page.remake_page
    layout_page.remake_page = Pages(make) if wanted else make
    try:
        yield
    finally:
        layout_page.remake_page = make
