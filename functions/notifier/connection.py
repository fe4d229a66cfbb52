"""Connections for aiohttp that go only to addresses that the guard has checked (`functions.addresses`).

The resolver refuses a name of whose addresses one is bad; the socket of each connection is made here too, so that an
address that came another way, such as one written in the URL, is checked in the moment it is used.
"""

import asyncio
import socket
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Final

import aiohttp
from aiohttp.abc import AbstractResolver, ResolveResult

from functions.addresses import AddressRefused, Guard

# getaddrinfo blocks for as long as DNS does, and cannot be stopped: names that hang take a thread each
LOOKUPS: Final = 64
# Shorter than a web server keeps an idle connection (Apache 5 s), so that it is seldom the server that closes it.
KEEP_ALIVE_S: Final = 4.0
# Lookups for a busy host are shared. What may be called is not: the socket is checked each time.
DNS_CACHE_S: Final = 5


class GuardedResolver(AbstractResolver):
    """Resolves in threads of its own, so that neither the loop nor the store's work waits for DNS."""

    def __init__(self, guard: Guard) -> None:
        self._guard = guard
        self._threads = ThreadPoolExecutor(LOOKUPS, thread_name_prefix="dns")

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[ResolveResult]:
        """Every address of the host; AddressRefused when one may not be called, OSError when there is none."""
        loop = asyncio.get_running_loop()
        try:
            addresses = await loop.run_in_executor(self._threads, self._guard.resolve, host, port)
        except UnicodeError as error:
            raise AddressRefused(f"host must be a DNS name, got {host!r}") from error
        return [_result(host, port, each) for each in addresses]

    async def close(self) -> None:
        """A lookup that hangs is left behind."""
        self._threads.shutdown(wait=False, cancel_futures=True)


def guarded_connector(guard: Guard) -> aiohttp.TCPConnector:
    """For `aiohttp.ClientSession(connector=...)`, inside a running loop; how many connections is not its matter."""

    def checked_socket(info: tuple[Any, ...]) -> socket.socket:
        family, type_, protocol, _, address = info
        if reason := guard.refusal(str(address[0])):
            raise AddressRefused(f"{address[0]} may not be called: it is in {reason}")
        return socket.socket(family, type_, protocol)

    return aiohttp.TCPConnector(
        resolver=GuardedResolver(guard),
        socket_factory=checked_socket,
        limit=0,
        keepalive_timeout=KEEP_ALIVE_S,
        ttl_dns_cache=DNS_CACHE_S,
    )


def _result(host: str, port: int, address: str) -> ResolveResult:
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    return ResolveResult(
        hostname=host, host=address, port=port, family=family, proto=socket.IPPROTO_TCP, flags=socket.AI_NUMERICHOST
    )
