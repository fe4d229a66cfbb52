"""Decodes one picture once and makes every output of it: upright, in sRGB, without metadata, of its first frame.

Run it in a child process (functions/sandbox.py): image decoders have had bugs that run an attacker's code. It sets
Pillow's process-wide settings as the child needs them.

Not done: an HDR gain map is dropped, and colours outside of sRGB are cut off. A picture of 32-bit pixels is refused,
since nothing says which value is white.

2026-11-22: what a resize starts from has at least twice the sides of the output (GAP). Against a full decode with
Lanczos that is 48 dB or better and a third of the time (12 MP to 800 px: 71 against 211 ms); a gap of 1 is 38 dB.
"""

import io
import math
import struct
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, Final

# the plugins by name: otherwise each child would load them, and all others, by itself
from PIL import (
    AvifImagePlugin,
    BmpImagePlugin,  # noqa: F401  # registers its format
    GifImagePlugin,  # noqa: F401  # registers its format
    Image,
    ImageCms,
    JpegImagePlugin,
    MpoImagePlugin,  # noqa: F401  # JpegImagePlugin loads it for a file of several pictures
    PngImagePlugin,  # noqa: F401  # registers its format
    TiffImagePlugin,  # noqa: F401  # registers its format
    UnidentifiedImageError,
    WebPImagePlugin,  # noqa: F401  # registers its format
)
from PIL.ExifTags import Base
from PIL.Image import Transpose

from functions.image.task import Output, Picture, Pictures, Task

FORMATS: Final = ("JPEG", "PNG", "WEBP", "GIF", "TIFF", "AVIF", "BMP")
READABLE: Final = "JPEG, PNG, WebP, GIF, TIFF, AVIF or BMP"
GAP: Final = 2.0
OPTIMIZED_PNG_LIMIT_PIXELS: Final = 1_000_000

# libjpeg JPEG_MAX_DIMENSION, WEBP_MAX_DIMENSION, the AV1 bitstream's 16 bits
_SIDE_LIMITS_PX: Final = MappingProxyType({"jpeg": 65_500, "webp": 16_383, "avif": 65_536})
# EXIF 3.0, tag 0x0112: how to turn the stored picture upright
_TURNS: Final = MappingProxyType(
    {
        2: Transpose.FLIP_LEFT_RIGHT,
        3: Transpose.ROTATE_180,
        4: Transpose.FLIP_TOP_BOTTOM,
        5: Transpose.TRANSPOSE,
        6: Transpose.ROTATE_270,
        7: Transpose.TRANSVERSE,
        8: Transpose.ROTATE_90,
    }
)
# what Pillow raises for a file that breaks its format, as mutated files of every format showed
_BROKEN: Final = (OSError, SyntaxError, ValueError, EOFError, RuntimeError, LookupError, TypeError, struct.error)
_QUARTER_TURNS: Final = frozenset({5, 6, 7, 8})


@dataclass(frozen=True)
class Frame:
    """The middle part of a picture that an output shows, and the size that it has there; width first."""

    part_px: tuple[float, float]
    size_px: tuple[int, int]

    def swapped(self) -> "Frame":
        """The same for the picture turned by 90 degrees; the middle stays where it is."""
        return Frame(self.part_px[::-1], self.size_px[::-1])


def frame(output: Output, width_px: int, height_px: int) -> Frame:
    """Where `output` cuts an upright picture of this size, and to which size it brings it: never a larger one."""
    part = (float(width_px), float(height_px))
    box = (output.width_px or math.inf, output.height_px or math.inf)
    if output.mode == "fill":
        part = (min(part[0], height_px * box[0] / box[1]), min(part[1], width_px * box[1] / box[0]))
    scale = min(1.0, box[0] / part[0], box[1] / part[1])
    size = (max(1, round(part[0] * scale)), max(1, round(part[1] * scale)))
    return Frame(part if scale < 1 else size, size)


def render(task: Task) -> Pictures:
    """Make the pictures; raise ValueError with the reason when the source is refused or corrupt."""
    AvifImagePlugin.DEFAULT_MAX_THREADS = 1
    Image.MAX_IMAGE_PIXELS = None  # it only warns up to twice its value, and knows no frames: _check_extent does
    source = _open(task)
    turn = _orientation(source)
    width_px, height_px = source.size[::-1] if turn in _QUARTER_TURNS else source.size
    frames = [frame(output, width_px, height_px) for output in task.outputs]
    _check_sides(task.outputs, frames)
    stored = [each.swapped() if turn in _QUARTER_TURNS else each for each in frames]
    pixels, scale = _decode(source, stored)
    resized = (_to_srgb(_resize(pixels, each, scale), source.info.get("icc_profile")) for each in stored)
    upright = (each.transpose(_TURNS[turn]) if turn in _TURNS else each for each in resized)
    made = tuple(_encode(image, output) for image, output in zip(upright, task.outputs, strict=True))
    return Pictures(format=_format(source), width_px=width_px, height_px=height_px, made=made)


def _open(task: Task) -> Image.Image:
    """The source, checked against the limits and decoded; a JPEG is not decoded yet, because it can be shrunk then."""
    try:
        with _corrupt_is_a_value_error():
            image = Image.open(io.BytesIO(task.content), formats=FORMATS)
    except UnidentifiedImageError as error:
        got = task.content[:8].hex(" ") or "no bytes"
        raise ValueError(f"the source must be {READABLE} with a sound header, got a file of {got}...") from error
    _check_extent(image, task)
    if not isinstance(image, JpegImagePlugin.JpegImageFile):
        with _corrupt_is_a_value_error():
            image.load()
    return image


@contextmanager
def _corrupt_is_a_value_error() -> Iterator[None]:
    """For Pillow's reading only: our own errors must not become the source's."""
    try:
        yield
    except UnidentifiedImageError:
        raise
    except _BROKEN as error:
        raise ValueError(f"the source is corrupt or cut short: {error}") from error


def _check_extent(image: Image.Image, task: Task) -> None:
    width_px, height_px = image.size
    with _corrupt_is_a_value_error():
        # the further pictures of a JPEG (MPO: a depth map, a gain map) are never decoded
        frames = 1 if _format(image) == "jpeg" else getattr(image, "n_frames", 1)
    if frames > task.frames_limit:
        raise ValueError(f"the source must have at most {task.frames_limit} frames, got {frames}")
    if not 1 <= width_px * height_px * frames <= task.pixels_limit:
        got = f"{width_px} x {height_px} pixels" + (f" in {frames} frames" if frames > 1 else "")
        raise ValueError(f"the source must have 1 to {task.pixels_limit} pixels, got {got}")


def _format(image: Image.Image) -> str:
    return {"MPO": "jpeg"}.get(image.format or "", (image.format or "").lower())


def _orientation(image: Image.Image) -> int:
    """1 to 8; 1 as well when the EXIF data are broken, as browsers do. Pillow has turned a TIFF already."""
    try:
        orientation = image.getexif().get(Base.Orientation)
    except _BROKEN:
        return 1
    return orientation if isinstance(orientation, int) and orientation in _TURNS else 1


def _check_sides(outputs: tuple[Output, ...], frames: list[Frame]) -> None:
    for output, each in zip(outputs, frames, strict=True):
        most_px = _SIDE_LIMITS_PX.get(output.format, math.inf)
        if max(each.size_px) > most_px:
            got = " x ".join(map(str, each.size_px))
            raise ValueError(f"{output.name}: a side in {output.format} must be at most {most_px} px, got {got}")


def _decode(image: Image.Image, frames: list[Frame]) -> tuple[Image.Image, float]:
    """The pixels in a mode that can be resized, and their scale: a JPEG is decoded at 1/2, 1/4 or 1/8 where it can."""
    needed = min(1.0, GAP * max(each.size_px[0] / each.part_px[0] for each in frames))
    width_px, height_px = image.size
    drafted = image.draft(None, (math.ceil(width_px * needed), math.ceil(height_px * needed)))
    with _corrupt_is_a_value_error():
        image.load()
    # libjpeg rounds the sides up, so the sizes themselves do not tell the scale
    return _resizable(image), drafted[1][2] / width_px if drafted else 1.0


def _resizable(image: Image.Image) -> Image.Image:
    if image.mode.startswith("I;16"):
        return image.convert("I").point(lambda value: value * (255 / 65_535)).convert("L")
    if image.mode in ("I", "F"):
        raise ValueError(f"the source must have 8 or 16 bits a channel, got 32 (mode {image.mode})")
    if image.has_transparency_data:
        return image.convert("RGBA")
    plain = {"1": "L", "P": "RGB"}
    return image.convert(plain[image.mode]) if image.mode in plain else image


def _resize(image: Image.Image, wanted: Frame, scale: float) -> Image.Image:
    """The middle part, at its size; `scale` is the image's own, against the source."""
    width_px, height_px = (part * scale for part in wanted.part_px)
    left_px, top_px = (image.width - width_px) / 2, (image.height - height_px) / 2
    if (width_px, height_px) == wanted.size_px:
        left, top = int(left_px), int(top_px)
        return image.crop((left, top, left + wanted.size_px[0], top + wanted.size_px[1]))
    box = (max(0.0, left_px), max(0.0, top_px), left_px + width_px, top_px + height_px)
    return image.resize(wanted.size_px, Image.Resampling.LANCZOS, box, reducing_gap=GAP)


def _to_srgb(image: Image.Image, profile: bytes | None) -> Image.Image:
    """As L, RGB or RGBA in sRGB; a profile that is broken or of another colour space is ignored."""
    mode = "RGBA" if image.mode == "RGBA" else "RGB"
    if profile:
        with suppress(ImageCms.PyCMSError, ValueError):
            srgb = ImageCms.createProfile("sRGB")
            return ImageCms.buildTransform(io.BytesIO(profile), srgb, image.mode, mode).apply(image)
    return image if image.mode == "L" else image.convert(mode)


def _encode(image: Image.Image, output: Output) -> Picture:
    if output.format == "jpeg" and image.mode == "RGBA":
        image = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image).convert("RGB")
    image.info.clear()  # some encoders write the comment, profile or transparency that they find there
    content = io.BytesIO()
    image.save(content, output.format, **_options(image, output))
    width_px, height_px = image.size
    return Picture(
        name=output.name, format=output.format, width_px=width_px, height_px=height_px, content=content.getvalue()
    )


def _options(image: Image.Image, output: Output) -> dict[str, Any]:
    match output.format:
        case "jpeg":
            return {"quality": output.quality, "progressive": True, "optimize": True}
        case "png":
            # optimized, 12 MP take 25 s and become 7 % smaller than at level 4, which takes 3 s
            small = image.width * image.height <= OPTIMIZED_PNG_LIMIT_PIXELS
            return {"optimize": True} if small else {"compress_level": 4}
        case "webp":
            return {"quality": output.quality}
        case "avif":
            # the bytes follow from the number of threads, which by default is the machine's; more are not faster
            return {"quality": output.quality, "speed": 8, "max_threads": 1}
