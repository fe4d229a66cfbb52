"""The frames of an animated PNG (PNG, third edition), each as a file of its own."""

import struct
import zlib
from collections.abc import Iterator
from typing import Final

from functions.image.animation import Disposal, Part

_SIGNATURE: Final = b"\x89PNG\r\n\x1a\n"
_SHARED: Final = (b"PLTE", b"tRNS")
_CONTROL: Final = struct.Struct(">4x4I2H2B")  # width, height, x, y, delay as a fraction, disposal, blending
_DISPOSALS: Final = {1: Disposal.CLEAR, 2: Disposal.RESTORE}


def parts(content: bytes) -> Iterator[Part]:
    """In their order; a picture before the first frame's control is for those that play no animations."""
    header, shared, control, pixels = b"", b"", b"", list[bytes]()
    for name, data in _chunks(content):
        if name == b"IHDR":
            header = data
        elif name in _SHARED:
            shared += _chunk(name, data)
        elif name == b"fcTL":
            if pixels:
                yield _part(header, shared, control, pixels)
            control, pixels = data, []
        elif control and name in (b"IDAT", b"fdAT"):
            pixels.append(data if name == b"IDAT" else data[4:])
    if pixels:
        yield _part(header, shared, control, pixels)


def _part(header: bytes, shared: bytes, control: bytes, pixels: list[bytes]) -> Part:
    width_px, height_px, x, y, delay, per_second, disposal, blending = _CONTROL.unpack(control)
    alone = (
        _SIGNATURE
        + _chunk(b"IHDR", struct.pack(">2I", width_px, height_px) + header[8:])
        + shared
        + _chunk(b"IDAT", b"".join(pixels))
        + _chunk(b"IEND", b"")
    )
    return Part(
        alone,
        (x, y),
        (width_px, height_px),
        _DISPOSALS.get(disposal, Disposal.KEEP),
        round(delay * 1000 / (per_second or 100)),
        replaces=blending == 0,
    )


def _chunks(content: bytes) -> Iterator[tuple[bytes, bytes]]:
    at = len(_SIGNATURE)
    while at + 8 <= len(content):
        length_bytes, name = struct.unpack_from(">I4s", content, at)
        end = at + length_bytes + 12
        if end > len(content):
            raise ValueError(f"a chunk must have {length_bytes} bytes, got {len(content) - at - 8}")
        yield name, content[at + 8 : end - 4]
        at = end


def _chunk(name: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))
