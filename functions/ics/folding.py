"""Folds content lines (RFC 5545 3.1) where a reader that joins the pieces badly, or not at all, loses nothing.

A fold stands between two characters as a person sees them: not within an escape, since Google drops an event whose
line ends between a backslash and its letter, nor between a letter and its marks. The icalendar library folds at 74
octets, between the two backslashes of an escaped one, and before marks.
"""

import re
import unicodedata
from typing import Final

LIMIT_BYTES: Final = 75

_JOINERS: Final = "\u200c\u200d"
# What belongs to the character before it and is no mark: joiners, skin tones, tags of flags, Hangul vowels and finals,
# and the vowel AM of Thai and Lao (UAX 29).
_EXTENDS = re.compile("[\u200c\u200d\U0001f3fb-\U0001f3ff\U000e0020-\U000e007f\u1160-\u11ff\ud7b0-\ud7ff\u0e33\u0eb3]")
_FLAG: Final = "[\U0001f1e6-\U0001f1ff]"
_HALF_A_FLAG = re.compile(f"(?<!{_FLAG})(?:{_FLAG}{_FLAG})*{_FLAG}$")
_VIRAMA: Final = 9  # the combining class of marks that join the consonant after them


def folded(line: str) -> bytes:
    """The line with its CRLF, in pieces of 75 octets at most."""
    data = line.encode()
    pieces, begin, end = [], 0, LIMIT_BYTES
    while end < len(data):
        end = _fold(data, begin, end)
        pieces.append(data[begin:end])
        begin, end = end, end + LIMIT_BYTES - 1
    pieces.append(data[begin:])
    return b"\r\n ".join(pieces) + b"\r\n"


def _fold(data: bytes, begin: int, end: int) -> int:
    """The last place up to `end` that is between two characters; between two code points, where one is as long."""
    places = (at for at in range(end, begin, -1) if not _splits_octets(data, begin, at))
    first = next(places)
    if data[begin : first + 1].isascii():
        return first
    return next((at for at in (first, *places) if not _splits_character(data, begin, at)), first)


def _splits_octets(data: bytes, begin: int, at: int) -> bool:
    """Whether the place is inside a code point, or an escape of a text or a parameter (RFC 6868: a caret)."""
    if data[at] & 0xC0 == 0x80:
        return True
    before = data[begin:at]
    return any((len(before) - len(before.rstrip(mark))) % 2 for mark in (b"\\", b"^"))


def _splits_character(data: bytes, begin: int, at: int) -> bool:
    before, after = data[begin:at].decode(), data[at : at + 4].decode(errors="ignore")[0]
    if unicodedata.category(after).startswith("M") or _EXTENDS.match(after):
        return True
    joined = before[-1] in _JOINERS or unicodedata.combining(before[-1]) == _VIRAMA
    return joined or bool(re.match(_FLAG, after) and _HALF_A_FLAG.search(before))
