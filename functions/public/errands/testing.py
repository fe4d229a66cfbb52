"""How a function is tested: by itself with `load` and `call`, and whole with `errands exec -- pytest` and `send`.

    def test_a_greeting_is_given(tmp_path: Path) -> None:
        greet = load("shop/greet/main.py", store_url=tmp_path.as_uri())

        outcome = greet.call(GreetRequested(name="Ada"))

        assert outcome.name == "completed"
        assert outcome.data == {"text": "Hello, Ada"}

`call` goes through the adapter, as an event does: data that breaks the contract, an exception or a wrong return come
to what they come to in `errands up`, and a `breakpoint()` in the handler stops there. `send` hands a job to the runner
that `errands exec` has started, and waits for its outcome.
"""

import os
from typing import Final

import msgspec

from events.http import Event
from functions.runtime.trial import LoadedFunction, Outcome, load, request
from knative.cli import client

__all__ = ["LoadedFunction", "Outcome", "is_running", "load", "request", "send"]

SINK: Final = "K_SINK"


def is_running() -> bool:
    """Whether `errands exec` has started these tests: without it there is nothing to send to."""
    return SINK in os.environ


def send(job: msgspec.Struct | Event, *, timeout_s: float = 60.0) -> Event:
    """The last event of a job that is handed to the runner of `errands exec`; raises NoOutcome when there is none."""
    event = job if isinstance(job, Event) else request(job)
    sink = os.environ[SINK]
    client.post(event, sink, token=None)
    return client.wait(event, sink, token=None, timeout_s=timeout_s)
