"""The picture that is made small: 12 megapixels of real detail, the same bytes for everyone."""

from io import BytesIO
from typing import Final

from PIL import Image

from tests.support.local_runner import ROOT

SIZE_PX: Final = (4000, 3000)


def photo(size_px: tuple[int, int] = SIZE_PX) -> bytes:
    """A JPEG as a camera writes one: raccoons side by side, each as sharp as the original."""
    raccoon = Image.open(ROOT / "tests/files/raccoon.jpg").rotate(-90, expand=True)
    mosaic = Image.new("RGB", size_px)
    for x_px in range(0, size_px[0], raccoon.width):
        for y_px in range(0, size_px[1], raccoon.height):
            mosaic.paste(raccoon, (x_px, y_px))
    content = BytesIO()
    mosaic.save(content, "JPEG", quality=90)
    return content.getvalue()
