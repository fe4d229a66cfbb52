"""The picture that is made small: 12 megapixels of real detail, the same bytes for everyone."""

from io import BytesIO
from typing import Final

from PIL import Image

from tests.local_runner import ROOT

SIZE_PX: Final = (4000, 3000)


def photo() -> bytes:
    """A JPEG as a camera writes one: raccoons side by side, each as sharp as the original."""
    raccoon = Image.open(ROOT / "tests/files/raccoon.jpg").rotate(-90, expand=True)
    mosaic = Image.new("RGB", SIZE_PX)
    for x_px in range(0, SIZE_PX[0], raccoon.width):
        for y_px in range(0, SIZE_PX[1], raccoon.height):
            mosaic.paste(raccoon, (x_px, y_px))
    content = BytesIO()
    mosaic.save(content, "JPEG", quality=90)
    return content.getvalue()
