"""Gives what runs a function without HTTP."""

from collections.abc import Callable, Sequence
from typing import Protocol

from events.http import Event
from functions.runtime import loader
from functions.runtime.adapter import Response


class Work(Protocol):
    """What of a task a function sees."""

    @property
    def event(self) -> Event: ...

    @property
    def attempt(self) -> int: ...


def load(source: str, name: str) -> Callable[[Sequence[Work]], Sequence[Response]]:
    """What answers a list of tasks by the function `name` of the file `source`; exits where there is none."""
    try:
        _, function = loader.load(source, name)
    except loader.ForeignTarget as error:
        raise SystemExit(f"FUNCTION_TARGET: {error}; a work queue takes its functions alone") from error
    many, one = function.deliver_many, function.deliver
    if many is not None:
        return lambda tasks: many([task.event for task in tasks])
    if one is None:
        raise SystemExit(f"FUNCTION_TARGET: {source} has {name!r}, which takes requests and not events")
    return lambda tasks: [_deliver(one, task) for task in tasks]


def _deliver(one: Callable[[Callable[[], Event], str], Response], task: Work) -> Response:
    return one(lambda: task.event, str(task.attempt))
