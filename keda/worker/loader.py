"""Gives what runs a function without HTTP."""

import asyncio
from collections.abc import Callable, Coroutine, Sequence
from typing import Any, Protocol

from events.http import Event
from functions.runtime import loader
from functions.runtime.adapter import DELIVER, Response
from functions.runtime.batch import DELIVER_MANY


class Work(Protocol):
    """What of a task a function sees."""

    @property
    def event(self) -> Event: ...

    @property
    def attempt(self) -> int: ...


def load(source: str, name: str) -> Callable[[Sequence[Work]], Sequence[Response]]:
    """What answers a list of tasks by the function `name` of the file `source`; exits where there is none."""
    function = loader.load(source, name)
    many = getattr(function, DELIVER_MANY, None)
    if many is not None:
        return lambda tasks: many([task.event for task in tasks])
    one = getattr(function, DELIVER, None)
    if one is None:
        raise SystemExit(
            f"FUNCTION_TARGET: {source} has no target {name!r} made by"
            " functions.runtime.adapter or functions.runtime.batch"
        )
    return lambda tasks: [_deliver(one, task) for task in tasks]


def _deliver(
    one: Callable[[Callable[[], Event], str], Response | Coroutine[Any, Any, Response]], task: Work
) -> Response:
    response = one(lambda: task.event, str(task.attempt))
    return (
        response if isinstance(response, Response) else asyncio.run(response)
    )  # what waits has its thread to itself here
