"""The client for addresses of our own: one for the process, and past no proxy."""

import socket
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress

import httpx
import pytest

from functions.net.configured import client, tls_context


@pytest.fixture
def proxy(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[bytes]]:
    """A proxy of the environment that says 202 to everything; what it was sent."""
    received = list[bytes]()

    def serve(listener: socket.socket) -> None:
        with suppress(OSError):
            while True:
                connection, _ = listener.accept()
                with connection:
                    received.append(connection.recv(65_536))
                    connection.sendall(b"HTTP/1.1 202 Accepted\r\nContent-Length: 0\r\n\r\n")

    with socket.create_server(("127.0.0.1", 0)) as listener:
        for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
            monkeypatch.setenv(name, f"http://127.0.0.1:{listener.getsockname()[1]}")
        threading.Thread(target=serve, args=(listener,), daemon=True).start()
        yield received


def test_a_token_for_an_address_of_our_own_goes_to_no_proxy_and_no_proxy_answers_for_it(proxy: list[bytes]) -> None:
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))

        with pytest.raises(httpx.ConnectError, match="Connection refused"):
            client().post(f"http://127.0.0.1:{bound.getsockname()[1]}/", headers={"authorization": "Bearer secret"})

    assert proxy == []


def test_there_is_one_client_and_one_tls_context_for_all_threads() -> None:
    with ThreadPoolExecutor(4) as pool:
        clients = {id(each) for each in pool.map(lambda _: client(), range(20))}
        contexts = {id(each) for each in pool.map(lambda _: tls_context(), range(20))}

    assert clients == {id(client())}
    assert contexts == {id(tls_context())}
