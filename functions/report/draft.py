"""What to render: the built-in templates, each with the struct of its data, checked before a child process is used.

The function's own process imports this, and neither WeasyPrint nor Jinja2: they would take half a second of its start.
"""

from datetime import datetime
from typing import Final, Literal

import msgspec
from msgspec import Struct

from events.problem import FieldError, JobFailed, decode
from events.types import ReportRequested
from functions.report.invoice import Invoice
from functions.report.table import Table, check_rows

Format = Literal["pdf", "html"]
TEMPLATES: Final[dict[str, type[Invoice] | type[Table]]] = {"invoice": Invoice, "table": Table}


class Draft(Struct, frozen=True, kw_only=True):
    """One document to render; `identifier` and `made_at` go into the PDF, which holds no other mark of its making."""

    data: Invoice | Table
    formats: frozenset[Format]
    identifier: str
    made_at: datetime
    pages_limit: int


class Rendered(Struct, frozen=True, kw_only=True):
    """The content of each format; `pages` is 0 without a PDF."""

    contents: dict[Format, bytes]
    pages: int


def draft(job: ReportRequested, *, identifier: str, made_at: datetime, pages_limit: int) -> Draft:
    """Check the job's data; raise JobFailed that names every bad field, or the known templates."""
    return Draft(
        data=_data(job),
        formats=frozenset(output.format for output in job.outputs),
        identifier=identifier,
        made_at=made_at,
        pages_limit=pages_limit,
    )


def _data(job: ReportRequested) -> Invoice | Table:
    if job.template not in TEMPLATES:
        detail = f"template must be one of {', '.join(TEMPLATES)}, got {job.template}"
        raise JobFailed("unknown-template", detail, (FieldError(pointer="#/template", detail=detail),))
    data = decode(msgspec.json.encode(job.data), TEMPLATES[job.template], at="#/data")
    if isinstance(data, Table):
        check_rows(data, at="#/data/rows")
    return data
