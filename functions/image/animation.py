"""Animations of GIF and PNG: the pixels of each frame, laid onto the canvas as the two standards say.

What a frame uncovers, and what none has covered, is transparent, as in browsers. Pillow's own reading paints it, black
or in a colour of the palette, where the file has no transparent colour.
"""

import io
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from enum import Enum
from typing import Final

from PIL import Image

from functions.image.geometry import Size

_SMALL_PIXELS: Final = 1 << 20  # a frame that reaches out of a small canvas may have as many


class Disposal(Enum):
    """What becomes of a frame's place before the next one."""

    KEEP = 0
    CLEAR = 1
    RESTORE = 2


@dataclass(frozen=True)
class Part:
    """The pixels of one frame, as a still file of their own, and how they come onto the canvas."""

    file: bytes
    at_px: Size
    size_px: Size
    disposal: Disposal
    duration_ms: int
    replaces: bool = False  # what lies below, instead of shining through


def has_hidden_first(image: Image.Image, format_: str) -> bool:
    """Whether a PNG begins with a picture for those that play no animations, which Pillow counts as a frame."""
    return format_ == "png" and bool(image.info.get("default_image"))


def composed(canvas_px: Size, parts: Iterable[Part]) -> Iterator[tuple[Image.Image, int]]:
    """Each frame as it is shown, for how many milliseconds; it may change when the next one is asked for.

    Raise one of source.BROKEN for a broken file.
    """
    canvas: Image.Image | None = None
    for part in parts:
        image = _opened(part, canvas_px)
        is_whole = canvas is None and part.at_px == (0, 0) and image.size == canvas_px
        if is_whole:  # as it is: a still picture has no canvas, and keeps its mode
            yield image, part.duration_ms
        before = canvas or Image.new("RGBA", canvas_px)
        canvas = before.copy() if part.disposal is Disposal.RESTORE else before
        _lay(canvas, image.convert("RGBA"), part)
        if not is_whole:
            yield opaque_as_rgb(canvas), part.duration_ms
        canvas = _disposed(canvas, before, part)


def _disposed(canvas: Image.Image, before: Image.Image, part: Part) -> Image.Image:
    if part.disposal is Disposal.CLEAR:
        (x, y), (width_px, height_px) = part.at_px, part.size_px
        canvas.paste((0, 0, 0, 0), (x, y, x + width_px, y + height_px))
    return before if part.disposal is Disposal.RESTORE else canvas


def _opened(part: Part, canvas_px: Size) -> Image.Image:
    (width_px, height_px), most = part.size_px, max(canvas_px[0] * canvas_px[1], _SMALL_PIXELS)
    if not 1 <= width_px * height_px <= most:
        raise ValueError(f"a frame must have 1 to {most} pixels, got {width_px} x {height_px}")
    return Image.open(io.BytesIO(part.file), formats=["GIF", "PNG"])


def _lay(canvas: Image.Image, image: Image.Image, part: Part) -> None:
    if part.replaces:
        canvas.paste(image, part.at_px)
    elif part.at_px[0] < canvas.width and part.at_px[1] < canvas.height:
        canvas.alpha_composite(image, part.at_px)


def opaque_as_rgb(image: Image.Image) -> Image.Image:
    """Without its transparency where no pixel has any."""
    opaque = image.mode == "RGBA" and image.getchannel("A").getextrema() == (255, 255)
    return image.convert("RGB") if opaque else image
