"""Everything that a function of a project of its own is made of; what is not named here is not public.

    from errands import Event, Request, Result, function

    class GreetRequested(Request, frozen=True, kw_only=True):     # dev.errands.greet.requested.v1
        name: str

    class GreetCompleted(Result, frozen=True, kw_only=True):      # dev.errands.greet.completed.v1
        text: str

    @function(GreetRequested)
    def handle(job: GreetRequested, event: Event) -> GreetCompleted:
        return GreetCompleted(text=f"Hello, {job.name}")

A handler returns a struct of the contract, or None where no event follows. It raises `JobFailed` for what can never
be done, `TryAgain` for what can be done later, and `NotNow` for an attempt that was not made; anything else is a bug,
which is retried and then kept as a dead letter. A handler that takes a while says by `progress(40, "page 212")` how
far it is. A `flow` is a job of other jobs, its steps, for which its function asks by a `Flow`. How both are tested is
said by `errands.testing`.
"""

from events.flow import Flow, StepFailed, flow
from events.http import Event
from events.problem import JobFailed, NotNow, TryAgain
from events.types import Artifact, Input, Name, Request, Result, Text
from functions.net.guard import Guard
from functions.runtime.adapter import function
from functions.runtime.adapter import system_clock as now
from functions.runtime.progress import progress
from functions.storage.inputs import load as read_input
from functions.storage.ledger import ReplyLedger
from functions.storage.settings import Settings
from functions.storage.store import Store

__all__ = [
    "Artifact",
    "Event",
    "Flow",
    "Guard",
    "Input",
    "JobFailed",
    "Name",
    "NotNow",
    "ReplyLedger",
    "Request",
    "Result",
    "Settings",
    "StepFailed",
    "Store",
    "Text",
    "TryAgain",
    "flow",
    "function",
    "now",
    "progress",
    "read_input",
]
