"""What an output keeps of the source's metadata: nothing, unless it is asked for by name.

Kept from EXIF are the tags of the lists below. Never kept: the orientation, which has been applied; thumbnails, which
show the picture before its crop; maker notes, which may hide a place; XMP and IPTC.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from PIL import Image
from PIL.ExifTags import IFD, Base

from functions.image.source import BROKEN, Source
from functions.image.task import OutputRefused

COPYRIGHT: Final = (Base.Artist, Base.Copyright)
CAMERA: Final = (
    *(Base.ImageDescription, Base.Make, Base.Model, Base.Software, Base.DateTime, Base.HostComputer),
    *(Base.XResolution, Base.YResolution, Base.ResolutionUnit),
    *COPYRIGHT,
)
LEFT_OUT: Final = frozenset(
    {Base.MakerNote, Base.ExifImageWidth, Base.ExifImageHeight, Base.ExifInteroperabilityOffset}
)
EXIF_LIMIT_BYTES: Final = 65_533 - 6  # of a JPEG's APP1 segment


class ExifText(str):
    """A text of EXIF as it was read, which is written as the same bytes.

    The standard has ASCII; cameras and programs write UTF-8. Pillow reads Latin-1, so that no byte is lost, and writes
    a question mark for each that is not ASCII.
    """

    def encode(self, encoding: str = "latin-1", errors: str = "strict") -> bytes:
        """The bytes that were read, whatever is asked for."""
        return super().encode("latin-1", "replace")


@dataclass(frozen=True)
class ExifBlock:
    """What is kept: the tags, with those of the blocks within, and all of it as a block of EXIF."""

    tags: Mapping[int, Any]
    content: bytes


def kept_exif(source: Source, keep: Iterable[str]) -> ExifBlock | None:
    """The EXIF data of an output, or None; broken EXIF data are left out whole."""
    wanted = set(keep) & {"copyright", "exif", "gps"}
    if not wanted:
        return None
    try:
        block = _block(_tags(source.exif, wanted))
    except BROKEN:
        return None
    if block and len(block.content) > EXIF_LIMIT_BYTES:
        got = len(block.content)
        raise OutputRefused("keep", f"the EXIF data to keep must be at most {EXIF_LIMIT_BYTES} bytes, got {got}")
    return block


def _tags(exif: Image.Exif, wanted: set[str]) -> dict[int, Any]:
    names = CAMERA if "exif" in wanted else COPYRIGHT if "copyright" in wanted else ()
    tags: dict[int, Any] = _as_read({tag: exif[tag] for tag in names if tag in exif})
    if "exif" in wanted and (shot := exif.get_ifd(IFD.Exif)):
        tags[IFD.Exif] = _as_read({tag: value for tag, value in shot.items() if tag not in LEFT_OUT})
    if "gps" in wanted and (place := exif.get_ifd(IFD.GPSInfo)):
        tags[IFD.GPSInfo] = _as_read(place)
    return tags


def _as_read(tags: Mapping[int, Any]) -> dict[int, Any]:
    return {tag: ExifText(value) if isinstance(value, str) else value for tag, value in tags.items()}


def _block(tags: dict[int, Any]) -> ExifBlock | None:
    exif = Image.Exif()
    exif.update(tags)
    return ExifBlock(tags, exif.tobytes()) if tags else None
