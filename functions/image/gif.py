"""The frames of a GIF (GIF89a), each as a file of its own."""

import struct
from collections.abc import Iterator
from typing import Final

from functions.image.animation import Disposal, Part

_HEADER_BYTES: Final = 13
_EXTENSION, _IMAGE, _TRAILER, _CONTROL = 0x21, 0x2C, 0x3B, 0xF9
_NO_CONTROL: Final = bytes(4)  # flags, delay in hundredths of a second, transparent colour
_DISPOSALS: Final = {2: Disposal.CLEAR, 3: Disposal.RESTORE, 4: Disposal.RESTORE}  # 4 as browsers read it


def parts(content: bytes) -> Iterator[Part]:
    """In their order; what is cut short, whoever decodes it finds out."""
    at = _HEADER_BYTES + _table_bytes(content[10])
    palette, control = content[_HEADER_BYTES:at], _NO_CONTROL
    while at < len(content) and content[at] != _TRAILER:
        if content[at] == _IMAGE:
            end = _end_of_blocks(content, at + 11 + _table_bytes(content[at + 9]))
            yield _part(content[:_HEADER_BYTES], palette, control, content[at:end])
            control = _NO_CONTROL
        elif content[at] == _EXTENSION:
            end = _end_of_blocks(content, at + 2)
            if content[at + 1] == _CONTROL:
                control = content[at + 3 : at + 7]
        else:
            end = at + 1
        at = end


def _part(screen: bytes, palette: bytes, control: bytes, image: bytes) -> Part:
    x, y, width_px, height_px = struct.unpack("<4H", image[1:9])
    flags, delay = struct.unpack("<BHx", control)
    alone = (
        b"GIF89a"
        + struct.pack("<HH", width_px, height_px)
        + (screen[10:13] + palette)
        + (b"\x21\xf9\x04" + bytes([flags & 1]) + control[1:] + b"\0")
        + (b"\x2c" + struct.pack("<4H", 0, 0, width_px, height_px) + image[9:] + b"\x3b")
    )
    disposal = _DISPOSALS.get(flags >> 2 & 7, Disposal.KEEP)
    return Part(alone, (x, y), (width_px, height_px), disposal, delay * 10)


def _table_bytes(flags: int) -> int:
    """Of the colour table that the flags announce."""
    return 3 << (flags & 7) + 1 if flags & 0x80 else 0


def _end_of_blocks(content: bytes, at: int) -> int:
    while at < len(content) and content[at]:
        at += content[at] + 1
    return min(at + 1, len(content))
