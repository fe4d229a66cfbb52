"""Opens one source: its format by its first bytes, its extent within the limits, and nothing of it decoded yet.

The decoders of what is rare (HEIC, SVG, PDF) are imported when such a source comes.
"""

from typing import IO, Any, Final

# the plugins by name: otherwise each child would load them, and all others, by itself
from PIL import (
    AvifImagePlugin,  # noqa: F401  # registers its format
    BmpImagePlugin,  # noqa: F401  # registers its format
    GifImagePlugin,
    Image,
    ImageFile,
    JpegImagePlugin,  # noqa: F401  # registers its format
    MpoImagePlugin,  # noqa: F401  # JpegImagePlugin loads it for a file of several pictures
    PngImagePlugin,  # noqa: F401  # registers its format
    TiffImagePlugin,
    UnidentifiedImageError,
    WebPImagePlugin,  # noqa: F401  # registers its format
)
from PIL.ExifTags import Base

from functions.image import animation, webp
from functions.image.geometry import EXIF_TURNS
from functions.image.raster import RasterSource
from functions.image.signature import HEAD_BYTES, NAMES, RAW, told
from functions.image.source import BROKEN, Source, check_pixels, corrupt_is_a_value_error
from functions.image.task import Task

ANIMATED: Final = ("gif", "png", "webp", "avif")
ORIENTATIONS: Final = range(1, 9)
# TIFF 6.0, TIFF/EP, DNG 1.7: of what a camera writes as a TIFF, the first picture is a thumbnail or not yet developed
_SUBFILE_TYPE, _PHOTOMETRIC, _SUB_IFDS, _DNG_VERSION = 254, 262, 330, 50706
_UNDEVELOPED: Final = (32_803, 34_892)


def open_source(file: IO[bytes], task: Task) -> Source:
    """The source, or a watermark, of the task."""
    head = file.read(HEAD_BYTES)
    file.seek(0)
    format_ = told(head)
    if format_ is None or format_ not in task.formats:
        raise ValueError(_refusal(head, format_, task))
    try:
        return _drawn(file, format_, task) or _raster(file, format_, task)
    except UnidentifiedImageError as error:
        raise ValueError(_refusal(head, format_, task)) from error


def _drawn(file: IO[bytes], format_: str, task: Task) -> Source | None:
    if format_ == "svg":
        from functions.image.svg import open_svg

        return open_svg(file.read(), pixels_limit=task.pixels_limit)
    if format_ == "pdf":
        from functions.image.pdf import open_page

        return open_page(file.read(), task.page, pixels_limit=task.pixels_limit)
    return None


def _raster(file: IO[bytes], format_: str, task: Task) -> RasterSource:
    file = webp.opened_with_alpha(file) if format_ == "webp" else file
    image = _opened(file, format_)
    frames = _check_extent(image, format_, task)
    profile = image.info.get("icc_profile")
    return RasterSource(
        format=format_,
        stored_px=image.size,
        turn=EXIF_TURNS[_orientation(image, format_)],
        frames=frames,
        plays=_plays(image, format_),
        profile=profile if isinstance(profile, bytes) else None,
        image=image,
        file=file,
        pixels_limit=task.pixels_limit,
    )


def _opened(file: IO[bytes], format_: str) -> Image.Image:
    Image.MAX_IMAGE_PIXELS = None  # it only warns up to twice its value, and knows no frames: _check_extent does
    ImageFile.LOAD_TRUNCATED_IMAGES = False  # WeasyPrint turns it on for its whole process
    # a GIF's later frames in full colour; the first as well, or an animation would change its mode on the way
    GifImagePlugin.LOADING_STRATEGY = GifImagePlugin.LoadingStrategy.RGB_ALWAYS
    if format_ == "heic":
        from functions.image import heic

        heic.register()
    with corrupt_is_a_value_error():
        image = Image.open(file, formats=["HEIF" if format_ == "heic" else format_.upper()])
    if format_ == "tiff":
        _refuse_raw(image)
    return image


def _refusal(head: bytes, format_: str | None, task: Task) -> str:
    got = head[:8].hex(" ") or "no bytes"
    named = f" ({NAMES.get(format_, format_)})" if format_ else ""
    return f"the source must be {_readable(task)} with a sound header, got a file of {got}...{named}"


def _readable(task: Task) -> str:
    names = [NAMES[each] for each in task.formats]
    return f"{', '.join(names[:-1])} or {names[-1]}" if len(names) > 1 else names[0]


def _refuse_raw(image: Image.Image) -> None:
    tags = image.tag_v2 if isinstance(image, TiffImagePlugin.TiffImageFile) else {}
    thumbnail_first = tags.get(_SUBFILE_TYPE) == 1 and _SUB_IFDS in tags
    if thumbnail_first or _DNG_VERSION in tags or tags.get(_PHOTOMETRIC) in _UNDEVELOPED:
        maker = str(tags.get(Base.Make) or "of no named maker").strip("\0 ")
        raise ValueError(f"the source must be a picture that is developed, got {RAW} ({maker})")


def _check_extent(image: Image.Image, format_: str, task: Task) -> int:
    """The frames that are shown. How much of a JPEG is decoded, its outputs decide: raster.py counts it then."""
    with corrupt_is_a_value_error():
        counted = int(getattr(image, "n_frames", 1)) if format_ in (*ANIMATED, "tiff") else 1
    frames = counted - 1 if animation.has_hidden_first(image, format_) else counted
    if frames > task.frames_limit:
        raise ValueError(f"the source must have at most {task.frames_limit} frames, got {frames}")
    if format_ != "jpeg":
        check_pixels(image.size, limit=task.pixels_limit, frames=frames)
    return frames if format_ in ANIMATED else 1


def _orientation(image: Image.Image, format_: str) -> int:
    """1 to 8; 1 as well when the EXIF data are broken, as browsers do, and where the decoder has turned it already."""
    if format_ in ("tiff", "heic"):
        return 1
    try:
        orientation = image.getexif().get(Base.Orientation)
    except BROKEN:
        return 1
    return orientation if isinstance(orientation, int) and orientation in ORIENTATIONS else 1


def _plays(image: Image.Image, format_: str) -> int:
    """How often an animation is shown: a GIF without a loop once, and with one as many times more."""
    loop: Any = image.info.get("loop")
    if format_ == "gif":
        return 1 if loop is None else 0 if loop == 0 else int(loop) + 1
    return int(loop or 0)
