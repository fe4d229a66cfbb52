"""Spans as an OTLP request (opentelemetry-proto), and how a receiver's answer to one is to be understood."""

from collections.abc import Iterable, Mapping
from typing import Final

import httpx
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.common.v1.common_pb2 import AnyValue, InstrumentationScope, KeyValue
from opentelemetry.proto.resource.v1.resource_pb2 import Resource
from opentelemetry.proto.trace.v1 import trace_pb2 as proto

from functions.gateway.tracing.spans import Span, Value
from functions.net.configured import client

PROTOBUF: Final = "application/x-protobuf"
LATER: Final = (429, 502, 503, 504)  # OTLP 1.3, "Retryable Response Codes"
TIMEOUT_S: Final = 10.0
KINDS: Final[Mapping[str, "proto.Span.SpanKind.ValueType"]] = {
    "internal": proto.Span.SPAN_KIND_INTERNAL,
    "client": proto.Span.SPAN_KIND_CLIENT,
    "consumer": proto.Span.SPAN_KIND_CONSUMER,
}


class NotTaken(Exception):
    """The receiver has not taken the spans; `again` where it may do so later."""

    def __init__(self, why: str, *, again: bool) -> None:
        super().__init__(why)
        self.again = again


def send(url: str, headers: Mapping[str, str], body: bytes) -> None:
    """Hand spans over; raise NotTaken."""
    try:
        response = client().post(url, content=body, headers={**headers, "content-type": PROTOBUF}, timeout=TIMEOUT_S)
    except (httpx.HTTPError, httpx.InvalidURL) as error:
        raise NotTaken(f"{type(error).__name__}: {error}", again=True) from error
    if response.status_code != 200:
        raise NotTaken(f"{response.status_code}: {response.text[:200]}", again=response.status_code in LATER)


def encoded(spans: Iterable[Span], *, service: str) -> bytes:
    """The body of a request."""
    scope = proto.ScopeSpans(scope=InstrumentationScope(name="errands"), spans=map(_span, spans))
    resource = Resource(attributes=_attributes({"service.name": service}))
    resource_spans = proto.ResourceSpans(resource=resource, scope_spans=[scope])
    return ExportTraceServiceRequest(resource_spans=[resource_spans]).SerializeToString()


def _span(span: Span) -> proto.Span:
    return proto.Span(
        trace_id=span.trace,
        span_id=span.id,
        parent_span_id=span.parent,
        trace_state=span.state,
        name=span.name,
        kind=KINDS[span.kind],
        start_time_unix_nano=span.start_ms * 1_000_000,
        end_time_unix_nano=span.end_ms * 1_000_000,
        attributes=_attributes(span.attributes),
        events=[
            proto.Span.Event(
                name=each.name, time_unix_nano=each.at_ms * 1_000_000, attributes=_attributes(each.attributes)
            )
            for each in span.events
        ],
        status=None if span.fault is None else proto.Status(code=proto.Status.STATUS_CODE_ERROR, message=span.fault),
    )


def _attributes(values: Mapping[str, Value]) -> list[KeyValue]:
    return [
        KeyValue(key=name, value=AnyValue(int_value=value) if isinstance(value, int) else AnyValue(string_value=value))
        for name, value in values.items()
    ]
