"""What an edited dead letter must keep: CloudEvents' rules, and its type's, where the type is of the contract."""

import difflib
import json
import re
import shlex
from itertools import accumulate
from typing import Final

import msgspec

from events.http import BODY_LIMIT_BYTES, Event, binary, check
from events.problem import JobFailed, NotAnEvent, decode
from events.types import REGISTRY
from functions.deadletters.service.results import ShownEvent

INDENTED_LIMIT: Final = 10_000_000  # levels times lines: 20 MB of white space
CURL_BYTES: Final = 8_192  # a longer body makes no command that one can read


def require(event: Event) -> None:
    """Raise JobFailed with each bad field when the event would not be taken."""
    try:
        check(event)
    except NotAnEvent as error:
        raise JobFailed("invalid-attribute", str(error)) from error
    if len(event.data) > BODY_LIMIT_BYTES:
        raise JobFailed("invalid-data", f"data must be at most {BODY_LIMIT_BYTES} bytes, got {len(event.data)}")
    if event.type in REGISTRY:
        decode(event.data, REGISTRY[event.type])
    elif event.get("datacontenttype") in (None, "application/json") and event.data:
        decode(event.data, msgspec.Raw)


def diff(before: ShownEvent, after: ShownEvent) -> str:
    """What changed, as a unified diff of both; empty when nothing did."""
    if before == after:
        return ""
    lines = difflib.unified_diff(_lines(before), _lines(after), "as it came", "as it is replayed", lineterm="")
    return "\n".join(lines)


def pretty(data: str) -> str:
    """JSON a line a field, its numbers and escapes as they were written; what is none, or would grow huge, as it is."""
    brackets = re.findall(r"[\[\]{}]", re.sub(r'"(?:[^"\\]|\\.)*"', "", data))
    depth = max(accumulate(1 if each in "[{" else -1 for each in brackets), default=0)
    if depth * (len(brackets) + data.count(",")) > INDENTED_LIMIT:  # each line is indented by its depth
        return data
    try:
        return msgspec.json.format(data, indent=2)
    except (msgspec.DecodeError, RecursionError):
        return data


def curl(event: Event, url: str, dead_letter: int) -> str:
    """The command that sends the event by hand; long data comes from `errands dead show --raw`."""
    headers, body = binary(event)
    parts = ["curl", "-i", url, *(part for name, value in headers.items() for part in ("-H", f"{name}: {value}"))]
    try:
        text = body.decode()
    except UnicodeDecodeError:
        text = "\0"  # no command can hold it either
    if len(body) > CURL_BYTES or "\0" in text:
        return f"errands dead show {dead_letter} --raw --unmask | {shlex.join([*parts, '--data-binary', '@-'])}"
    return shlex.join([*parts, "--data-raw", text])


def _lines(body: ShownEvent) -> list[str]:
    attributes = [f"{name}: {json.dumps(value, ensure_ascii=False)}" for name, value in sorted(body.attributes.items())]
    data = body.data if body.data is not None else msgspec.json.encode(body.data_base64).decode()
    return [*attributes, *pretty(data).splitlines()]
