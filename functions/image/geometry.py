"""Where an output cuts the source and how large it becomes: plain arithmetic, without pixels.

Boxes are those of the picture as one looks at it (upright, then turned as the output asks) until the last step, which
says where they lie in the picture as it is stored.

`fill` and `exact` without `enlarge` keep the box's ratio and shrink the box until no pixel grows; `contain`
keeps the box and pads more. Offsets go from the gravity's side inwards, as in imgproxy.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Final, NamedTuple

from functions.image.task import Output, OutputRefused

Size = tuple[int, int]

# libjpeg JPEG_MAX_DIMENSION, WEBP_MAX_DIMENSION, the AV1 bitstream's and GIF's 16 bits
FORMAT_SIDE_LIMITS_PX: Final = {"jpeg": 65_500, "webp": 16_383, "avif": 65_536, "gif": 65_535}


class Box(NamedTuple):
    """A part of a picture."""

    x: float
    y: float
    width: float
    height: float


class Turn(NamedTuple):
    """One of the eight ways to turn a rectangle: its axes swapped or not, then mirrored."""

    swap: bool = False
    mirror_x: bool = False
    mirror_y: bool = False

    def then(self, other: "Turn") -> "Turn":
        """Both, one after the other."""
        x, y = (self.mirror_y, self.mirror_x) if other.swap else (self.mirror_x, self.mirror_y)
        return Turn(self.swap != other.swap, x != other.mirror_x, y != other.mirror_y)

    def undone(self) -> "Turn":
        """The turn back."""
        return Turn(True, self.mirror_y, self.mirror_x) if self.swap else self

    def size(self, size: tuple[float, float]) -> tuple[float, float]:
        """The turned sides."""
        return (size[1], size[0]) if self.swap else size

    def size_px(self, size: Size) -> Size:
        """The turned sides, in pixels."""
        return (size[1], size[0]) if self.swap else size

    def box(self, box: Box, within: tuple[float, float]) -> Box:
        """Where a part of a picture of that size lies once the picture is turned."""
        x, y, width, height = (box.y, box.x, box.height, box.width) if self.swap else box
        whole = self.size(within)
        x = whole[0] - x - width if self.mirror_x else x
        y = whole[1] - y - height if self.mirror_y else y
        return Box(x, y, width, height)


# EXIF 3.0, tag 0x0112: how to turn the stored picture upright
EXIF_TURNS: Final = {
    1: Turn(),
    2: Turn(False, True, False),
    3: Turn(False, True, True),
    4: Turn(False, False, True),
    5: Turn(True, False, False),
    6: Turn(True, True, False),
    7: Turn(True, True, True),
    8: Turn(True, False, True),
}
_ROTATIONS: Final = {0: EXIF_TURNS[1], 90: EXIF_TURNS[6], 180: EXIF_TURNS[3], 270: EXIF_TURNS[8]}
_FLIPS: Final = {None: EXIF_TURNS[1], "horizontal": EXIF_TURNS[2], "vertical": EXIF_TURNS[4], "both": EXIF_TURNS[3]}

# of the part of the stored picture, the way it will be turned, and the shares of its sides that are kept:
# where the kept window lies, each from 0 (at the start) to 1 (at the end)
Detail = Callable[[Box, Turn, tuple[float, float]], tuple[float, float]]
Smart = Callable[[tuple[float, float]], tuple[float, float]]


@dataclass(frozen=True)
class Plan:
    """What to do with the pixels: cut `part` out of the stored picture, resize to `size_px`, turn, put on a canvas."""

    part: Box
    size_px: Size
    turn: Turn
    canvas_px: Size
    at_px: Size

    @property
    def scale(self) -> float:
        """Of the axis that shrinks least."""
        return max(self.size_px[0] / self.part.width, self.size_px[1] / self.part.height)


def plan(output: Output, upright_px: Size, upright: Turn, detail: Detail | None = None) -> Plan:
    """For a source whose sides are `upright_px` once it is turned `upright`.

    Without `detail` a smart crop takes the middle: enough to know every size.
    """
    asked = _ROTATIONS[output.rotate_deg].then(_FLIPS[output.flip])
    whole, turn = asked.size(upright_px), upright.then(asked)
    region = asked.box(_crop(output, upright_px), upright_px)
    window, size_px = _window(output, region)
    back = turn.undone()
    if output.mode == "fill":
        smart = partial(detail, back.box(region, whole), turn) if detail else _middle
        window = _placed(output, window, region, size_px, _anchor(output, window, region, whole, smart))
    if (window.width, window.height) == size_px:  # no pixel is resampled, so the cut must lie between pixels
        window = Box(math.floor(window.x), math.floor(window.y), *size_px)
    canvas_px, at_px = _canvas(output, size_px)
    return Plan(back.box(window, whole), back.size_px(size_px), turn, canvas_px, at_px)


def check_size(output: Output, size_px: Size, *, side_limit_px: int, pixels_limit: int, frames: int) -> None:
    """Raise OutputRefused for a canvas over a limit."""
    got = f"{size_px[0]} x {size_px[1]}"
    field = "width_px" if size_px[0] >= size_px[1] else "height_px"
    if max(size_px) > side_limit_px:
        raise OutputRefused(field, f"a side of an output must be at most {side_limit_px} px, got {got}")
    most_px = FORMAT_SIDE_LIMITS_PX.get(output.format, math.inf)
    if max(size_px) > most_px:
        raise OutputRefused(field, f"a side in {output.format} must be at most {most_px} px, got {got}")
    if size_px[0] * size_px[1] * frames > pixels_limit:
        got += f" in {frames} frames" if frames > 1 else ""
        raise OutputRefused(field, f"an output must have at most {pixels_limit} pixels, got {got}")


def anchor_of(place: str) -> tuple[float, float]:
    """Where along each axis a place is: 0, 0.5 or 1."""
    x = 0.0 if "left" in place else 1.0 if "right" in place else 0.5
    y = 0.0 if "top" in place else 1.0 if "bottom" in place else 0.5
    return x, y


def _crop(output: Output, within: Size) -> Box:
    crop = output.crop
    if crop is None:
        return Box(0, 0, *within)
    if crop.x_px + crop.width_px > within[0] or crop.y_px + crop.height_px > within[1]:
        got = f"{crop.width_px} x {crop.height_px} px at {crop.x_px}, {crop.y_px}"
        raise OutputRefused("crop", f"the crop must lie inside the source's {within[0]} x {within[1]} px, got {got}")
    return Box(crop.x_px, crop.y_px, crop.width_px, crop.height_px)


def _box(output: Output) -> tuple[float, float]:
    sides = (output.width_px, output.height_px)
    return (
        math.inf if sides[0] is None else max(1, round(sides[0] * output.dpr)),
        math.inf if sides[1] is None else max(1, round(sides[1] * output.dpr)),
    )


def _window(output: Output, region: Box) -> tuple[Box, Size]:
    """The part that is shown, still at the region's start, and its size in the output."""
    box, most = _box(output), math.inf if output.enlarge else 1.0
    width, height = region.width, region.height
    if output.mode == "exact":
        scale = min(1.0, 1.0 if output.enlarge else width / box[0], 1.0 if output.enlarge else height / box[1])
        return region, _rounded(box[0] * scale, box[1] * scale)
    if output.mode == "fill":
        width, height = min(width, height * box[0] / box[1]), min(height, width * box[1] / box[0])
    scale = min(most, box[0] / width, box[1] / height)
    if math.isinf(scale):  # to be enlarged, but to no size
        scale = 1.0
    size_px = _rounded(width * scale, height * scale)
    if scale == 1.0 and output.mode == "fill":
        width, height = size_px
    return Box(region.x, region.y, width, height), size_px


def _rounded(width: float, height: float) -> Size:
    return max(1, round(width)), max(1, round(height))


def _anchor(output: Output, window: Box, region: Box, whole: tuple[float, float], smart: Smart) -> tuple[float, float]:
    """Where in the free space of the region the window lies, each from 0 to 1."""
    if output.focus:
        seen = _ROTATIONS[output.rotate_deg].then(_FLIPS[output.flip])
        point = seen.box(Box(output.focus.x, output.focus.y, 0, 0), (1, 1))
        return (
            _share(point.x * whole[0] - window.width / 2 - region.x, region.width - window.width),
            _share(point.y * whole[1] - window.height / 2 - region.y, region.height - window.height),
        )
    if output.gravity == "smart":
        return smart((window.width / region.width, window.height / region.height))
    return anchor_of(output.gravity)


def _middle(_: tuple[float, float]) -> tuple[float, float]:
    return 0.5, 0.5


def _share(start: float, free: float) -> float:
    return min(1.0, max(0.0, start / free)) if free > 0 else 0.0


def _placed(output: Output, window: Box, region: Box, size_px: Size, anchor: tuple[float, float]) -> Box:
    grown = size_px[0] / window.width
    offset_x, offset_y = (each / grown for each in _offsets(output, anchor))
    free_x, free_y = region.width - window.width, region.height - window.height
    x = region.x + min(max(free_x * anchor[0] + offset_x, 0.0), max(free_x, 0.0))
    y = region.y + min(max(free_y * anchor[1] + offset_y, 0.0), max(free_y, 0.0))
    return Box(x, y, window.width, window.height)


def _offsets(output: Output, anchor: tuple[float, float]) -> tuple[float, float]:
    """In pixels of the output, positive to the right and downwards."""
    x, y = output.offset_x_px * output.dpr, output.offset_y_px * output.dpr
    return (-x if anchor[0] == 1.0 else x, -y if anchor[1] == 1.0 else y)


def _canvas(output: Output, size_px: Size) -> tuple[Size, Size]:
    if output.mode != "contain":
        return size_px, (0, 0)
    box = _box(output)
    canvas_px, anchor = _rounded(*box), anchor_of(output.gravity)
    offsets = _offsets(output, anchor)
    free = (canvas_px[0] - size_px[0], canvas_px[1] - size_px[1])
    at = [min(max(round(free[axis] * anchor[axis] + offsets[axis]), 0), free[axis]) for axis in (0, 1)]
    return canvas_px, (at[0], at[1])
