"""Finds the most detailed part of a picture: where the window of a smart crop goes.

Edges are sought in a coarse sample: in a fine one, fur and grass outweigh the face in front of them. Faces are not
known; where a picture's subject is, a focus point is better.
"""

from itertools import accumulate
from typing import Final

from PIL import Image, ImageFilter

from functions.image.colour import WHITE, opaque
from functions.image.geometry import Box, Size, Turn
from functions.image.pyramid import Pyramid

SAMPLE_SIDE_PX: Final = 48


def densest(pyramid: Pyramid, part: Box, turn: Turn, shares: tuple[float, float]) -> tuple[float, float]:
    """Where the window lies along each axis, 0 to 1, that holds most edges; `geometry.Detail` for a pyramid."""
    edges = turned(_edges(pyramid.resized(part, sample_size_px(part))), turn).convert("F")
    columns = edges.resize((edges.width, 1), Image.Resampling.BOX)
    rows = edges.resize((1, edges.height), Image.Resampling.BOX)
    return _start([*columns.get_flattened_data()], shares[0]), _start([*rows.get_flattened_data()], shares[1])


def sample_size_px(part: Box, side_px: int = SAMPLE_SIDE_PX) -> Size:
    """A few pixels of the same ratio."""
    scale = min(1.0, side_px / max(part.width, part.height))
    return max(1, round(part.width * scale)), max(1, round(part.height * scale))


def turned(image: Image.Image, turn: Turn) -> Image.Image:
    """The image, turned."""
    transpose = _TRANSPOSES[turn]
    return image if transpose is None else image.transpose(transpose)


_TRANSPOSES: Final = {
    Turn(False, False, False): None,
    Turn(False, True, False): Image.Transpose.FLIP_LEFT_RIGHT,
    Turn(False, False, True): Image.Transpose.FLIP_TOP_BOTTOM,
    Turn(False, True, True): Image.Transpose.ROTATE_180,
    Turn(True, False, False): Image.Transpose.TRANSPOSE,
    Turn(True, True, False): Image.Transpose.ROTATE_270,
    Turn(True, False, True): Image.Transpose.ROTATE_90,
    Turn(True, True, True): Image.Transpose.TRANSVERSE,
}


def _edges(image: Image.Image) -> Image.Image:
    grey = opaque(image, WHITE).convert("L")
    found = grey.filter(ImageFilter.FIND_EDGES)
    # the filter leaves the outermost pixels as they were
    inside = (1, 1, max(1, grey.width - 1), max(1, grey.height - 1))
    framed = Image.new("L", grey.size, 0)
    framed.paste(found.crop(inside), inside[:2])
    return framed


def _start(energies: list[float], share: float) -> float:
    """Of all windows the one with the highest sum; of equal ones the nearest to the middle."""
    length = max(1, round(share * len(energies)))
    free = len(energies) - length
    if not free:
        return 0.5
    sums = [0.0, *accumulate(energies)]
    best = max(
        range(free + 1), key=lambda start: (round(sums[start + length] - sums[start], 3), -abs(start - free / 2))
    )
    return best / free
