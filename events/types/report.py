"""The contract of the report function: documents from data."""

from typing import Annotated, Any, Literal

from msgspec import Meta

from events.problem import Problem
from events.types.base import (
    SECRET,
    Artifact,
    DeadLetter,
    FileName,
    Input,
    Name,
    Request,
    Result,
    Text,
    refuse_repeated,
)

ReportLengthMm = Annotated[float, Meta(ge=0, le=2_000)]
ReportColor = Annotated[str, Meta(pattern=r"^#[0-9A-Fa-f]{6}$(?!\n)", description="a colour as #rrggbb")]
ReportVariant = Literal["pdf/a-2b", "pdf/a-3b", "pdf/ua-1", "factur-x"]
ReportPlace = Annotated[str, Meta(max_length=300)]


class ReportMargin(Request, frozen=True, kw_only=True):
    """The empty rim of each page; a side left out is the template's own."""

    top_mm: ReportLengthMm | None = None
    right_mm: ReportLengthMm | None = None
    bottom_mm: ReportLengthMm | None = None
    left_mm: ReportLengthMm | None = None


class ReportRunning(Request, frozen=True, kw_only=True):
    """What each page repeats; `{page}`, `{pages}`, `{title}` and `{date}` (the request's) in it are replaced."""

    left: ReportPlace = ""
    center: ReportPlace = ""
    right: ReportPlace = ""


class ReportContents(Request, frozen=True, kw_only=True):
    """A table of contents on pages of its own before the document, made of its headings."""

    title: Text | None = None
    depth: Annotated[int, Meta(ge=1, le=6, description="1: only h1")] = 2


class ReportMetadata(Request, frozen=True, kw_only=True):
    """What the PDF says of itself, instead of what the template says."""

    title: Text | None = None
    author: Text | None = None
    subject: Text | None = None
    keywords: Annotated[tuple[Text, ...], Meta(max_length=50)] = ()


class ReportAttachment(Request, frozen=True, kw_only=True):
    """A file embedded in the PDF, such as the XML of an e-invoice; `relationship` is PDF/A-3's."""

    name: FileName
    source: Input
    description: Text | None = None
    relationship: Literal["source", "data", "alternative", "supplement", "unspecified"] = "unspecified"


class ReportWatermark(Request, frozen=True, kw_only=True):
    """A word, or a picture, under the content of every page; `width_percent` is of what the margins leave."""

    text: Annotated[str, Meta(min_length=1, max_length=60)] | None = None
    color: Annotated[ReportColor, Meta(description="of the text")] = "#808080"
    source: Annotated[Input, Meta(description="a picture: PNG, JPEG, GIF, WebP or SVG")] | None = None
    width_percent: Annotated[float, Meta(gt=0, le=100)] = 60
    opacity: Annotated[float, Meta(gt=0, le=1)] = 0.18
    angle_deg: Annotated[float, Meta(ge=-90, le=90, description="counter-clockwise; default: 45 for a text")] | None = (
        None
    )

    def __post_init__(self) -> None:
        if (self.text is None) == (self.source is None):
            raise ValueError("exactly one of text and source is expected")


class ReportEncryption(Request, frozen=True, kw_only=True):
    """AES-256. `password` opens the PDF; without `owner_password` the rights are bound to nothing but goodwill.

    An encrypted PDF holds random numbers, so its bytes differ from run to run.
    """

    password: Annotated[str, Meta(min_length=1, max_length=127, extra=SECRET)]
    owner_password: Annotated[str, Meta(min_length=1, max_length=127, extra=SECRET)] | None = None
    allow: Annotated[
        tuple[Literal["print", "copy", "modify", "annotate", "fill-forms", "assemble"], ...], Meta(max_length=6)
    ] = ("print", "copy")


class ReportPdf(Request, frozen=True, kw_only=True):
    """How a PDF is made; what is left out is the template's own.

    The variants are claims: `warnings` names what of an own template is against them, as far as it is seen. `factur-x`
    is the e-invoice of the template `invoice`: a PDF/A-3b that holds its XML (ZUGFeRD 2, profile EN 16931).
    """

    size: Literal["A3", "A4", "A5", "A6", "B4", "B5", "letter", "legal", "ledger"] | None = None
    width_mm: Annotated[float, Meta(ge=20, le=2_000)] | None = None
    height_mm: Annotated[float, Meta(ge=20, le=2_000)] | None = None
    orientation: Literal["portrait", "landscape"] | None = None
    margin: ReportMargin | None = None
    header: ReportRunning | None = None
    footer: ReportRunning | None = None
    contents: ReportContents | None = None
    bookmarks: bool = True
    tagged: Annotated[bool, Meta(description="for screen readers; default: all but long tables")] | None = None
    metadata: ReportMetadata | None = None
    attachments: Annotated[tuple[ReportAttachment, ...], Meta(max_length=20)] = ()
    watermark: ReportWatermark | None = None
    variant: ReportVariant | None = None
    encryption: ReportEncryption | None = None
    before: Annotated[tuple[Input, ...], Meta(max_length=20, description="PDFs to join, in front")] = ()
    after: Annotated[tuple[Input, ...], Meta(max_length=20, description="PDFs to join, at the end")] = ()

    def __post_init__(self) -> None:
        if (self.width_mm is None) != (self.height_mm is None) or (self.width_mm is not None and self.size):
            raise ValueError("a page is given by size, or by width_mm and height_mm together")
        if self.variant and self.encryption:
            raise ValueError(f"encryption expects no variant: {self.variant} must be readable by everyone")
        if self.variant and (self.before or self.after):
            raise ValueError(f"before and after expect no variant: what joins may not be {self.variant}")
        if self.variant == "pdf/a-2b" and self.attachments:
            raise ValueError("attachments expects variant pdf/a-3b or none: pdf/a-2b holds no other files")
        refuse_repeated([each.name for each in self.attachments], "attachments")


class ReportCsv(Request, frozen=True, kw_only=True):
    """How a CSV file is written: UTF-8, a header, lines that end with CR LF (RFC 4180), numbers with a point.

    With a `locale` numbers have its decimal sign, as the spreadsheets of its readers expect. `guard_formulas` puts an
    apostrophe before a text that a spreadsheet would take for a formula.
    """

    delimiter: (
        Annotated[
            Literal[",", ";", "\t", "|"],
            Meta(description="default: a comma, or where the locale's decimal sign is one a semicolon"),
        ]
        | None
    ) = None
    locale: Annotated[str, Meta(max_length=35, examples=["de", "fr-CH"])] | None = None
    byte_order_mark: bool = False
    guard_formulas: bool = True


class ReportOutput(Request, frozen=True, kw_only=True):
    """One document to make from the template's single run; `csv` and `xlsx` hold the rows of its tables."""

    name: FileName
    format: Literal["pdf", "html", "csv", "xlsx"] = "pdf"
    pdf: ReportPdf | None = None
    csv: ReportCsv | None = None

    def __post_init__(self) -> None:
        for field in ("pdf", "csv"):
            if getattr(self, field) is not None and self.format != field:
                raise ValueError(f"{field} expects format {field}, got {self.format}")


class ReportColumn(Request, frozen=True, kw_only=True):
    """One column of a table. `align` is by default right for numbers and money, left for the others.

    Numbers and dates are never broken; `nowrap` says so of a text.
    """

    name: Annotated[
        str,
        Meta(
            pattern=r"^[A-Za-z0-9_.-]{1,100}$(?!\n)", description="a key of the rows, of letters, figures, _, - and ."
        ),
    ]
    label: Text | None = None
    kind: Literal["text", "number", "money", "date"] = "text"
    align: Literal["left", "center", "right"] | None = None
    total: bool = False
    width_mm: (
        Annotated[float, Meta(ge=2, le=400, description="of the built-in table; default: what it needs")] | None
    ) = None
    nowrap: bool = False

    def __post_init__(self) -> None:
        if self.total and not self.is_numeric:
            raise ValueError(f"total must be false for the kind {self.kind}; only number and money have one")

    @property
    def is_numeric(self) -> bool:
        return self.kind in ("number", "money")

    @property
    def side(self) -> str:
        """Where its cells stand."""
        return self.align or ("right" if self.is_numeric else "left")


class ReportSheet(Request, frozen=True, kw_only=True):
    """Rows for CSV and XLSX from an own template's data: a list of objects in its field `rows`."""

    rows: Annotated[str, Meta(min_length=1, max_length=100)] = "rows"
    title: Annotated[str, Meta(min_length=1, max_length=100)] | None = None
    columns: Annotated[tuple[ReportColumn, ...], Meta(min_length=1, max_length=200)]

    def __post_init__(self) -> None:
        refuse_repeated([each.name for each in self.columns], "columns")


class ReportOwnTemplate(Request, frozen=True, kw_only=True):
    """A template of the caller's own: Jinja2 and CSS, inline, or a `folder` in the store with all it needs.

    `schema` is the JSON Schema of its data; in a folder it is `schema.json`, the translations `translations.json`.
    """

    html: Annotated[str, Meta(min_length=1, max_length=1_000_000)] | None = None
    css: Annotated[str, Meta(max_length=1_000_000)] | None = None
    folder: Annotated[str, Meta(min_length=1, max_length=900)] | None = None
    file: Name = "template.html"
    schema: dict[str, Any] | None = None
    locale: Annotated[str, Meta(max_length=35, examples=["en", "de-CH"])] = "en"
    currency: (
        Annotated[str, Meta(pattern=r"^[A-Z]{3}$(?!\n)", description="a code of ISO 4217, such as EUR")] | None
    ) = None
    timezone: Annotated[str, Meta(max_length=64)] = "UTC"
    translations: (
        Annotated[dict[str, dict[str, str]], Meta(max_length=100, description="texts by language, then by text")] | None
    ) = None
    sheets: Annotated[tuple[ReportSheet, ...], Meta(max_length=20)] = ()

    def __post_init__(self) -> None:
        if (self.html is None) == (self.folder is None):
            raise ValueError("exactly one of html and folder is expected")


class ReportDataSource(Request, frozen=True, kw_only=True):
    """Data by reference. With a `field` it becomes that field of `data`; JSON without one is the data itself.

    JSON Lines and CSV are rows (default field `rows`); a CSV's first line names the columns, an empty cell is absent.
    """

    source: Input
    format: Literal["json", "jsonl", "csv"] = "json"
    field: Annotated[str, Meta(min_length=1, max_length=100)] | None = None
    delimiter: Literal[",", ";", "\t", "|"] = ","


class ReportRequested(Request, frozen=True, kw_only=True):
    """Render a built-in template, or `own`, with data; the schema of a template's data is told by its README."""

    template: (
        Annotated[
            str,
            Meta(
                pattern=r"^[a-z][a-z0-9-]{0,49}$(?!\n)",
                examples=["invoice", "letter", "table", "dashboard", "certificate"],
            ),
        ]
        | None
    ) = None
    own: ReportOwnTemplate | None = None
    data: dict[str, Any] | None = None
    data_source: ReportDataSource | None = None
    outputs: Annotated[tuple[ReportOutput, ...], Meta(min_length=1, max_length=8)] = (ReportOutput(name="report.pdf"),)
    on_missing: Annotated[
        Literal["fail", "warn"], Meta(description="of a picture, style sheet or font that cannot be had")
    ] = "fail"

    def __post_init__(self) -> None:
        if (self.template is None) == (self.own is None):
            raise ValueError("exactly one of template and own is expected")
        if self.data is None and self.data_source is None:
            raise ValueError("data or data_source is expected")
        refuse_repeated([each.name for each in self.outputs], "outputs")


class ReportArtifact(Artifact, frozen=True, kw_only=True):
    """A stored document; `pages` of a PDF, joined ones included."""

    pages: int | None = None


class ReportCompleted(Result, frozen=True, kw_only=True):
    """The documents, in the order of the request's outputs; `pages` counts the first PDF's, 0 without one.

    `warnings` names what is not as the template meant it: characters that no font has, pictures that are missing, a
    table in smaller type.
    """

    artifacts: tuple[ReportArtifact, ...]
    pages: int
    render_s: float
    size_bytes: int = 0
    warnings: tuple[str, ...] = ()


class ReportFailed(Problem, frozen=True, kw_only=True):
    """The data does not fit the template, the template is wrong, something is missing, or a limit was reached."""


class ReportDeadlettered(DeadLetter, frozen=True, kw_only=True):
    """The job is kept as a dead letter."""


class LongreportRequested(ReportRequested, frozen=True, kw_only=True):
    """A report that takes minutes, off the work queue: what a report takes, with no HTTP request to fit into."""


class LongreportCompleted(ReportCompleted, frozen=True, kw_only=True):
    """The documents, as those of a report."""


class LongreportFailed(ReportFailed, frozen=True, kw_only=True):
    """The data does not fit the template, the template is wrong, something is missing, or a limit was reached."""


class LongreportDeadlettered(DeadLetter, frozen=True, kw_only=True):
    """The job is kept as a dead letter."""
