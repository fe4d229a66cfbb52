"""Sources without pixels: they are drawn as large as the largest output asks, in one piece."""

import math
from abc import abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar, Final

from PIL import Image

from functions.image.source import Frame, Source

DRAWN_LIMIT_PIXELS: Final = 25_000_000  # A4 at 500 dpi
PX_PER_INCH: Final = 96  # of CSS


@dataclass(frozen=True, kw_only=True)
class DrawnSource(Source):
    """`stored_px` is the size that the file itself gives, in pixels of CSS."""

    has_pixels: ClassVar[bool] = False
    pixels_limit: int

    def decoded(self, *, needed_scale: float, all_frames: bool) -> Iterator[Frame]:
        """At the scale that is needed, as far as the limit goes."""
        width_px, height_px = self.stored_px
        most = math.sqrt(min(self.pixels_limit, DRAWN_LIMIT_PIXELS) / (width_px * height_px))
        image = self.drawn(max(1, math.ceil(width_px * min(needed_scale, most))))
        yield Frame(image, image.width / width_px)

    @abstractmethod
    def drawn(self, width_px: int) -> Image.Image:
        """As wide as that, in RGB or RGBA; raise ValueError for a file that breaks its format."""
