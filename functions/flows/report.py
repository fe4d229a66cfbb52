"""Flows as a person reads them: a line in a list, and one flow with its steps."""

from collections.abc import Iterator
from datetime import datetime
from typing import Final

from events.http import timestamp
from functions.flows import flow_record, steps, timers
from functions.flows.flow_record import FlowRecord
from functions.flows.steps import StepRecord
from functions.storage.database import Transaction

STATES: Final = ("running", "held", "completed", "failed")
ENDS: Final = {"fired": "its time came", "deadlettered": "dead letter"}


def listed(transaction: Transaction, *, states: tuple[str, ...], name: str | None, limit: int) -> Iterator[str]:
    """Flows, the newest first; under one that is held why it is."""
    for flow in flow_record.newest(transaction, states=states, name=name, limit=limit):
        yield f"{flow.id}  {flow.state:<9}  {_moment(flow.accepted_at)}  {flow.name:<16} {flow.request.id}"
        if flow.reason:
            yield f"        {flow.reason.splitlines()[-1]}"


def described(transaction: Transaction, flow: FlowRecord) -> Iterator[str]:
    """One flow: what it is in, what it waits for, and each of its steps."""
    yield f"flow       {flow.id}, {flow.name} version {flow.version}, {flow.state}"
    yield f"request    {flow.request.id} of {flow.request.source}, {_moment(flow.accepted_at)}"
    if flow.parent:
        yield f"step of    {flow.parent}"
    if flow.progress:
        yield f"progress   {flow.progress.percent:g} %  {flow.progress.text}".rstrip()
    if flow.reason:
        yield f"held       {flow.reason}"
    due = timers.of_flow(transaction, flow.id)
    for step in steps.all_of(transaction, flow.id):
        yield _step_line(step, due.get(step.number), waited_for=step.number in flow.waits)
    if flow.ended_at:
        yield f"ended      {_moment(flow.ended_at)}"


def _step_line(step: StepRecord, due: datetime | None, *, waited_for: bool) -> str:
    if step.answer is not None:
        state = f"{ENDS.get(step.answer.kind, step.answer.kind)} {_moment(step.answer.at)}"
    elif step.dead_letter is not None:
        state = f"dead letter {step.dead_letter}"
    else:
        state = "waits for its place" if step.state == "queued" else "waited for" if waited_for else "under way"
        state += f", until {_moment(due)} at most" if due else ""
    return f"{step.number:>6}     {_moment(step.asked_at)}  {step.what:<40} {state}"


def _moment(at: datetime) -> str:
    return f"{timestamp(at)[:19]}Z"
