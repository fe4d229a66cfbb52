"""SVG, drawn by resvg: no script, no animation, no network, nothing but what stands in the file.

What resvg does not limit is refused before it reads the file: elements in elements without end, and references to
other files, which it would read.
"""

import math
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from io import BytesIO
from typing import Final
from xml.parsers import expat

from PIL import Image
from resvg_py import svg_to_bytes

from functions.image.drawn import PX_PER_INCH, DrawnSource
from functions.image.geometry import Size
from functions.image.source import check_pixels

DEPTH_LIMIT: Final = 200  # resvg works through them by recursion
ELEMENTS_LIMIT: Final = 200_000
SIDES_UNLESS_TOLD_PX: Final = (100, 100)  # as resvg, where there is no size and no viewBox
_SHOWING: Final = ("image", "feImage", "use")
_UNITS: Final = {"": 1.0, "px": 1.0, "in": 96.0, "cm": 96 / 2.54, "mm": 96 / 25.4, "pt": 96 / 72, "pc": 16.0}
_LENGTH: Final = re.compile(r"\s*\+?(\d*\.?\d+(?:[eE][+-]?\d{1,3})?)([a-z]{0,2})\s*")


@dataclass(frozen=True, kw_only=True)
class SvgSource(DrawnSource):
    """The text of the file, which has been looked through."""

    text: str
    has_text: bool

    def drawn(self, width_px: int) -> Image.Image:
        """Transparent where nothing is drawn."""
        with _refused_is_a_value_error():
            png = svg_to_bytes(
                svg_string=self.text,
                width=width_px,
                dpi=PX_PER_INCH,
                skip_system_fonts=not self.has_text,  # looking for them takes most of the time of a small picture
                font_family="DejaVu Sans",
                sans_serif_family="DejaVu Sans",
                serif_family="DejaVu Serif",
                monospace_family="DejaVu Sans Mono",
            )
        image = Image.open(BytesIO(png), formats=["PNG"])
        check_pixels(image.size, limit=self.pixels_limit)
        return image.convert("RGBA")


@contextmanager
def _refused_is_a_value_error() -> Iterator[None]:
    try:
        yield
    except ValueError as error:
        raise ValueError(f"the source is corrupt or cut short: {error}") from error
    except BaseException as error:
        if type(error).__name__ != "PanicException":  # of Rust; pyo3 offers no other way to name it
            raise
        raise ValueError(f"the source cannot be drawn: {error}") from error


def open_svg(content: bytes, *, pixels_limit: int) -> SvgSource:
    """Raise ValueError for what is no SVG, refers to other files, or is over a limit."""
    seen = _Reader().read(content)
    check_pixels(seen.size_px, limit=pixels_limit)
    text = _decoded(content, seen.encoding)
    return SvgSource(format="svg", stored_px=seen.size_px, pixels_limit=pixels_limit, text=text, has_text=seen.has_text)


@dataclass
class _Reader:
    """What is to be known of an SVG before it is drawn; expat limits how far entities grow."""

    encoding: str = "utf-8"
    size_px: Size = SIDES_UNLESS_TOLD_PX
    has_text: bool = False
    elements: int = 0
    depth: int = 0
    names: list[str] = field(default_factory=list)

    def read(self, content: bytes) -> "_Reader":
        parser = expat.ParserCreate(namespace_separator=" ")
        parser.XmlDeclHandler = self._declared
        parser.StartElementHandler = self._started
        parser.EndElementHandler = self._ended
        try:
            parser.Parse(content, True)
        except expat.ExpatError as error:
            raise ValueError(f"the source is corrupt or cut short: {error}") from error
        return self

    def _declared(self, version: str, encoding: str | None, standalone: int) -> None:
        self.encoding = (encoding or self.encoding).lower()

    def _started(self, name: str, attributes: dict[str, str]) -> None:
        name = name.rpartition(" ")[2]
        self.elements += 1
        self.depth += 1
        if self.elements == 1:
            self.size_px = _size_px(name, attributes)
        if self.depth > DEPTH_LIMIT or self.elements > ELEMENTS_LIMIT:
            most = f"{ELEMENTS_LIMIT} elements, and at most {DEPTH_LIMIT} in one another"
            raise ValueError(f"the source must have at most {most}")
        self.has_text = self.has_text or name == "text"
        if name in _SHOWING:
            _refuse_reference(name, attributes)

    def _ended(self, name: str) -> None:
        self.depth -= 1


def _refuse_reference(name: str, attributes: dict[str, str]) -> None:
    for attribute, value in attributes.items():
        told = value.strip()
        if attribute.rpartition(" ")[2] == "href" and told and not told.startswith(("#", "data:")):
            shown = f"an element {name} that refers to {told[:200]!r}"
            raise ValueError(f"the source must hold all that it shows, got {shown}")


def _size_px(name: str, attributes: dict[str, str]) -> Size:
    """In whole pixels; a side that is not told follows from the viewBox."""
    if name != "svg":
        raise ValueError(f"the source must begin with the element svg, got {name}")
    box = _box(attributes.get("viewBox", ""))
    width, height = _length(attributes.get("width")), _length(attributes.get("height"))
    if box:
        width = width or (height * box[0] / box[1] if height else box[0])
        height = height or width * box[1] / box[0]
    sides = (width or SIDES_UNLESS_TOLD_PX[0], height or SIDES_UNLESS_TOLD_PX[1])
    return math.ceil(min(sides[0], 1e9)), math.ceil(min(sides[1], 1e9))


def _box(text: str) -> tuple[float, float] | None:
    sides = [_length(each) for each in re.split(r"[\s,]+", text.strip())[2:]]
    match sides:
        case [float() as width, float() as height]:
            return width, height
    return None


def _length(text: str | None) -> float | None:
    """In pixels; None for what is absent, nothing, or a part of what is around the picture."""
    found = _LENGTH.fullmatch(text or "")
    if not found or found[2] not in _UNITS:
        return None
    return float(found[1]) * _UNITS[found[2]] or None


def _decoded(content: bytes, encoding: str) -> str:
    if content[:2] in (b"\xff\xfe", b"\xfe\xff"):
        encoding = "utf-16"
    try:
        return content.decode("utf-8-sig" if encoding in ("utf-8", "utf8") else encoding)
    except (LookupError, UnicodeError) as error:
        raise ValueError(f"the source is corrupt or cut short: {error}") from error
