"""Lays a text out once, however often it stands in a document in the same style.

WeasyPrint measures each text anew for every box that holds it, and the cells of a long table repeat names, days and
amounts. The functions below are pure, so what they answered is kept while one document is laid out. They are
WeasyPrint's inner ones: tests/functions/report/test_weasyprint.py fails where a version has them no longer, or no
longer calls them.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from copy import copy
from typing import Any, Final

from functions.report.engine.weasy import inline, preferred

# Of lines, after which all are forgotten.
KEPT: Final = 10_000


class Lines:
    """`split_first_line` of weasyprint/text/line_break.py: (layout, length, resume_at, width, height, baseline)."""

    def __init__(self, split: Callable[..., Any]) -> None:
        self._split = split
        self._known: dict[Any, Any] = {}

    def __call__(self, text: str, style: Any, context: Any, *place: Any, **options: Any) -> Any:
        """As it; `place` is the width and the like."""
        key = (text, id(style), place, *options.items())
        if key not in self._known:
            if len(self._known) >= KEPT:
                self._known.clear()
            # with the style, so that its id stays its own
            self._known[key] = style, self._split(text, style, context, *place, **options)
        layout, *measures = self._known[key][1]
        # drawing changes it, such as for an ellipsis
        return copy(layout), *measures


class Struts:
    """`strut` of the same module: (line_height, baseline) of a style."""

    def __init__(self, measure: Callable[..., Any]) -> None:
        self._measure = measure
        self._known: dict[int, Any] = {}

    def __call__(self, style: Any) -> Any:
        """As it."""
        if id(style) not in self._known:
            self._known[id(style)] = style, self._measure(style)
        return self._known[id(style)][1]


@contextmanager
def remembered() -> Iterator[None]:
    """While the block runs, WeasyPrint asks these first."""
    split, strut = inline.split_first_line, inline.strut
    inline.split_first_line = preferred.split_first_line = Lines(split)
    inline.strut = Struts(strut)
    try:
        yield
    finally:
        inline.split_first_line = preferred.split_first_line = split
        inline.strut = strut
