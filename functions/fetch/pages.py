"""Pages of JSON that follow each other, and their items."""

from collections.abc import Iterator
from typing import Any, Final
from urllib.parse import parse_qsl, urlencode, urljoin, urlsplit, urlunsplit

import msgspec

from events.problem import JobFailed
from events.types import FetchPages

KIND: Final = "pages-refused"
SHOWN_CHARACTERS: Final = 200


def first_url(url: str, pages: FetchPages) -> str:
    """Where the first page is: a count begins there."""
    counts = pages.next is None and pages.parameter is not None
    return _with(url, pages.parameter or "", str(pages.start)) if counts else url


def page_of(content: bytes, pages: FetchPages, url: str) -> tuple[list[Any], Any]:
    """A page's items, and what is next as it says; raise JobFailed for one that is no such page."""
    try:
        page = msgspec.json.decode(content)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise JobFailed(KIND, f"a page must be JSON: {error}, at {_shown(url)}") from error
    items = page if pages.items is None else _at(page, pages.items)
    if not isinstance(items, list):
        where = "the page" if pages.items is None else pages.items
        raise JobFailed(KIND, f"{where} must be a list, got {type(items).__name__}, at {_shown(url)}")
    return items, None if pages.next is None else _at(page, pages.next)


def next_url(url: str, pages: FetchPages, number: int, items: list[Any], told: Any) -> str | None:
    """Where the page after the one of this number is; None after the last. Raise JobFailed for one of elsewhere."""
    if pages.next is None:
        return _with(url, pages.parameter or "", str(pages.start + number)) if items else None
    if told in (None, "", False):
        return None
    if not isinstance(told, str | int):
        raise JobFailed(KIND, f"{pages.next} must be a text or a number, got {type(told).__name__}, at {_shown(url)}")
    following = str(told)
    if pages.parameter is not None:
        return _with(url, pages.parameter, following)
    return _of_same_origin(url, following)


def lines(items: list[Any]) -> Iterator[bytes]:
    """Items as JSON Lines."""
    for each in items:
        yield msgspec.json.encode(each) + b"\n"


def _of_same_origin(url: str, told: str) -> str:
    try:
        following = urljoin(url, told)
        is_same = urlsplit(following)[:2] == urlsplit(url)[:2]
    except ValueError as error:
        raise JobFailed(KIND, f"what is next is no URL: {_shown(told)}") from error
    if not is_same:
        raise JobFailed(KIND, f"pages must be of one origin, got {_shown(following)} after {_shown(url)}")
    return following


def _with(url: str, parameter: str, value: str) -> str:
    """The URL with this value of a parameter of its query, in place of another."""
    parts = urlsplit(url)
    kept = [(name, given) for name, given in parse_qsl(parts.query, keep_blank_values=True) if name != parameter]
    return urlunsplit(parts._replace(query=urlencode([*kept, (parameter, value)])))


def _at(value: Any, path: str) -> Any:
    for name in path.split("."):
        value = value.get(name) if isinstance(value, dict) else None
    return value


def _shown(url: str) -> str:
    """Without its query, which may hold a secret."""
    return url.partition("?")[0][:SHOWN_CHARACTERS]
