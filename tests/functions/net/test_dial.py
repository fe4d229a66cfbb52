"""Connections to where a stranger's URL leads, and what becomes of them: against real sockets, in both event loops."""

import asyncio
import socket
import ssl
import subprocess
import threading
from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager, suppress
from ipaddress import ip_network
from pathlib import Path
from typing import Any

import pytest
import uvloop

from functions.net.client import Connections, dial
from functions.net.dial import GuardedDial, opened
from functions.net.exchange import Bounds, Broken, ClientConnection, Late, NotConnected, ServerResponse, Stale
from functions.net.guard import AddressRefused, Guard, Lookup, system_lookup
from functions.net.url import parsed
from tests.support.ports import free_port

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
LOOPBACK = (ip_network("127.0.0.0/8"),)
START = Bounds(head_bytes=65_536, body_bytes=65_536, start_bytes=1_024, idle_s=4.0)

Run = Callable[[Coroutine[Any, Any, Any]], Any]


@pytest.fixture(params=[asyncio.run, uvloop.run], ids=["asyncio", "uvloop"])
def run(request: pytest.FixtureRequest) -> Run:
    loop: Run = request.param
    return loop


@contextmanager
def serving(
    script: Callable[[int, socket.socket], None], address: tuple[str, int] = ("127.0.0.1", 0)
) -> Iterator[tuple[int, list[bytes]]]:
    """A server that does the script to its first, second, ... connection; its port, and what it has received."""
    listener, received = socket.create_server(address), list[bytes]()

    def serve(number: int, connection: socket.socket) -> None:
        with connection, suppress(OSError):
            script(number, Recording(connection, received))  # type: ignore[arg-type]

    def accept() -> None:
        number = 0
        with suppress(OSError):
            while True:
                connection, _ = listener.accept()
                threading.Thread(target=serve, args=(number, connection), daemon=True).start()
                number += 1

    threading.Thread(target=accept, daemon=True).start()
    try:
        yield listener.getsockname()[1], received
    finally:
        listener.close()


class Recording:
    """A socket that keeps what it receives."""

    def __init__(self, connection: socket.socket, received: list[bytes]) -> None:
        self.connection, self.received = connection, received

    def recv(self, size_bytes: int) -> bytes:
        data = self.connection.recv(size_bytes)
        self.received.append(data)
        return data

    def __getattr__(self, name: str) -> Any:
        return getattr(self.connection, name)


def names(**addresses: tuple[str, ...]) -> Lookup:
    return lambda host, port: addresses[host.partition(".")[0]]


async def posted(url: str, *, times: int = 1, lookup: Lookup = system_lookup, **options: Any) -> list[ServerResponse]:
    dial = GuardedDial(Guard(LOOPBACK, lookup))
    connections = Connections(dial, START)
    try:
        options = {"connect_timeout_s": 5.0, "timeout_s": 5.0, "again": True} | options
        return [await connections.request("POST", parsed(url), {}, b"{}", **options) for _ in range(times)]
    finally:
        connections.close()
        dial.close()


def response_all(number: int, connection: socket.socket) -> None:
    while connection.recv(65_536):
        connection.sendall(OK)


# names and addresses


def test_the_next_address_is_tried_when_the_first_one_refuses(run: Run) -> None:
    with serving(response_all) as (port, _):
        [response] = run(posted(f"http://two.test:{port}/", lookup=names(two=("127.0.0.9", "127.0.0.1"))))

    assert (response.status, response.body) == (200, b"ok")


@contextmanager
def full(port: int, address: str) -> Iterator[int]:
    """A listener whose queue is full: the kernel answers no further connection."""
    with socket.socket() as listener, socket.socket() as first, socket.socket() as second:
        listener.bind((address, port))
        listener.listen(0)
        for each in (first, second):
            each.setblocking(False)
            with suppress(BlockingIOError):
                each.connect(listener.getsockname())
        yield listener.getsockname()[1]


def test_the_next_address_is_tried_when_the_first_one_does_not_answer(run: Run) -> None:
    with serving(response_all) as (port, _), full(port, "127.0.0.9"):
        [response] = run(posted(f"http://two.test:{port}/", lookup=names(two=("127.0.0.9", "127.0.0.1"))))

    assert response.status == 200


def test_a_connection_that_does_not_come_about_is_given_up_in_time(run: Run) -> None:
    with full(0, "127.0.0.1") as port, pytest.raises(NotConnected):
        run(posted(f"http://127.0.0.1:{port}/", connect_timeout_s=0.1))


def test_the_last_failure_is_told_when_no_address_can_be_reached(run: Run) -> None:
    with pytest.raises(Broken, match="ConnectionRefusedError"):
        run(posted(f"http://two.test:{free_port()}/", lookup=names(two=("127.0.0.9", "127.0.0.1"))))


def test_a_name_is_looked_up_once_for_calls_that_follow_each_other_and_again_after_a_failure(run: Run) -> None:
    asked = []

    def lookup(host: str, port: int) -> tuple[str, ...]:
        asked.append(host)
        if host == "unknown.test":
            raise socket.gaierror(socket.EAI_NONAME, "no such name")
        return ("127.0.0.1",)

    async def go(port: int) -> None:
        dial = GuardedDial(Guard(LOOPBACK, lookup))
        for host in ("known.test", "unknown.test"):
            for _ in range(2):
                with suppress(Broken):
                    connections = Connections(dial, START)
                    await connections.request("POST", parsed(f"http://{host}:{port}/"), {})
                    connections.close()
        dial.close()

    with serving(response_all) as (port, _):
        run(go(port))

    assert asked == ["known.test", "unknown.test", "unknown.test"]


def test_an_address_that_may_not_be_called_refuses_the_others_of_its_name(run: Run) -> None:
    class Unchecked(Guard):
        def resolve(self, host: str, port: int) -> tuple[str, ...]:
            return ("169.254.169.254", "127.0.0.1")

    async def go(port: int) -> None:
        connections = Connections(GuardedDial(Unchecked(LOOPBACK)), START)
        await connections.request("POST", parsed(f"http://two.test:{port}/"), {})

    with serving(response_all) as (port, received), pytest.raises(AddressRefused, match="link-local"):
        run(go(port))
    assert received == []


# TLS


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """For api.test and 127.0.0.1, signed by itself, with its key in one file."""
    path = tmp_path_factory.mktemp("tls") / "both.pem"
    names = "subjectAltName=DNS:api.test,IP:127.0.0.1"
    options = f"req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=api.test -addext {names}"
    subprocess.run(
        ["openssl", *options.split(), "-keyout", path, "-out", f"{path}.crt"], check=True, capture_output=True
    )
    path.write_bytes(path.read_bytes() + Path(f"{path}.crt").read_bytes())
    return path


def encrypted(certificate: Path, seen: list[str | None]) -> Callable[[int, socket.socket], None]:
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(certificate)
    context.set_alpn_protocols(["h2", "http/1.1"])

    def script(number: int, connection: socket.socket) -> None:
        plain = connection.connection  # type: ignore[attr-defined]  # Recording's
        with context.wrap_socket(plain, server_side=True) as secure:
            seen.append(secure.selected_alpn_protocol())
            response_all(number, secure)

    return script


@pytest.mark.slow
@pytest.mark.parametrize(
    ("host", "fits"), [("api.test", True), ("api.test.", True), ("127.0.0.1", True), ("other.test", False)]
)
def test_tls_is_verified_against_the_name_and_never_the_address_that_was_found(
    run: Run, certificate: Path, monkeypatch: pytest.MonkeyPatch, host: str, fits: bool
) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", f"{certificate}.crt")
    lookup, seen = names(api=("127.0.0.1",), other=("127.0.0.1",)), list[str | None]()

    with serving(encrypted(certificate, seen)) as (port, _):
        if fits:
            responses = run(posted(f"https://{host}:{port}/", times=2, lookup=lookup))
            assert [each.body for each in responses] == [b"ok", b"ok"]
            assert seen == ["http/1.1"]
        else:
            with pytest.raises(Broken, match="certificate verify failed: Hostname mismatch"):
                run(posted(f"https://{host}:{port}/", lookup=lookup))


def test_tls_that_is_not_answered_is_given_up_in_time_and_its_connection_closed(run: Run) -> None:
    ended = threading.Event()

    def script(number: int, connection: socket.socket) -> None:
        while connection.recv(65_536):
            pass
        ended.set()

    with serving(script) as (port, _):
        with pytest.raises(NotConnected):
            run(posted(f"https://127.0.0.1:{port}/", connect_timeout_s=0.1))
        assert ended.wait(5)


# connections that are kept


def test_a_request_that_meets_the_end_of_a_kept_connection_is_sent_again(run: Run) -> None:
    def script(number: int, connection: socket.socket) -> None:
        connection.recv(65_536)
        connection.sendall(OK)
        connection.recv(65_536)  # the first connection ends with its second request

    with serving(script) as (port, received):
        responses = run(posted(f"http://127.0.0.1:{port}/", times=2))

    assert [each.status for each in responses] == [200, 200]
    assert len([each for each in received if each.startswith(b"POST")]) == 3


@pytest.mark.parametrize(("part", "again"), [(b"", False), (b"H", True)])
def test_a_request_is_not_sent_again_unasked_or_once_the_response_has_begun(run: Run, part: bytes, again: bool) -> None:
    def script(number: int, connection: socket.socket) -> None:
        connection.recv(65_536)
        connection.sendall(OK)
        connection.recv(65_536)
        connection.sendall(part)

    with serving(script) as (port, received), pytest.raises(Broken, match="closed before the answer was whole"):
        run(posted(f"http://127.0.0.1:{port}/", times=2, again=again))

    assert len([each for each in received if each.startswith(b"POST")]) == 2


def test_a_new_connection_that_ends_without_a_response_is_not_tried_again(run: Run) -> None:
    def script(number: int, connection: socket.socket) -> None:
        connection.recv(65_536)

    with serving(script) as (port, received), pytest.raises(Broken):
        run(posted(f"http://127.0.0.1:{port}/"))

    assert len(received) == 1


def test_a_connection_that_is_lost_before_its_request_is_told_at_once(run: Run) -> None:
    async def go(port: int) -> None:
        lost = asyncio.Event()
        connection = await dial(
            parsed(f"http://127.0.0.1:{port}/"), lambda: ClientConnection("", lambda _: lost.set(), START)
        )
        await lost.wait()
        await asyncio.wait_for(connection.exchange(b"", b""), 5)

    with serving(lambda number, connection: None) as (port, _), pytest.raises(Stale):
        run(go(port))


def test_the_time_of_one_request_is_not_the_next_one_s(run: Run) -> None:
    def script(number: int, connection: socket.socket) -> None:
        connection.recv(65_536)
        connection.sendall(OK)
        connection.recv(65_536)
        threading.Event().wait(0.3)
        connection.sendall(OK)

    async def go(port: int) -> ServerResponse:
        connections, url = Connections(), parsed(f"http://127.0.0.1:{port}/")
        await connections.request("POST", url, {}, timeout_s=0.15)
        return await connections.request("POST", url, {}, timeout_s=5)

    with serving(script) as (port, _):
        assert run(go(port)).status == 200


def test_a_kept_connection_is_closed_when_nobody_used_it_for_its_time(run: Run) -> None:
    ended = threading.Event()

    def script(number: int, connection: socket.socket) -> None:
        response_all(number, connection)
        ended.set()

    async def go(port: int) -> bool:
        connections = Connections(bounds=Bounds(idle_s=0.1))
        await connections.request("POST", parsed(f"http://127.0.0.1:{port}/"), {})
        return await asyncio.to_thread(ended.wait, 5)

    with serving(script) as (port, _):
        assert run(go(port))


@pytest.mark.parametrize("behind", [OK, b"garbage", b"HTTP/1.1 200 OK\r\n"])
def test_what_comes_behind_a_response_is_never_taken_for_the_next_one(run: Run, behind: bytes) -> None:
    def script(number: int, connection: socket.socket) -> None:
        while connection.recv(65_536):
            connection.sendall(OK.replace(b"ok", b"%02d" % number) + behind)

    with serving(script) as (port, _):
        responses = run(posted(f"http://127.0.0.1:{port}/", times=3))

    assert [each.body for each in responses] == [b"00", b"01", b"02"]


# answers without measure


def endless(start: bytes, more: bytes, sent: list[int]) -> Callable[[int, socket.socket], None]:
    def script(number: int, connection: socket.socket) -> None:
        connection.recv(65_536)
        connection.sendall(start)
        while True:
            sent.append(connection.send(more * 1_000))

    return script


@pytest.mark.parametrize(
    ("start", "more"),
    [(b"", b"1\r\nx\r\n"), (b"1;", b"y"), (b"0\r\n", b"x-trailer: 1\r\n"), (b"0\r\nx-trailer: ", b"y")],
    ids=["chunks of a byte", "a chunk's extension", "trailers", "a trailer"],
)
def test_where_the_start_is_enough_a_response_without_end_is_left(run: Run, start: bytes, more: bytes) -> None:
    head, sent = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", list[int]()

    with serving(endless(head + start, more, sent)) as (port, _):
        [response] = run(posted(f"http://127.0.0.1:{port}/", timeout_s=2))

    assert response.status == 200
    assert len(response.body) <= 1_024
    assert sum(sent) < 20_000_000  # the kernel's buffers, both sides'


def test_informational_responses_without_end_are_left(run: Run) -> None:
    with (
        serving(endless(b"", b"HTTP/1.1 103 Early Hints\r\n\r\n", [])) as (port, _),
        pytest.raises(Broken, match="no HTTP"),
    ):
        run(posted(f"http://127.0.0.1:{port}/"))


def test_no_response_in_time_is_late_and_one_that_has_begun_is_told(run: Run) -> None:
    def script(number: int, connection: socket.socket) -> None:
        connection.recv(65_536)
        connection.sendall(OK[:-1] if number else OK[:20])
        connection.recv(65_536)

    with serving(script) as (port, _):
        with pytest.raises(Late):
            run(posted(f"http://127.0.0.1:{port}/", timeout_s=0.1))
        [response] = run(posted(f"http://127.0.0.1:{port}/", timeout_s=0.1))

    assert (response.status, response.body) == (200, b"o")


@pytest.mark.parametrize("host", ["named.example", "127.0.0.1", "[::1]"])
def test_a_host_that_the_guard_does_not_want_is_never_connected_to(host: str) -> None:
    class Closed(Guard):
        def require_host(self, host: str) -> None:
            raise AddressRefused(f"{host} is not wanted")

    guard = Closed(LOOPBACK, lambda *_: ("127.0.0.1",))
    url = parsed(f"http://{host}:9/")

    with pytest.raises(AddressRefused, match="is not wanted"):
        opened(guard, url, 1)
    with pytest.raises(AddressRefused, match="is not wanted"):
        asyncio.run(GuardedDial(guard)(url, lambda: pytest.fail("it connected")))
