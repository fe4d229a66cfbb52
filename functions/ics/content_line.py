"""Writes iCalendar content lines: escaped, quoted, folded (RFC 5545 3.1, 3.3.11; RFC 6868)."""

import re
from collections.abc import Iterable, Iterator
from typing import Final

LINE_LIMIT_OCTETS: Final = 75

_LINE_BREAK = re.compile("\r\n|[\n\u2028\u2029]")
_NEEDS_NO_QUOTES = re.compile(r"[A-Za-z0-9/_+.-]+")


def content_line(name: str, value: str, **parameters: str) -> str:
    """One property, folded and with its CRLF; `value` has to be of its type already (see `text`)."""
    heads = "".join(f";{key}={_parameter(each)}" for key, each in parameters.items())
    return _fold(f"{name}{heads}:{value}") + "\r\n"


def component(name: str, lines: Iterable[str]) -> Iterator[str]:
    """The content lines between their BEGIN and END."""
    yield f"BEGIN:{name}\r\n"
    yield from lines
    yield f"END:{name}\r\n"


def text(value: str) -> str:
    r"""A TEXT value. Every line break becomes `\n`; U+2028 and U+2029 too, as a lax reader could end a line at them."""
    escaped = value.replace("\\", "\\\\").replace(";", "\\;").replace(",", "\\,")
    return _LINE_BREAK.sub(r"\\n", escaped)


def _parameter(value: str) -> str:
    if _NEEDS_NO_QUOTES.fullmatch(value):
        return value
    return '"' + value.replace("^", "^^").replace('"', "^'") + '"'  # RFC 6868 3.1


def _fold(line: str) -> str:
    octets = line.encode()
    chunks, start, limit = [], 0, LINE_LIMIT_OCTETS
    while len(octets) - start > limit:
        end = start + limit
        while octets[end] & 0xC0 == 0x80:  # never inside a character
            end -= 1
        chunks.append(octets[start:end])
        start, limit = end, LINE_LIMIT_OCTETS - 1  # the space that continues a line counts
    return b"\r\n ".join([*chunks, octets[start:]]).decode()
