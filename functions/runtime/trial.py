"""One function called in this process, through the adapter and without a server: for tests, and for `errands run`.

greet = load("shop/greet/main.py", store_url=tmp_path.as_uri())
outcome = greet.call(GreetRequested(name="Ada"))

assert outcome.name == "completed"
assert outcome.data["text"] == "Hello, Ada"
"""

import os
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final, Literal, cast

import msgspec

from events import sdk
from events.http import Event, check
from events.types import event_type
from functions.runtime import loader
from functions.runtime.adapter import Function
from functions.runtime.outcome import judge

OutcomeName = Literal["completed", "failed", "done", "try again", "not now", "bug"]
SOURCE: Final = "/errands/tests"


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What one call came to.

    `done` is a handler that had nothing to say; `try again`, `not now` and `bug` are delivered again. `event` is what
    is sent on, where something is, and `detail` what a failure says of itself.
    """

    name: OutcomeName
    event: Event | None
    detail: str
    status: int
    elapsed_s: float

    @property
    def data(self) -> dict[str, Any]:
        """The data of what is sent on: the struct that the handler returned, or problem details; empty without."""
        return cast(dict[str, Any], msgspec.json.decode(self.event.data)) if self.event else {}


@dataclass(frozen=True, slots=True)
class LoadedFunction:
    """A function that was loaded as it is served."""

    function: Function

    def call(self, job: msgspec.Struct | Event, **attributes: str) -> Outcome:
        """Deliver one job, or an event as it is, once; `attributes` are set on the event.

        The handler runs in this thread, so that a debugger stops in it.
        """
        event = check((job if isinstance(job, Event) else request(job)).with_attributes(**attributes))
        if self.function.deliver is None:
            raise TypeError("this function takes requests, not events: it is tried in `errands up`")
        started_s = time.perf_counter()
        response = self.function.deliver(lambda: event, None)
        elapsed_s = time.perf_counter() - started_s
        result = judge(response.status, response.headers, response.body)
        name: OutcomeName = "done"
        if result.failed:
            name = "not now" if result.not_now_s is not None else "try again" if result.code == 503 else "bug"
        elif result.reply:
            name = "failed" if result.reply.get("outcome") == "failed" else "completed"
        reply = result.reply
        detail = result.sentence if result.failed else str(_detail(reply)) if name == "failed" else ""
        return Outcome(name=name, event=reply, detail=detail, status=response.status, elapsed_s=elapsed_s)


def load(source: str | os.PathLike[str], target: str = "handle", **settings: str) -> LoadedFunction:
    """The function `target` of a file, loaded as it is served, with these settings in place of a manifest's.

    A setting is named as the dataclass of the function names it: `store_url` is STORE_URL. Raises SystemExit, as the
    function's start would, for a setting or a module that is missing.
    """
    with _environment({name.upper(): value for name, value in settings.items()}):
        return LoadedFunction(loader.load(str(Path(source)), target)[1])


def request(job: msgspec.Struct, **attributes: str) -> Event:
    """The event that asks for a job, with an id and a time of its own."""
    fresh = sdk.new(type=event_type(type(job)), source=SOURCE, datacontenttype="application/json")
    return Event(MappingProxyType({**fresh, **attributes}), msgspec.json.encode(job))


@contextmanager
def _environment(variables: Mapping[str, str]) -> Iterator[None]:
    before = dict(os.environ)
    os.environ.update(variables)
    try:
        yield
    finally:
        os.environ.clear()
        os.environ.update(before)


def _detail(reply: Event | None) -> object:
    return msgspec.json.decode(reply.data).get("detail", "") if reply else ""
