"""The contract of the image function: pictures made of pictures."""

from typing import Annotated, Literal

from msgspec import Meta

from events.problem import Problem
from events.types.base import Artifact, DeadLetter, FileName, Input, Request, Result, refuse_repeated

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

    name: FileName
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
                description="a colour as #rrggbb, under transparency and padding; default: none, and white in a JPEG",
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
    page: Annotated[int, Meta(ge=1, description="of a PDF")] = 1
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
