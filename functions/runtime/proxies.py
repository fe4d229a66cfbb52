"""What a request says of who sent it: believed of a trusted proxy, and of nobody else.

Anybody can write the header in which a proxy names its client, or an operator.
"""

from collections.abc import Iterable, Sequence
from ipaddress import IPv4Network, IPv6Network, ip_address, ip_network
from typing import Final

from functions.runtime.port import IngressRequest, is_loopback

TOLD_BY_PROXIES: Final = frozenset({b"forwarded", b"x-real-ip"})
TOLD_PREFIX: Final = b"x-forwarded-"
FORWARDED_FOR: Final = "x-forwarded-for"
ADDRESS_CHARACTERS: Final = 64

Headers = list[tuple[bytes, bytes]]


class TrustedProxies:
    """The addresses of proxies before this port."""

    def __init__(self, networks: Sequence[IPv4Network | IPv6Network] = ()) -> None:
        self._networks = tuple(networks)

    def __contains__(self, address: str) -> bool:
        try:
            known = ip_address(address)
        except ValueError:
            return False
        known = getattr(known, "ipv4_mapped", None) or known
        return any(known in each for each in self._networks)

    def __str__(self) -> str:
        """As `networks` reads it, separated by commas."""
        return ",".join(map(str, self._networks))

    def is_of_many(self, address: str) -> bool:
        """Whether an address may be many clients': this machine's, and that of a proxy."""
        return is_loopback(address) or address in self

    def client(self, request: IngressRequest) -> str:
        """The address of who asks: the connection's, or the last that a trusted proxy tells."""
        if request.client not in self:
            return request.client
        told = request.headers.get(FORWARDED_FOR, "").rpartition(",")[2].strip()
        return told[:ADDRESS_CHARACTERS] or request.client

    def told(self, request: IngressRequest, operator_header: str = "") -> Headers:
        """The request's headers as a Service may believe them; `operator_header` is where a proxy names who asks."""
        if request.client in self:
            return request.raw_headers
        named = operator_header.lower().encode()
        kept = [(name, value) for name, value in request.raw_headers if not _is_told(name.lower(), named)]
        return [*kept, (FORWARDED_FOR.encode(), request.client.encode())]


def networks(texts: Iterable[str]) -> tuple[IPv4Network | IPv6Network, ...]:
    """Addresses and networks; raise ValueError for what is neither."""
    return tuple(ip_network(each) for each in texts)


def _is_told(name: bytes, operator_header: bytes) -> bool:
    return name in TOLD_BY_PROXIES or name.startswith(TOLD_PREFIX) or name == operator_header
