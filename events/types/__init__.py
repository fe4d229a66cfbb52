"""The contract: one frozen struct per event type; lengths in the unit that the field's name ends with.

A class name gives its event type: `ImageRequested` is `dev.errands.image.requested.v1`. Requests refuse unknown
fields, so that a misspelt option fails the job instead of being ignored; readers of the other types accept them.
Adding an optional field keeps the version; any other change is a new class with a new version.
"""

import re
from functools import cache
from typing import Annotated, Any, Literal

from msgspec import Meta, Struct

from events.problem import Problem
from events.types.base import PERSONAL as PERSONAL
from events.types.base import Artifact as Artifact
from events.types.base import DeadLetter as DeadLetter
from events.types.base import Email as Email
from events.types.base import Input as Input
from events.types.base import LongText as LongText
from events.types.base import Name as Name
from events.types.base import Request as Request
from events.types.base import Result as Result
from events.types.base import Sha256 as Sha256
from events.types.base import Text as Text
from events.types.base import refuse_repeated
from events.types.ics import IcsCompleted as IcsCompleted
from events.types.ics import IcsDeadlettered as IcsDeadlettered
from events.types.ics import IcsFailed as IcsFailed
from events.types.ics import IcsRequested as IcsRequested
from events.types.report import LongreportCompleted as LongreportCompleted
from events.types.report import LongreportDeadlettered as LongreportDeadlettered
from events.types.report import LongreportFailed as LongreportFailed
from events.types.report import LongreportRequested as LongreportRequested
from events.types.report import ReportCompleted as ReportCompleted
from events.types.report import ReportDeadlettered as ReportDeadlettered
from events.types.report import ReportFailed as ReportFailed
from events.types.report import ReportRequested as ReportRequested

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
        refuse_repeated([each.name for each in self.outputs], "outputs")


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


# --- message: notifications to people


class Attachment(Request, frozen=True, kw_only=True):
    """A file sent along: inline, or from the store (the `key` of an earlier job's artefact)."""

    name: Name
    source: Input
    media_type: Annotated[str, Meta(pattern=r"^[a-z0-9.+-]+/[a-z0-9.+-]+$(?!\n)")] = "application/octet-stream"


class MessageCalendar(Request, frozen=True, kw_only=True):
    """An invitation: a calendar as text, or the `key` of one in the store; `method` has to be the calendar's METHOD."""

    text: Annotated[LongText, Meta(extra=PERSONAL)] | None = None
    key: Annotated[str, Meta(max_length=1_024)] | None = None
    method: Literal["PUBLISH", "REQUEST", "REPLY", "ADD", "CANCEL", "REFRESH", "COUNTER", "DECLINECOUNTER"] = "REQUEST"

    def __post_init__(self) -> None:
        if (self.text is None) == (self.key is None):
            raise ValueError("exactly one of text and key is expected")


class MessageFill(Request, frozen=True, kw_only=True):
    """What the templates are filled with; the rest is how numbers, money and times are written."""

    data: Annotated[dict[str, Any], Meta(extra=PERSONAL)]
    locale: Annotated[str, Meta(max_length=35, examples=["en", "de-CH"])] = "en"
    currency: Annotated[str, Meta(pattern=r"^[A-Z]{3}$(?!\n)")] | None = None
    zone: Annotated[str, Meta(max_length=64, examples=["Europe/Berlin"])] = "UTC"


class MessageRequested(Request, frozen=True, kw_only=True):
    """Send one e-mail to all of `to`, or one notification to a configured `target` (chat, push).

    `html` is the alternative to `text`. With `fill`, subject, text and html are Jinja2 templates.
    """

    to: Annotated[tuple[Email, ...], Meta(max_length=50)] = ()
    target: Annotated[Name, Meta(description="a name of the installation's TARGETS")] | None = None
    subject: Annotated[str, Meta(min_length=1, max_length=500, pattern=r"^[^\r\n\x00]*$(?!\n)", extra=PERSONAL)]
    text: Annotated[LongText, Meta(extra=PERSONAL)]
    html: Annotated[LongText, Meta(extra=PERSONAL)] | None = None
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


PHASES = ("Requested", "Completed", "Failed", "Deadlettered")


@cache
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
