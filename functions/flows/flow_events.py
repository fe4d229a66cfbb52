"""The events that a flow sends: its steps' requests, and its own last one."""

from datetime import datetime
from types import MappingProxyType
from typing import Final
from uuid import uuid5

from msgspec import Struct

from events.http import Event, timestamp
from events.job import CARRIED_FIRST, NAMESPACE, carried, job_key
from events.problem import Problem
from events.types import sibling_type
from functions.flows.flow_record import FlowRecord
from functions.runtime.adapter import reply_event

CALLBACK: Final = "callbackurl"  # of the flow alone: the API hears how that ends
assert CALLBACK in CARRIED_FIRST  # noqa: S101


def step_request(flow: FlowRecord, number: int, type_: str, data: bytes, *, asked_at: datetime) -> Event:
    """A step's request: the same step is the same event, however often it is sent.

    `flowjob` is the key of the job that all of it is for, by which the gateway knows it.
    """
    attributes = {
        "specversion": "1.0",
        "id": f"{flow.id}.{number}",
        "source": f"/errands/{flow.name}",
        "type": type_,
        "time": timestamp(asked_at),
        "datacontenttype": "application/json",
        "stepof": flow.name,
        "flowid": flow.id,
        "flowjob": flow.request.get("flowjob") or job_key(flow.request),
        "step": str(number),
    }
    extensions = {name: value for name, value in carried(flow.request).items() if name != CALLBACK}
    return Event(MappingProxyType(extensions | attributes), data)


def completed(request: Event, data: bytes, *, now: datetime) -> Event:
    """The flow's end, as its function returned it."""
    event = reply_event(request, sibling_type(request.type, "completed"), _Nothing(), now=now)
    return Event(event.attributes, data)


def failed(request: Event, problem: Problem, *, now: datetime) -> Event:
    """The flow's end, as it failed."""
    return reply_event(request, sibling_type(request.type, "failed"), problem, now=now)


def following(before: Event | None, ending: Event) -> Event:
    """A flow's end; with an id of its own where the flow has ended before, and was begun anew."""
    if before is None:
        return ending
    return ending.with_attributes(id=str(uuid5(NAMESPACE, f"{before.id}\n{ending.id}")))


class _Nothing(Struct):
    pass
