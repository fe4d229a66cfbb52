"""What is taken from outside: requests for jobs, and nothing that says of itself what only functions may say.

Outcomes and the attributes that name a job come from functions alone. Whoever else could send an outcome would have
anything called back with a right signature.
"""

import logging
from collections.abc import Callable
from dataclasses import dataclass
from ipaddress import ip_address
from typing import Final

from events.http import Event
from events.job import OWN, is_request, too_much
from events.problem import FieldError
from functions.net.origins import allows
from functions.net.url import Url, parsed
from functions.runtime.port import IngressResponse, problem

log = logging.getLogger("errands.ingress")

CALLBACK: Final = "callbackurl"


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why an event is not taken, with the status that says so, and of bad data each bad field."""

    status: int
    kind: str
    detail: str
    errors: tuple[FieldError, ...] = ()
    retry_after_s: float | None = None

    def response(self) -> IngressResponse:
        """As the response to a request of one event."""
        headers = {} if self.retry_after_s is None else {"retry-after": f"{self.retry_after_s:.0f}"}
        return problem(self.status, self.kind, self.detail, headers, self.errors)

    def result(self, event: Event | None) -> dict[str, object]:
        """As the result of one event of a batch."""
        later = {} if self.retry_after_s is None else {"retry_after_s": self.retry_after_s}
        errors = {"errors": self.errors} if self.errors else {}
        return {**named(event), "status": self.status, "detail": self.detail, **errors, **later}


def named(event: Event | None) -> dict[str, object]:
    """Which event of a batch a result is of; of one that is none nobody can say."""
    return {"id": event.id if event else None, "source": event.source if event else None}


@dataclass(frozen=True, slots=True)
class Own:
    """Where the runner itself is reached: its port, and its names beside those of this machine."""

    port: int
    hosts: frozenset[str]

    def is_at(self, url: Url) -> bool:
        """Whether a URL leads here: what is called back there would be an event again, without end."""
        return url.port == self.port and (url.host.rstrip(".") in self.hosts or _is_loopback(url.host))


class CallbackOrigins:
    """The origins that are called back, as the notifier is configured; read again before one is refused."""

    def __init__(self, read: Callable[[], frozenset[str] | None] = lambda: None) -> None:
        """`read` gives None where any origin may be named."""
        self._read = read
        self._known: frozenset[str] = frozenset()

    def allow(self, url: Url) -> bool:
        """Whether a callback may go there; what cannot be read refuses none, since the notifier judges as well."""
        if allows(self._known, url):
            return True
        try:
            known = self._read()
        except (ValueError, OSError) as error:
            log.warning("the origins of callbacks cannot be read: %s", error)
            return True
        self._known = known or frozenset()
        return known is None or allows(known, url)


ANY_ORIGIN: Final = CallbackOrigins()


def refusal(event: Event, own: Own, called: CallbackOrigins = ANY_ORIGIN) -> Refusal | None:
    """Why an event from outside is not taken; None where it is."""
    if not is_request(event):
        detail = f"a request (dev.errands.JOB.requested.v1) is expected from outside, got type {event.type[:100]!r}"
        return Refusal(403, "forbidden", f"{detail}: outcomes come from functions alone")
    forged = sorted(OWN & event.attributes.keys())
    if forged:
        return Refusal(403, "forbidden", f"attribute {forged[0]} is set by functions, and not taken from outside")
    over = too_much(event)
    if over:
        return Refusal(400, "invalid-attribute", over)
    return _callback(event.get(CALLBACK), own, called)


def _callback(text: str | None, own: Own, called: CallbackOrigins) -> Refusal | None:
    if text is None:
        return None
    try:
        url = parsed(text)
    except ValueError as error:
        return Refusal(400, "invalid-attribute", f"{CALLBACK} {error}")
    if own.is_at(url):
        return Refusal(422, "invalid-attribute", f"{CALLBACK} must be the API's address, got the runner's own")
    if not called.allow(url):
        detail = f"{CALLBACK} must be of an origin that the notifier's ALLOWED_ORIGINS names, got {url.origin}"
        return Refusal(422, "invalid-attribute", detail)
    return None


def _is_loopback(host: str) -> bool:
    if host.rstrip(".") == "localhost" or host.endswith((".localhost", ".localhost.")):
        return True
    try:
        address = ip_address(host)
    except ValueError:
        return False
    address = getattr(address, "ipv4_mapped", None) or address
    return address.is_loopback or address.is_unspecified
