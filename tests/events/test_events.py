"""The contract: what is taken as an event and what is not, both modes of HTTP, the types, their samples and schemas."""

import json
import re
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Annotated, Any, Literal

import msgspec
import pytest
from cloudevents.conversion import to_binary
from cloudevents.http import CloudEvent, from_http
from hypothesis import given, settings
from hypothesis import strategies as st
from jsonschema import Draft202012Validator

from events import types
from events.http import (
    BATCH,
    BODY_LIMIT_BYTES,
    RESERVED,
    STRUCTURED,
    Event,
    binary,
    read,
    read_batch,
    rfc3339,
    structured,
    timestamp,
)
from events.job import outcome_of
from events.problem import SHOWN_ERRORS, FieldError, JobFailed, NotAnEvent, decode
from events.schema import FOLDER, rendered, text
from events.types import (
    PHASES,
    REGISTRY,
    Attachment,
    IcsRequested,
    ImageOutput,
    ImageRequested,
    Input,
    MessageRequested,
    ReportRequested,
    event_type,
    sibling_type,
)
from events.types.ics import Alarm
from tests.conftest import SAMPLES, sample

TRACEPARENT = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
HEADERS = {"ce-specversion": "1.0", "ce-id": "1", "ce-source": "/tests", "ce-type": "t", "content-type": "text/plain"}
ENVELOPE = {"specversion": "1.0", "id": "1", "source": "/tests", "type": "t"}
JSON_SPACE = b" \t\r\n"


def read_binary(body: bytes = b"", **changes: str) -> Event:
    """Read a good request of binary mode after these changes; `_` in a name stands for `-`."""
    return read({**HEADERS, **{name.replace("_", "-"): value for name, value in changes.items()}}, body)


def without(name: str) -> dict[str, str]:
    return {each: value for each, value in HEADERS.items() if each != name}


def read_structured(**changes: Any) -> Event:
    return read({"content-type": STRUCTURED}, json.dumps({**ENVELOPE, **changes}).encode())


# --- binary mode


def test_binary_mode_is_headers_and_the_body_as_it_came() -> None:
    event = read_binary(b"\x00\xff anything", ce_subject="order-1", ce_tries="3", X_Other="ignored")

    assert dict(event.attributes) == {
        "specversion": "1.0",
        "id": "1",
        "source": "/tests",
        "type": "t",
        "datacontenttype": "text/plain",
        "subject": "order-1",
        "tries": "3",
    }
    assert event.data == b"\x00\xff anything"


def test_header_names_may_have_any_case() -> None:
    event = read({name.title(): value for name, value in HEADERS.items()}, b"")

    assert event == read_binary()


def test_a_time_that_was_not_sent_is_not_made_up() -> None:
    """The SDK does, which would make two deliveries of one event differ."""
    headers, _ = binary(read_binary())

    assert read_binary().get("time") is None
    assert "ce-time" not in headers


@pytest.mark.parametrize("type_", sorted(REGISTRY))
def test_the_cloudevents_sdk_reads_what_is_written_and_writes_what_is_read(type_: str) -> None:
    event = read({"content-type": STRUCTURED}, (SAMPLES / f"{type_}.json").read_bytes())

    by_sdk = from_http(*binary(event))
    headers, body = to_binary(CloudEvent(event.attributes, msgspec.json.decode(event.data)))

    assert {**by_sdk.get_attributes(), "datacontenttype": "application/json"} == event.attributes
    assert by_sdk.get_data() == msgspec.json.decode(event.data)
    assert read({**headers, "content-type": "application/json"}, body).attributes == event.attributes


@pytest.mark.parametrize("name", ["specversion", "id", "source", "type"])
@pytest.mark.parametrize("value", [None, ""])
def test_a_required_attribute_that_is_missing_or_empty_is_refused(name: str, value: str | None) -> None:
    with pytest.raises(NotAnEvent, match=name):
        read({**HEADERS, f"ce-{name}": value} if value is not None else without(f"ce-{name}"), b"")
    with pytest.raises(NotAnEvent, match=name):
        read_structured(**{name: value})


@pytest.mark.parametrize("name", ["subject", "time", "dataschema", "datacontenttype", "tenant", "jobid"])
@pytest.mark.parametrize("empty", ["", '""'])
def test_an_empty_attribute_is_one_that_was_left_out(name: str, empty: str) -> None:
    """The SDKs of Go, JavaScript and Python send one; two quotes are how an older SDK writes it in a header."""
    header = "content-type" if name == "datacontenttype" else f"ce-{name}"
    if name != "datacontenttype" or not empty:
        assert name not in read({**HEADERS, header: empty}, b"").attributes
    if not empty:
        assert read_structured(**{name: empty}).attributes == ENVELOPE


def test_json_data_under_an_empty_datacontenttype_is_json() -> None:
    assert read_structured(datacontenttype="", data={"a": 1}).get("datacontenttype") == "application/json"


def test_an_empty_attribute_with_a_bad_name_is_refused_all_the_same() -> None:
    for name in ("with-hyphen", "schemaurl"):
        with pytest.raises(NotAnEvent, match="an attribute name must be"):
            read({**HEADERS, f"ce-{name}": ""}, b"")
        with pytest.raises(NotAnEvent, match="an attribute name must be"):
            read_structured(**{name: ""})


@pytest.mark.parametrize("version", ["0.3", "1", "1.0.2", "2.0", "one"])
def test_another_specversion_is_refused_and_named(version: str) -> None:
    with pytest.raises(NotAnEvent, match=f"specversion must be 1.0, got '{re.escape(version)}'"):
        read_binary(ce_specversion=version)
    with pytest.raises(NotAnEvent, match=f"specversion must be 1.0, got '{re.escape(version)}'"):
        read_structured(specversion=version)


@pytest.mark.parametrize("name", ["", "data", "extensions", "schemaurl", "with-hyphen", "with_", "é", "a" * 65, "a b"])
def test_a_bad_attribute_name_is_refused(name: str) -> None:
    with pytest.raises(NotAnEvent, match="an attribute name must be of a-z and 0-9 and not reserved"):
        read({**HEADERS, f"ce-{name}": "x"}, b"")
    if name != "data":  # in structured mode that is where the data stands
        with pytest.raises(NotAnEvent, match="an attribute name must be of a-z and 0-9 and not reserved"):
            read_structured(**{name: "x"})


def test_upper_case_is_a_bad_attribute_name_in_structured_mode_only() -> None:
    with pytest.raises(NotAnEvent, match="got 'orderId'"):
        read_structured(orderId="x")

    assert read({**HEADERS, "ce-orderId": "x"}, b"").get("orderid") == "x"


@pytest.mark.parametrize("control", ["\0", "\t", "\n", "\r", "\x1f", "\x7f", "\x85", "\x9f"])
def test_a_control_character_is_refused_however_it_is_written(control: str) -> None:
    with pytest.raises(NotAnEvent, match="attribute subject must not hold control characters"):
        read_binary(ce_subject=f"a{control}b")
    with pytest.raises(NotAnEvent, match="attribute subject must not hold control characters"):
        read_binary(ce_subject="a" + "".join(f"%{byte:02x}" for byte in control.encode()) + "b")
    with pytest.raises(NotAnEvent, match="attribute subject must not hold control characters"):
        read_structured(subject=f"a{control}b")


@pytest.mark.parametrize("bad", ["%ff", "%C5", "%ED%A0%80", "%F4%90%80%80", "%c0%af"])
def test_percent_encoding_that_is_not_utf_8_is_refused(bad: str) -> None:
    with pytest.raises(NotAnEvent, match=f"a header must be percent-encoded UTF-8, got '{bad}'"):
        read_binary(ce_subject=bad)


@pytest.mark.parametrize(
    ("sent", "value"),
    [
        ("%41bc", "Abc"),  # encoded without need
        ("100%", "100%"),
        ("%zz", "%zz"),
        ("%2541", "%41"),  # one round only
        ("a,b;c", "a,b;c"),
        ('"a \\"quoted\\" %C5%81"', 'a "quoted" Ł'),  # HTTP binding 3.1.3.2: older SDKs quote
        ('"half', '"half'),
        ("Łódź".encode().decode("latin-1"), "Łódź"),  # as sdk-go writes it, and WSGI and ASGI hand it over
        ("caf\xe9", "café"),
    ],
)
def test_a_header_is_decoded_once_and_leniently(sent: str, value: str) -> None:
    event = read_binary(ce_subject=sent)

    assert event.get("subject") == value


@pytest.mark.slow
def test_every_unicode_character_survives_a_header() -> None:
    every = [chr(code) for code in range(0x20, 0x110000) if not 0x7F <= code < 0xA0 and not 0xD800 <= code < 0xE000]
    for start in range(0, len(every), 300):
        event = read_structured(subject="".join(every[start : start + 300]))

        headers, body = binary(event)

        assert re.fullmatch(r"[\x21\x23\x24\x26-\x7e]|[\x21-\x7e]*", headers["ce-subject"])
        assert read(headers, body) == event


@pytest.mark.parametrize("value", ["%41", "%2541", "100%", "%zz", '"quoted"', '"', "a\\b", " a ", "\xa0a", "Å\xa0"])
def test_a_value_that_looks_encoded_or_quoted_survives_a_header(value: str) -> None:
    headers, body = binary(read_structured(subject=value))

    assert read(headers, body).get("subject") == value


def test_a_request_of_neither_mode_is_refused() -> None:
    for headers in ({}, {"content-type": "application/json"}, {"ce-id": "1"}):
        with pytest.raises(NotAnEvent, match="a ce-specversion header or content-type application/cloudevents"):
            read(headers, b"{}")


@pytest.mark.parametrize("media_type", ["application/cloudevents-batch+json", "application/cloudevents+avro"])
def test_a_batch_or_another_format_is_refused(media_type: str) -> None:
    with pytest.raises(NotAnEvent, match=re.escape(repr(media_type))):
        read({"content-type": media_type}, json.dumps([ENVELOPE]).encode())
    with pytest.raises(NotAnEvent, match="not a CloudEvents format"):
        read({**HEADERS, "content-type": media_type}, json.dumps([ENVELOPE]).encode())


def test_binary_mode_is_not_mistaken_for_structured_mode_by_a_list_of_content_types() -> None:
    """The SDK would: repeated headers reach WSGI joined."""
    with pytest.raises(NotAnEvent, match="not a CloudEvents format"):
        read_binary(b"{}", content_type=f"{STRUCTURED},application/json")


def test_data_that_claims_to_be_an_event_itself_is_refused_because_binary_mode_would_read_it_as_the_event() -> None:
    with pytest.raises(NotAnEvent, match="not a CloudEvents format"):
        read_structured(datacontenttype=STRUCTURED, data={**ENVELOPE, "id": "another"})


def test_a_content_type_beyond_ascii_is_refused_because_it_is_written_as_it_is() -> None:
    with pytest.raises(NotAnEvent, match="datacontenttype must be ASCII"):
        read_structured(datacontenttype="text/plain; name=Łódź")
    with pytest.raises(NotAnEvent, match="datacontenttype must be ASCII"):
        read_binary(content_type="text/plain; name=\xe9")


# --- structured mode


def test_structured_mode_keeps_the_bytes_of_the_data() -> None:
    body = b'{"specversion":"1.0","id":"1","source":"/tests","type":"t","data": {"b" :1.50, "a":"\\u0141" } }'

    event = read({"Content-Type": "Application/CloudEvents+JSON; charset=UTF-8"}, body)

    assert event.data == b'{"b" :1.50, "a":"\\u0141" }'
    assert event.get("datacontenttype") == "application/json"


@pytest.mark.parametrize(
    ("members", "data", "media_type"),
    [
        ({}, b"", None),
        ({"data": None}, b"null", "application/json"),
        ({"data": ""}, b'""', "application/json"),
        ({"data": "text"}, b'"text"', "application/json"),
        ({"data": "<much wow='xml'/>", "datacontenttype": "application/xml"}, b"<much wow='xml'/>", "application/xml"),
        ({"data": "x", "datacontenttype": "application/vnd.api+json"}, b'"x"', "application/vnd.api+json"),
        ({"data": {"a": 1}, "datacontenttype": "text/plain"}, b'{"a": 1}', "text/plain"),
        ({"data_base64": "/wA="}, b"\xff\x00", None),
        ({"data_base64": ""}, b"", None),
    ],
)
def test_data_is_read_by_the_json_format(members: dict[str, Any], data: bytes, media_type: str | None) -> None:
    event = read_structured(**members)

    assert (event.data, event.get("datacontenttype")) == (data, media_type)


def test_both_data_and_data_base64_are_refused() -> None:
    with pytest.raises(NotAnEvent, match="only one of data and data_base64 is taken"):
        read_structured(data={}, data_base64="e30=")


@pytest.mark.parametrize(
    ("value", "canonical"),
    [(True, "true"), (False, "false"), (0, "0"), (-1, "-1"), (2**31 - 1, "2147483647"), (-(2**31), "-2147483648")],
)
def test_an_integer_or_boolean_extension_takes_its_canonical_form(value: object, canonical: str) -> None:
    assert read_structured(tries=value).get("tries") == canonical


@pytest.mark.parametrize("value", [2**31, -(2**31) - 1, 10**50, 1.5, 1e3, [], {}, ["x"]])
def test_an_extension_of_no_cloudevents_type_is_refused(value: object) -> None:
    with pytest.raises(NotAnEvent, match="the body must be a JSON object of attributes and data: Expected"):
        read_structured(tries=value)


def test_null_is_an_attribute_left_out() -> None:
    assert "subject" not in read_structured(subject=None).attributes


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b"null",
        b"[]",
        b'"text"',
        json.dumps([ENVELOPE]).encode(),
        b"\xef\xbb\xbf" + json.dumps(ENVELOPE).encode(),
        json.dumps(ENVELOPE).encode("utf-16"),
        json.dumps(ENVELOPE).encode() + b"x",
        json.dumps({**ENVELOPE, "data": float("nan")}).encode(),
        json.dumps({**ENVELOPE, "data": float("inf")}).encode(),
        json.dumps({**ENVELOPE, "subject": "\ud800"}).encode(),
        json.dumps({**ENVELOPE, "data": "\udfff"}).encode(),
        json.dumps({**ENVELOPE, "\ud800": "x"}).encode(),
        json.dumps({**ENVELOPE, "subject": "x"}).replace('"x"', '"\xff"').encode("latin-1"),
        json.dumps({**ENVELOPE, "data": "x"}).replace('"x"', '"\xff"').encode("latin-1"),
        json.dumps({**ENVELOPE, "data_base64": "!"}).encode(),
        json.dumps({**ENVELOPE, "data_base64": None}).encode(),
        json.dumps({**ENVELOPE, "data": 0}).replace("0}", "[" * 100_000 + "]" * 100_000 + "}").encode(),
        json.dumps({**ENVELOPE, "data": 0}).replace("0}", "9" * 5_000 + "}").encode(),
        b"[" * 100_000,
    ],
    ids=lambda body: repr(body[:20] + b"..." + body[-20:]),
)
def test_json_that_is_no_json_object_of_an_event_is_refused(body: bytes) -> None:
    with pytest.raises(NotAnEvent, match="the body must be a JSON object of attributes and data: "):
        read({"content-type": STRUCTURED}, body)


# --- batch mode


def read_batch_of(*members: Any, **headers: str) -> list[Event | NotAnEvent]:
    return read_batch({"content-type": BATCH, **headers}, json.dumps(members).encode())


def test_a_batch_is_its_events_in_their_order_as_structured_mode_reads_each() -> None:
    numbered = [{**ENVELOPE, "id": str(n), "data": {"n": n}} for n in range(1_000)]

    events = read_batch_of(*numbered)

    assert events == [read({"content-type": STRUCTURED}, json.dumps(each).encode()) for each in numbered]


def test_a_batch_keeps_the_bytes_of_each_event_s_data() -> None:
    body = b'[{"specversion":"1.0","id":"1","source":"/tests","type":"t","data": {"b" :1.50, "a":"\\u0141" } }]'

    [event] = read_batch({"content-type": BATCH}, body)

    assert isinstance(event, Event)
    assert event.data == b'{"b" :1.50, "a":"\\u0141" }'


@pytest.mark.parametrize("bad", [None, 1, "x", [], {}, {**ENVELOPE, "id": ""}, {**ENVELOPE, "tries": 1.5}, [ENVELOPE]])
def test_what_is_no_event_in_a_batch_stands_in_its_place_and_spoils_no_other(bad: Any) -> None:
    first, wrong, last = read_batch_of(ENVELOPE, bad, ENVELOPE)

    assert (first, last) == (read_structured(), read_structured())
    assert isinstance(wrong, NotAnEvent)


def test_a_batch_may_be_empty_and_hold_a_thousand_events_and_no_more() -> None:
    assert read_batch_of() == []
    with pytest.raises(NotAnEvent, match="a batch may hold at most 1000 events, got 1001"):
        read_batch_of(*[{}] * 1_001)


@pytest.mark.parametrize("body", [b"", b"{}", b"null", b"[", b"[{}", b"[{},]", b"\xff", b"[" * 100_000, b"[1] x"])
def test_a_body_that_is_no_json_list_is_no_batch(body: bytes) -> None:
    with pytest.raises(NotAnEvent, match="the body must be a JSON list of events: "):
        read_batch({"content-type": BATCH}, body)


def test_a_batch_over_ten_mebibytes_is_refused() -> None:
    with pytest.raises(NotAnEvent, match="the body must be at most 10485760 bytes, got 10485761"):
        read_batch({"content-type": BATCH}, b" " * (BODY_LIMIT_BYTES + 1))


def test_events_of_a_batch_take_the_trace_of_the_http_request_where_they_have_none() -> None:
    own = {**ENVELOPE, "traceparent": TRACEPARENT.replace("4", "5")}

    events = read_batch_of(ENVELOPE, own, traceparent=TRACEPARENT)

    assert [isinstance(each, Event) and each.get("traceparent") for each in events] == [TRACEPARENT, own["traceparent"]]


@given(
    st.binary(max_size=60)
    | st.lists(st.sampled_from([b"{}", b"1", b"null", b"[]"])).map(lambda each: b"[%s]" % b",".join(each))
)
@settings(deadline=None)
def test_any_body_is_a_batch_or_refused_and_nothing_else(body: bytes) -> None:
    try:
        found = read_batch({"content-type": BATCH}, body)
    except NotAnEvent:
        return

    assert [type(each) for each in found] == [NotAnEvent] * len(json.loads(body))


# --- rules for both modes


@pytest.mark.parametrize("headers", [HEADERS, {"content-type": STRUCTURED}])
def test_a_body_over_ten_mebibytes_is_refused(headers: dict[str, str]) -> None:
    with pytest.raises(NotAnEvent, match="the body must be at most 10485760 bytes, got 10485761"):
        read(headers, bytes(BODY_LIMIT_BYTES + 1))

    assert len(read(HEADERS, bytes(BODY_LIMIT_BYTES)).data) == BODY_LIMIT_BYTES


def test_an_attribute_may_take_4096_characters_of_a_header_and_no_more() -> None:
    assert len(read_structured(subject="a" * 4096).attributes["subject"]) == 4096
    assert len(read_structured(subject="ł" * 682).attributes["subject"]) == 682
    with pytest.raises(NotAnEvent, match="attribute subject must be at most 4096 characters when encoded"):
        read_structured(subject="a" * 4097)
    with pytest.raises(NotAnEvent, match="attribute subject must be at most 4096 characters when encoded"):
        read_structured(subject="ł" * 683)


def test_an_event_may_have_50_attributes_and_no_more() -> None:
    assert len(read_structured(**{f"x{n}": "1" for n in range(46)}).attributes) == 50
    with pytest.raises(NotAnEvent, match="at most 50 attributes are taken, got 51"):
        read_structured(**{f"x{n}": "1" for n in range(47)})


@pytest.mark.parametrize("source", ["a b", "a\u2003b", "<x>", 'a"b', "a{b}", "a|b", "a\\b", "a^b", "a`b"])
def test_a_source_that_is_no_uri_reference_is_refused(source: str) -> None:
    with pytest.raises(NotAnEvent, match="source must be a URI reference"):
        read_structured(source=source)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("2026-12-01T14:00:00Z", datetime(2026, 12, 1, 14, tzinfo=UTC)),
        ("2026-12-01t14:00:00z", datetime(2026, 12, 1, 14, tzinfo=UTC)),
        ("2026-12-01T14:00:00.5+01:30", datetime(2026, 12, 1, 12, 30, 0, 500_000, tzinfo=UTC)),
        ("2026-12-01T14:00:00.123456789Z", datetime(2026, 12, 1, 14, 0, 0, 123_456, tzinfo=UTC)),
        ("2026-12-01T14:00:00-00:00", datetime(2026, 12, 1, 14, tzinfo=UTC)),
        ("2016-12-31T23:59:60Z", datetime(2016, 12, 31, 23, 59, 59, tzinfo=UTC)),
        ("2024-02-29T00:00:00Z", datetime(2024, 2, 29, tzinfo=UTC)),
    ],
)
def test_rfc_3339_times_are_read(text: str, value: datetime) -> None:
    assert rfc3339(text) == value
    assert read_structured(time=text).get("time") == text


@given(st.datetimes(timezones=st.just(UTC)), st.datetimes(timezones=st.just(UTC)))
def test_moments_are_written_as_they_are_read_and_sort_by_time(one: datetime, other: datetime) -> None:
    earlier, later = sorted([one, other])

    assert timedelta(0) <= one - rfc3339(timestamp(one)) < timedelta(milliseconds=1)
    assert timestamp(earlier) <= timestamp(later)


@pytest.mark.parametrize(
    "text",
    [
        "yesterday",
        "2026-12-01",
        "2026-12-01T14:00:00",
        "2026-12-01 14:00:00Z",
        "2026-12-01T14:00Z",
        "2026-12-01T24:00:00Z",
        "2026-12-01T14:60:00Z",
        "2026-12-01T14:00:61Z",
        "2026-02-30T14:00:00Z",
        "2026-13-01T14:00:00Z",
        "0000-01-01T00:00:00Z",
        "2026-12-01T14:00:00.Z",
        "2026-12-01T14:00:00,5Z",
        "2026-12-01T14:00:00+0100",
        "2026-12-01T14:00:00+24:00",
        "2026-W49-2T14:00:00Z",
        "20261201T140000Z",
        "+2026-12-01T14:00:00Z",
        "2026-12-01T14:00:0\u0665Z",
        "1764597600",
    ],
)
def test_a_time_that_is_not_rfc_3339_is_refused(text: str) -> None:
    with pytest.raises(NotAnEvent, match="a time must be RFC 3339, such as 2026-12-01T14:00:00Z, got '"):
        read_structured(time=text)


@pytest.mark.parametrize("text", ["2026-12-01T14:00:00Z\n", "\n2026-12-01T14:00:00Z", " 2026-12-01T14:00:00Z"])
def test_a_time_has_nothing_around_it(text: str) -> None:
    with pytest.raises(NotAnEvent, match="a time must be RFC 3339"):
        rfc3339(text)


# --- trace context


def test_the_trace_of_the_http_request_is_taken_where_the_event_has_none() -> None:
    event = read_binary(traceparent=TRACEPARENT, tracestate="a=1")

    assert (event.get("traceparent"), event.get("tracestate")) == (TRACEPARENT, "a=1")


def test_the_trace_of_the_event_is_not_mixed_with_that_of_the_http_request() -> None:
    event = read_binary(ce_traceparent=TRACEPARENT, traceparent=TRACEPARENT.replace("4", "5"), tracestate="a=1")

    assert (event.get("traceparent"), event.get("tracestate")) == (TRACEPARENT, None)


@pytest.mark.parametrize("bad", ["x", TRACEPARENT.upper(), TRACEPARENT + "\n", "\xff" * 9, "0" * 9_000])
def test_a_malformed_trace_is_dropped_and_the_event_is_kept(bad: str) -> None:
    assert read_binary(traceparent=bad, tracestate="a=1") == read_binary()
    assert "tracestate" not in read_binary(traceparent=TRACEPARENT, tracestate=bad * 600).attributes


# --- round trips


NAMES = st.from_regex(r"[a-z0-9]{1,20}", fullmatch=True).filter(
    lambda name: name not in RESERVED | {"traceparent", "tracestate", "datacontenttype", "time"} | ENVELOPE.keys()
)
VALUES = st.text(st.characters(exclude_categories=("Cc", "Cs")), min_size=1, max_size=60)
SOURCES = VALUES.filter(lambda text: not re.search(r'[\s<>"{}|\\^`]', text))
TIMES = st.datetimes(timezones=st.just(UTC)).map(lambda moment: moment.isoformat().replace("+00:00", "Z"))
MEDIA_TYPES = ("application/json", "application/json; charset=utf-8", "application/vnd.x+json", "text/plain")
JSON_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
)
JSON_TEXTS = st.builds(
    lambda value, indent, ascii_: json.dumps(value, indent=indent, ensure_ascii=ascii_).encode("utf-8", "replace"),
    JSON_VALUES,
    st.none() | st.integers(0, 2),
    st.booleans(),
)


@st.composite
def events(draw: st.DrawFn) -> Event:
    """Any valid event."""
    attributes = draw(st.dictionaries(NAMES, VALUES, max_size=6)) | {
        "specversion": "1.0",
        "id": draw(VALUES),
        "source": draw(SOURCES),
        "type": draw(VALUES),
        "datacontenttype": draw(st.sampled_from(MEDIA_TYPES)),
    }
    if draw(st.booleans()):
        attributes["time"] = draw(TIMES)
    if draw(st.booleans()):
        attributes |= {"traceparent": TRACEPARENT, "tracestate": draw(VALUES)}
    return Event(attributes, draw(st.binary() | JSON_TEXTS))


@pytest.mark.slow
@given(events())
@settings(deadline=None, max_examples=300)
def test_any_event_survives_binary_mode_byte_for_byte(event: Event) -> None:
    headers, body = binary(event)

    assert read(headers, body) == event
    for name, value in headers.items():
        assert re.fullmatch(r"[a-z0-9-]+", name)
        assert re.fullmatch(r"[\x20-\x7e]+", value)


@pytest.mark.slow
@given(events())
@settings(deadline=None, max_examples=300)
def test_any_event_survives_structured_mode_byte_for_byte_but_for_space_around_json(event: Event) -> None:
    envelope = structured(event)
    again = read({"content-type": STRUCTURED}, envelope)

    assert again.attributes == event.attributes
    assert again.data == (event.data if b'"data_base64":' in envelope else event.data.strip(JSON_SPACE))
    assert read({"content-type": STRUCTURED}, structured(again)) == again  # nothing more is lost


@pytest.mark.slow
@given(events())
@settings(deadline=None)
def test_any_event_survives_a_change_of_mode(event: Event) -> None:
    headers, body = binary(read({"content-type": STRUCTURED}, structured(event)))

    assert read(headers, body).attributes == event.attributes
    assert body.strip(JSON_SPACE) == event.data.strip(JSON_SPACE)


def test_data_that_only_claims_to_be_json_goes_as_base64() -> None:
    for data in (b"{", b'{"a":"\xff"}', b"[" * 100_000 + b"]" * 100_000, b"\xef\xbb\xbf{}", b"NaN"):
        event = Event({**ENVELOPE, "datacontenttype": "application/json"}, data)

        envelope = structured(event)

        assert b'"data_base64":' in envelope
        assert read({"content-type": STRUCTURED}, envelope) == event


@pytest.mark.slow
@given(st.dictionaries(st.text(), st.text()), st.binary() | JSON_TEXTS)
@settings(deadline=None, max_examples=300)
def test_whatever_comes_is_an_event_or_refused_and_nothing_else(more: dict[str, str], body: bytes) -> None:
    for headers in ({**more}, {**more, "content-type": STRUCTURED}, {**HEADERS, **more}):
        try:
            event = read(headers, body)
        except NotAnEvent:
            continue

        again, data = binary(event)
        assert read(again, data) == event


# --- samples and schemas


@pytest.mark.parametrize("type_", REGISTRY)
def test_each_type_has_a_sample_that_is_an_event_of_it(type_: str) -> None:
    event = read({"content-type": STRUCTURED}, (SAMPLES / f"{type_}.json").read_bytes())
    value = decode(event.data, REGISTRY[type_])

    assert event.type == type_
    assert type(value) is REGISTRY[type_]
    assert event.get("time") is not None
    assert event.get("datacontenttype") == "application/json"


@pytest.mark.parametrize("type_", [type_ for type_ in REGISTRY if ".requested." not in type_])
def test_each_outcome_in_the_samples_names_its_job(type_: str) -> None:
    event = read({"content-type": STRUCTURED}, (SAMPLES / f"{type_}.json").read_bytes())
    _, job, phase, _ = type_.removeprefix("dev.").split(".")

    cause = sample(job)
    assert (outcome_of(event), event.source) == (phase, f"/errands/{job}")
    assert event.get("outcome") == (None if "stepof" in cause else phase)
    assert (event.get("jobid"), event.get("causationid")) == (cause["id"], cause["id"])
    assert (event.get("jobsource"), event.get("subject")) == (cause["source"], cause["subject"])


@pytest.mark.parametrize("type_", REGISTRY)
def test_each_type_has_a_schema_that_is_fresh_and_fits_its_sample(type_: str) -> None:
    written = (FOLDER / f"{type_}.json").read_bytes()
    schema = json.loads(written)

    assert written == rendered(type_), "run `make schemas`"
    Draft202012Validator.check_schema(schema)
    Draft202012Validator(schema).validate(json.loads((SAMPLES / f"{type_}.json").read_bytes())["data"])


def test_a_schema_is_the_same_whichever_msgspec_described_it(monkeypatch: pytest.MonkeyPatch) -> None:
    null, part = {"type": "null"}, {"$ref": "#/$defs/Part"}
    old = {"description": "A mail.\n\n    In parts.", "properties": {"part": {"anyOf": [null, part]}}}
    new = {"description": "A mail.\n\nIn parts.", "properties": {"part": {"anyOf": [part, null]}}}

    texts = []
    for described in (old, new):
        monkeypatch.setattr(msgspec.json, "schema", lambda _, described=described: described)
        texts.append(text("urn:mail", Event))

    assert texts[0] == texts[1]
    assert json.loads(texts[1])["description"] == "A mail.\n\nIn parts."


@pytest.mark.parametrize("folder", [SAMPLES, FOLDER])
def test_there_is_no_sample_or_schema_of_a_type_that_is_gone(folder: Path) -> None:
    assert {file.name for file in folder.iterdir()} == {f"{type_}.json" for type_ in REGISTRY}


def test_a_schema_refuses_what_the_struct_refuses() -> None:
    schema = json.loads(rendered("dev.errands.ics.requested.v1"))
    data = sample("ics")["data"]
    changes: list[dict[str, Any]] = [{"method": "add"}, {"sequence": -1}, {"events": []}, {"misspelt": 1}]

    for change in [*changes, {"name": "a/b"}]:
        with pytest.raises(JobFailed):
            decode(json.dumps(data | change).encode(), IcsRequested)
        assert not Draft202012Validator(schema).is_valid(data | change)


# --- problems


def problems(data: object, type_: type[Any]) -> dict[str, str]:
    """The pointer and detail of each bad field."""
    with pytest.raises(JobFailed) as failed:
        decode(data if isinstance(data, bytes) else json.dumps(data).encode(), type_)
    return {each.pointer: each.detail for each in failed.value.errors}


def test_every_bad_field_is_named_with_its_pointer() -> None:
    data = sample("ics")["data"]
    data["events"].append({"summary": "", "start": 5, "attendees": [{"email": "a@b"}, {"email": "no", "role": "host"}]})
    data |= {"sequence": -1, "calender": "misspelt", "method": None}

    found = problems(data, IcsRequested)

    assert found.keys() == {
        "#/events/1/summary",
        "#/events/1/start",
        "#/events/1/attendees/1/email",
        "#/events/1/attendees/1/role",
        "#/sequence",
        "#/method",
        "#/calender",
    }
    assert found["#/sequence"] == "Expected an integer >= 0, got -1"
    assert found["#/calender"].startswith("is unknown; expected one of: events, name, method")


def test_a_required_field_that_is_missing_is_named() -> None:
    assert problems({"events": [{"start": "2026-12-01"}]}, IcsRequested) == {"#/events/0/summary": "is required"}


def test_a_list_that_is_too_short_or_no_list_is_named_itself() -> None:
    assert problems({"events": []}, IcsRequested).keys() == {"#/events"}
    assert problems({"events": "x"}, IcsRequested) == {"#/events": 'Expected an array, got "x"'}


@pytest.mark.parametrize(
    ("type_", "value", "said"),
    [
        (tuple[int, ...], {"a": 1}, "Expected an array, got an object"),
        (str, [1], "Expected a text, got an array"),
        (dict[str, int], "x", 'Expected an object, got "x"'),
        (float, "x", 'Expected a number, got "x"'),
        (bool, None, "Expected true or false, got null"),
        (int | str | None, 1.5, "Expected an integer, a text or null, got 1.5"),
        (bytes, 5, "Expected a text in base64, got 5"),
        (Literal["fit", "fill"], "fil", 'Expected one of fit, fill, got "fil"'),
        (Literal["fit", "fill"] | None, "fil", 'Expected one of fit, fill, got "fil"'),
        (Annotated[str, msgspec.Meta(max_length=2)], "abc", 'Expected a text of length <= 2, got "abc"'),
    ],
)
def test_what_is_wrong_is_said_in_the_words_of_json(type_: Any, value: object, said: str) -> None:
    struct = msgspec.defstruct("Asked", [("field", type_)], frozen=True)

    assert problems({"field": value}, struct) == {"#/field": said}


def test_a_rule_between_fields_is_named_at_what_holds_them() -> None:
    data = {"source": {"url": "https://x", "key": "k"}, "outputs": [{"name": "a", "mode": "fill", "width_px": 5}]}

    found = problems(data, ImageRequested)

    assert found == {
        "#/source": "exactly one of url, key, data_base64 is expected, got url and key",
        "#/outputs/0": "mode fill expects both width_px and height_px",
    }


def test_a_pointer_is_escaped_as_a_uri_fragment() -> None:
    data = {**sample("ics")["data"], "a/b~c": 1, "d e": 1, "ł%": 1, "": 1}

    assert problems(data, IcsRequested).keys() == {"#/a~1b~0c", "#/d%20e", "#/%C5%82%25", "#/"}


def test_a_pointer_starts_where_the_data_stands() -> None:
    with pytest.raises(JobFailed, match="#/data/name: is required"):
        decode(b"{}", ImageOutput, at="#/data")


@pytest.mark.parametrize(
    "data",
    [b"", b"{", b"\xff", b'{"name":"\xff"}', b'{"x":"\\ud800"}', b"[" * 100_000, b"\xef\xbb\xbf{}", b"NaN", b"1e999"],
)
def test_data_that_is_no_json_fails_the_job(data: bytes) -> None:
    with pytest.raises(JobFailed, match="data must be JSON: ") as failed:
        decode(data, IcsRequested)

    assert [each.pointer for each in failed.value.errors] == ["#"]


@pytest.mark.parametrize("value", [10**30, -(10**30), 1.5, 1e300, True, "x" * 1_000, [1], {"a": 1}, None])
def test_any_value_in_the_place_of_another_is_explained(value: object) -> None:
    found = problems({"repeat": value}, Alarm)

    assert found.keys() == {"#/repeat"}
    assert len(found["#/repeat"]) < 200


@pytest.mark.slow
def test_a_million_bad_fields_make_a_failed_event_that_still_passes_the_broker() -> None:
    data = b'{"' + b"n" * 1_000_000 + b'":0,' + b",".join(b'"%d":0' % n for n in range(700_000)) + b"}"

    with pytest.raises(JobFailed, match="over 100 fields break the contract") as failed:
        decode(data, IcsRequested)

    assert len(failed.value.errors) == SHOWN_ERRORS
    assert len(msgspec.json.encode(failed.value.problem)) < 64 * 1024


def test_the_same_bad_data_gives_the_same_words_in_the_same_order() -> None:
    unknown = [f"field{n}" for n in range(20)]

    found = problems({**sample("ics")["data"], **dict.fromkeys(unknown, 1)}, IcsRequested)

    assert list(found) == [f"#/{name}" for name in unknown]


def test_a_failed_job_is_problem_details_of_rfc_9457() -> None:
    failed = JobFailed("source-refused", "too large", (FieldError(pointer="#/source", detail="too large"),))

    assert json.loads(msgspec.json.encode(failed.problem)) == {
        "type": "https://errands.dev/problems/source-refused",
        "title": "Source refused",
        "detail": "too large",
        "errors": [{"pointer": "#/source", "detail": "too large"}],
    }


# --- types


def test_a_class_name_gives_its_event_type() -> None:
    second = type("ImageRequestedV2", (msgspec.Struct,), {})

    assert event_type(ImageRequested) == "dev.errands.image.requested.v1"
    assert event_type(second) == "dev.errands.image.requested.v2"


@pytest.mark.parametrize("name", ["Image", "Requested", "ImageMade", "imageRequested", "ImageFailedV", "Image_Failed"])
def test_another_class_name_gives_none(name: str) -> None:
    with pytest.raises(ValueError, match=f"an event class is named .*, got {name}"):
        event_type(type(name, (msgspec.Struct,), {}))


def test_the_sibling_of_a_type_is_the_same_job_and_version_in_another_phase() -> None:
    assert sibling_type("dev.errands.image.requested.v1", "failed") == "dev.errands.image.failed.v1"
    assert sibling_type("dev.errands.image.requested.v12", "completed") == "dev.errands.image.completed.v12"


def test_every_job_of_the_registry_has_every_phase() -> None:
    jobs = {type_.split(".")[2] for type_ in REGISTRY}

    assert set(REGISTRY) == {f"dev.errands.{job}.{phase.lower()}.v1" for job in jobs for phase in PHASES}


@pytest.mark.parametrize(
    ("type_", "data", "pointer"),
    [
        (ImageOutput, {"name": "a.png\n"}, "#/name"),
        (ReportRequested, {"template": "invoice\n", "data": {}}, "#/template"),
        (Input, {"key": "k", "sha256": "0" * 64 + "\n"}, "#/sha256"),
        (MessageRequested, {"to": ["a@b.example\n"], "subject": "s", "text": "t"}, "#/to/0"),
        (MessageRequested, {"to": ["a@b.example"], "subject": "s\n", "text": "t"}, "#/subject"),
        (MessageRequested, {"to": ["a@b.example"], "subject": "s\nBcc: x", "text": "t"}, "#/subject"),
        (Attachment, {"name": "a", "source": {"key": "k"}, "media_type": "text/plain\n"}, "#/media_type"),
    ],
)
def test_no_pattern_lets_a_line_feed_through(type_: type[Any], data: dict[str, Any], pointer: str) -> None:
    assert problems(data, type_).keys() == {pointer}


def test_every_pattern_of_the_contract_ends_where_the_text_ends() -> None:
    patterns = {found for type_ in REGISTRY for found in re.findall(rb'"pattern": "(.*)"', rendered(type_))}

    assert len(patterns) >= 6
    assert [each for each in patterns if not each.startswith(b"^") or not each.endswith(rb"$(?!\\n)")] == []


@pytest.mark.parametrize(
    "name", ["../x", "a/b", ".hidden", "-rf", "", "a" * 101, "a\0b", "a\\b", "a\u202eb", "a ", 'a"b']
)
def test_a_name_is_a_file_name_and_no_path(name: str) -> None:
    assert problems({"name": name}, ImageOutput).keys() == {"#/name"}


@pytest.mark.parametrize(
    "name", ["Rechnung März 2026.pdf", "請求書.pdf", "invoice 1042.pdf", "ł", "№ 7 (копия).pdf", "😀"]
)
def test_a_name_is_of_any_language(name: str) -> None:
    assert decode(json.dumps({"name": name}).encode(), ImageOutput).name == name


def test_outputs_have_different_names() -> None:
    data = sample("image")["data"]
    data["outputs"][1]["name"] = data["outputs"][0]["name"]

    assert problems(data, ImageRequested) == {"#": "outputs must have different names, got thumb.jpg twice"}


def test_requests_refuse_an_unknown_field_and_readers_of_the_other_types_take_it() -> None:
    for type_, struct in REGISTRY.items():
        _, job, phase, _ = type_.removeprefix("dev.").split(".")
        data = {**sample(job, phase)["data"], "later": 1}
        if phase == "requested":
            assert problems(data, struct).keys() == {"#/later"}
        else:
            assert type(decode(json.dumps(data).encode(), struct)) is struct


def test_structs_are_frozen() -> None:
    job = decode(json.dumps(sample("ics")["data"]).encode(), IcsRequested)

    with pytest.raises(AttributeError):
        job.name = "other.ics"  # type: ignore[misc]  # what the test is about


def test_an_event_with_attributes_added_is_another_event() -> None:
    event = read_structured()

    changed = event.with_attributes(subject="x")

    assert (event.get("subject"), changed.get("subject")) == (None, "x")
    assert changed.data == event.data


def test_no_sample_is_older_than_its_cause() -> None:
    for type_ in REGISTRY:
        _, job, phase, _ = type_.removeprefix("dev.").split(".")
        taken = rfc3339(sample(job, phase)["time"]) - rfc3339(sample(job)["time"])

        assert timedelta(0) <= taken < timedelta(minutes=1)


def test_a_bad_password_is_not_quoted() -> None:
    locked = {"name": "a.pdf", "pdf": {"encryption": {"password": "hunter2" * 30}}}
    data = sample("report")["data"] | {"outputs": [locked]}

    with pytest.raises(JobFailed) as raised:
        decode(json.dumps(data).encode(), ReportRequested)

    [error] = raised.value.errors
    assert error.pointer == "#/outputs/0/pdf/encryption/password"
    assert "hunter2" not in raised.value.detail + error.detail


def test_every_module_of_a_job_is_a_part_of_the_registry() -> None:
    folder = Path(types.__file__).parent
    jobs = {file.stem for file in folder.glob("*.py")} - {"__init__", "base"}

    assert {struct.__module__.rpartition(".")[2] for struct in REGISTRY.values()} == jobs
