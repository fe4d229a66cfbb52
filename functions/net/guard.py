"""Which addresses a URL given by a stranger may lead to; whoever opens connections asks here at each of them.

The list is explicit, because `ipaddress.is_global` lets multicast, NAT64 and tunnelled forms of private addresses pass.
A name is resolved once, every address of the answer is checked, and the connection has to go to an address that was
checked: a second DNS answer (rebinding) then has no effect. No HTTP client is imported here, which would cost each
function 0.1 s of its start: `functions.net.transport` holds httpx to the guard, `functions.net.dial` our own client.

Not done: a NAT64 prefix of one's own network (RFC 6052 2.2) cannot be told from any other address, and a public address
may be routed to a private place by the network itself. Egress rules of the cluster remain the second wall.
"""

import socket
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network

# IANA IPv4 and IPv6 Special-Purpose Address Registries; the more specific range stands first.
_SPECIAL = """
0.0.0.0/8           this network (RFC 791)
10.0.0.0/8          private use (RFC 1918)
100.64.0.0/10       shared address space, CGNAT (RFC 6598)
127.0.0.0/8         loopback (RFC 1122)
168.63.129.16/32    Azure platform endpoint (Microsoft)
169.254.0.0/16      link-local (RFC 3927)
172.16.0.0/12       private use (RFC 1918)
192.0.0.0/24        IETF protocol assignments (RFC 6890)
192.0.2.0/24        documentation (RFC 5737)
192.31.196.0/24     AS112 (RFC 7535)
192.52.193.0/24     AMT (RFC 7450)
192.88.99.0/24      6to4 relay anycast (RFC 7526)
192.168.0.0/16      private use (RFC 1918)
192.175.48.0/24     AS112 (RFC 7534)
198.18.0.0/15       benchmarking (RFC 2544)
198.51.100.0/24     documentation (RFC 5737)
203.0.113.0/24      documentation (RFC 5737)
224.0.0.0/4         multicast (RFC 5771)
255.255.255.255/32  limited broadcast (RFC 919)
240.0.0.0/4         reserved (RFC 1112)
::/128              unspecified (RFC 4291)
::1/128             loopback (RFC 4291)
::/96               IPv4-compatible (RFC 4291)
64:ff9b:1::/48      local-use NAT64 (RFC 8215)
100::/64            discard-only (RFC 6666)
100:0:0:1::/64      dummy prefix (RFC 9780)
2001::/32           Teredo (RFC 4380)
2001:2::/48         benchmarking (RFC 5180)
2001:10::/28        ORCHID (RFC 4843)
2001:20::/28        ORCHIDv2 (RFC 7343)
2001::/23           IETF protocol assignments (RFC 2928)
2001:db8::/32       documentation (RFC 3849)
2002::/16           6to4 (RFC 3056)
2620:4f:8000::/48   AS112 (RFC 7534)
3fff::/20           documentation (RFC 9637)
5f00::/16           segment routing (RFC 9602)
fc00::/7            unique local (RFC 4193)
fe80::/10           link-local (RFC 4291)
fec0::/10           site-local (RFC 3879)
ff00::/8            multicast (RFC 4291)
"""
_GLOBAL_UNICAST = IPv6Network("2000::/3")
_MAPPED, _NAT64 = IPv6Network("::ffff:0:0/96"), IPv6Network("64:ff9b::/96")
_ISATAP_MARKS = (0x0000_5EFE, 0x0200_5EFE)

Address = IPv4Address | IPv6Address
Network = IPv4Network | IPv6Network
Lookup = Callable[[str, int], tuple[str, ...]]


class AddressRefused(ValueError):
    """The name leads to an address that may not be called: final, a retry changes nothing."""


def refusal(address: str | Address) -> str | None:
    """Why the address may not be called, as range, name and source; None when it may.

    A form that carries an IPv4 address and is routed to it (IPv4-mapped, NAT64) is judged by that address; ISATAP by
    both. Tunnels without a use on today's servers (IPv4-compatible, 6to4, Teredo, local-use NAT64) are refused whole.
    """
    try:
        plain = _unwrapped(address)
    except ValueError:
        return f"{address!r} is not an IP address"
    for network, name in special_ranges():
        if plain in network:
            return f"{network} {name}"
    if isinstance(plain, IPv4Address):
        return None
    if plain not in _GLOBAL_UNICAST:
        return "outside 2000::/3 global unicast (RFC 4291)"
    tunnelled = refusal(IPv4Address(int(plain) & 0xFFFF_FFFF)) if _is_isatap(plain) else None
    return tunnelled and f"ISATAP (RFC 5214) to {tunnelled}"


def _unwrapped(address: str | Address) -> Address:
    # str() first: a scope id (fe80::1%eth0) must not take part in comparisons
    parsed = ip_address(str(address).partition("%")[0])
    if parsed.version == 6 and (parsed in _MAPPED or parsed in _NAT64):
        return IPv4Address(int(parsed) & 0xFFFF_FFFF)
    return parsed


def _is_isatap(address: IPv6Address) -> bool:
    return int(address) >> 32 & 0xFFFF_FFFF in _ISATAP_MARKS


@cache
def special_ranges() -> tuple[tuple[Network, str], ...]:
    """The networks that are not to be called, each with its name; the more specific one stands first."""
    rows = (line.split(maxsplit=1) for line in _SPECIAL.strip().splitlines())
    return tuple((ip_network(network), name) for network, name in rows)


def system_lookup(host: str, port: int) -> tuple[str, ...]:
    """The addresses of a name by the system's resolver, in its order; socket.gaierror when there are none."""
    found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return tuple(dict.fromkeys(str(address[0]) for *_, address in found))


@dataclass(frozen=True)
class Guard:
    """What may be called: every public address, and the networks the operator allows by name."""

    allowed_networks: tuple[Network, ...] = ()
    lookup: Lookup = system_lookup

    @classmethod
    def parse(cls, networks: str) -> "Guard":
        """From ALLOWED_NETWORKS such as "10.0.0.0/8,127.0.0.0/8"; empty allows public addresses only."""
        return cls(tuple(_network(part.strip()) for part in networks.split(",") if part.strip()))

    def refusal(self, address: str) -> str | None:
        """As the function of that name, but None for an address in an allowed network."""
        reason = refusal(address)
        if reason is None or any(_contains(network, address) for network in self.allowed_networks):
            return None
        return reason

    def require(self, address: str) -> None:
        """Raise AddressRefused for an address that may not be called."""
        if reason := self.refusal(address):
            raise AddressRefused(f"{address} may not be called: it is in {reason}")

    def require_host(self, host: str) -> None:
        """Raise AddressRefused for a host that may not be called whatever its addresses are: here for none.

        Whoever connects asks first, for a name as for an address that stands in the URL.
        """

    def resolve(self, host: str, port: int) -> tuple[str, ...]:
        """The addresses of the host, all of them checked: one bad answer among good ones refuses the host.

        Raises AddressRefused; socket.gaierror when the name has no address or DNS fails. Blocks as long as DNS does.
        """
        addresses = self.lookup(host, port)
        for address in addresses:
            if reason := self.refusal(address):
                raise AddressRefused(
                    f"{host} may not be called: its address {address} is in {reason}; "
                    "use a public address, or allow its network in ALLOWED_NETWORKS"
                )
        return addresses


def _network(text: str) -> Network:
    try:
        return ip_network(text)
    except ValueError as error:
        raise ValueError(f"ALLOWED_NETWORKS must hold networks like 10.0.0.0/8, got {text!r}: {error}") from error


def _contains(network: Network, address: str) -> bool:
    try:
        return _unwrapped(address) in network
    except ValueError:
        return False
