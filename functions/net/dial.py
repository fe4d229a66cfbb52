"""The one place that connects, to addresses that the guard has checked and to no other (`functions.net.guard`).

By `connected` both clients come to a socket: the own one in `GuardedDial`, with TLS for https, and httpx's transport in
`opened` (functions/net/transport.py). A name of whose addresses one may not be called is refused. Each address is
checked again in the moment it is used, one written in the URL as well, and at last the peer's as the socket has it,
before anything is sent to it. TLS is verified against the URL's host.
"""

import asyncio
import socket
import ssl
import threading
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from functools import cached_property
from time import monotonic
from typing import TYPE_CHECKING, Final

from functions.net.guard import AddressRefused, Guard
from functions.net.url import Url

if TYPE_CHECKING:
    from functions.net.exchange import ClientConnection

# getaddrinfo blocks for as long as DNS does, and cannot be stopped: names that hang take a thread each
LOOKUPS: Final = 64
# Look-ups for a busy host are shared. What may be called is not: it is checked each time.
NAMES_S: Final = 5.0
NAMES_KEPT: Final = 1_000
STAGGER_S: Final = 0.25  # RFC 8305 5: an address that does not answer holds the next one up for so long


async def connected(guard: Guard, addresses: tuple[str, ...], port: int) -> socket.socket:
    """A socket to the first address that takes the connection: each is tried when the one before it failed, or did not
    answer for STAGGER_S (RFC 8305).

    Raises AddressRefused where one of them may not be called, and otherwise what the last one failed with.
    """
    for address in addresses:
        guard.require(address)
    left, running = list(addresses), set[asyncio.Task[socket.socket]]()
    failure: BaseException = OSError("the name has no address")
    try:
        while left or running:
            if left:
                running.add(asyncio.create_task(_connected(guard, left.pop(0), port)))
            stagger_s = STAGGER_S if left else None
            done, running = await asyncio.wait(running, timeout=stagger_s, return_when=asyncio.FIRST_COMPLETED)
            made = [each.result() for each in done if not each.exception()]
            for spare in made[1:]:
                spare.close()
            if made:
                return made[0]
            failure = next((error for each in done if (error := each.exception())), failure)
            if isinstance(failure, AddressRefused):
                break
    finally:
        for each in running:
            each.add_done_callback(_discard)
            each.cancel()
    raise failure


async def _connected(guard: Guard, address: str, port: int) -> socket.socket:
    guard.require(address)
    sock = socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET, socket.SOCK_STREAM)
    try:
        sock.setblocking(False)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        await asyncio.get_running_loop().sock_connect(sock, (address, port))
        guard.require(str(sock.getpeername()[0]))
    except BaseException:
        sock.close()
        raise
    return sock


def _discard(task: "asyncio.Task[socket.socket]") -> None:
    """Close one that was not needed any more; it may have been opened all the same."""
    if not task.cancelled() and not task.exception():
        task.result().close()


def opened(guard: Guard, url: Url, timeout_s: float | None) -> socket.socket:
    """A socket to the URL's host, for a thread without a loop of its own; it blocks.

    Raises AddressRefused where the host may not be called, socket.gaierror where its name cannot be resolved, any other
    OSError where it cannot be connected to, TimeoutError where that takes longer.
    """
    end_s = None if timeout_s is None else monotonic() + timeout_s
    guard.require_host(url.host)
    addresses = (url.host,) if url.is_address else _looked_up(guard, url, timeout_s)
    left_s = None if end_s is None else max(end_s - monotonic(), 0.001)
    return asyncio.run(asyncio.wait_for(connected(guard, addresses, url.port), left_s))


def _looked_up(guard: Guard, url: Url, timeout_s: float | None) -> tuple[str, ...]:
    """The name's addresses; a look-up that hangs is left behind, and holds up no end of this process."""
    found = Future[tuple[str, ...]]()

    def look_up() -> None:
        try:
            found.set_result(guard.resolve(url.host, url.port))
        except Exception as error:  # raised where it is waited for
            found.set_exception(error)

    threading.Thread(target=look_up, name="dns", daemon=True).start()
    try:
        return found.result(timeout_s)
    except UnicodeError as error:
        raise _no_name(url.host) from error
    except TimeoutError:
        if found.done():  # the system's resolver may say so too
            raise
        raise TimeoutError(f"no DNS answer for {url.host} within {timeout_s:.3g} s") from None


def _no_name(host: str) -> AddressRefused:
    return AddressRefused(f"host must be a DNS name, got {host!r}")


class GuardedDial:
    """A `functions.net.client.Dial` of one process."""

    def __init__(self, guard: Guard) -> None:
        self._guard = guard
        self._threads = ThreadPoolExecutor(LOOKUPS, thread_name_prefix="dns")
        self._names: dict[tuple[str, int], tuple[float, asyncio.Future[tuple[str, ...]]]] = {}

    async def __call__(self, url: Url, connection: "Callable[[], ClientConnection]") -> "ClientConnection":
        """Raise AddressRefused where the host may not be called, OSError where it cannot."""
        self._guard.require_host(url.host)
        addresses = (url.host,) if url.is_address else await self._addresses(url.host, url.port)
        sock = await connected(self._guard, addresses, url.port)
        tls, name = (self._tls, url.host.rstrip(".")) if url.scheme == "https" else (None, None)
        try:
            _, made = await asyncio.get_running_loop().create_connection(
                connection, sock=sock, ssl=tls, server_hostname=name
            )
        except BaseException:
            sock.close()
            raise
        return made

    def close(self) -> None:
        """A look-up that hangs is left behind."""
        self._threads.shutdown(wait=False, cancel_futures=True)

    @cached_property
    def _tls(self) -> ssl.SSLContext:
        context = ssl.create_default_context()  # made with the first https URL; SSL_CERT_FILE is read by OpenSSL
        context.set_alpn_protocols(["http/1.1"])
        return context

    async def _addresses(self, host: str, port: int) -> tuple[str, ...]:
        """All of the name's, each of them checked; in threads of its own, so that nothing else here waits for DNS."""
        loop = asyncio.get_running_loop()
        until_s, found = self._names.get((host, port), (0.0, None))
        if found is None or (found.done() and (until_s < loop.time() or found.cancelled() or found.exception())):
            if len(self._names) >= NAMES_KEPT:
                self._names.clear()
            found = loop.run_in_executor(self._threads, self._guard.resolve, host, port)
            found.add_done_callback(lambda each: each.cancelled() or each.exception())  # who asked may be gone
            self._names[host, port] = (loop.time() + NAMES_S, found)
        try:
            return await asyncio.shield(found)
        except UnicodeError as error:
            raise _no_name(host) from error
