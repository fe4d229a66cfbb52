"""WeasyPrint's own style sheets, parsed when they are needed.

It parses three of them while it is imported: a fourth of that time. A built-in template meets half of the rules of one:
it has no forms, no small headings, and numbers nothing but in Arabic figures. All are parsed for a job's own template,
or once the first job is done.

Where another WeasyPrint has others it parses them as it ever did, and the built-in templates have what all have.
"""

import importlib
import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any, Final

import tinycss2  # type: ignore[import-untyped]  # it has no types

_HTML: Final = "weasyprint.html"
# In this order it parses the texts.
_SHEETS: Final = {"UA": "UA_STYLESHEET", "UA_FORM": "UA_FORM_STYLESHEET", "PH": "PH_STYLESHEET"}
_NOT_MET: Final = re.compile(
    r"(?:@counter-style (?!decimal |disc )"
    r"|^(?:button|fieldset|h[3-6]|hr|input|q|select|textarea|:is\(input|table:is|(?:\[dir[^]]*\] )+dd)\b)"
    r"[^{}]*\{[^{}]*\}",
    re.MULTILINE,
)
_empty: list[str] = []


def load() -> None:
    """Import WeasyPrint with its sheets empty; when they are not those known here, as if it had not been."""
    if _HTML in sys.modules:
        return
    html: dict[str, Any] = {}
    with _unparsed() as texts, suppress(ModuleNotFoundError):
        html = vars(importlib.import_module(_HTML))
    if texts == [html.get(text) for text in _SHEETS] and html.keys() >= {*_SHEETS.values(), "UA_COUNTER_STYLE"}:
        _empty.extend(_SHEETS)
        return
    for name in [name for name in sys.modules if name.partition(".")[0] == "weasyprint"]:
        del sys.modules[name]


def fill() -> None:
    """Parse what is empty."""
    while _empty:
        html, text = sys.modules[_HTML], _empty.pop()
        # in place: WeasyPrint has it by two names
        getattr(html, _SHEETS[text]).__init__(string=getattr(html, text), counter_style=html.UA_COUNTER_STYLE)


def built_in() -> tuple[Any, Any]:
    """The sheet of the built-in templates, and its styles of counters."""
    if not _empty:
        whole = sys.modules["weasyprint"].HTML(string="")
        return whole._ua_stylesheets()[0], whole._ua_counter_style()[0]
    html: Any = sys.modules[_HTML]
    counters = type(html.UA_COUNTER_STYLE)()
    return html.CSS(string=_NOT_MET.sub("", html.UA), counter_style=counters), counters


@contextmanager
def _unparsed() -> Iterator[list[str]]:
    """While the block runs, style sheets have no rules; gives the texts that should have been parsed."""
    parse, texts = tinycss2.parse_stylesheet, list[str]()

    def put_off(text: str, *_: Any, **__: Any) -> list[Any]:
        texts.append(text)
        return []

    tinycss2.parse_stylesheet = put_off
    try:
        yield texts
    finally:
        tinycss2.parse_stylesheet = parse
