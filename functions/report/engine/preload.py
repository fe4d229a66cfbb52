"""What the sandbox loads before its first fork, and makes ready once its first job is under way.

A first report waits for the import of the renderer alone. A later one finds the templates compiled, the fonts found,
and everything imported and warm.
"""

from collections.abc import Callable
from datetime import UTC, datetime
from functools import partial
from importlib import import_module
from typing import Any, Final

from events.types.report import ReportPdf
from functions.report.builtin import builtin_page, compile_all
from functions.report.document import render
from functions.report.draft import Asset
from functions.report.engine import fonts
from functions.report.engine.messages import Journal
from functions.report.engine.pdf import Press, pdf

__all__ = ["WARM_UP", "render"]

_DAY: Final = "2026-01-31"
_PARTY: Final = {"name": "Name", "address": ["Address"], "email": "name@example.com", "vat_id": "1"}
_LINE: Final = {"description": "Text", "quantity": 1, "unit_price": 1, "tax_percent": 1}
_INVOICE: Final = {
    "number": "1",
    "issued": _DAY,
    "currency": "EUR",
    "seller": _PARTY,
    "buyer": _PARTY,
    "lines": [_LINE],
}
_COLUMNS: Final = [{"name": "text"}, {"name": "sum", "kind": "number", "total": True}]
_FIGURE: Final = {"label": "Text", "value": 1, "change_percent": 1, "trend": [1, 2]}
_CHART: Final = {"title": "Text", "kind": "bar", "labels": ["Text"], "series": [{"name": "Text", "values": [1]}]}
_SIGNATURES: Final = [{"name": "Name", "role": "Text"}]
# With a text in each of a template's fonts.
EXAMPLES: Final[dict[str, dict[str, Any]]] = {
    "invoice": {**_INVOICE, "due": _DAY, "payment": {"text": "Text", "reference": "1"}, "note": "Text"},
    "table": {
        "title": "Text",
        "subtitle": "Text",
        "columns": _COLUMNS,
        "rows": [{"text": "Text", "sum": 1}],
        "group_by": "text",
    },
    "letter": {
        "sender": _PARTY,
        "recipient": _PARTY,
        "written": _DAY,
        "subject": "Text",
        "paragraphs": ["Text"],
        "signatures": _SIGNATURES,
        "enclosures": ["Text"],
    },
    "dashboard": {"title": "Text", "subtitle": "Text", "figures": [_FIGURE], "charts": [_CHART], "note": "Text"},
    "certificate": {
        "title": "Text",
        "issuer": "Name",
        "recipient": "Name",
        "text": "Text",
        "awarded": _DAY,
        "signatures": _SIGNATURES,
    },
}


def print_example(name: str) -> bytes:
    """One PDF of a built-in template, whose fonts are found by it."""
    made_at = datetime(2026, 1, 31, tzinfo=UTC)
    page = builtin_page(name, EXAMPLES[name], rows_are_read=False, made_at=made_at)
    press = Press(lambda _: Asset(refusal="an example has no assets"), Journal(pages_limit=9, fails=True), "", made_at)
    return pdf(page, ReportPdf(), {}, press).content


WARM_UP: Final[tuple[Callable[[], object], ...]] = (
    compile_all,
    fonts.gather,
    *(partial(print_example, name) for name in EXAMPLES),
    fonts.settle,
    partial(import_module, "tinyhtml5"),  # of a template of one's own
    partial(import_module, "functions.report.workbook"),
    partial(import_module, "functions.report.joining"),
)
