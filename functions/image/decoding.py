"""Opens one source, checks it against the limits before anything is decoded, and decodes its frames.

What Pillow says of a broken file becomes a ValueError that says so; so does every limit, with the measured value.
"""

import math
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import IO, Any, Final

# the plugins by name: otherwise each child would load them, and all others, by itself
from PIL import (
    AvifImagePlugin,  # noqa: F401  # registers its format
    BmpImagePlugin,  # noqa: F401  # registers its format
    GifImagePlugin,
    Image,
    ImageFile,
    JpegImagePlugin,
    MpoImagePlugin,  # noqa: F401  # JpegImagePlugin loads it for a file of several pictures
    PngImagePlugin,  # noqa: F401  # registers its format
    TiffImagePlugin,  # noqa: F401  # registers its format
    UnidentifiedImageError,
    WebPImagePlugin,  # noqa: F401  # registers its format
)
from PIL.ExifTags import Base

from functions.image.geometry import EXIF_TURNS, Size, Turn
from functions.image.task import Task

NAMES: Final = {
    "jpeg": "JPEG",
    "png": "PNG",
    "webp": "WebP",
    "gif": "GIF",
    "tiff": "TIFF",
    "avif": "AVIF",
    "bmp": "BMP",
}
ANIMATED: Final = ("gif", "png", "webp", "avif")
# what Pillow raises for a file that breaks its format, as mutated files of every format showed
BROKEN: Final = (OSError, SyntaxError, ValueError, EOFError, RuntimeError, LookupError, TypeError, struct.error)
ORIENTATIONS: Final = range(1, 9)
PIECE_BYTES: Final = 1 << 25  # a JPEG is decoded 2 % faster in one piece than in 50 of Pillow's 64 kB


@dataclass(frozen=True)
class Source:
    """An opened picture within the limits: nothing of it is decoded. `plays` is 0 for an animation without end."""

    image: Image.Image
    format: str
    turn: Turn
    frames: int
    plays: int

    @property
    def size_px(self) -> Size:
        """The sides of the upright picture."""
        return self.turn.size_px(self.image.size)

    @property
    def profile(self) -> bytes | None:
        """The colour profile that came with it."""
        profile = self.image.info.get("icc_profile")
        return profile if isinstance(profile, bytes) else None


@dataclass(frozen=True)
class Frame:
    """Decoded pixels in a mode that can be resized. `scale` is theirs against the source's; `duration_ms` is shown."""

    image: Image.Image
    scale: float
    duration_ms: int


def open_source(file: IO[bytes], task: Task) -> Source:
    """The source, or a watermark, of the task: its format by its first bytes, its extent within the limits."""
    Image.MAX_IMAGE_PIXELS = None  # it only warns up to twice its value, and knows no frames: _check_extent does
    ImageFile.LOAD_TRUNCATED_IMAGES = False  # WeasyPrint turns it on for its whole process
    # a GIF's later frames in full colour; the first as well, or an animation would change its mode on the way
    GifImagePlugin.LOADING_STRATEGY = GifImagePlugin.LoadingStrategy.RGB_ALWAYS
    try:
        with corrupt_is_a_value_error():
            image = Image.open(file, formats=[each.upper() for each in task.formats])
    except UnidentifiedImageError as error:
        file.seek(0)
        got = file.read(8).hex(" ") or "no bytes"
        raise ValueError(f"the source must be {_readable(task)} with a sound header, got a file of {got}...") from error
    format_ = {"MPO": "jpeg"}.get(image.format or "", (image.format or "").lower())
    frames = _check_extent(image, format_, task)
    # Pillow turns a TIFF by itself, and tells the turned size before it has
    turn = EXIF_TURNS[1 if format_ == "tiff" else _orientation(image)]
    return Source(image, format_, turn, frames if format_ in ANIMATED else 1, _plays(image, format_))


def frames_of(source: Source, *, needed_scale: float, all_frames: bool) -> Iterator[Frame]:
    """Decode the first frame, or all; a JPEG is decoded at 1/2, 1/4 or 1/8 of its sides where that is enough."""
    image, scale = source.image, 1.0
    if isinstance(image, JpegImagePlugin.JpegImageFile):
        width_px, height_px = image.size
        drafted = image.draft(None, (math.ceil(width_px * needed_scale), math.ceil(height_px * needed_scale)))
        # libjpeg rounds the sides up, so the sizes themselves do not tell the scale
        scale = drafted[1][2] / width_px if drafted else 1.0
        image.decodermaxblock = PIECE_BYTES
    for index in range(source.frames if all_frames else 1):
        with corrupt_is_a_value_error():
            if index:
                image.seek(index)
            image.load()
        yield Frame(_resizable(image), scale, _duration_ms(image))


@contextmanager
def corrupt_is_a_value_error() -> Iterator[None]:
    """For Pillow's reading only: our own errors must not become the source's."""
    try:
        yield
    except UnidentifiedImageError:
        raise
    except BROKEN as error:
        raise ValueError(f"the source is corrupt or cut short: {error}") from error


def _readable(task: Task) -> str:
    names = [NAMES[each] for each in task.formats]
    return f"{', '.join(names[:-1])} or {names[-1]}" if len(names) > 1 else names[0]


def _check_extent(image: Image.Image, format_: str, task: Task) -> int:
    """The frames."""
    width_px, height_px = image.size
    with corrupt_is_a_value_error():
        # the further pictures of a JPEG (MPO: a depth map, a gain map) are never decoded
        frames = 1 if format_ == "jpeg" else int(getattr(image, "n_frames", 1))
    if frames > task.frames_limit:
        raise ValueError(f"the source must have at most {task.frames_limit} frames, got {frames}")
    if not 1 <= width_px * height_px * frames <= task.pixels_limit:
        got = f"{width_px} x {height_px} pixels" + (f" in {frames} frames" if frames > 1 else "")
        raise ValueError(f"the source must have 1 to {task.pixels_limit} pixels, got {got}")
    return frames


def _orientation(image: Image.Image) -> int:
    """1 to 8; 1 as well when the EXIF data are broken, as browsers do."""
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


def _duration_ms(image: Image.Image) -> int:
    duration: Any = image.info.get("duration", 0)
    return min(max(round(duration), 0), 65_535) if isinstance(duration, int | float) else 0


def _resizable(image: Image.Image) -> Image.Image:
    if image.mode.startswith("I;16"):
        return image.convert("I").point(lambda value: value * (255 / 65_535)).convert("L")
    if image.mode in ("I", "F"):
        raise ValueError(f"the source must have 8 or 16 bits a channel, got 32 (mode {image.mode})")
    if image.has_transparency_data:
        return image.convert("RGBA")
    plain = {"1": "L", "P": "RGB", "RGBX": "RGB"}
    return image.convert(plain[image.mode]) if image.mode in plain else image
