"""What passes between the function and the child process that renders: the job with its inputs, and what came of it.

The function's own process imports this, and neither WeasyPrint nor Jinja2: they would take half a second of its start.
"""

from datetime import datetime
from typing import Final

from msgspec import Struct

from events.problem import FieldError
from events.types import ReportRequested

# Relative URLs of an own template begin here; no such name can ever be resolved (RFC 6761 6.4).
FOLDER_URL: Final = "http://template.invalid/"
# The field of a built-in template's data whose file is read before the rendering.
LOGO: Final = "#/data/logo"


class Draft(Struct, frozen=True, kw_only=True):
    """One job to render. `data` is the data source's content, `files` those of attachments and joined PDFs by place.

    `identifier` and `made_at` go into the PDF, which holds no other mark of its making.
    """

    job: ReportRequested
    data: bytes | None
    files: dict[str, bytes]
    identifier: str
    made_at: datetime
    pages_limit: int
    rows_limit: int


class Document(Struct, frozen=True, kw_only=True):
    """One document; `pages` of a PDF."""

    content: bytes
    pages: int | None = None


class ReportRefusal(Struct, frozen=True, kw_only=True):
    """Why the job cannot be done, as JobFailed says it."""

    kind: str
    detail: str
    errors: tuple[FieldError, ...] = ()


class Rendered(Struct, frozen=True, kw_only=True):
    """The documents by their outputs' names, or the refusal."""

    documents: dict[str, Document] = {}
    warnings: tuple[str, ...] = ()
    refusal: ReportRefusal | None = None


class Wanted(Struct, frozen=True):
    """What a template asks the function for: a file of its folder, or of an allowed host."""

    url: str


class Asset(Struct, frozen=True, kw_only=True):
    """The file, or why it cannot be had."""

    content: bytes = b""
    media_type: str | None = None
    refusal: str | None = None
