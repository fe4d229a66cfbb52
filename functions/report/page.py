"""What a template's single run makes, whatever the outputs are: HTML, and the rows of its tables."""

from dataclasses import dataclass

from functions.report.sheet import Sheet


@dataclass(frozen=True)
class Page:
    """`sheets` are for CSV and XLSX; `tagged` says whether a PDF of it is by default made for screen readers.

    `title` names a workbook; `day` is the request's in the document's language, for running headers, and `contents` is
    what the language calls a table of contents. `is_xml` says that the HTML is XML as well; `page_style`
    is of pages that the options of a PDF leave as they are, `e_invoice` the XML that
    programs read of an invoice, where an output asks for it.
    """

    html: str
    title: str
    day: str
    contents: str = "Contents"
    sheets: tuple[Sheet, ...] = ()
    tagged: bool = True
    landscape: bool = False
    is_xml: bool = False
    warnings: tuple[str, ...] = ()
    page_style: str = ""
    e_invoice: bytes | None = None
