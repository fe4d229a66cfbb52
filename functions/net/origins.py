"""The origins that callbacks go to: `https://api.example`, or one of any port, `http://127.0.0.1:*`."""

from typing import Final

import msgspec

from functions.net.url import Url, parsed

URL_LIMIT_CHARACTERS: Final = 2_048


def named(origins: str) -> frozenset[str]:
    """The origins of ALLOWED_ORIGINS; raise ValueError that names the setting."""
    return frozenset(_origin(each.strip()) for each in origins.split(",") if each.strip())


def allows(origins: frozenset[str], url: Url) -> bool:
    """Whether a URL is of one of these origins."""
    return url.origin in origins or _any_port(url) in origins


class _Endpoint(msgspec.Struct):
    url: str


def origins_of(endpoints: str) -> frozenset[str]:
    """The origins of CALLBACK_ENDPOINTS, of which the rest is left alone; raise ValueError that names the setting."""
    try:
        found = msgspec.json.decode(endpoints, type=tuple[_Endpoint, ...])
    except msgspec.DecodeError as error:
        raise ValueError(f"CALLBACK_ENDPOINTS must be a JSON list of endpoints: {error}") from None
    return frozenset(configured(each.url, "CALLBACK_ENDPOINTS").origin for each in found)


def short(text: str) -> Url:
    """The URL of a callback; raise ValueError for one that is none, or too long."""
    if len(text) > URL_LIMIT_CHARACTERS:
        raise ValueError(f"must be at most {URL_LIMIT_CHARACTERS} characters, got {len(text)}")
    return parsed(text)


def configured(text: str, setting: str) -> Url:
    """The URL of a setting; raise ValueError that names it."""
    try:
        return short(text)
    except ValueError as error:
        raise ValueError(f"{setting} {error}") from error


def _origin(text: str) -> str:
    """An origin, or one of any port, as a single machine's services have."""
    url = configured(text.removesuffix(":*"), "ALLOWED_ORIGINS")
    if url.target != "/" or "#" in text:
        raise ValueError(f"ALLOWED_ORIGINS must be origins like https://api.example, got {url.shown}")
    return _any_port(url) if text.endswith(":*") else url.origin


def _any_port(url: Url) -> str:
    return f"{url.origin.rpartition(':')[0]}:*"
