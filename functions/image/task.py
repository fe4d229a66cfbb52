"""What the function asks of its child process, and what the child answers.

Apart from picture.py, so that the function itself never loads Pillow, which would delay its start from zero. The
defaults of an output stand here: the contract's fields are absent where the caller says nothing.
"""

from typing import Literal

from msgspec import Struct

Format = Literal["jpeg", "png", "webp", "avif", "gif", "tiff"]
Place = Literal["center", "top", "bottom", "left", "right", "top-left", "top-right", "bottom-left", "bottom-right"]


class Crop(Struct, frozen=True, kw_only=True):
    """A rectangle of the upright source."""

    x_px: int = 0
    y_px: int = 0
    width_px: int
    height_px: int


class Focus(Struct, frozen=True, kw_only=True):
    """A point of the upright source, as fractions of its sides."""

    x: float
    y: float


class Watermark(Struct, frozen=True, kw_only=True):
    """`key` names one of the task's watermarks; `scale` is a part of the output's width."""

    key: str
    position: Place = "bottom-right"
    margin_px: int = 0
    scale: float = 0.2
    opacity: float = 1.0
    tiled: bool = False


class Output(Struct, frozen=True, kw_only=True):
    """One picture to make; the fields are those of the contract's ImageOutput."""

    name: str
    width_px: int | None = None
    height_px: int | None = None
    mode: Literal["fit", "fill", "contain", "exact"] = "fit"
    dpr: float = 1.0
    enlarge: bool = False
    crop: Crop | None = None
    gravity: Place | Literal["smart"] = "center"
    offset_x_px: int = 0
    offset_y_px: int = 0
    focus: Focus | None = None
    rotate_deg: Literal[0, 90, 180, 270] = 0
    flip: Literal["horizontal", "vertical", "both"] | None = None
    grayscale: bool = False
    blur_px: float = 0.0
    sharpen_percent: int = 0
    background: str | None = None
    watermark: Watermark | None = None
    format: Format | Literal["auto"] = "jpeg"
    formats: tuple[Format, ...] = ("jpeg", "png", "webp", "avif")
    quality: int = 80
    max_bytes: int | None = None
    progressive: bool = True
    subsampling: Literal["4:4:4", "4:2:2", "4:2:0"] = "4:2:0"
    lossless: bool = False
    colors: int | None = None
    speed: int = 8
    animated: bool = True
    keep: tuple[Literal["copyright", "exif", "gps", "icc"], ...] = ()


class Task(Struct, frozen=True, kw_only=True):
    """What to make of a source.

    `pixels_limit` is for all frames together, of the source and of each output; `formats` may be read; `page` of a PDF
    counts from 1.
    """

    outputs: tuple[Output, ...]
    pixels_limit: int
    frames_limit: int
    side_limit_px: int = 16_384
    page: int = 1
    formats: tuple[str, ...] = ("jpeg", "png", "webp", "gif", "tiff", "avif", "bmp", "heic", "svg", "pdf")
    watermarks: dict[str, bytes] = {}


class Picture(Struct, frozen=True, kw_only=True):
    """A picture that was made; `quality` is None where the format has none."""

    name: str
    format: str
    width_px: int
    height_px: int
    content: bytes
    quality: int | None = None
    frames: int = 1


class OutputRefusal(Struct, frozen=True, kw_only=True):
    """Why one output cannot be made: the place of it in the task, the field to change, the reason."""

    output: int
    field: str
    detail: str


class Pictures(Struct, frozen=True, kw_only=True):
    """The pictures in the order of the task's outputs; the rest is the source's, after EXIF rotation.

    With a refusal there are no pictures.
    """

    format: str
    width_px: int
    height_px: int
    frames: int
    dominant_color: str = ""
    blurhash: str = ""
    made: tuple[Picture, ...] = ()
    refused: tuple[OutputRefusal, ...] = ()


class OutputRefused(ValueError):
    """One output cannot be made as asked; caught where the refusals are gathered."""

    def __init__(self, field: str, detail: str) -> None:
        super().__init__(detail)
        self.field, self.detail = field, detail
