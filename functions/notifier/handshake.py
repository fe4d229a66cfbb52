"""Asks an endpoint whether it wants callbacks at all, before the first one.

CloudEvents 1.0.1 HTTP webhooks, section 4 (abuse protection): an OPTIONS request names who wants to call, and its
answer whom the endpoint allows, and how many calls a minute. A permission counts for an hour in this process.

Not offered: WebHook-Request-Callback, by which an endpoint may grant its permission later.
"""

import re
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Final

from events.problem import JobFailed, NotNow
from functions.net.caller import Call
from functions.net.exchange import ServerResponse
from functions.net.signature import CLIENT
from functions.net.url import Url

PERMISSION_S: Final = 3_600.0
MINUTE_S: Final = 60.0
KEPT: Final = 10_000  # URLs, which a job may choose
RATE_DIGITS: Final = 9

Ask = Callable[[Call], Awaitable[ServerResponse]]


@dataclass
class Permission:
    """What an endpoint allows; `rate` is calls a minute, None for any number."""

    until_s: float
    rate: int | None
    minute_s: float = 0.0
    calls: int = 0


@dataclass
class Handshake:
    """Permissions of this process; `origin` is the DNS name by which endpoints know this installation."""

    origin: str
    clock: Callable[[], float] = time.monotonic
    permissions: dict[Url, Permission] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if not re.fullmatch(r"[A-Za-z0-9.-]{1,253}", self.origin):
            raise ValueError(f"HANDSHAKE_ORIGIN must be a DNS name such as errands.example, got {self.origin!r}")

    async def require(self, url: Url, ask: Ask) -> None:
        """Raise JobFailed when the endpoint does not allow callbacks, NotNow when it does not say, or this minute's are
        used up."""
        now_s = self.clock()
        permission = self.permissions.get(url)
        if permission is None or permission.until_s <= now_s:
            headers = {"webhook-request-origin": self.origin, **CLIENT}
            response = await ask(Call("OPTIONS", url, headers))
            permission = _permission(url, response, self.origin, now_s)
            if len(self.permissions) >= KEPT:
                self.permissions.clear()
            self.permissions[url] = permission
        _count(url, permission, now_s)


def _permission(url: Url, response: ServerResponse, origin: str, now_s: float) -> Permission:
    if response.status == 429 or response.status >= 500:
        raise NotNow(f"{url.shown} answered OPTIONS with {response.status}")
    allowed = response.headers.get("webhook-allowed-origin", "").strip().lower()
    if not 200 <= response.status < 300 or allowed not in ("*", origin.lower()):
        said = f"answered {response.status} with WebHook-Allowed-Origin {allowed[:100]!r}"
        raise JobFailed("callback-refused", f"{url.shown} does not allow callbacks from {origin}: OPTIONS {said}")
    return Permission(now_s + PERMISSION_S, _rate(response.headers.get("webhook-allowed-rate", "*").strip()))


def _rate(text: str) -> int | None:
    """Calls a minute; None for any number, which one of more digits than RATE_DIGITS comes to."""
    return (int(text) or None) if re.fullmatch(f"[0-9]{{1,{RATE_DIGITS}}}", text) else None


def _count(url: Url, permission: Permission, now_s: float) -> None:
    if now_s - permission.minute_s >= MINUTE_S:
        permission.minute_s, permission.calls = now_s, 0
    if permission.rate is not None and permission.calls >= permission.rate:
        rest_s = MINUTE_S - (now_s - permission.minute_s)
        raise NotNow(f"{url.shown} takes {permission.rate} callbacks a minute", retry_after_s=rest_s)
    permission.calls += 1
