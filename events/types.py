"""The contract: one frozen struct per event type; lengths in the unit that the field's name ends with.

A class name gives its event type: `ImageRequested` is `dev.errands.image.requested.v1`. Requests refuse unknown
fields, so that a misspelt option fails the job instead of being ignored; readers of the other types accept them.
Adding an optional field keeps the version; any other change is a new class with a new version.
"""

import re
from typing import Annotated, Any, Literal

from msgspec import Meta, Struct

from events.base import Artifact as Artifact
from events.base import DeadLetter as DeadLetter
from events.base import Email as Email
from events.base import Input as Input
from events.base import LongText as LongText
from events.base import Name as Name
from events.base import Request as Request
from events.base import Result as Result
from events.base import Sha256 as Sha256
from events.base import Text as Text
from events.calendars import IcsCompleted as IcsCompleted
from events.calendars import IcsDeadlettered as IcsDeadlettered
from events.calendars import IcsFailed as IcsFailed
from events.calendars import IcsRequested as IcsRequested
from events.problem import Problem

# --- image: resize and convert

# what formats can hold; the image function's own limit is lower, and configurable
ImageSidePx = Annotated[int, Meta(ge=1, le=65_535)]
ImagePlace = Literal["center", "top", "bottom", "left", "right", "top-left", "top-right", "bottom-left", "bottom-right"]


class ImageCrop(Request, frozen=True, kw_only=True):
    """A rectangle of the upright source, cut out before anything else."""

    x_px: Annotated[int, Meta(ge=0)] = 0
    y_px: Annotated[int, Meta(ge=0)] = 0
    width_px: Annotated[int, Meta(ge=1)]
    height_px: Annotated[int, Meta(ge=1)]


class ImageFocus(Request, frozen=True, kw_only=True):
    """The point of the upright source that must stay in sight, as fractions of its width and height."""

    x: Annotated[float, Meta(ge=0, le=1)]
    y: Annotated[float, Meta(ge=0, le=1)]


class ImageWatermark(Request, frozen=True, kw_only=True):
    """A picture from the store, laid over the output; `scale` is its width as a part of the output's."""

    key: Annotated[str, Meta(max_length=1_024)]
    position: ImagePlace = "bottom-right"
    margin_px: Annotated[int, Meta(ge=0, le=16_384)] = 0
    scale: Annotated[float, Meta(gt=0, le=1)] = 0.2
    opacity: Annotated[float, Meta(gt=0, le=1)] = 1.0
    tiled: bool = False


class ImageOutput(Request, frozen=True, kw_only=True):
    """One picture to make. An absent field is the preset's; without a preset it is the default that it describes.

    The order is: crop, rotate, flip, resize, grayscale, blur, sharpen, padding, watermark, background.
    """

    name: Name
    preset: (
        Annotated[str, Meta(max_length=100, description="a set of fields in the function's configuration")] | None
    ) = None

    width_px: ImageSidePx | None = None
    height_px: ImageSidePx | None = None
    mode: (
        Annotated[
            Literal["fit", "fill", "contain", "exact"],
            Meta(
                description="`fit` (default): whole inside the box; `fill`: covers it, cropped; `contain`: whole, "
                "padded to the box; `exact`: stretched to it. All but `fit` need both sides"
            ),
        ]
        | None
    ) = None
    dpr: (
        Annotated[float, Meta(ge=0.1, le=10, description="multiplies every length of this output; default 1")] | None
    ) = None
    enlarge: Annotated[bool, Meta(description="whether the source's pixels may grow; default false")] | None = None
    crop: ImageCrop | None = None
    gravity: (
        Annotated[
            Literal[
                "center",
                "top",
                "bottom",
                "left",
                "right",
                "top-left",
                "top-right",
                "bottom-left",
                "bottom-right",
                "smart",
            ],
            Meta(description="what `fill` keeps, where `contain` puts it; `smart`: the most detailed part"),
        ]
        | None
    ) = None
    offset_x_px: Annotated[int, Meta(ge=-65_535, le=65_535, description="from the gravity's side inwards")] | None = (
        None
    )
    offset_y_px: Annotated[int, Meta(ge=-65_535, le=65_535, description="from the gravity's side inwards")] | None = (
        None
    )
    focus: ImageFocus | None = None

    rotate_deg: Annotated[Literal[0, 90, 180, 270], Meta(description="clockwise")] | None = None
    flip: Literal["horizontal", "vertical", "both"] | None = None
    grayscale: bool | None = None
    blur_px: Annotated[float, Meta(gt=0, le=250, description="standard deviation")] | None = None
    sharpen_percent: Annotated[int, Meta(ge=1, le=500, description="strength of an unsharp mask")] | None = None
    background: (
        Annotated[
            str,
            Meta(
                pattern=r"^#[0-9A-Fa-f]{6}$(?!\n)",
                description="under transparency and padding; default: none, and white in a JPEG",
            ),
        ]
        | None
    ) = None
    watermark: ImageWatermark | None = None

    format: (
        Annotated[
            Literal["jpeg", "png", "webp", "avif", "gif", "tiff", "auto"],
            Meta(description="default `jpeg`; `auto`: the smallest of `formats`"),
        ]
        | None
    ) = None
    formats: (
        Annotated[
            tuple[Literal["jpeg", "png", "webp", "avif", "gif", "tiff"], ...],
            Meta(min_length=1, max_length=6, description="what `auto` may choose; default jpeg, png, webp and avif"),
        ]
        | None
    ) = None
    quality: Annotated[int, Meta(ge=1, le=100, description="default 80")] | None = None
    max_bytes: Annotated[int, Meta(ge=1, description="the quality is lowered until the file is no larger")] | None = (
        None
    )
    progressive: Annotated[bool, Meta(description="JPEG; default true")] | None = None
    subsampling: Annotated[Literal["4:4:4", "4:2:2", "4:2:0"], Meta(description="JPEG, AVIF; default 4:2:0")] | None = (
        None
    )
    lossless: Annotated[bool, Meta(description="WebP; default false")] | None = None
    colors: Annotated[int, Meta(ge=2, le=256, description="PNG, GIF: a palette of at most so many")] | None = None
    speed: Annotated[int, Meta(ge=0, le=10, description="AVIF; default 8; slower is smaller")] | None = None
    animated: Annotated[bool, Meta(description="GIF, PNG, WebP, AVIF: keep the animation; default true")] | None = None
    keep: (
        Annotated[
            tuple[Literal["copyright", "exif", "gps", "icc"], ...],
            Meta(max_length=4, description="metadata to keep; `exif` is without the place, which is `gps`"),
        ]
        | None
    ) = None

    def __post_init__(self) -> None:
        if self.preset is None:  # else the function checks what the two make together
            self._check_geometry()
            self._check_format()

    def _check_geometry(self) -> None:
        if self.mode not in (None, "fit") and None in (self.width_px, self.height_px):
            raise ValueError(f"mode {self.mode} expects both width_px and height_px")
        placed = [name for name in ("gravity", "offset_x_px", "offset_y_px") if getattr(self, name) is not None]
        if placed and self.mode not in ("fill", "contain"):
            raise ValueError(f"{' and '.join(placed)} expects mode fill or contain, got {self.mode or 'fit'}")
        if self.focus and self.mode != "fill":
            raise ValueError(f"focus expects mode fill, got {self.mode or 'fit'}")
        if self.gravity == "smart" and self.mode != "fill":
            raise ValueError(f"gravity smart expects mode fill, got {self.mode}")
        if placed and (self.focus or (self.gravity == "smart" and len(placed) > 1)):
            raise ValueError(f"{'focus' if self.focus else 'gravity smart'} cannot be combined with {placed[-1]}")

    def _check_format(self) -> None:
        format_ = self.format or "jpeg"
        if self.formats is not None and format_ != "auto":
            raise ValueError(f"formats expects format auto, got {format_}")
        for name, formats in _IMAGE_OPTIONS.items():
            if getattr(self, name) is not None and format_ not in (*formats, "auto"):
                raise ValueError(f"{name} expects format {' or '.join(formats)}, got {format_}")


# which formats have the option; a quality or `animated: true` where there is none does no harm
_IMAGE_OPTIONS = {
    "progressive": ("jpeg",),
    "subsampling": ("jpeg", "avif"),
    "lossless": ("webp",),
    "colors": ("png", "gif"),
    "speed": ("avif",),
}


class ImageRequested(Request, frozen=True, kw_only=True):
    """Decode one picture once and make every output of it."""

    source: Input
    outputs: Annotated[tuple[ImageOutput, ...], Meta(min_length=1, max_length=32)]

    def __post_init__(self) -> None:
        _refuse_repeated([each.name for each in self.outputs], "outputs")


class ImageArtifact(Artifact, frozen=True, kw_only=True):
    """A stored picture; `quality` is the one that was used, where the format has it; `frames` of an animation."""

    width_px: int
    height_px: int
    format: str | None = None
    quality: int | None = None
    frames: int = 1


class ImageSource(Result, frozen=True, kw_only=True):
    """What the source turned out to be, after EXIF rotation.

    `dominant_color` (`#rrggbb`) and `blurhash` (blurha.sh) stand in for the picture until it is loaded.
    """

    format: str
    width_px: int
    height_px: int
    size_bytes: int
    frames: int = 1
    dominant_color: str | None = None
    blurhash: str | None = None


class ImageCompleted(Result, frozen=True, kw_only=True):
    """The pictures, in the order of the request's outputs."""

    source: ImageSource
    artifacts: tuple[ImageArtifact, ...]


class ImageFailed(Problem, frozen=True, kw_only=True):
    """The picture is refused, corrupt or over a limit."""


class ImageDeadlettered(DeadLetter, frozen=True, kw_only=True):
    """The job is kept as a dead letter."""


# --- report: documents from data


ReportLengthMm = Annotated[float, Meta(ge=0, le=2_000)]
ReportColor = Annotated[str, Meta(pattern=r"^#[0-9A-Fa-f]{6}$(?!\n)")]
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

    name: Name
    source: Input
    description: Text | None = None
    relationship: Literal["source", "data", "alternative", "supplement", "unspecified"] = "unspecified"


class ReportWatermark(Request, frozen=True, kw_only=True):
    """A word under the content of every page."""

    text: Annotated[str, Meta(min_length=1, max_length=60)]
    color: ReportColor = "#808080"
    opacity: Annotated[float, Meta(gt=0, le=1)] = 0.18
    angle_deg: Annotated[float, Meta(ge=-90, le=90, description="counter-clockwise")] = 45


class ReportEncryption(Request, frozen=True, kw_only=True):
    """AES-256. `password` opens the PDF; without `owner_password` the rights are bound to nothing but goodwill.

    An encrypted PDF holds random numbers, so its bytes differ from run to run.
    """

    password: Annotated[str, Meta(min_length=1, max_length=127)]
    owner_password: Annotated[str, Meta(min_length=1, max_length=127)] | None = None
    allow: Annotated[
        tuple[Literal["print", "copy", "modify", "annotate", "fill-forms", "assemble"], ...], Meta(max_length=6)
    ] = ("print", "copy")


class ReportPdf(Request, frozen=True, kw_only=True):
    """How a PDF is made; what is left out is the template's own.

    The variants claim to be what they say; no validator is run over them.
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
    variant: Literal["pdf/a-2b", "pdf/a-3b", "pdf/ua-1"] | None = None
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
        _refuse_repeated([each.name for each in self.attachments], "attachments")


class ReportCsv(Request, frozen=True, kw_only=True):
    """How a CSV file is written: UTF-8, a header, lines that end with CR LF (RFC 4180), numbers with a point.

    `guard_formulas` puts an apostrophe before a text that a spreadsheet would take for a formula.
    """

    delimiter: Literal[",", ";", "\t", "|"] = ","
    byte_order_mark: bool = False
    guard_formulas: bool = True


class ReportOutput(Request, frozen=True, kw_only=True):
    """One document to make from the template's single run; `csv` and `xlsx` hold the rows of its tables."""

    name: Name
    format: Literal["pdf", "html", "csv", "xlsx"] = "pdf"
    pdf: ReportPdf | None = None
    csv: ReportCsv | None = None

    def __post_init__(self) -> None:
        for field in ("pdf", "csv"):
            if getattr(self, field) is not None and self.format != field:
                raise ValueError(f"{field} expects format {field}, got {self.format}")


class ReportColumn(Request, frozen=True, kw_only=True):
    """One column of a table. `align` is by default right for numbers and money, left for the others."""

    name: Annotated[str, Meta(pattern=r"^[A-Za-z0-9_.-]{1,100}$(?!\n)", description="a key of the rows")]
    label: Text | None = None
    kind: Literal["text", "number", "money", "date"] = "text"
    align: Literal["left", "center", "right"] | None = None
    total: bool = False

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
        _refuse_repeated([each.name for each in self.columns], "columns")


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
    currency: Annotated[str, Meta(pattern=r"^[A-Z]{3}$(?!\n)", description="ISO 4217")] | None = None
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
        _refuse_repeated([each.name for each in self.outputs], "outputs")


class ReportArtifact(Artifact, frozen=True, kw_only=True):
    """A stored document; `pages` of a PDF, joined ones included."""

    pages: int | None = None


class ReportCompleted(Result, frozen=True, kw_only=True):
    """The documents, in the order of the request's outputs; `pages` counts the first PDF's, 0 without one.

    `warnings` names what is not as the template meant it: characters that no font has, pictures that are missing.
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


# --- message: notifications to people


class Attachment(Request, frozen=True, kw_only=True):
    """A file sent along: inline, or from the store (the `key` of an earlier job's artefact)."""

    name: Name
    source: Input
    media_type: Annotated[str, Meta(pattern=r"^[a-z0-9.+-]+/[a-z0-9.+-]+$(?!\n)")] = "application/octet-stream"


class MessageCalendar(Request, frozen=True, kw_only=True):
    """An invitation: a calendar as text, or the `key` of one in the store; `method` has to be the calendar's METHOD."""

    text: LongText | None = None
    key: Annotated[str, Meta(max_length=1_024)] | None = None
    method: Literal["PUBLISH", "REQUEST", "REPLY", "ADD", "CANCEL", "REFRESH", "COUNTER", "DECLINECOUNTER"] = "REQUEST"

    def __post_init__(self) -> None:
        if (self.text is None) == (self.key is None):
            raise ValueError("exactly one of text and key is expected")


class MessageFill(Request, frozen=True, kw_only=True):
    """What the templates are filled with; the rest is how numbers, money and times are written."""

    data: dict[str, Any]
    locale: Annotated[str, Meta(max_length=35, examples=["en", "de-CH"])] = "en"
    currency: Annotated[str, Meta(pattern=r"^[A-Z]{3}$(?!\n)")] | None = None
    zone: Annotated[str, Meta(max_length=64, examples=["Europe/Berlin"])] = "UTC"


class MessageRequested(Request, frozen=True, kw_only=True):
    """Send one e-mail to all of `to`, or one notification to a configured `target` (chat, push).

    `html` is the alternative to `text`. With `fill`, subject, text and html are Jinja2 templates.
    """

    to: Annotated[tuple[Email, ...], Meta(max_length=50)] = ()
    target: Annotated[Name, Meta(description="a name of the installation's TARGETS")] | None = None
    subject: Annotated[str, Meta(min_length=1, max_length=500, pattern=r"^[^\r\n\x00]*$(?!\n)")]
    text: LongText
    html: LongText | None = None
    sender: Email | None = None
    reply_to: Email | None = None
    attachments: Annotated[tuple[Attachment, ...], Meta(max_length=10)] = ()
    calendar: MessageCalendar | None = None
    fill: MessageFill | None = None

    def __post_init__(self) -> None:
        if bool(self.to) == (self.target is not None):
            raise ValueError("exactly one of to and target is expected")
        of_mail = {"sender", "reply_to", "attachments", "calendar"}
        given = sorted(name for name in of_mail if getattr(self, name)) if self.target else ()
        if given:
            raise ValueError(f"a target takes subject and text, no {', '.join(given)}")


class MessageCompleted(Result, frozen=True, kw_only=True):
    """The server accepted the message; `refused` names the recipients it did not take.

    Of a target: `message_id` names the job, and the target is the one that accepted.
    """

    message_id: str
    accepted: tuple[str, ...]
    refused: tuple[str, ...] = ()


class MessageFailed(Problem, frozen=True, kw_only=True):
    """The server refused the message for good, or it may not be sent."""


class MessageDeadlettered(DeadLetter, frozen=True, kw_only=True):
    """The job is kept as a dead letter."""


def _refuse_repeated(names: list[str], field: str) -> None:
    repeated = sorted({name for name in names if names.count(name) > 1})
    if repeated:
        raise ValueError(f"{field} must have different names, got {', '.join(repeated)} twice")


PHASES = ("Requested", "Completed", "Failed", "Deadlettered")


def event_type(struct: type[Struct]) -> str:
    """The CloudEvents `type` of a struct: `ImageRequested` is `dev.errands.image.requested.v1`.

    A class name may end with a version: `ImageRequestedV2`. Raises ValueError for any other name.
    """
    parts = re.fullmatch(rf"([A-Z][A-Za-z0-9]*?)({'|'.join(PHASES)})(?:V([0-9]+))?", struct.__name__)
    if parts is None:
        raise ValueError(f"an event class is named <Job><{'|'.join(PHASES)}>[V<n>], got {struct.__name__}")
    job, phase, version = parts.groups()
    return f"dev.errands.{job.lower()}.{phase.lower()}.v{version or 1}"


def sibling_type(type_: str, phase: str) -> str:
    """The type of the same job in another phase: (`...image.requested.v1`, `failed`) is `...image.failed.v1`."""
    stem, _, version = type_.rpartition(".")
    return f"{stem.rpartition('.')[0]}.{phase}.{version}"


REGISTRY: dict[str, type[Struct]] = {
    event_type(each): each
    for each in list(globals().values())
    if isinstance(each, type) and issubclass(each, Struct) and each.__name__.endswith(PHASES)
}
