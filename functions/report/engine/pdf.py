"""Lays a page out as PDF: WeasyPrint, in a child process with limits (functions/sandbox/sandbox.py).

A PDF holds nothing of its rendering's place or time: the same page gives the same bytes with the same fonts.
"""

import gc
import io
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from events.types.report import ReportMetadata, ReportPdf
from functions.report.accessible import findings
from functions.report.contents import STYLE as CONTENTS_STYLE
from functions.report.contents import add_contents
from functions.report.draft import FOLDER_URL, Asset, Document
from functions.report.engine import fonts
from functions.report.engine.lean import read
from functions.report.engine.messages import Journal, listening
from functions.report.engine.repeats import remembered
from functions.report.engine.variant import Finisher, finisher
from functions.report.engine.weasy import URLFetcher, URLFetcherResponse, weasyprint
from functions.report.factur_x import NAME as FACTUR_X_NAME
from functions.report.factur_x import XMP as FACTUR_X_XMP
from functions.report.page import Page
from functions.report.paper import WATERMARK_URL, style
from functions.report.picture import is_svg
from functions.sandbox.sandbox import progress

_RELATIONSHIPS: Final = {
    "source": "Source",
    "data": "Data",
    "alternative": "Alternative",
    "supplement": "Supplement",
    "unspecified": "Unspecified",
}


@dataclass(frozen=True)
class Press:
    """What all PDFs of a job share: where their files come from, who hears of trouble, their identifier and time."""

    ask: Callable[[str], Asset]
    journal: Journal
    identifier: str
    made_at: datetime


class Fetcher(URLFetcher):  # type: ignore[misc]  # it has no types
    """Gets `data:` URLs itself and everything else from the function's process; nothing else is ever opened.

    `watermark` is the picture that the PDF's options have read already.
    """

    def __init__(self, ask: Callable[[str], Asset], journal: Journal, watermark: bytes | None) -> None:
        super().__init__(allowed_protocols=("data",), allow_redirects=False)
        self._ask, self._journal, self._watermark = ask, journal, watermark

    def fetch(self, url: str, headers: dict[str, str] | None = None) -> URLFetcherResponse:
        """The content; raises AssetMissing, or ValueError where the document may go on without it."""
        if url.lower().startswith("data:"):
            return super().fetch(url, headers)
        if url == WATERMARK_URL and self._watermark is not None:
            kind = "image/svg+xml" if is_svg(self._watermark) else "application/octet-stream"
            return URLFetcherResponse(url, self._watermark, {"Content-Type": kind})
        asset = self._ask(url)
        if asset.refusal is not None:
            what = f"{url.removeprefix(FOLDER_URL)[:200]}: {asset.refusal}"
            self._journal.missing(what)
            raise ValueError(what)
        return URLFetcherResponse(url, asset.content, {"Content-Type": asset.media_type or "application/octet-stream"})


def pdf(
    page: Page, options: ReportPdf, files: Mapping[str, bytes], press: Press, *, watermark: bytes | None = None
) -> Document:
    """One PDF; `files` are its attachments' contents by name. Raises JobFailed when it has too many pages."""
    html = read(page, base_url=FOLDER_URL, url_fetcher=Fetcher(press.ask, press.journal, watermark))
    title = (options.metadata and options.metadata.title) or _title(html) or page.title
    css = style(options, page, title)
    if options.contents is not None:
        add_contents(html.etree_element, options.contents, title=page.contents)
        css += CONTENTS_STYLE
    with listening(press.journal), _without_collector(), remembered(), fonts.of(html.etree_element) as config:
        own = [weasyprint.CSS(string=css, font_config=config)] if css else None
        document = html.render(stylesheets=own, font_config=config)
        pages = len(document.pages)
        press.journal.check_pages(pages)  # again, should a later WeasyPrint log its pages otherwise
        progress(f"layout of {pages} pages")
        _describe(document.metadata, options.metadata, title, press.made_at)
        if options.variant == "factur-x":
            document.metadata.xmp_metadata.append(FACTUR_X_XMP)
        if options.variant == "pdf/ua-1":
            for found in findings(html.etree_element):
                press.journal.warn(f"pdf/ua-1: {found}")
        content = document.write_pdf(
            finisher=_finisher(options, press),
            pdf_identifier=press.identifier.encode(),
            pdf_variant="pdf/a-3b" if options.variant == "factur-x" else options.variant,
            pdf_tags=_tagged(page, options),
            attachments=[*_attachments(options, files, press.made_at), *_e_invoice(page, options, press.made_at)],
        )
    return Document(content=content, pages=pages)


def _finisher(options: ReportPdf, press: Press) -> Finisher:
    variant = options.variant
    judge = None if variant is None else finisher(variant, lambda found: press.journal.warn(f"{variant}: {found}"))

    def finish(document: Any, made: Any) -> None:
        if "EmbeddedFiles" in made.catalog.get("Names", {}):
            _name_files(made)
        if judge is not None:
            judge(document, made)

    return finish


def _tagged(page: Page, options: ReportPdf) -> bool:
    """Whether the PDF is made for screen readers: as asked for, else as the template has it."""
    if options.variant == "pdf/ua-1":
        return True
    return page.tagged if options.tagged is None else options.tagged


def _title(html: Any) -> str | None:
    found = html.etree_element.find(".//title")
    return None if found is None else " ".join("".join(found.itertext()).split()) or None


@contextmanager
def _without_collector() -> Iterator[None]:
    """No collection of garbage: a layout makes millions of objects, and they all die with the child.

    Frozen, they are left out of the collection that follows at once.
    """
    gc.disable()
    try:
        yield
    finally:
        gc.freeze()
        gc.enable()


def _describe(said: Any, wanted: ReportMetadata | None, title: str, made_at: datetime) -> None:
    said.title = title
    said.generator = said.generator or "Errands"
    said.created = said.modified = made_at.isoformat(timespec="seconds")
    if wanted is None:
        return
    said.authors = [wanted.author] if wanted.author else said.authors
    said.description = wanted.subject or said.description
    said.keywords = list(wanted.keywords) or said.keywords


def _name_files(pdf: Any) -> None:
    """Give each embedded file its name as a text wherever it stands; WeasyPrint writes UTF-8 (PDF 7.9.2.2, 7.9.6)."""
    made = {each.reference: each for each in pdf.objects}
    tree = made[pdf.catalog["Names"]["EmbeddedFiles"]]["Names"]
    files = sorted(tree[1::2], key=lambda reference: made[reference]["UF"].data)
    for reference in files:
        made[reference]["F"] = made[reference]["UF"]
    tree[:] = [part for reference in files for part in (made[reference]["UF"], reference)]


def _attachments(options: ReportPdf, files: Mapping[str, bytes], made_at: datetime) -> Iterator[Any]:
    for each in options.attachments:
        yield weasyprint.Attachment(
            file_obj=io.BytesIO(files[each.name]),
            name=each.name,
            description=each.description,
            relationship=_RELATIONSHIPS[each.relationship],
            created=made_at,
            modified=made_at,
        )


def _e_invoice(page: Page, options: ReportPdf, made_at: datetime) -> Iterator[Any]:
    if options.variant == "factur-x" and page.e_invoice is not None:
        yield weasyprint.Attachment(
            file_obj=io.BytesIO(page.e_invoice),
            name=FACTUR_X_NAME,
            description="Factur-X/ZUGFeRD invoice",
            relationship="Alternative",
            created=made_at,
            modified=made_at,
        )
