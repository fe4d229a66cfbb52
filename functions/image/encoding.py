"""Turns pixels into a file: the options of each format, `auto`, and `max_bytes`.

`auto` compares equal error, not equal numbers: AVIF has the error of a JPEG at a lower quality (README.md of this
folder). PNG takes part only for pictures of few colours: of a photograph it is never the smallest.
"""

import io
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final

from msgspec.structs import replace
from PIL import Image

from functions.image.colour import WHITE, opaque
from functions.image.metadata import ExifBlock
from functions.image.task import Output, OutputRefused
from functions.image.webp import with_alpha

OPTIMIZED_PNG_LIMIT_PIXELS: Final = 1_000_000
AVIF_LESS_AT_MOST: Final = 15
FEW_COLORS: Final = 4_096
OPAQUE: Final = ("jpeg",)
ANIMATED: Final = ("gif", "png", "webp", "avif")
WITH_QUALITY: Final = ("jpeg", "webp", "avif")
_PALETTES: Final = (256, 128, 64, 32, 16, 8, 4, 2)


@dataclass(frozen=True)
class Strip:
    """The frames of one output, and how they are shown; `plays` is 0 without end. One frame is a plain picture."""

    frames: tuple[Image.Image, ...]
    durations_ms: tuple[int, ...] = ()
    plays: int = 0

    @property
    def transparent(self) -> bool:
        """Whether a pixel is not opaque."""
        return any(each.mode == "RGBA" and each.getchannel("A").getextrema() != (255, 255) for each in self.frames)


@dataclass(frozen=True)
class Extras:
    """Metadata to write; None is none."""

    exif: ExifBlock | None = None
    icc_profile: bytes | None = None


@dataclass(frozen=True)
class File:
    """An encoded picture and what it was made with."""

    content: bytes
    output: Output

    @property
    def quality(self) -> int | None:
        """None where the format has none."""
        return self.output.quality if self.output.format in WITH_QUALITY and not self.output.lossless else None


def encode(strip: Strip, output: Output, extras: Extras) -> File:
    """The file of the asked format, or the smallest of several; raise OutputRefused when it cannot fit `max_bytes`."""
    if output.format != "auto":
        return _within(_file(strip, output, extras), strip, extras)
    files = sorted((_file(strip, each, extras) for each in _choices(strip, output)), key=lambda file: len(file.content))
    refusals = []
    for file in files:
        try:
            return _within(file, strip, extras)
        except OutputRefused as refused:
            refusals.append(refused)
    raise refusals[0]


def _choices(strip: Strip, output: Output) -> Iterator[Output]:
    formats = [each for each in output.formats if len(strip.frames) == 1 or each in ANIMATED] or list(output.formats)
    formats = [each for each in formats if each not in OPAQUE or not strip.transparent] or formats
    for format_ in formats:
        if format_ == "png" and len(formats) > 1 and strip.frames[0].getcolors(FEW_COLORS) is None:
            continue
        less = min(AVIF_LESS_AT_MOST, max(0, (output.quality - 50) // 2)) if format_ == "avif" else 0
        yield replace(output, format=format_, quality=output.quality - less)


def _within(file: File, strip: Strip, extras: Extras) -> File:
    """The file itself if it is small enough, else the best of its kind that is, by bisection."""
    limit_bytes = file.output.max_bytes
    if limit_bytes is None or len(file.content) <= limit_bytes:
        return file
    steps, best, smallest = _steps(file.output), None, file
    low, high = 0, len(steps)
    while low < high:
        middle = (low + high) // 2
        tried = _file(strip, steps[middle], extras)
        smallest = min(smallest, tried, key=lambda each: len(each.content))
        if len(tried.content) <= limit_bytes:
            best, high = tried, middle
        else:
            low = middle + 1
    if best is None:
        reached = f"{len(smallest.content)} bytes as {_described(smallest)}"
        raise OutputRefused("max_bytes", f"the file must have at most {limit_bytes} bytes, got {reached}")
    return best


def _steps(output: Output) -> list[Output]:
    """An output at ever lower quality."""
    if output.format in ("png", "gif"):
        return [replace(output, colors=each) for each in _PALETTES if each < (output.colors or 257)]
    if output.format in WITH_QUALITY and not output.lossless:
        return [replace(output, quality=each) for each in range(output.quality - 1, 0, -1)]
    return []


def _described(file: File) -> str:
    if file.quality is not None:
        return f"{file.output.format} at quality {file.quality}"
    return f"{file.output.format} of {file.output.colors} colours" if file.output.colors else file.output.format


def _file(strip: Strip, output: Output, extras: Extras) -> File:
    first, *others = _drawable(strip, output)
    options = _options(first, output) | _metadata(output, extras)
    if output.format == "tiff" and extras.exif:
        del options["compression"]  # Pillow compresses with libtiff, which does not write the blocks within EXIF
    if others:
        options |= {"save_all": True, "append_images": others} | _timing(strip, output)
    content = io.BytesIO()
    try:
        first.save(content, output.format, **options)
    except OSError as error:  # all that an encoder tells when it has no memory left; nothing here is written to a disk
        raise MemoryError(f"{output.format}: {error}") from error
    moves_with_holes = output.format == "webp" and bool(others) and strip.transparent
    return File(with_alpha(content.getvalue()) if moves_with_holes else content.getvalue(), output)


def _drawable(strip: Strip, output: Output) -> list[Image.Image]:
    """Frames in a mode that the format has, all in the same one, with nothing of the source's metadata in them."""
    images = list(strip.frames)
    if output.format in OPAQUE:
        images = [opaque(each, WHITE) for each in images]
    if len({each.mode for each in images}) > 1:
        mode = "RGBA" if any(each.mode == "RGBA" for each in images) else "RGB"
        images = [each.convert(mode) for each in images]
    for each in images:
        each.info = {}  # some encoders write the comment, profile or transparency that they find there
    if output.format == "gif" or (output.colors and output.format == "png"):
        images = [_paletted(each, output) for each in images]
    return images


def _paletted(image: Image.Image, output: Output) -> Image.Image:
    colors = output.colors or 256
    if image.mode == "L":
        return image if colors == 256 else image.convert("RGB").quantize(colors)
    if image.mode == "RGB":
        return _dithered(image, colors)
    if output.format == "png":
        return image.quantize(colors, Image.Quantize.FASTOCTREE)
    return _cut_out(image, colors)


def _dithered(image: Image.Image, colors: int) -> Image.Image:
    return image.quantize(palette=image.quantize(colors), dither=Image.Dither.FLOYDSTEINBERG)


def _cut_out(image: Image.Image, colors: int) -> Image.Image:
    """For GIF, whose pixels are opaque or not there at all: the last colour of the palette means not there."""
    hole = image.getchannel("A").point(lambda value: 255 if value < 128 else 0)
    paletted = _dithered(opaque(image, WHITE), max(1, colors - 1))
    paletted.paste(colors - 1, mask=hole)
    paletted.info["transparency"] = colors - 1
    return paletted


def _options(image: Image.Image, output: Output) -> dict[str, Any]:
    match output.format:
        case "jpeg":
            return {
                "quality": output.quality,
                "progressive": output.progressive,
                "optimize": True,
                "subsampling": output.subsampling,
            }
        case "png":
            # a large picture takes eight times as long to optimize, and becomes a little smaller
            small = image.width * image.height <= OPTIMIZED_PNG_LIMIT_PIXELS
            return {"optimize": True} if small else {"compress_level": 4}
        case "webp":
            return {"quality": output.quality, "lossless": output.lossless}
        case "avif":
            # the bytes follow from the number of threads, which by default is the machine's; more are not faster
            return {
                "quality": output.quality,
                "speed": output.speed,
                "subsampling": output.subsampling,
                "max_threads": 1,
            }
        case "tiff":
            return {"compression": "tiff_adobe_deflate"}
    return {}


def _metadata(output: Output, extras: Extras) -> dict[str, Any]:
    """GIF has no place for either."""
    if output.format == "gif":
        return {}
    options: dict[str, Any] = {"icc_profile": extras.icc_profile} if extras.icc_profile else {}
    if extras.exif and output.format == "tiff":
        return options | {"tiffinfo": extras.exif.tags}  # from a block, Pillow would read the texts anew
    return options | ({"exif": extras.exif.content} if extras.exif else {})


def _timing(strip: Strip, output: Output) -> dict[str, Any]:
    timing: dict[str, Any] = {"duration": list(strip.durations_ms)}
    match output.format:
        case "gif":
            # a GIF without a loop is shown once, and one with a loop is shown that many times more; 0 is without end
            loop = {} if strip.plays == 1 else {"loop": max(0, strip.plays - 1)}
            return timing | loop | {"disposal": 2 if strip.transparent else 1, "optimize": False}
        case "png" | "webp":
            return timing | {"loop": strip.plays}
    return timing
