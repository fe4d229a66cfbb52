"""What stands in for a picture until it is loaded: its BlurHash and its dominant colour.

The BlurHash is the algorithm of https://github.com/woltapp/blurhash/blob/master/Algorithm.md, with 4 x 3 components
(3 x 4 for an upright picture): forty lines, so no package for them.
"""

import math
from collections.abc import Sequence
from operator import mul
from typing import Final

from PIL import Image

SAMPLE_SIDE_PX: Final = 20
_DIGITS: Final = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz#$%*+,-.:;=?@[]^_{|}~"
_LINEAR: Final = tuple(
    value / 255 / 12.92 if value <= 10 else ((value / 255 + 0.055) / 1.055) ** 2.4 for value in range(256)
)

Colour = tuple[float, float, float]


def dominant_color(sample: Image.Image) -> str:
    """`#rrggbb` of the largest group of similar colours among the pixels that can be seen."""
    data = sample.convert("RGBA").tobytes()
    visible = b"".join(data[at : at + 3] for at in range(0, len(data), 4) if data[at + 3] >= 128)
    if not visible:
        return "#ffffff"
    groups = Image.frombytes("RGB", (len(visible) // 3, 1), visible).quantize(8, Image.Quantize.MEDIANCUT)
    counts = groups.histogram()
    largest = counts.index(max(counts))
    palette = groups.getpalette() or []
    return "#" + bytes(palette[largest * 3 : largest * 3 + 3]).hex()


def blurhash(sample: Image.Image) -> str:
    """The BlurHash of a small opaque picture."""
    counts = (3, 4) if sample.height > sample.width else (4, 3)
    average, *others = _components(sample.convert("RGB"), counts)
    largest = max(abs(value) for component in others for value in component)
    step = max(0, min(82, math.floor(largest * 166 - 0.5)))
    hash_ = _base83(counts[0] - 1 + (counts[1] - 1) * 9, 1) + _base83(step, 1) + _base83(_packed_average(average), 4)
    return hash_ + "".join(_base83(_packed(each, (step + 1) / 166), 2) for each in others)


def _components(sample: Image.Image, counts: tuple[int, int]) -> list[Colour]:
    """The cosine transform, row by row, of the linear colours; the average first."""
    width, height = sample.size
    bands = [[_LINEAR[value] for value in sample.getchannel(band).tobytes()] for band in range(3)]
    waves_x = [[math.cos(math.pi * i * x / width) for x in range(width)] for i in range(counts[0])]
    waves_y = [[math.cos(math.pi * j * y / height) for y in range(height)] for j in range(counts[1])]
    rows = [[band[y * width : (y + 1) * width] for y in range(height)] for band in bands]
    along = [[[_dot(wave, row) for row in band] for wave in waves_x] for band in rows]
    factors = [[(1 if i == j == 0 else 2) / (width * height) for i in range(counts[0])] for j in range(counts[1])]
    return [
        tuple(factors[j][i] * _dot(waves_y[j], along[band][i]) for band in range(3))  # type: ignore[misc]
        for j in range(counts[1])
        for i in range(counts[0])
    ]


def _dot(left: Sequence[float], right: Sequence[float]) -> float:
    return float(sum(map(mul, left, right)))


def _packed_average(colour: Colour) -> int:
    red, green, blue = (_srgb(value) for value in colour)
    return (red << 16) + (green << 8) + blue


def _packed(colour: Colour, largest: float) -> int:
    red, green, blue = (max(0, min(18, math.floor(_root(value / largest) * 9 + 9.5))) for value in colour)
    return red * 19 * 19 + green * 19 + blue


def _root(value: float) -> float:
    return math.copysign(math.sqrt(abs(value)), value)


def _srgb(value: float) -> int:
    value = max(0.0, min(1.0, value))
    return int((value * 12.92 if value <= 0.0031308 else 1.055 * value ** (1 / 2.4) - 0.055) * 255 + 0.5)


def _base83(value: int, length: int) -> str:
    return "".join(_DIGITS[value // 83 ** (length - place) % 83] for place in range(1, length + 1))
