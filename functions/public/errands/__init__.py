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
which is retried and then kept as a dead letter. How it is tested is said by `errands.testing`.
"""

from events.http import Event
from events.problem import JobFailed, NotNow, TryAgain
from events.types import Artifact, Input, Name, Request, Result, Text
from functions.net.guard import Guard
from functions.runtime.adapter import function
from functions.runtime.adapter import system_clock as now
from functions.storage.inputs import load as read_input
from functions.storage.ledger import ReplyLedger
from functions.storage.settings import Settings
from functions.storage.store import Store

__all__ = [
    "Artifact",
    "Event",
    "Guard",
    "Input",
    "JobFailed",
    "Name",
    "NotNow",
    "ReplyLedger",
    "Request",
    "Result",
    "Settings",
    "Store",
    "Text",
    "TryAgain",
    "function",
    "now",
    "read_input",
]
