"""Header fields that hold somebody's text, encoded here (RFC 2047, names of files RFC 2231) and folded, so that what
arrives is what was given.

The standard library reads encoded words in a text that it is given as a header, with the line breaks that they hold
(CVE-2024-6923), and loses the blank between an ASCII and an encoded word where it folds (cpython issue 92081). So it is
handed finished fields, which `POLICY` writes as they stand.
"""

import re
from base64 import b64encode
from collections.abc import Iterable, Iterator
from email.headerregistry import Address
from email.policy import EmailPolicy
from typing import Any, Final
from unicodedata import category
from urllib.parse import quote_from_bytes

LINE_CHARACTERS: Final = 76  # RFC 2047 2, for each line of a field with an encoded word
WORD_CHARACTERS: Final = 75
BEGIN, END = "=?utf-8?b?", "?="
WORD_BYTES: Final = (WORD_CHARACTERS - len(BEGIN) - len(END)) // 4 * 3  # of UTF-8 in one encoded word
# Words with one blank between them, of printable ASCII, none of which a reader could take for an encoded word.
PLAIN: Final = re.compile(r"(?!.*=\?)[!-~]+(?: [!-~]+)*")
ATOMS: Final = re.compile(
    r"(?!.*=\?)[A-Za-z0-9!#$%&'*+/=?^_`{|}~-]+(?: [A-Za-z0-9!#$%&'*+/=?^_`{|}~-]+)*"
)  # RFC 5322 3.2.3
QUOTED: Final = re.compile(r"(?!.*=\?)[ !#-\[\]-~]{1,60}")  # what may stand between quotes as it is, and in a line
ATTRIBUTE: Final = "!#$&+-.^_`{|}~"  # RFC 2231 7, beside letters and digits
SECTION_CHARACTERS: Final = 54  # of a name that takes several lines
# A finished field: lines that go on with a blank, and no control character but the tab.
FINISHED: Final = re.compile(r"[^\x00-\x08\x0a-\x1f\x7f]+(?:\r\n [^\x00-\x08\x0a-\x1f\x7f]+)*")


class Field(str):
    """The value of a header field as it goes over the wire, its line breaks included."""

    __slots__ = ()

    def __new__(cls, value: str) -> "Field":
        """Raise ValueError for a value that would end the field, or the headers."""
        if not FINISHED.fullmatch(value):
            raise ValueError(f"a header field is expected, got {value!r}")
        return super().__new__(cls, value)


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


def is_one_line(text: str) -> bool:
    """Whether a text may stand in a header: no reader takes anything in it for the end of a line."""
    return not any(category(each) in ("Cc", "Zl", "Zp") for each in text)


def text_field(name: str, text: str) -> Field:
    """A field of free text, such as Subject; `text` is one line without control characters."""
    lines = _folded(name, text) if PLAIN.fullmatch(text) else None
    return Field("\r\n ".join(lines or _encoded(text, len(name) + 2)))


def address_field(name: str, *addresses: Address) -> Field:
    """A field of addresses, one a line; a display name is a phrase (RFC 5322 3.4)."""
    return Field(",\r\n ".join(_mailbox(each, len(name) + 2) for each in addresses))


def list_field(parts: Iterable[str], *, between: str) -> Field:
    """A field of parts that are ASCII and hold no blank, such as addresses of the web, one a line."""
    return Field(f"{between}\r\n ".join(parts))


def labelled_field(name: str, label: str, identifier: str) -> Field:
    """A field of an identifier with a text for people before it, such as List-Id (RFC 2919 3)."""
    return Field(f"{_phrase(label, len(name) + 2)}\r\n {identifier}" if label else identifier)


def file_field(kind: str, name: str) -> Field:
    """Content-Disposition of a file (RFC 2183): `attachment` or `inline`, and its name in any language."""
    if QUOTED.fullmatch(name):
        return Field(f'{kind};\r\n filename="{name}"')
    sections = _sections(name)
    if len(sections) == 1:
        return Field(f"{kind};\r\n filename*=utf-8''{sections[0]}")
    first, *more = sections
    numbered = [f"filename*0*=utf-8''{first}", *(f"filename*{at}*={each}" for at, each in enumerate(more, 1))]
    return Field(";\r\n ".join([kind, *numbered]))


def _sections(name: str) -> list[str]:
    """The name percent-encoded, a line's worth each; no character is cut, since some readers decode each by itself."""
    sections = [""]
    for character in name:
        encoded = quote_from_bytes(character.encode(), safe=ATTRIBUTE)
        if len(sections[-1]) + len(encoded) > SECTION_CHARACTERS:
            sections.append("")
        sections[-1] += encoded
    return sections


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
