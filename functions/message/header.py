"""Header fields that hold somebody's text, encoded here (RFC 2047) and folded, so that what arrives is what was given.

The standard library reads encoded words in a text that it is given as a header, with the line breaks that they hold
(CVE-2024-6923), and loses the blank between an ASCII and an encoded word where it folds (cpython issue 92081). So it is
handed finished fields, which `POLICY` writes as they stand.
"""

import re
from base64 import b64encode
from collections.abc import Iterator
from email.headerregistry import Address
from email.policy import EmailPolicy
from typing import Any, Final

LINE_CHARACTERS: Final = 76  # RFC 2047 2, for each line of a field with an encoded word
WORD_CHARACTERS: Final = 75
BEGIN, END = "=?utf-8?b?", "?="
WORD_BYTES: Final = (WORD_CHARACTERS - len(BEGIN) - len(END)) // 4 * 3  # of UTF-8 in one encoded word
# Words with one blank between them, of printable ASCII, none of which a reader could take for an encoded word.
PLAIN: Final = re.compile(r"(?!.*=\?)[!-~]+(?: [!-~]+)*")
ATOMS: Final = re.compile(
    r"(?!.*=\?)[A-Za-z0-9!#$%&'*+/=?^_`{|}~-]+(?: [A-Za-z0-9!#$%&'*+/=?^_`{|}~-]+)*"
)  # RFC 5322 3.2.3


class Field(str):
    """The value of a header field as it goes over the wire, its line breaks included."""

    __slots__ = ()


class _Policy(EmailPolicy):
    """The standard library's, but for finished fields."""

    def header_store_parse(self, name: str, value: Any) -> tuple[str, Any]:
        return (name, value) if isinstance(value, Field) else super().header_store_parse(name, value)

    def header_fetch_parse(self, name: str, value: Any) -> Any:
        return value if isinstance(value, Field) else super().header_fetch_parse(name, value)

    def fold(self, name: str, value: Any) -> str:
        return f"{name}: {value}\r\n" if isinstance(value, Field) else super().fold(name, value)

    def fold_binary(self, name: str, value: Any) -> bytes:
        return self.fold(name, value).encode() if isinstance(value, Field) else super().fold_binary(name, value)


POLICY: Final = _Policy(linesep="\r\n")
POLICY_UTF8: Final = POLICY.clone(utf8=True)  # for addresses that are not ASCII before their @ (RFC 6532)


def text_field(name: str, text: str) -> Field:
    """A field of free text, such as Subject; `text` is one line without control characters."""
    lines = _folded(name, text) if PLAIN.fullmatch(text) else None
    return Field("\r\n ".join(lines or _encoded(text, len(name) + 2)))


def address_field(name: str, *addresses: Address) -> Field:
    """A field of addresses, one a line; a display name is a phrase (RFC 5322 3.4)."""
    return Field(",\r\n ".join(_mailbox(each, len(name) + 2) for each in addresses))


def _mailbox(address: Address, used: int) -> str:
    if not address.display_name:
        return address.addr_spec
    return f"{_phrase(address.display_name, used)} <{address.addr_spec}>"


def _phrase(text: str, used: int) -> str:
    if ATOMS.fullmatch(text) and used + len(text) <= LINE_CHARACTERS:
        return text
    return "\r\n ".join(_encoded(text, used))


def _folded(name: str, text: str) -> list[str] | None:
    """Lines of whole words, or None where a word is longer than a line."""
    lines, line, room = [], "", LINE_CHARACTERS - len(name) - 2
    for word in text.split(" "):
        longer = f"{line} {word}" if line else word
        if len(longer) > room and line:
            lines.append(line)
            longer, room = word, LINE_CHARACTERS - 1
        if len(longer) > room:
            return None
        line = longer
    return [*lines, line]


def _encoded(text: str, used: int) -> list[str]:
    """Encoded words, one a line; a reader joins neighbours without the blank between them (RFC 2047 6.2)."""
    return [f"{BEGIN}{b64encode(each).decode()}{END}" for each in _pieces(text, used)]


def _pieces(text: str, used: int) -> Iterator[bytes]:
    """The text in UTF-8, cut between characters; the first piece has less room, for the field's name before it."""
    piece, limit = b"", max(3, (LINE_CHARACTERS - used - len(BEGIN) - len(END)) // 4 * 3)
    for character in text:
        octets = character.encode()
        if len(piece) + len(octets) > min(limit, WORD_BYTES):
            yield piece
            piece, limit = b"", WORD_BYTES
        piece += octets
    yield piece
