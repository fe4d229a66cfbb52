import asyncio
import shutil
import socket
import ssl
import subprocess
import threading
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler
from ipaddress import ip_network
from pathlib import Path

import httpcore
import httpx
import pytest

from functions.net.client import Connections
from functions.net.dial import GuardedDial
from functions.net.guard import AddressRefused, Guard, refusal
from functions.net.transport import GuardedTransport
from functions.net.url import parsed
from tests.support.absent import absent
from tests.support.http_server import http_server

REFUSED = """
0.0.0.0 0.1.2.3 10.0.0.1 10.255.255.255 100.64.0.1 100.100.100.200 127.0.0.1 127.255.255.254 168.63.129.16
169.254.0.1 169.254.169.254 169.254.170.2 172.16.0.1 172.31.255.255 192.0.0.1 192.0.0.8 192.0.0.10 192.0.0.170
192.0.0.192 192.0.2.1 192.31.196.1 192.52.193.1 192.88.99.1 192.168.0.1 192.175.48.1 198.18.0.1 198.19.255.255
198.51.100.1 203.0.113.1 224.0.0.1 239.255.255.250 240.0.0.1 255.255.255.255
:: ::1 ::127.0.0.1 ::8.8.8.8 ::ffff:127.0.0.1 ::ffff:10.0.0.1 ::ffff:a9fe:a9fe 64:ff9b::127.0.0.1
64:ff9b::169.254.169.254 64:ff9b:1::1 64:ff9b:1::8.8.8.8 100::1 100:0:0:1::1 2001::1
2001:0:4136:e378:8000:63bf:3fff:fdd2 2001:0:a9fe:a9fe::
2001:2::1 2001:3::1 2001:4:112::1 2001:10::1 2001:20::1 2001:30::1 2001:1ff:ffff::1 2001:db8::1
2002:a9fe:a9fe:: 2002:7f00:1:: 2002:808:808::1 2620:4f:8000::1 3fff::1 3fff:fff::1 5f00::1 fc00::1 fd00:ec2::254
fd12:3456:789a::1 fe80::1 fe80::1%eth0 febf::1 fec0::1 feff::1 ff02::1 ff0e::1 4000::1 8000::1 200::1
2606:4700::5efe:10.0.0.1 2606:4700::200:5efe:169.254.169.254 ::ffff:0:127.0.0.1 localhost 127.1 0x7f.0.0.1
"""

ALLOWED = """
1.1.1.1 8.8.8.8 9.255.255.255 11.0.0.1 100.63.255.255 100.128.0.1 126.255.255.255 128.0.0.1 169.253.255.255
169.255.0.1 172.15.255.255 172.32.0.1 192.0.1.1 192.167.255.255 198.17.255.255 198.20.0.1 223.255.255.255
168.63.129.15 2606:4700:4700::1111 2a00:1450:4001:80b::200e 2001:200::1 2001:4860:4860::8888 2400:cb00::1 2620:4f::1
3ffe:ffff::1 ::ffff:8.8.8.8 64:ff9b::8.8.8.8 2606:4700::5efe:8.8.8.8
"""


@pytest.mark.parametrize("address", REFUSED.split())
def test_an_address_without_a_public_host_is_refused_with_a_reason(address: str) -> None:
    assert refusal(address)


@pytest.mark.parametrize("address", ALLOWED.split())
def test_a_public_address_is_allowed(address: str) -> None:
    assert refusal(address) is None


@pytest.mark.parametrize(
    ("address", "reason"),
    [
        ("169.254.169.254", "169.254.0.0/16 link-local (RFC 3927)"),
        ("64:ff9b::a9fe:a9fe", "169.254.0.0/16 link-local (RFC 3927)"),
        ("fd00:ec2::254", "fc00::/7 unique local (RFC 4193)"),
        ("2606:4700::5efe:a00:1", "ISATAP (RFC 5214) to 10.0.0.0/8 private use (RFC 1918)"),
        ("4000::1", "outside 2000::/3 global unicast (RFC 4291)"),
    ],
)
def test_the_reason_names_the_range_and_its_source(address: str, reason: str) -> None:
    assert refusal(address) == reason


def test_a_guard_is_parsed_from_a_setting() -> None:
    guard = Guard.parse(" 10.0.0.0/8, fd00::/8,")

    assert guard == Guard((ip_network("10.0.0.0/8"), ip_network("fd00::/8")))


@pytest.mark.parametrize("bad", ["10.0.0.0/33", "example.org", "10.0.0.1/8"])
def test_a_bad_network_in_the_setting_is_named(bad: str) -> None:
    with pytest.raises(ValueError, match=f"ALLOWED_NETWORKS must hold networks like 10.0.0.0/8, got '{bad}'"):
        Guard.parse(f"127.0.0.0/8,{bad}")


@pytest.mark.parametrize("address", ["10.1.2.3", "::ffff:10.1.2.3", "64:ff9b::10.1.2.3"])
def test_an_allowed_network_is_allowed_in_every_form_and_its_neighbour_is_not(address: str) -> None:
    guard = Guard.parse("10.0.0.0/8")

    assert guard.refusal(address) is None
    assert guard.refusal("192.168.0.1")


def test_one_bad_response_among_good_ones_refuses_the_host() -> None:
    guard = Guard(lookup=lambda host, port: ("8.8.8.8", "2606:4700::1", "10.0.0.7"))

    with pytest.raises(AddressRefused, match=r"example\.org .* 10\.0\.0\.7 .* 10\.0\.0\.0/8 private use .*allow"):
        guard.resolve("example.org", 80)


@pytest.mark.parametrize("host", ["127.1", "2130706433", "0x7f000001", "0177.0.0.1", "localhost", "::1"])
def test_every_spelling_of_this_machine_is_refused(host: str) -> None:
    with pytest.raises(AddressRefused):
        Guard().resolve(host, 80)


class Handler(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        redirect = self.path.partition("?to=")[2]
        self.send_response(302 if redirect else 200)
        if redirect:
            self.send_header("Location", redirect)
        self.send_header("Content-Length", "2")
        self.end_headers()
        self.wfile.write(b"ok")


def serve(host: str, tls: ssl.SSLContext | None = None) -> Iterator[int]:
    with http_server(Handler, host, tls=tls) as url:
        yield int(url.rpartition(":")[2])


@pytest.fixture(scope="module")
def port() -> Iterator[int]:
    yield from serve("127.0.0.2")


def get(guard: Guard, url: str) -> httpx.Response:
    with httpx.Client(transport=GuardedTransport(guard), trust_env=False, follow_redirects=True) as client:
        return client.get(url)


class Resolver:
    """Answers the next list of addresses at each call, the last one for ever."""

    def __init__(self, *responses: tuple[str, ...]) -> None:
        self.responses = list(responses)
        self.calls = 0

    def __call__(self, host: str, port: int) -> tuple[str, ...]:
        self.calls += 1
        return self.responses.pop(0) if len(self.responses) > 1 else self.responses[0]


def test_the_connection_goes_to_the_address_that_was_checked(port: int) -> None:
    resolver = Resolver(("127.0.0.2",), ("127.0.0.1",))
    guard = Guard((ip_network("127.0.0.2/32"),), resolver)

    response = get(guard, f"http://rebinding.test:{port}/")

    assert (response.text, resolver.calls) == ("ok", 1)


def test_a_response_that_turns_bad_is_refused_at_the_next_connection(port: int) -> None:
    guard = Guard((ip_network("127.0.0.2/32"),), Resolver(("127.0.0.2",), ("127.0.0.1",)))
    get(guard, f"http://rebinding.test:{port}/")

    with pytest.raises(AddressRefused, match=r"127\.0\.0\.1"):
        get(guard, f"http://rebinding.test:{port}/")


def test_the_next_address_is_tried_when_the_first_does_not_listen(port: int) -> None:
    guard = Guard((ip_network("127.0.0.0/8"),), Resolver(("127.0.0.9", "127.0.0.2")))

    assert get(guard, f"http://two.test:{port}/").text == "ok"


@pytest.mark.parametrize("target", ["169.254.169.254", "127.0.0.1", "[::ffff:7f00:1]", "2130706433"])
def test_a_redirect_to_a_refused_address_is_refused(port: int, target: str) -> None:
    guard = Guard.parse("127.0.0.2/32")

    with pytest.raises(AddressRefused):
        get(guard, f"http://127.0.0.2:{port}/?to=http://{target}/latest/meta-data/")


def test_proxies_of_the_environment_are_not_used(port: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:9")

    assert get(Guard.parse("127.0.0.2/32"), f"http://127.0.0.2:{port}/").text == "ok"


def test_a_resolver_that_hangs_ends_with_the_connect_timeout() -> None:
    released = threading.Event()

    def hang(host: str, port: int) -> tuple[str, ...]:
        released.wait(5)
        return ("8.8.8.8",)

    client = httpx.Client(transport=GuardedTransport(Guard(lookup=hang)), timeout=0.05)
    with client, pytest.raises(httpx.ConnectTimeout, match=r"no DNS answer for slow\.test"):
        client.get("http://slow.test/")
    released.set()


def test_a_failure_of_dns_is_a_connect_error() -> None:
    def fail(host: str, port: int) -> tuple[str, ...]:
        raise socket.gaierror(socket.EAI_AGAIN, "Temporary failure in name resolution")

    with pytest.raises(httpx.ConnectError, match=r"any\.test cannot be resolved"):
        get(Guard(lookup=fail), "http://any.test/")


@dataclass
class Recorder:
    """A listener that counts who comes and what they send, and answers as any server would."""

    port: int = 0
    received: list[bytes] = field(default_factory=list)
    connections: int = 0


@pytest.fixture
def recorder() -> Iterator[Recorder]:
    recorder = Recorder()

    def serve(listener: socket.socket) -> None:
        with suppress(OSError):
            while True:
                connection, _ = listener.accept()
                recorder.connections += 1
                with connection:
                    connection.settimeout(0.5)
                    with suppress(OSError):
                        recorder.received.append(connection.recv(65_536))
                        connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")

    with socket.create_server(("127.0.0.1", 0)) as listener:
        recorder.port = listener.getsockname()[1]
        threading.Thread(target=serve, args=(listener,), daemon=True).start()
        yield recorder


class Rogue(httpcore.HTTP11Connection):
    """A connection of a new release that connects by itself, whatever stream it is given."""

    def __init__(self, origin: httpcore.Origin, stream: httpcore.NetworkStream) -> None:
        stream.close()
        super().__init__(origin, httpcore.SyncBackend().connect_tcp(origin.host.decode(), origin.port, 5))


USED_OF_HTTPCORE = ("HTTP11Connection", "Request", "URL")


@pytest.mark.parametrize("name", [*USED_OF_HTTPCORE, "ConnectionPool", "SyncBackend", "NetworkBackend"])
def test_a_release_of_httpcore_without_a_name_that_is_used_opens_nothing_past_the_guard(
    recorder: Recorder, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.delattr(httpcore, name)

    with pytest.raises(AddressRefused, match=r"127\.0\.0\.1 may not be called"):
        get(Guard(), f"http://127.0.0.1:{recorder.port}/")
    assert recorder.connections == 0


@pytest.mark.parametrize("name", USED_OF_HTTPCORE)
def test_a_release_of_httpcore_without_a_name_that_is_used_ends_in_an_error(
    recorder: Recorder, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.delattr(httpcore, name)

    with pytest.raises(AttributeError, match=name):
        get(Guard.parse("127.0.0.1/32"), f"http://127.0.0.1:{recorder.port}/")
    assert not any(recorder.received)


def test_a_release_of_httpcore_that_connects_by_itself_is_refused(
    recorder: Recorder, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(httpcore, "HTTP11Connection", Rogue)

    with pytest.raises(AddressRefused, match="the guard did not open its connection"):
        get(Guard.parse("127.0.0.1/32"), f"http://127.0.0.1:{recorder.port}/")
    with pytest.raises(AddressRefused, match=r"127\.0\.0\.1 may not be called"):
        get(Guard(), f"http://127.0.0.1:{recorder.port}/")


@pytest.mark.parametrize("name", ["_pool", "_transport", "_mounts"])
def test_private_attributes_of_httpx_play_no_part(recorder: Recorder, name: str) -> None:
    with httpx.Client(transport=GuardedTransport(Guard()), trust_env=False) as client:
        transport = client._transport
        vars(transport).pop(name, None)

        with pytest.raises(AddressRefused, match=r"127\.0\.0\.1 may not be called"):
            client.get(f"http://127.0.0.1:{recorder.port}/")
    assert recorder.connections == 0


class Changing(Guard):
    """Lets so many looks at an address pass, and none after them."""

    def __init__(self, looks: int) -> None:
        super().__init__((ip_network("127.0.0.0/8"),))
        object.__setattr__(self, "looks", iter([None] * looks))

    def refusal(self, address: str) -> str | None:
        return next(self.looks, "a place that it was not a moment ago")  # type: ignore[attr-defined]  # set above


async def by_own_client(guard: Guard, url: str) -> None:
    connections = Connections(GuardedDial(guard))
    await connections.request("GET", parsed(url), {})


@pytest.mark.parametrize("looks", [0, 1, 2])
def test_an_address_is_checked_before_it_is_tried_and_its_peer_before_anything_is_sent(
    recorder: Recorder, looks: int
) -> None:
    url = f"http://127.0.0.1:{recorder.port}/"

    with pytest.raises(AddressRefused, match="a place that it was not"):
        get(Changing(looks), url)
    with pytest.raises(AddressRefused, match="a place that it was not"):
        asyncio.run(by_own_client(Changing(looks), url))

    assert not any(recorder.received)
    assert get(Changing(3), url).text == "ok"


def test_the_next_address_is_tried_when_the_first_one_does_not_answer(port: int) -> None:
    guard = Guard((ip_network("127.0.0.0/8"),), Resolver(("127.0.0.9", "127.0.0.2")))

    with socket.socket() as full, socket.socket() as first, socket.socket() as second:
        full.bind(("127.0.0.9", port))
        full.listen(0)
        for each in (first, second):  # its queue is full: the kernel answers no further connection
            each.setblocking(False)
            with suppress(BlockingIOError):
                each.connect(("127.0.0.9", port))

        assert get(guard, f"http://two.test:{port}/").text == "ok"


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """For good.test, with its key, in one file."""
    openssl = shutil.which("openssl")
    if openssl is None:
        absent("needs the openssl command")
    path = tmp_path_factory.mktemp("tls") / "good.pem"
    options = "req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=good.test -addext subjectAltName=DNS:good.test"
    subprocess.run([openssl, *options.split(), "-keyout", path, "-out", f"{path}.crt"], check=True, capture_output=True)
    path.write_bytes(path.read_bytes() + Path(f"{path}.crt").read_bytes())
    return path


@pytest.fixture(scope="module")
def tls_port(certificate: Path) -> Iterator[int]:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    yield from serve("127.0.0.2", context)


def test_tls_is_verified_against_the_name_and_not_the_address(certificate: Path, tls_port: int) -> None:
    guard = Guard((ip_network("127.0.0.2/32"),), lambda host, port: ("127.0.0.2",))
    tls = ssl.create_default_context(cafile=f"{certificate}.crt")
    with httpx.Client(transport=GuardedTransport(guard, tls=tls), trust_env=False) as client:
        assert client.get(f"https://good.test:{tls_port}/").text == "ok"

        with pytest.raises(httpx.ConnectError, match="Hostname mismatch"):
            client.get(f"https://evil.test:{tls_port}/")


def test_an_unknown_authority_is_refused_by_default(tls_port: int) -> None:
    guard = Guard((ip_network("127.0.0.2/32"),), lambda host, port: ("127.0.0.2",))

    with pytest.raises(httpx.ConnectError, match="CERTIFICATE_VERIFY_FAILED"):
        get(guard, f"https://good.test:{tls_port}/")
