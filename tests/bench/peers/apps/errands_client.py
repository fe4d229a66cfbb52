"""Hands a job to Errands, or to anything that takes CloudEvents: one POST in binary mode on a kept connection."""

import json
import os
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

DATA: dict[str, dict[str, Any]] = {
    "noop": {},
    "image": {
        "source": {"key": "uploads/photo.jpg"},
        "outputs": [{"name": "small.jpg", "width_px": 800, "height_px": 600}],
    },
}


def connect() -> Callable[[str, str], None]:
    """A connection of one thread."""
    address = urlsplit(os.environ["BENCH_INGRESS_URL"])
    connection = socket.create_connection((address.hostname or "", address.port or 80), 30)
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    jobs = DATA | {"report": json.loads(Path(os.environ["BENCH_REPORT"]).read_text())["data"]}
    heads = {kind: head(kind, data, address.netloc, os.environ["BENCH_CALLBACK_URL"]) for kind, data in jobs.items()}

    def hand_over(kind: str, id_: str) -> None:
        connection.sendall(heads[kind].replace(b"{id}", id_.encode()))
        response = connection.recv(65536)
        while not whole(response):
            response += connection.recv(65536)
        if not response.startswith(b"HTTP/1.1 202"):
            raise SystemExit(f"the job was not accepted: {response.decode()}")

    return hand_over


def whole(response: bytes) -> bool:
    """Whether the answer is there with its body: what is left of one would begin the next."""
    answer_head, end, body = response.partition(b"\r\n\r\n")
    length = answer_head.lower().partition(b"content-length:")[2].split(b"\r\n")[0].strip() or b"0"
    return bool(end) and len(body) >= int(length)


def head(kind: str, data: dict[str, Any], host: str, callback_url: str) -> bytes:
    """The whole request; `{id}` stands for the job's."""
    body = json.dumps(data).encode()
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
