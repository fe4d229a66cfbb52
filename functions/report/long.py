"""Reports that take minutes: the target that the work queue's worker runs."""

import inspect

from msgspec.structs import asdict

from events.http import Event
from events.types import LongreportCompleted, LongreportRequested
from functions.report.main import handle as report
from functions.report.main import store
from functions.runtime.adapter import function
from functions.storage.ledger import ReplyLedger

make = inspect.unwrap(report)  # the handler of the short ones


@function(LongreportRequested, ledger=ReplyLedger(store))
def handle(job: LongreportRequested, event: Event) -> LongreportCompleted:
    """One request in, its documents out; the limits are those of this worker's environment."""
    return LongreportCompleted(**asdict(make(job, event)))
