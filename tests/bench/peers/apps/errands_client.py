"""Hands a job to Errands, or to anything that takes CloudEvents: one POST in binary mode on a kept connection."""

import json
import os
import socket
from collections.abc import Callable
from urllib.parse import urlsplit

DATA = {
    "noop": {},
    "image": {
        "source": {"key": "photo.jpg"},
        "outputs": [{"name": "small.jpg", "width_px": 800, "height_px": 600}],
    },
}


def connect() -> Callable[[str, str], None]:
    """A connection of one thread."""
    address = urlsplit(os.environ["BENCH_INGRESS_URL"])
    connection = socket.create_connection((address.hostname or "", address.port or 80), 30)
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    heads = {kind: head(kind, address.netloc, os.environ["BENCH_CALLBACK_URL"]) for kind in DATA}

    def hand_over(kind: str, id_: str) -> None:
        connection.sendall(heads[kind].replace(b"{id}", id_.encode()))
        answer = connection.recv(65536)
        while b"\r\n\r\n" not in answer:
            answer += connection.recv(65536)
        if not answer.startswith(b"HTTP/1.1 202"):
            raise SystemExit(f"the job was not accepted: {answer.decode()}")

    return hand_over


def head(kind: str, host: str, callback_url: str) -> bytes:
    """The whole request; `{id}` stands for the job's."""
    body = json.dumps(DATA[kind]).encode()
    headers = {
        "Host": host,
        "Content-Type": "application/json",
        "Content-Length": str(len(body)),
        "ce-specversion": "1.0",
        "ce-id": "{id}",
        "ce-source": "/bench",
        "ce-type": f"dev.errands.{kind}.requested.v1",
        "ce-time": "2026-11-22T09:30:00Z",
        "ce-callbackurl": callback_url,
    }
    return (
        "\r\n".join(["POST / HTTP/1.1", *(f"{name}: {value}" for name, value in headers.items()), "", ""]).encode()
        + body
    )
