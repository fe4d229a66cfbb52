"""Where a callback goes: the job's own `callbackurl` where its origin is allowed, else the configured default.

One parser reads a URL for the check and for the call (httpx.URL), so the two cannot disagree about the host.
"""

import logging
from collections.abc import Iterable
from dataclasses import dataclass

import httpx

from events.http import Event

log = logging.getLogger("errands.notifier")

PORTS = {"http": 80, "https": 443}


class CallbackRefused(ValueError):
    """The callback may not be made. Answered 500, so that the event is kept as a dead letter where a person sees it."""


@dataclass(frozen=True)
class Destinations:
    """The default, and the origins that a job may name; the default's own is one of them."""

    default: httpx.URL | None
    origins: frozenset[str]

    @classmethod
    def parse(cls, default: str | None, origins: str) -> "Destinations":
        """From CALLBACK_URL and ALLOWED_ORIGINS (`https://api.example,...`); raise ValueError that names the one."""
        url = _configured(default, "CALLBACK_URL") if default else None
        named = [_configured_origin(each.strip()) for each in origins.split(",") if each.strip()]
        return cls(url, frozenset([*named, *([origin(url)] if url else [])]))

    def of(self, event: Event) -> httpx.URL | None:
        """Where this event's callback goes, None for nowhere; raise CallbackRefused when it may not go there."""
        asked = event.get("callbackurl")
        if asked is None:
            return self.default
        reason = _refusal(asked, self.origins)
        if reason is None:
            return httpx.URL(asked)
        if self.default is None:
            raise CallbackRefused(f"callbackurl {reason}, and there is no CALLBACK_URL to call instead")
        log.warning("callbackurl %s: CALLBACK_URL is called instead", reason, extra={"event": event.id})
        return self.default


def origin(url: httpx.URL) -> str:
    """Scheme, host and port (RFC 6454), the port always written."""
    return f"{url.scheme}://{url.host}:{url.port or PORTS.get(url.scheme)}"


def shown(url: httpx.URL) -> str:
    """The URL as a log may hold it: a query may be a signature, a user a password."""
    return f"{url.scheme}://{url.netloc.decode('ascii')}{url.path}"


def _refusal(text: str, origins: Iterable[str]) -> str | None:
    try:
        url = _parsed(text)
    except ValueError as error:
        return str(error)
    allowed = origin(url) in origins or _any_port(url) in origins
    return None if allowed else f"{shown(url)} is not of an allowed origin"


def _any_port(url: httpx.URL) -> str:
    return f"{url.scheme}://{url.host}:*"


def _configured_origin(text: str) -> str:
    """An origin, or one of any port (`http://127.0.0.1:*`), as a single machine's services have."""
    url = _configured(text.removesuffix(":*"), "ALLOWED_ORIGINS")
    if url.raw_path not in (b"", b"/"):
        raise ValueError(f"ALLOWED_ORIGINS must be origins like https://api.example, got {shown(url)}")
    return _any_port(url) if text.endswith(":*") else origin(url)


def _configured(text: str, setting: str) -> httpx.URL:
    try:
        return _parsed(text)
    except ValueError as error:
        raise ValueError(f"{setting} {error}") from error


def _parsed(text: str) -> httpx.URL:
    try:
        url = httpx.URL(text)
    except httpx.InvalidURL as error:
        raise ValueError("must be an http or https URL") from error
    if url.scheme not in PORTS or not url.host:
        raise ValueError(f"must be an http or https URL with a host, got scheme {url.scheme!r}")
    if url.userinfo:
        raise ValueError(f"must not hold a user name or password, got one for {url.host}")
    return url
