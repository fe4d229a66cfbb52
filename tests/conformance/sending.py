"""Events of the conformance suite, and how they are sent."""

import json
import uuid
from collections.abc import Mapping
from itertools import pairwise
from typing import Any
from urllib.parse import unquote

import httpx

from events.http import STRUCTURED
from tests.conformance.subscriber import Attempt, Response, Subscriber
from tests.conformance.systems import TYPE, System

FAILING = Response(500, {"content-type": "text/plain"}, b"the worker has a bug")


def decoded(attempt: Attempt, name: str) -> str:
    """An attribute as a receiver reads it, which decodes percent-encoded UTF-8 (CloudEvents HTTP binding 3.1.3.2)."""
    raw = attempt.attribute(name) or ""
    return unquote(raw.encode("latin-1").decode() if not raw.isascii() else raw)


def new_id() -> str:
    """An id of its own."""
    return uuid.uuid4().hex


def event(id_: str, **changes: Any) -> dict[str, Any]:
    """An event in structured mode; None leaves an attribute out."""
    base: dict[str, Any] = {"specversion": "1.0", "id": id_, "source": "/conformance", "type": TYPE.format("plain")}
    base |= {"time": "2026-12-01T14:00:00Z", "datacontenttype": "application/json", "data": {}}
    return {name: value for name, value in {**base, **changes}.items() if value is not None}


def post(system: System, content: str | bytes, *, content_type: str = STRUCTURED, timeout_s: float = 20) -> int:
    """The status that the ingress answers."""
    try:
        response = httpx.post(system.url, content=content, headers={"content-type": content_type}, timeout=timeout_s)
    except httpx.TransportError as error:
        raise AssertionError(f"the ingress does not answer: {type(error).__name__}") from error
    return response.status_code


def send(system: System, id_: str | None = None, *, trigger: str = "plain", **changes: Any) -> str:
    """Send an event, which must be accepted; returns its id."""
    id_ = id_ or new_id()
    assert post(system, json.dumps(event(id_, **{"type": TYPE.format(trigger), **changes}))) == 202
    return id_


def send_binary(system: System, content: bytes, *, content_type: str = "application/json", **headers: str) -> str:
    """Send an event in binary mode, which must be accepted; returns its id."""
    attributes = {
        f"ce-{name}": str(value) for name, value in event(new_id()).items() if name not in ("datacontenttype", "data")
    }
    sent = {**attributes, "content-type": content_type, **headers}
    assert httpx.post(system.url, content=content, headers=sent, timeout=20).status_code == 202
    return sent["ce-id"]


def send_answered(system: System, worker: Subscriber, statuses: tuple[int, ...]) -> list[str]:
    """An event for each status, which all its attempts are answered."""
    ids = [new_id() for _ in statuses]
    for id_, status in zip(ids, statuses, strict=True):
        headers = {"location": "/elsewhere"} if 300 <= status < 400 else {}
        worker.response(id_, Response(status, headers))
        send(system, id_)
    return ids


def settle(system: System, worker: Subscriber) -> None:
    """Wait until what was sent before has had its turn: an event that fails goes the whole way to the sink."""
    worker.response(last := new_id(), FAILING)
    send(system, last)
    worker.dead_letter(last)


def waited(attempts: list[Attempt], declared_s: list[float]) -> bool:
    """Whether the times between the attempts are what was declared, on a machine that may be busy."""
    found_s = [after.at_s - before.at_s for before, after in pairwise(attempts)]
    return len(found_s) == len(declared_s) and all(
        declared - 0.02 < found < declared + 0.5 for found, declared in zip(found_s, declared_s, strict=True)
    )


def in_binary(reply: Mapping[str, Any]) -> Response:
    """An answer with an event in binary mode."""
    headers = {f"ce-{name}": str(value) for name, value in reply.items() if name not in ("data", "datacontenttype")}
    return Response(200, {**headers, "content-type": "application/json"}, json.dumps(reply["data"]).encode())


def in_structured(reply: Mapping[str, Any]) -> Response:
    """An answer with an event in structured mode."""
    return Response(200, {"content-type": STRUCTURED}, json.dumps(reply).encode())


def accepts(system: System) -> bool:
    """Whether the ingress takes an event now."""
    try:
        return post(system, json.dumps(event(new_id()))) == 202
    except AssertionError:
        return False
