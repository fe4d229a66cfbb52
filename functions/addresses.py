"""Which addresses a URL given by a stranger may lead to, and an HTTP transport that connects to no other.

The list is explicit, because `ipaddress.is_global` lets multicast, NAT64 and tunnelled forms of private addresses pass.
A name is resolved once, every address of the answer is checked, and the connection goes to an address that was checked:
a second DNS answer (rebinding) has no effect. TLS is still verified against the name.

Not done: a NAT64 prefix of one's own network (RFC 6052 2.2) cannot be told from any other address, and a public address
may be routed to a private place by the network itself. Egress rules of the cluster remain the second wall.
"""

import asyncio
import queue
import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import cache
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network

import httpcore
import httpx

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
SocketOption = httpcore.SOCKET_OPTION


class AddressRefused(ValueError):
    """The name leads to an address that may not be called: final, a retry changes nothing."""


class UnknownName(httpcore.ConnectError):
    """DNS says there is no such name. Reaches the caller of httpx as the cause of an httpx.ConnectError."""


def refusal(address: str | Address) -> str | None:
    """Why the address may not be called, as range, name and source; None when it may.

    A form that carries an IPv4 address and is routed to it (IPv4-mapped, NAT64) is judged by that address; ISATAP by
    both. Tunnels without a use on today's servers (IPv4-compatible, 6to4, Teredo, local-use NAT64) are refused whole.
    """
    try:
        plain = _unwrapped(address)
    except ValueError:
        return f"{address!r} is not an IP address"
    for network, name in _special_ranges():
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
def _special_ranges() -> tuple[tuple[Network, str], ...]:
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
        """From a setting such as "10.0.0.0/8,127.0.0.0/8"; empty allows public addresses only."""
        return cls(tuple(_network(part.strip()) for part in networks.split(",") if part.strip()))

    def refusal(self, address: str) -> str | None:
        """As the function of that name, but None for an address in an allowed network."""
        reason = refusal(address)
        if reason is None or any(_contains(network, address) for network in self.allowed_networks):
            return None
        return reason

    def resolve(self, host: str, port: int) -> tuple[str, ...]:
        """The addresses of the host, all of them checked: one bad answer among good ones refuses the host.

        Raises AddressRefused; socket.gaierror when the name has no address or DNS fails. Blocks as long as DNS does.
        """
        addresses = self.lookup(host, port)
        for address in addresses:
            if reason := self.refusal(address):
                raise AddressRefused(
                    f"{host} may not be called: its address {address} is in {reason}; "
                    "use a public address, or allow its network in the guard's allowed networks"
                )
        return addresses


def _network(text: str) -> Network:
    try:
        return ip_network(text)
    except ValueError as error:
        raise ValueError(f"allowed networks must be like 10.0.0.0/8, got {text!r}: {error}") from error


def _contains(network: Network, address: str) -> bool:
    try:
        return _unwrapped(address) in network
    except ValueError:
        return False


class GuardedBackend(httpcore.NetworkBackend):
    """Opens connections for httpcore, to checked addresses only."""

    def __init__(self, guard: Guard) -> None:
        self._guard = guard
        self._plain = httpcore.SyncBackend()

    def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[SocketOption] | None = None,
    ) -> httpcore.NetworkStream:
        end_s = _end_s(timeout)
        addresses = _resolve_within(self._guard, host, port, timeout)
        failure: Exception = httpcore.ConnectError(f"{host} has no address")
        for address, share_s in _shares(addresses, end_s):
            try:
                return self._plain.connect_tcp(address, port, share_s, local_address, socket_options or ())
            except (httpcore.ConnectError, httpcore.ConnectTimeout) as error:
                failure = error
        raise failure

    def connect_unix_socket(
        self, path: str, timeout: float | None = None, socket_options: Iterable[SocketOption] | None = None
    ) -> httpcore.NetworkStream:
        raise AddressRefused(f"a Unix socket may not be called, got {path!r}; expected a host and port")


class AsyncGuardedBackend(httpcore.AsyncNetworkBackend):
    """The same for asyncio: the name is resolved in the loop's executor, so the loop never waits for DNS."""

    def __init__(self, guard: Guard) -> None:
        self._guard = guard
        self._plain = httpcore.AnyIOBackend()

    async def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[SocketOption] | None = None,
    ) -> httpcore.AsyncNetworkStream:
        end_s = _end_s(timeout)
        addresses = await _resolve_aside(self._guard, host, port, timeout)
        failure: Exception = httpcore.ConnectError(f"{host} has no address")
        for address, share_s in _shares(addresses, end_s):
            try:
                return await self._plain.connect_tcp(address, port, share_s, local_address, socket_options or ())
            except (httpcore.ConnectError, httpcore.ConnectTimeout) as error:
                failure = error
        raise failure

    async def connect_unix_socket(
        self, path: str, timeout: float | None = None, socket_options: Iterable[SocketOption] | None = None
    ) -> httpcore.AsyncNetworkStream:
        raise AddressRefused(f"a Unix socket may not be called, got {path!r}; expected a host and port")

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(seconds)


def _end_s(timeout_s: float | None) -> float | None:
    return None if timeout_s is None else time.monotonic() + timeout_s


def _shares(addresses: tuple[str, ...], end_s: float | None) -> Iterator[tuple[str, float | None]]:
    """Each address with its fair part of the time left, so that a dead first one leaves some for the next."""
    for count, address in zip(range(len(addresses), 0, -1), addresses, strict=True):
        yield address, None if end_s is None else max(end_s - time.monotonic(), 0.001) / count


def _resolve_within(guard: Guard, host: str, port: int, timeout_s: float | None) -> tuple[str, ...]:
    """Guard.resolve with a time limit; getaddrinfo has none, so a thread is left behind when DNS hangs."""
    answers: queue.SimpleQueue[tuple[str, ...] | Exception] = queue.SimpleQueue()
    threading.Thread(target=lambda: answers.put(_outcome(guard, host, port)), daemon=True).start()
    try:
        return _answer(answers.get(timeout=timeout_s), host)
    except queue.Empty:
        raise httpcore.ConnectTimeout(f"no DNS answer for {host} within {timeout_s} s") from None


async def _resolve_aside(guard: Guard, host: str, port: int, timeout_s: float | None) -> tuple[str, ...]:
    lookup = asyncio.get_running_loop().run_in_executor(None, _outcome, guard, host, port)
    try:
        return _answer(await asyncio.wait_for(lookup, timeout_s), host)
    except TimeoutError:
        raise httpcore.ConnectTimeout(f"no DNS answer for {host} within {timeout_s} s") from None


def _outcome(guard: Guard, host: str, port: int) -> tuple[str, ...] | Exception:
    try:
        return guard.resolve(host, port)
    except Exception as error:  # carried to the waiting thread and raised there
        return error


def _answer(outcome: tuple[str, ...] | Exception, host: str) -> tuple[str, ...]:
    if isinstance(outcome, OSError):
        unknown = outcome.errno in (socket.EAI_NONAME, socket.EAI_NODATA)
        raise (UnknownName if unknown else httpcore.ConnectError)(f"{host} cannot be resolved: {outcome}") from outcome
    if isinstance(outcome, UnicodeError):
        raise AddressRefused(f"host must be a DNS name, got {host!r}") from outcome
    if isinstance(outcome, Exception):
        raise outcome
    return outcome


class BackendTransport(httpx.HTTPTransport):
    """httpx's transport over a network backend of ours; it offers no such argument itself."""

    def __init__(self, backend: httpcore.NetworkBackend, tls: ssl.SSLContext | None = None) -> None:
        context = tls or _tls_context()
        super().__init__(verify=context)
        self._pool = httpcore.ConnectionPool(context, network_backend=backend, max_connections=100)


class _AsyncBackendTransport(httpx.AsyncHTTPTransport):
    def __init__(self, backend: httpcore.AsyncNetworkBackend, tls: ssl.SSLContext | None) -> None:
        context = tls or _tls_context()
        super().__init__(verify=context)
        self._pool = httpcore.AsyncConnectionPool(context, network_backend=backend, max_connections=100)


@cache
def _tls_context() -> ssl.SSLContext:
    # cached: reading the certificate bundle takes longer than a request on this machine
    return httpx.create_ssl_context()


def guarded_transport(guard: Guard, *, tls: ssl.SSLContext | None = None) -> httpx.HTTPTransport:
    """For `httpx.Client(transport=guarded_transport(guard), trust_env=False)`.

    trust_env=False keeps .netrc passwords out; mounts= would bypass the guard. Redirects the client follows are checked
    like first requests. AddressRefused passes through httpx as it is. `tls` adds a private authority, for example.
    """
    return BackendTransport(GuardedBackend(guard), tls)


def guarded_async_transport(guard: Guard, *, tls: ssl.SSLContext | None = None) -> httpx.AsyncHTTPTransport:
    """The same for `httpx.AsyncClient`, under asyncio only."""
    return _AsyncBackendTransport(AsyncGuardedBackend(guard), tls)
