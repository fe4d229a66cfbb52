"""Loads a function as functions-framework does, and gives what runs it without HTTP."""

import importlib.util
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Protocol

from events.batch import DELIVER_MANY
from events.function import DELIVER, Answer
from events.http import Event


class Work(Protocol):
    """What of a task a function sees."""

    @property
    def event(self) -> Event: ...

    @property
    def attempt(self) -> int: ...


def load(source: str, target: str) -> Callable[[Sequence[Work]], Sequence[Answer]]:
    """What answers a list of tasks by the function `target` of the file `source`; exits where there is none."""
    file = Path(source).resolve()
    spec = importlib.util.spec_from_file_location("main", file)
    if not file.is_file() or spec is None or spec.loader is None:
        raise SystemExit(f"FUNCTION_SOURCE must be a Python file, got {source!r}")
    sys.path.append(str(file.parent))
    module = importlib.util.module_from_spec(spec)
    sys.modules["main"] = module
    spec.loader.exec_module(module)
    function = getattr(module, target, None)
    many = getattr(function, DELIVER_MANY, None)
    if many is not None:
        return lambda tasks: many([task.event for task in tasks])
    one = getattr(function, DELIVER, None)
    if one is None:
        raise SystemExit(f"FUNCTION_TARGET: {source} has no target {target!r} made by events.function or events.batch")
    return lambda tasks: [_deliver(one, task) for task in tasks]


def _deliver(one: Callable[[Callable[[], Event], str], Answer], task: Work) -> Answer:
    return one(lambda: task.event, str(task.attempt))
