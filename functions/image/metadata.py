"""What an output keeps of the source's metadata: nothing, unless it is asked for by name.

Kept from EXIF are the tags of the lists below. Never kept: the orientation, which has been applied; thumbnails, which
show the picture before its crop; maker notes, which may hide a place; XMP and IPTC.
"""

from collections.abc import Iterable
from typing import Any, Final

from PIL import Image
from PIL.ExifTags import IFD, Base

from functions.image.decoding import BROKEN
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


def kept_exif(source: Image.Image, keep: Iterable[str]) -> bytes | None:
    """The EXIF block of an output, or None; broken EXIF data are left out whole."""
    wanted = set(keep) & {"copyright", "exif", "gps"}
    if not wanted:
        return None
    try:
        block = _block(source.getexif(), wanted)
    except BROKEN:
        return None
    if block is not None and len(block) > EXIF_LIMIT_BYTES:
        raise OutputRefused("keep", f"the EXIF data to keep must be at most {EXIF_LIMIT_BYTES} bytes, got {len(block)}")
    return block


def _block(exif: Image.Exif, wanted: set[str]) -> bytes | None:
    block = Image.Exif()
    for tag in CAMERA if "exif" in wanted else COPYRIGHT if "copyright" in wanted else ():
        if tag in exif:
            block[tag] = exif[tag]
    if "exif" in wanted and (shot := _without(exif.get_ifd(IFD.Exif))):
        block[IFD.Exif] = shot
    if "gps" in wanted and (place := exif.get_ifd(IFD.GPSInfo)):
        block[IFD.GPSInfo] = dict(place)
    return block.tobytes() if len(block) else None


def _without(ifd: dict[int, Any]) -> dict[int, Any]:
    return {tag: value for tag, value in ifd.items() if tag not in LEFT_OUT}
