"""Who may ask: a bearer token, the header of an authenticating proxy, or, where neither is set up, this machine alone.

It needs no web framework, so that a monitor can be answered without one.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from urllib.parse import urlsplit

from functions.deadletters.service.operators import LOOPBACK, Operator, Operators, everything, parse
from functions.runtime.attempts import OF_A_CLIENT, WINDOW_S, Attempts, TooManyAttempts


class Unauthorized(Exception):
    """Nobody knows who is asking; the message says what is expected."""


class Elsewhere(Exception):
    """A browser asks for a page of another site, which nobody at this console wanted."""


class Misdirected(Exception):
    """The request came by a name that is not this machine's: by DNS rebinding, in somebody's browser."""


@dataclass(frozen=True, kw_only=True)
class Access:
    """How operators are known. `open_to` is everybody's operator, where only this machine can ask."""

    operators: Operators
    proxy_header: str = ""
    open_to: Operator | None = None
    attempts: Attempts = field(default_factory=Attempts)

    def operator(self, headers: Mapping[str, str]) -> Operator:
        """Who is asking; raise Unauthorized when nobody is known."""
        headers = _in_lower_case(headers)
        scheme, _, token = headers.get("authorization", "").partition(" ")
        known = None
        if scheme.lower() == "bearer":  # RFC 9110 11.1: in any case
            known = self.with_token(token.strip(), headers)
        elif self.proxy_header and headers.get(self.proxy_header.lower()):
            known = self.operators.told_by_proxy(headers[self.proxy_header.lower()])
        elif self.open_to is not None:
            _require_loopback(headers.get("host", ""))
            known = self.open_to
        if known is None:
            raise Unauthorized("an operator is expected: the header Authorization: Bearer TOKEN")
        return known

    def with_token(self, token: str, headers: Mapping[str, str]) -> Operator | None:
        """The one whose token it is, who is never refused; raise TooManyAttempts for one more of many of nobody's.

        A client is what the nearest proxy says it is, the last of X-Forwarded-For; without a proxy all are one.
        """
        known = self.operators.with_token(token)
        if known is None:
            client = _in_lower_case(headers).get("x-forwarded-for", "").rpartition(",")[2].strip()[:64]
            if self.attempts.wrong(client) > OF_A_CLIENT:
                raise TooManyAttempts(f"too many wrong tokens: try again in {WINDOW_S:.0f} s")
        return known


def known_by(*, operators: str, token: str, proxy_header: str) -> Access:
    """Who may ask where the Service has these settings: a token is an operator's where no operators are configured,
    and with none of them all is open to this machine.
    """
    known = parse(operators)
    if token and not operators:
        known = known.and_token(token, everything("token"))
    is_open = not (operators or token or proxy_header)
    return Access(operators=known, proxy_header=proxy_header, open_to=everything("local") if is_open else None)


def _in_lower_case(headers: Mapping[str, str]) -> dict[str, str]:
    return {name.lower(): value for name, value in headers.items()}


def _require_loopback(host: str) -> None:
    try:
        name = urlsplit(f"//{host}").hostname or ""
    except ValueError:  # no name at all
        name = ""
    if name not in LOOPBACK:
        raise Misdirected(f"without operators this answers to {', '.join(LOOPBACK)} only")
