"""One decoded frame at its size, a half, a quarter and so on, so that many outputs cost little more than the largest.

What a resize starts from has at least `gap` times the sides of the output: FINE, or QUICK for files whose encoder loses
more than the resize does. README.md of this folder has the figures.
"""

from typing import Final

from PIL import Image

from functions.image.geometry import Box, Size

FINE: Final = 2.0
QUICK: Final = 1.25
DRAWN: Final = 1.0  # what has no pixels is drawn at its size
_PREMULTIPLIED: Final = {"RGBA": "RGBa", "LA": "La"}
_STRAIGHT: Final = {"RGBa": "RGBA", "La": "LA"}


class Pyramid:
    """Halvings of an image, made when they are asked for. `scale` is the image's own, against the source."""

    def __init__(self, image: Image.Image, scale: float) -> None:
        self._image, self._levels = image, list[Image.Image]()
        self._scale = scale

    def resized(self, part: Box, size_px: Size, *, gap: float = FINE) -> Image.Image:
        """A part of the source, at a size."""
        if self._scale == 1.0 and (part.width, part.height) == size_px:
            left, top = round(part.x), round(part.y)
            return self._image.crop((left, top, left + size_px[0], top + size_px[1]))
        depth = self._depth(part, size_px, gap)
        level, scale = self._level(depth), self._scale / 2**depth
        # what libjpeg and the halving round up must not be cut off, and never more than there is
        right, bottom = (part.x + part.width) * scale, (part.y + part.height) * scale
        box = (max(0.0, part.x * scale), max(0.0, part.y * scale), min(right, level.width), min(bottom, level.height))
        return _straight(level.resize(size_px, Image.Resampling.LANCZOS, box))

    def sampled(self, size_px: Size) -> Image.Image:
        """The whole source in a few pixels, each the mean of 64 or fewer: enough for a placeholder, and cheap."""
        width_px, height_px = (min(size_px[axis] * 8, self._image.size[axis]) for axis in (0, 1))
        few = self._image.resize((width_px, height_px), Image.Resampling.NEAREST)
        return _straight(_premultiplied(few).resize(size_px, Image.Resampling.BOX))

    def _depth(self, part: Box, size_px: Size, gap: float) -> int:
        shrunk = min(part.width / size_px[0], part.height / size_px[1]) * self._scale
        depth = 0
        while shrunk >= 2 ** (depth + 1) * gap:
            depth += 1
        return depth

    def _level(self, depth: int) -> Image.Image:
        if not self._levels:
            self._levels.append(_premultiplied(self._image))
        while len(self._levels) <= depth:
            self._levels.append(self._levels[-1].reduce(2))
        return self._levels[depth]


def _premultiplied(image: Image.Image) -> Image.Image:
    """Transparent pixels have a colour too, which must not bleed into their neighbours."""
    return image.convert(_PREMULTIPLIED[image.mode]) if image.mode in _PREMULTIPLIED else image


def _straight(image: Image.Image) -> Image.Image:
    return image.convert(_STRAIGHT[image.mode]) if image.mode in _STRAIGHT else image
