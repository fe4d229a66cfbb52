"""Finds texts that no calendar may hold: control characters, and links that are no link, or that run code."""

import re
from functools import lru_cache
from typing import Final

from msgspec import Struct

from functions.ics.findings import FieldPlace

# RFC 5545 3.1 forbids the C0 controls and DEL; the C1 controls and lone surrogates are no text either.
_CONTROL = r"\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\ud800-\udfff"
_NOT_IN_TEXT = re.compile(rf"[{_CONTROL}]")
# An address, a name and a uid hold no line breaks either.
_NOT_IN_LINE = re.compile(rf"[{_CONTROL}\t\n\r\u2028\u2029]")
# What a person may open from a calendar: none that runs code or reads a disk, such as javascript:, data: and file:.
_LINK = re.compile(
    r"(?:(?:https?|webcals?)://(?![/?#:@])|mailto:|tel:|sips?:|xmpp:)"
    r"(?:[A-Z0-9._~:/?#\[\]@!$&'()*+,;=-]|%[0-9A-F]{2})+",
    re.ASCII | re.IGNORECASE,
)
_LINK_EXPECTED: Final = (
    "must be a URI (RFC 3986) of the scheme http, https, mailto, sip, sips, tel, webcal, webcals or xmpp, "
    "such as https://shop.example/orders/1"
)
_TEXTS: Final = frozenset({"summary", "description", "comment", "location", "text", "subject"})
_LINES: Final = frozenset(
    {
        "uid",
        "key",
        "name",
        "email",
        "sent_by",
        "label",
        "categories",
        "delegated_to",
        "delegated_from",
        "member_of",
        "to",
    }
)
_LINKS: Final = frozenset({"url", "source_url", "sound_url"})
_INNER: Final = frozenset({"organizer", "attendees", "alarms", "conferences", "attachments", "images", "overrides"})


def check(struct: Struct, at: FieldPlace) -> None:
    """Find the bad texts and links of an item, its people and everything else in it."""
    for name, forbidden in _texts(type(struct)):
        value = getattr(struct, name)
        if isinstance(value, str):
            _check_text(value, forbidden, at / f"{name}")
        elif value:
            for index, each in enumerate(value):
                _check_text(each, forbidden, at / f"{name}/{index}")
    for name in _fields(type(struct), _LINKS):
        link = getattr(struct, name)
        if link is not None and not _LINK.fullmatch(link):
            (at / f"{name}").add(f"{_LINK_EXPECTED}, got {link[:80]!r}")
    for name in _fields(type(struct), _INNER):
        inner = getattr(struct, name)
        if isinstance(inner, Struct):
            check(inner, at / f"{name}")
        elif inner:
            for index, each in enumerate(inner):
                check(each, at / f"{name}/{index}")


def _check_text(value: str, forbidden: re.Pattern[str], at: FieldPlace) -> None:
    found = forbidden.search(value)
    if found:
        detail = f"must be text without control characters, got U+{ord(found[0]):04X} at character {found.start()}"
        at.add(detail)


@lru_cache
def _texts(struct: type[Struct]) -> tuple[tuple[str, re.Pattern[str]], ...]:
    fields = ((name, _NOT_IN_TEXT) for name in _fields(struct, _TEXTS))
    return *fields, *((name, _NOT_IN_LINE) for name in _fields(struct, _LINES))


@lru_cache
def _fields(struct: type[Struct], names: frozenset[str]) -> tuple[str, ...]:
    return tuple(name for name in struct.__struct_fields__ if name in names)
