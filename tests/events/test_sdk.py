"""The CloudEvents SDK as the judge of our own reader and writer of binary mode, and what it is laxer in."""

import json
import re
from collections.abc import Mapping
from typing import Any, Final

import pytest
from cloudevents.exceptions import GenericException
from cloudevents.http import from_http
from hypothesis import example, given, settings
from hypothesis import strategies as st

from events import sdk
from events.http import STRUCTURED, Event, binary, check, read, structured
from events.problem import NotAnEvent

HEADERS: Final = {"ce-specversion": "1.0", "ce-id": "1", "ce-source": "/tests", "ce-type": "t"}
CORE: Final = ("specversion", "id", "source", "type", "subject", "time", "dataschema")
TRACE: Final = ("traceparent", "tracestate")

# What the SDK takes and we refuse: our reason, and a request that shows it. The list is whole: any other refusal of a
# request that the SDK takes fails the property below.
LAXER: Final = {
    "attribute .* is required and must not be empty": {"ce-id": ""},
    "an attribute name must be of a-z and 0-9": {"ce-with-hyphen": "x"},
    "attribute .* must not hold control characters": {"ce-subject": "a\tb"},
    "attribute .* must be at most 4096 characters": {"ce-subject": "x" * 5_000},
    "a header must be percent-encoded UTF-8": {"ce-subject": "%ff"},
    "attributes must be Unicode text without lone surrogates": {"ce-subject": "\ud800"},
    "source must be a URI reference": {"ce-source": "a b"},
    "a time must be RFC 3339": {"ce-time": "yesterday"},
    "datacontenttype must be ASCII and not a CloudEvents format": {"content-type": "text/plain; n=\xe9"},
    "at most 50 attributes are taken": {f"ce-x{n}": "1" for n in range(50)},
    "specversion must be 1.0": {"ce-specversion": "0.3"},
}


def by_sdk(headers: Mapping[str, str], body: bytes) -> tuple[dict[str, Any], bytes] | None:
    """The attributes and the data that the SDK reads, or None where it refuses."""
    try:
        event = from_http(headers, body, data_unmarshaller=lambda data: data)
    except GenericException:
        return None
    data = event.get_data()
    return dict(event.get_attributes()), data.encode() if isinstance(data, str) else data or b""


def decoded(header: str) -> str:
    """A header's value as the HTTP binding has it (3.1.3.2), by another way than ours: the SDK decodes none."""
    text = header
    if not text.isascii():
        try:
            text = text.encode("latin-1").decode()
        except UnicodeError:
            text = header
    if len(text) > 1 and text[0] == text[-1] == '"' and re.fullmatch(r'(?:[^"\\]|\\.)*', text[1:-1]):
        text = re.sub(r"\\(.)", r"\1", text[1:-1])
    octets = re.sub(rb"%([0-9A-Fa-f]{2})", lambda found: bytes([int(found[1], 16)]), text.encode())
    return octets.decode()


def expected(headers: Mapping[str, str], attributes: Mapping[str, Any]) -> dict[str, str]:
    """What the SDK reads, with what a receiver has to make of it and the SDK does not."""
    given_headers = {name.lower() for name in headers}
    kept = {name: value for name, value in attributes.items() if name != "datacontenttype" and name not in TRACE}
    if "ce-time" not in given_headers:
        kept.pop("time", None)  # made up
    found = {name: decoded(value) for name, value in kept.items()}
    if content_type := {name.lower(): value for name, value in headers.items()}.get("content-type"):
        found["datacontenttype"] = content_type
    return {name: value for name, value in found.items() if value}


def without_trace(event: Event) -> dict[str, str]:
    """The trace's malformed parts are dropped (W3C), which the SDK does not."""
    return {name: value for name, value in event.attributes.items() if name not in TRACE}


NAMES = st.from_regex(r"[a-z0-9]{1,12}", fullmatch=True) | st.sampled_from(
    [*CORE, "datacontenttype", "data", "x-y", "é"]
)
VALUES = (
    st.text(st.characters(min_codepoint=0x20, max_codepoint=0x7E), max_size=20)
    | st.text(max_size=8)
    | st.sampled_from(["1.0", "%41", "%C5%81", "%ff", "100%", '"q\\"x"', '"', "2026-12-01T14:00:00Z", "", "caf\xe9"])
)
EXTENSIONS = st.dictionaries(NAMES.map("ce-{}".format), VALUES, max_size=5)
CONTENT_TYPES = st.sampled_from(["application/json", "text/plain", "", "application/xml; charset=utf-8"])


@pytest.mark.slow
@given(EXTENSIONS, st.none() | CONTENT_TYPES, st.booleans(), st.binary(max_size=40))
@example({"ce-data": "x"}, None, True, b"")
@settings(deadline=None, max_examples=1_000)
def test_where_both_take_a_request_of_binary_mode_they_read_the_same(
    more: dict[str, str], content_type: str | None, title: bool, body: bytes
) -> None:
    headers = {**HEADERS, **more} | ({} if content_type is None else {"content-type": content_type})
    theirs = by_sdk(headers, body)
    try:
        ours = read({name.title() if title else name: value for name, value in headers.items()}, body)
    except NotAnEvent as error:
        refused = str(error)
    else:
        refused = ""

    if refused:
        assert theirs is None or any(re.search(reason, refused) for reason in LAXER)
    else:
        assert theirs is not None
        assert without_trace(ours) == expected(headers, theirs[0])
        assert ours.data == theirs[1]


@pytest.mark.parametrize("reason", LAXER)
def test_the_sdk_is_laxer_here_and_only_here(reason: str) -> None:
    headers = {**HEADERS, **LAXER[reason]}

    assert by_sdk(headers, b"{") is not None
    with pytest.raises(NotAnEvent, match=reason):
        check(read(headers, b"{"))


@pytest.mark.slow
@given(EXTENSIONS, st.binary(max_size=40))
@settings(deadline=None, max_examples=300)
def test_the_sdk_reads_what_is_written_in_binary_mode(more: dict[str, str], body: bytes) -> None:
    try:
        event = read({**HEADERS, **more}, body)
    except NotAnEvent:
        return
    headers, content = binary(event)

    theirs = by_sdk(headers, content)

    assert theirs is not None
    assert expected(headers, theirs[0]) == without_trace(event)
    assert theirs[1] == event.data


# --- structured mode: what stands beside the SDK


@pytest.mark.parametrize("number", ["1.50", "1e5", "10000000000000000000000001", "-0", '"\\u0141"', "[1 , 2]"])
def test_data_keeps_its_bytes_which_the_sdk_would_write_anew(number: str) -> None:
    body = json.dumps({"specversion": "1.0", "id": "1", "source": "/tests", "type": "t"})[:-1] + f', "data": {number}}}'

    event = read({"content-type": STRUCTURED}, body.encode())

    assert event.data == number.encode()
    assert b'"data": ' + event.data + b"}" in structured(event)


def test_no_time_is_made_up_in_structured_mode() -> None:
    event = Event({"specversion": "1.0", "id": "1", "source": "/tests", "type": "t"}, b"x")

    assert b"time" not in structured(event)
    assert read({"content-type": STRUCTURED}, structured(event)) == event
    for time in ("null", '""'):
        body = structured(event)[:-1] + b', "time": %s}' % time.encode()
        assert read({"content-type": STRUCTURED}, body) == event


def test_a_new_event_has_an_id_and_a_time_of_its_own() -> None:
    first, second = (sdk.new(type="t", source="/tests", subject="x") for _ in range(2))

    assert check(Event(first, b"")).get("subject") == "x"
    assert first["id"] != second["id"]
    assert sdk.new(type="t", source="/tests", id="mine")["id"] == "mine"
