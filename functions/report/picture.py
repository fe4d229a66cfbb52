"""Whether a file is a picture that a PDF can show: PNG, JPEG, GIF, WebP, or SVG."""

import io
from typing import Final
from xml.etree import ElementTree

from PIL import Image

from events.problem import FieldError, JobFailed

FORMATS: Final = ("PNG", "JPEG", "GIF", "WEBP")
_SVG: Final = "{http://www.w3.org/2000/svg}svg"


def is_svg(content: bytes) -> bool:
    """Whether it may be one: no other kind begins so."""
    return content.lstrip().startswith(b"<")


def check_picture(content: bytes, pointer: str) -> None:
    """Raise JobFailed that names the field, where it is none."""
    if not _is_picture(content):
        detail = "must be a PNG, JPEG, GIF, WebP or SVG picture"
        raise JobFailed("source-refused", f"{pointer}: {detail}", (FieldError(pointer=pointer, detail=detail),))


def _is_picture(content: bytes) -> bool:
    try:
        if is_svg(content):
            return ElementTree.fromstring(content).tag == _SVG  # noqa: S314  # in a child with limits, as WeasyPrint does
        Image.open(io.BytesIO(content), formats=FORMATS).verify()
    except (OSError, SyntaxError):  # the parser's error, and Pillow's of a broken PNG, are SyntaxErrors
        return False
    return True
