"""The contract of signals: what is said to a flow that runs."""

from typing import Annotated, Any

from msgspec import Meta

from events.problem import Problem
from events.types.base import DeadLetter, Request, Result

SignalName = Annotated[str, Meta(pattern=r"^[a-z0-9][a-z0-9_.-]{0,99}$(?!\n)", examples=["paid"])]


class SignalRequested(Request, frozen=True, kw_only=True):
    """Say something to the flow whose request has this id, and the source of this event.

    Three names are ours: `cancel` ends the flow, which undoes what it has done; `resume` has one that is held go on;
    `complete` tells the end of a call that was answered 202 (`data` is a StepDone). Said before the flow has begun, it
    is kept for it.
    """

    flow: Annotated[str, Meta(min_length=1, max_length=1_000, description="the id of the flow's request")]
    name: SignalName
    data: Any = None


class StepDone(Request, frozen=True, kw_only=True):
    """The end of the step of this number: what it came to, or the problem that it failed with. `flowid` is that of the
    step's request, where the step is of a flow within the flow.
    """

    step: Annotated[int, Meta(ge=1)]
    flowid: Annotated[str, Meta(max_length=100)] | None = None
    value: Any = None
    problem: Problem | None = None


class SignalCompleted(Result, frozen=True, kw_only=True):
    """The flow has it; `state` is what the flow is in now: `expected` where it has not begun."""

    state: str


class SignalFailed(Problem, frozen=True, kw_only=True):
    """There is no such flow, or it has ended."""


class SignalDeadlettered(DeadLetter, frozen=True, kw_only=True):
    """The signal is kept as a dead letter."""
