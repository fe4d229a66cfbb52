"""The event of the telemetry function: one reading. It has no reply, so it is the function's own and not a job."""

from typing import Annotated

from msgspec import Meta

from events.types import Request

TEXT = r"^[^\x00]*$"  # PostgreSQL's text holds anything but that


class TelemetryRequested(Request, frozen=True, kw_only=True):
    """One reading of one sensor; when it was taken is the event's `time`."""

    sensor: Annotated[str, Meta(min_length=1, max_length=200, pattern=TEXT)]
    metric: Annotated[str, Meta(min_length=1, max_length=100, pattern=TEXT)]
    value: float
    unit: Annotated[str, Meta(max_length=20, pattern=TEXT)] | None = None
