"""What is said to flows through the gateway: each is an event, and a job, of its own."""

from dataclasses import dataclass
from types import MappingProxyType
from typing import Annotated, Any, Final

import msgspec

from events.http import Event, timestamp
from events.problem import NotAnEvent, Problem, decode
from events.types import SignalRequested, StepDone, event_type
from functions.runtime.adapter import system_clock

COMPLETE: Final = "complete"
BY_THE_GATEWAY: Final = ("cancel", COMPLETE)  # each has a path of its own


@dataclass(frozen=True, slots=True)
class Said:
    """A signal: its name and data. `of_step` is the id of one that tells a step's end."""

    name: str
    data: Any
    of_step: str = ""


class Completion(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What `/complete` is told: the id of the step's request, and its result or the problem that it failed with."""

    step: Annotated[str, msgspec.Meta(pattern=r"^[0-9a-f-]{36}\.[1-9][0-9]{0,9}$(?!\n)", description="FLOWID.NUMBER")]
    value: Any = None
    problem: Problem | None = None


def signal_said(name: str, body: bytes) -> Said:
    """Any signal but those that the gateway sends itself; raise NotAnEvent for a body that is no JSON."""
    if name in BY_THE_GATEWAY:
        raise NotAnEvent(f"POST .../{name} is expected for {name}, which is no signal of a flow's own")
    try:
        return Said(name, msgspec.json.decode(body) if body.strip() else None)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise NotAnEvent(f"the body must be JSON: {error}") from error


def completion_said(body: bytes) -> Said:
    """The end of a step; raise JobFailed that names each bad field."""
    told = decode(body, Completion)
    flow, _, number = told.step.partition(".")
    done = StepDone(step=int(number), flowid=flow, value=told.value, problem=told.problem)
    return Said(COMPLETE, msgspec.to_builtins(done), f"complete-{told.step}")


def signal_event(flow: Event, said: Said, id_: str) -> Event:
    """The event that tells a flow."""
    attributes = {
        "specversion": "1.0",
        "id": id_,
        "source": flow.source,
        "type": event_type(SignalRequested),
        "time": timestamp(system_clock()),
        "datacontenttype": "application/json",
    }
    data = {"flow": flow.id, "name": said.name, "data": said.data}
    return Event(MappingProxyType(attributes), msgspec.json.encode(data))
