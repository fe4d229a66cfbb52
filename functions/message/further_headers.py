"""The headers that a job may add: those of mailing lists, of conversations, of priority, and X-....

Each kind is read in its own form, so that a job writes no header but the one it names; all others are ours, or the mail
server's.
"""

import re
from collections.abc import Callable, Iterator, Mapping
from typing import Final

from events.problem import FieldError, JobFailed
from functions.message.header import Field, is_one_line, labelled_field, list_field, text_field

ONE_CLICK: Final = "List-Unsubscribe=One-Click"  # RFC 8058 3.1
URI_CHARACTERS: Final = 900  # a line has 998 (RFC 5322 2.1.1)
_URI: Final = rf"<(?:https?://|mailto:)[!-;=?-~]{{1,{URI_CHARACTERS}}}>"
_URIS = re.compile(rf"{_URI}(?:\s*,\s*{_URI}){{0,9}}")
_MESSAGE_ID: Final = r"<[!-;=?-~]{1,250}>"
_MESSAGE_IDS = re.compile(rf"{_MESSAGE_ID}(?:\s+{_MESSAGE_ID}){{0,19}}")
_LIST_ID = re.compile(r"(?P<label>[^<>]*?)\s*(?P<identifier><[A-Za-z0-9_-]+(?:\.[A-Za-z0-9_-]+)+>)")
_OWN = re.compile(r"X-[A-Za-z0-9][A-Za-z0-9-]{0,60}", re.IGNORECASE)

Reader = Callable[[str, str], Field]


def further_headers(asked: Mapping[str, str]) -> Iterator[tuple[str, Field]]:
    """The fields by their names; raise JobFailed for one that is not allowed, or not of its form."""
    names = {name.lower(): name for name in asked}
    if len(names) < len(asked):
        raise _invalid("", "a header is given twice")
    for name, value in asked.items():
        known = KNOWN.get(name.lower())
        if known is None and not _OWN.fullmatch(name):
            allowed = ", ".join(written for written, _ in KNOWN.values())
            raise _invalid(name, f"one of {allowed} and X-... is expected, got {name[:80]!r}")
        written, read = known or (name, _text)
        yield written, read(written, value)
    one_click = names.get("list-unsubscribe-post")
    if one_click and "<https://" not in asked.get(names.get("list-unsubscribe", ""), ""):
        raise _invalid(one_click, "a List-Unsubscribe with an https:// address is expected beside it")


def _text(name: str, value: str) -> Field:
    if not is_one_line(value):
        raise _invalid(name, f"one line without control characters is expected, got {value!r}")
    return text_field(name, value)


def _uris(name: str, value: str) -> Field:
    if not _URIS.fullmatch(value):
        raise _invalid(name, f"addresses such as <https://shop.example/out>, <mailto:out@shop.example>, got {value!r}")
    return list_field(re.findall(_URI, value), between=",")


def _message_ids(name: str, value: str) -> Field:
    if not _MESSAGE_IDS.fullmatch(value):
        raise _invalid(name, f"Message-IDs such as <1@shop.example> are expected, got {value!r}")
    return list_field(value.split(), between="")


def _list_id(name: str, value: str) -> Field:
    found = _LIST_ID.fullmatch(value)
    if found is None:
        raise _invalid(name, f"a list such as News <news.shop.example> is expected, got {value!r}")
    label = found["label"].strip('"')
    _text(name, label)
    return labelled_field(name, label, found["identifier"])


def _one_of(*values: str) -> Reader:
    def read(name: str, value: str) -> Field:
        if value not in values:
            raise _invalid(name, f"{' or '.join(values)} is expected, got {value!r}")
        return Field(value)

    return read


KNOWN: Final[Mapping[str, tuple[str, Reader]]] = {
    name.lower(): (name, read)
    for name, read in (
        *((f"List-{each}", _uris) for each in ("Unsubscribe", "Help", "Subscribe", "Post", "Owner", "Archive")),
        ("List-Unsubscribe-Post", _one_of(ONE_CLICK)),
        ("List-Id", _list_id),
        ("In-Reply-To", _message_ids),
        ("References", _message_ids),
        ("Precedence", _one_of("bulk", "list")),
        ("Importance", _one_of("low", "normal", "high")),
        ("Feedback-ID", _text),
        ("Organization", _text),
    )
}


def _invalid(name: str, detail: str) -> JobFailed:
    pointer = f"#/headers/{name.replace('~', '~0').replace('/', '~1')[:100]}" if name else "#/headers"
    return JobFailed("invalid-data", f"headers: {name[:100]}: {detail}", (FieldError(pointer=pointer, detail=detail),))
