"""A source that was opened and is within the limits, whatever its format: what is known before anything is decoded.

What a decoder says of a broken file becomes a ValueError that says so; so does every limit, with the measured value.
"""

import struct
from abc import ABC, abstractmethod
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import ClassVar, Final

from PIL import Image, UnidentifiedImageError

from functions.image.geometry import EXIF_TURNS, Size, Turn

# what Pillow raises for a file that breaks its format, as mutated files of every format showed
BROKEN: Final = (OSError, SyntaxError, ValueError, EOFError, RuntimeError, LookupError, TypeError, struct.error)


@dataclass(frozen=True)
class Frame:
    """Decoded pixels in a mode that can be resized. `scale` is theirs against the source's; `duration_ms` is shown."""

    image: Image.Image
    scale: float
    duration_ms: int = 0


@dataclass(frozen=True, kw_only=True)
class Source(ABC):
    """An opened picture. `stored_px` are its sides before `turn`; `plays` is 0 for an animation without end."""

    has_pixels: ClassVar[bool] = True
    format: str
    stored_px: Size
    turn: Turn = EXIF_TURNS[1]
    frames: int = 1
    plays: int = 0
    profile: bytes | None = None

    @property
    def size_px(self) -> Size:
        """The sides of the upright picture."""
        return self.turn.size_px(self.stored_px)

    @property
    def exif(self) -> Image.Exif:
        """What came with it; raise one of BROKEN when that is broken."""
        return Image.Exif()

    def check(self, needed_scale: float) -> None:  # noqa: B027  # not abstract: most have nothing to check
        """Raise ValueError when more than the limit would be decoded; for most, opening them has told that."""

    @abstractmethod
    def decoded(self, *, needed_scale: float, all_frames: bool) -> Iterator[Frame]:
        """The first frame, or all, in no fewer pixels than needed, as far as the source and the limits have them."""


@contextmanager
def corrupt_is_a_value_error() -> Iterator[None]:
    """For a decoder's reading only: our own errors must not become the source's."""
    try:
        yield
    except UnidentifiedImageError:
        raise
    except BROKEN as error:
        raise ValueError(f"the source is corrupt or cut short: {error}") from error


def check_pixels(size_px: Size, *, limit: int, frames: int = 1, decoded_px: Size | None = None, note: str = "") -> None:
    """Raise ValueError for no pixels, or for more than the limit in what is decoded of all frames."""
    width_px, height_px = decoded_px or size_px
    if not 1 <= width_px * height_px * frames <= limit:
        got = f"{size_px[0]} x {size_px[1]} pixels" + (f" in {frames} frames" if frames > 1 else "")
        raise ValueError(f"the source must have 1 to {limit} pixels, got {got}{note}")
