"""Animated WebP: what no frame covers, or a frame has cleared, is transparent, also where the file says it has none.

libwebp leaves such places transparent. Pillow drops the transparency of a file without the flag, and black remains; an
encoder does not set the flag where a frame is transparent by what it clears alone.
"""

import io
from typing import IO, Final

# the WebP container: RIFF, its size, WEBP, VP8X, its size, then the flags
_EXTENDED: Final = b"VP8X"
_FLAGS_AT: Final = 20
_ANIMATION, _ALPHA = 0x02, 0x10


def opened_with_alpha(file: IO[bytes]) -> IO[bytes]:
    """The same file; an animation says that it may be transparent."""
    head = file.read(_FLAGS_AT + 1)
    file.seek(0)
    return io.BytesIO(with_alpha(file.read())) if with_alpha(head) != head else file


def with_alpha(content: bytes) -> bytes:
    """The same content; an animation says that it may be transparent."""
    flags = content[_FLAGS_AT] if content[12:16] == _EXTENDED and len(content) > _FLAGS_AT else 0
    if not flags & _ANIMATION:
        return content
    return content[:_FLAGS_AT] + bytes([flags | _ALPHA]) + content[_FLAGS_AT + 1 :]
