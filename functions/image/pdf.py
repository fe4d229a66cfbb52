"""One page of a PDF, drawn by PDFium on white; its scripts are not run, what it refers to is not fetched."""

import math
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Final

from PIL import Image
from pypdfium2 import PdfDocument, PdfiumError  # type: ignore[import-untyped]  # it has no types

from functions.image.drawn import PX_PER_INCH, DrawnSource
from functions.image.source import check_pixels

POINTS_PER_INCH: Final = 72
_LONGEST_PT: Final = 1e9


@dataclass(frozen=True, kw_only=True)
class PageSource(DrawnSource):
    """`index` counts from 0."""

    content: bytes
    index: int

    def drawn(self, width_px: int) -> Image.Image:
        """With its annotations and the fields of its form."""
        with _broken_is_a_value_error():
            document = PdfDocument(self.content)
            document.init_forms()
            page = document[self.index]
            image: Image.Image = page.render(scale=width_px / page.get_width(), rev_byteorder=True).to_pil()
        return image.convert("RGB")


def open_page(content: bytes, number: int, *, pixels_limit: int) -> PageSource:
    """Raise ValueError for what is no PDF, is locked, or has no such page."""
    with _broken_is_a_value_error():
        document = PdfDocument(content)
        pages = len(document)
        if not 1 <= number <= pages:
            raise ValueError(f"the source must have a page {number}, got {pages} pages")
        sides_pt = document[number - 1].get_size()
    width_px, height_px = (math.ceil(min(each, _LONGEST_PT) * PX_PER_INCH / POINTS_PER_INCH) for each in sides_pt)
    check_pixels((width_px, height_px), limit=pixels_limit)
    return PageSource(
        format="pdf", stored_px=(width_px, height_px), pixels_limit=pixels_limit, content=content, index=number - 1
    )


@contextmanager
def _broken_is_a_value_error() -> Iterator[None]:
    try:
        yield
    except PdfiumError as error:
        raise ValueError(f"the source is corrupt, cut short or locked: {error}") from error
