"""Renders a template to HTML and PDF: WeasyPrint and Jinja2, in a child process with limits (functions/sandbox.py).

The PDF holds nothing of its rendering's place or time: the same draft gives the same bytes with the same fonts.
"""

import gc
import hashlib
import logging
from base64 import b64encode
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

import jinja2
import weasyprint  # type: ignore[import-untyped]  # it has no types
from jinja2.sandbox import ImmutableSandboxedEnvironment
from markupsafe import Markup
from weasyprint.urls import (  # type: ignore[import-untyped]  # as above
    FatalURLFetchingError,
    URLFetcher,
    URLFetcherResponse,
)

from functions.report.draft import Draft, Format, Rendered
from functions.report.invoice import Invoice, grouped_iban, sums
from functions.report.language import LANGUAGES, Language
from functions.report.number import decimals_of, exact, minor_unit_decimals
from functions.report.table import layout
from functions.sandbox import progress

# weasyprint/layout/page.py logs "Step 5 - Creating layout - Page %d" to it before each page.
PAGES_LOG: Final = "weasyprint.progress"


class DataUrls(URLFetcher):  # type: ignore[misc]  # as above
    """Refuses every URL but `data:`, and ends the rendering: no template of ours needs one, so it is an attack."""

    def fetch(self, url: str, headers: dict[str, str] | None = None) -> URLFetcherResponse:
        """The content of a `data:` URL."""
        if not url.lower().startswith("data:"):
            raise FatalURLFetchingError(f"a document must hold all it shows, got {url[:80]!r}")
        return super().fetch(url, headers)


def render(draft: Draft) -> Rendered:
    """Run the template once, and make every format of it; ValueError when it has too many pages."""
    html, contents, pages = _html(draft), dict[Format, bytes](), 0
    if "html" in draft.formats:
        contents["html"] = html.encode()
    if "pdf" in draft.formats:
        contents["pdf"], pages = _pdf(html, draft)
    return Rendered(contents=contents, pages=pages)


def _pdf(html: str, draft: Draft) -> tuple[bytes, int]:
    fetcher = DataUrls(allowed_protocols=("data",), allow_redirects=False)
    # a quarter less time; everything dies with the child
    gc.disable()
    try:
        with _pages_told(draft.pages_limit):
            document = weasyprint.HTML(string=html, url_fetcher=fetcher).render()
        pages = len(document.pages)
        _check_pages(pages, draft.pages_limit)  # again, should a later WeasyPrint log its pages otherwise
        progress(f"layout of {pages} pages")
        # tags for screen readers; a long table would take a third more time for them, and twice the bytes
        tags = isinstance(draft.data, Invoice)
        return document.write_pdf(pdf_identifier=draft.identifier.encode(), pdf_tags=tags), pages
    finally:
        gc.enable()


@contextmanager
def _pages_told(pages_limit: int) -> Iterator[None]:
    """Tell each page as it is laid out, and stop at the first one too many instead of after the last."""
    log, handler = logging.getLogger(PAGES_LOG), PageHandler(pages_limit)
    log.addHandler(handler)
    log.setLevel(logging.INFO)
    try:
        yield
    finally:
        log.removeHandler(handler)


class PageHandler(logging.Handler):
    """Hears from WeasyPrint's log how far it is."""

    def __init__(self, pages_limit: int) -> None:
        super().__init__()
        self._pages_limit = pages_limit

    def emit(self, record: logging.LogRecord) -> None:
        """Raises ValueError at the first page over the limit; logging lets it through."""
        if not record.msg.endswith("- Page %d") or not isinstance(record.args, tuple):
            return
        page = record.args[0]
        if isinstance(page, int):
            _check_pages(page, self._pages_limit)
            progress(f"page {page}")


def _check_pages(pages: int, pages_limit: int) -> None:
    if pages > pages_limit:
        raise ValueError(f"the document must have at most {pages_limit} pages, and it has more")


def _html(draft: Draft) -> str:
    data, language = draft.data, LANGUAGES[draft.data.language]
    name = "invoice" if isinstance(data, Invoice) else "table"
    computed = {"sums": sums(data)} if isinstance(data, Invoice) else {"layout": layout(data, language)}
    made_at = draft.made_at.isoformat(timespec="seconds")
    view = {"it": data, "label": language.labels, "language": language.code, "made_at": made_at, **computed}
    environment = _environment(language, data.currency)
    css = environment.get_template(f"{name}.css").render(view)
    sha256 = b64encode(hashlib.sha256(css.encode()).digest()).decode()
    style = Markup(css)  # noqa: S704  # our own style sheet; of the data it holds a colour and widths, both checked
    return environment.get_template(f"{name}.html").render(view, css=style, css_sha256=sha256)


def _environment(language: Language, currency: str | None) -> jinja2.Environment:
    """Data is text, whatever it holds; only the style sheet, made of checked values, goes in as it is."""
    environment = ImmutableSandboxedEnvironment(
        loader=jinja2.PackageLoader("functions.report"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    decimals = minor_unit_decimals(currency)
    environment.filters |= {
        "amount": lambda value: language.number(value, decimals=decimals),
        "date": language.date,
        "iban": grouped_iban,
        "money": lambda value: language.money(value, currency or ""),
        "number": lambda value: language.number(exact(value)),
        "percent": lambda value: language.percent(exact(value)),
        "price": lambda value: language.number(exact(value), decimals=max(decimals, decimals_of(exact(value)))),
    }
    return environment
