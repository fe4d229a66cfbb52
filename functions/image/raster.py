"""Decodes the frames of a picture of pixels."""

import io
import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import IO, Any, Final

from PIL import Image, ImageChops, JpegImagePlugin

from functions.image import apng, gif
from functions.image.animation import composed, opaque_as_rgb
from functions.image.geometry import Size
from functions.image.source import Frame, Source, check_pixels, corrupt_is_a_value_error

PIECE_BYTES: Final = 1 << 25  # a JPEG is decoded faster in one piece than in many of Pillow's 64 kB
LONGEST_MS: Final = 65_535
_PARTS: Final = {"gif": gif.parts, "png": apng.parts}
_JPEG_END: Final = b"\xff\xd9"
_ANY_PIXELS: Final = b"\x55\xaa" * 32  # a cut picture takes them for its own, a whole one leaves them out
_STRIP_PX: Final = 256


@dataclass(frozen=True, kw_only=True)
class RasterSource(Source):
    """A file that Pillow has opened, and decodes."""

    image: Image.Image
    file: IO[bytes]
    pixels_limit: int

    @property
    def exif(self) -> Image.Exif:
        """As Pillow reads it from every format."""
        return self.image.getexif()

    def decoded(self, *, needed_scale: float, all_frames: bool) -> Iterator[Frame]:
        """A JPEG at 1/2, 1/4 or 1/8 of its sides where that is enough."""
        if self.format == "jpeg":
            yield self._jpeg(needed_scale)
        elif self.format == "gif" or (self.format == "png" and self.frames > 1):
            yield from self._composed(self.frames if all_frames else 1)
        else:
            yield from self._loaded(self.frames if all_frames else 1)

    def check(self, needed_scale: float) -> None:
        """Of a JPEG counts what is decoded, not what is stored."""
        if self.format == "jpeg":
            wanted_px = _wanted_px(self.stored_px, needed_scale)
            fewer = min(self.stored_px[axis] // max(1, wanted_px[axis]) for axis in (0, 1))
            step = max(each for each in (1, 2, 4, 8) if each <= max(1, fewer))
            width_px, height_px = (math.ceil(side_px / step) for side_px in self.stored_px)
            note = f", decoded as {width_px} x {height_px}" if step > 1 else ""
            check_pixels(self.stored_px, decoded_px=(width_px, height_px), limit=self.pixels_limit, note=note)

    def _jpeg(self, needed_scale: float) -> Frame:
        self.check(needed_scale)
        scale = _draft(self.image, needed_scale)
        with corrupt_is_a_value_error():
            try:
                self.image.load()
            except OSError:
                if self.stored_px[0] * self.stored_px[1] > self.pixels_limit or not (whole := _whole(self.file)):
                    raise
                return Frame(whole, 1.0)
        return Frame(_resizable(self.image), scale)

    def _composed(self, frames: int) -> Iterator[Frame]:
        self.file.seek(0)
        pictures = composed(self.stored_px, _PARTS[self.format](self.file.read()))
        for index in range(frames):
            with corrupt_is_a_value_error():
                image, duration_ms = next(pictures, (None, 0))
                if image is None:
                    raise ValueError(f"the header says {self.frames} frames, got {index}")
                image.load()
            yield Frame(_resizable(image), 1.0, min(duration_ms, LONGEST_MS))

    def _loaded(self, frames: int) -> Iterator[Frame]:
        for index in range(frames):
            with corrupt_is_a_value_error():
                if index:
                    self.image.seek(index)
                self.image.load()
            # an animated WebP is opened as a transparent one (webp.py)
            image = opaque_as_rgb(self.image) if self.format == "webp" and self.frames > 1 else self.image
            yield Frame(_resizable(image), 1.0, _duration_ms(self.image))


def _draft(image: Image.Image, needed_scale: float) -> float:
    """Have a JPEG decoded in no more pixels than needed; the scale that it gets."""
    assert isinstance(image, JpegImagePlugin.JpegImageFile)  # noqa: S101  # MPO is one as well
    width_px = image.width
    drafted = image.draft(None, _wanted_px(image.size, needed_scale))
    image.decodermaxblock = PIECE_BYTES
    # libjpeg rounds the sides up, so the sizes themselves do not tell the scale
    return drafted[1][2] / width_px if drafted else 1.0


def _wanted_px(size_px: Size, needed_scale: float) -> Size:
    return math.ceil(size_px[0] * min(1.0, needed_scale)), math.ceil(size_px[1] * min(1.0, needed_scale))


def _whole(file: IO[bytes]) -> Image.Image | None:
    """A JPEG that lacks nothing but the marker of its end; None for one that lacks pixels.

    libjpeg takes a cut picture that has the marker, grey below the cut. What tells them apart: only a cut one changes
    with bytes between its last and the marker.
    """
    file.seek(0)
    content = file.read()
    ended, filled = (_loaded_whole(content + each + _JPEG_END) for each in (b"", _ANY_PIXELS))
    for top in range(0, ended.height, _STRIP_PX):
        strip = (0, top, ended.width, min(top + _STRIP_PX, ended.height))
        if ImageChops.difference(ended.crop(strip), filled.crop(strip)).getbbox():
            return None
    return _resizable(ended)


def _loaded_whole(content: bytes) -> Image.Image:
    image = Image.open(io.BytesIO(content), formats=["JPEG"])
    image.load()
    return image


def _duration_ms(image: Image.Image) -> int:
    duration: Any = image.info.get("duration", 0)
    return min(max(round(duration), 0), LONGEST_MS) if isinstance(duration, int | float) else 0


def _resizable(image: Image.Image) -> Image.Image:
    """In a mode that can be resized; grey stays grey, with its transparency, so that a grey profile is its own."""
    if image.mode.startswith("I;16"):
        return image.convert("I").point(lambda value: value * (255 / 65_535)).convert("L")
    if image.mode in ("I", "F"):
        raise ValueError(f"the source must have 8 or 16 bits a channel, got 32 (mode {image.mode})")
    if image.has_transparency_data:
        return image.convert("LA" if image.mode in ("1", "L", "LA") else "RGBA")
    plain = {"1": "L", "P": "RGB", "RGBX": "RGB"}
    return image.convert(plain[image.mode]) if image.mode in plain else image
