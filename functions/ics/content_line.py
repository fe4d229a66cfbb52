"""Content lines (RFC 5545 3.1): escaping of texts and parameters, folding. Whatever a text holds, a line stays one."""

from typing import Final

LIMIT_BYTES: Final = 75

_ESCAPES: Final = str.maketrans(
    # U+2028 and U+2029 end a line for a reader that goes by Unicode's rules.
    {"\\": "\\\\", ";": "\\;", ",": "\\,", "\n": "\\n", "\u2028": "\\n", "\u2029": "\\n"}
)
_PARAMETER_ESCAPES: Final = str.maketrans({"^": "^^", '"': "^'", "\n": "^n", "\u2028": "^n", "\u2029": "^n"})


def text(value: str) -> str:
    """A TEXT value (RFC 5545 3.3.11); CRLF counts as one line break."""
    return value.replace("\r\n", "\n").translate(_ESCAPES)


def parameter(name: str, *values: str) -> str:
    """A parameter with its semicolon: quoted where it has to be, encoded as RFC 6868 says."""
    encoded = (value.replace("\r\n", "\n").translate(_PARAMETER_ESCAPES) for value in values)
    return f";{name}=" + ",".join(f'"{each}"' if set(each) & set(":;,") else each for each in encoded)


def quoted(name: str, *values: str) -> str:
    """A parameter whose values are addresses, which are always quoted (RFC 5545 3.2)."""
    return f";{name}=" + ",".join(f'"{value}"' for value in values)


def content(lines: list[str]) -> bytes:
    """The bytes of unfolded lines."""
    return b"".join(_folded(each) for each in lines)


def _folded(line: str) -> bytes:
    """The line with its CRLF; folded, where it is too long, between characters (RFC 5545 3.1)."""
    left, pieces, room = line.encode(), [], LIMIT_BYTES
    while len(left) > room:
        end = room
        while left[end] & 0xC0 == 0x80:  # inside a character of UTF-8
            end -= 1
        pieces.append(left[:end])
        left, room = left[end:], LIMIT_BYTES - 1
    pieces.append(left)
    return b"\r\n ".join(pieces) + b"\r\n"
