"""What is done to a finished PDF: other PDFs joined to it, a password put on it (pikepdf, which is qpdf)."""

import io
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Final

import pikepdf

from events.problem import FieldError, JobFailed
from events.types.report import ReportEncryption
from functions.report.foreign_pdf import active, disarm

_PERMISSIONS: Final[Mapping[str, Sequence[str]]] = {
    "print": ("print_lowres", "print_highres"),
    "copy": ("extract",),
    "modify": ("modify_other",),
    "annotate": ("modify_annotation",),
    "fill-forms": ("modify_form",),
    "assemble": ("modify_assembly",),
}


def joined(
    content: bytes, before: Mapping[str, bytes], after: Mapping[str, bytes], *, pages_limit: int
) -> tuple[bytes, int]:
    """The PDF with others around it, each by the pointer of its field, and how many pages that makes.

    Bookmarks, tags and metadata are the first PDF's own. Raises JobFailed for what is no readable PDF.
    """
    with pikepdf.open(io.BytesIO(content)) as base:
        place = 0
        for pointer, other in before.items():
            with _opened(other, pointer) as part:
                for page in part.pages:
                    base.pages.insert(place, page)
                    place += 1
        for pointer, other in after.items():
            with _opened(other, pointer) as part:
                base.pages.extend(part.pages)
        count = len(base.pages)
        if count > pages_limit:
            raise JobFailed("limit-exceeded", f"the document must have at most {pages_limit} pages, got {count}")
        found = active(base)
        if found:
            raise JobFailed("source-refused", f"a PDF that is joined must not hold {found}")
        return _saved(base), count


def encrypted(content: bytes, wanted: ReportEncryption) -> bytes:
    """With AES-256 (ISO 32000-2 7.6). Screen readers may always read."""
    allowed = {flag for right in wanted.allow for flag in _PERMISSIONS[right]}
    flags = {flag: flag in allowed for flags in _PERMISSIONS.values() for flag in flags}
    lock = pikepdf.Encryption(
        user=wanted.password,
        owner=wanted.owner_password or wanted.password,
        R=6,
        allow=pikepdf.Permissions(accessibility=True, **flags),
    )
    with pikepdf.open(io.BytesIO(content)) as pdf:
        out = io.BytesIO()
        pdf.save(out, encryption=lock)
        return out.getvalue()


@contextmanager
def _opened(content: bytes, pointer: str) -> Iterator[pikepdf.Pdf]:
    try:
        with pikepdf.open(io.BytesIO(content), suppress_warnings=True) as pdf:
            disarm(pdf)
            yield pdf
    except pikepdf.PasswordError as error:
        raise _refused("must be a PDF without a password", pointer) from error
    except (pikepdf.PdfError, ValueError, TypeError) as error:  # what pikepdf raises for objects of the wrong kind
        raise _refused(f"must be a PDF that can be read: {error}", pointer) from error


def _saved(pdf: pikepdf.Pdf) -> bytes:
    out = io.BytesIO()
    pdf.save(out, deterministic_id=True)
    return out.getvalue()


def _refused(detail: str, pointer: str) -> JobFailed:
    return JobFailed("source-refused", f"{pointer}: {detail}", (FieldError(pointer=pointer, detail=detail),))
