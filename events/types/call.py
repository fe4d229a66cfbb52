"""The contract of the call function: a step that the API does itself."""

from typing import Annotated, Any

from msgspec import Meta

from events.problem import Problem
from events.types.base import DeadLetter, Request, Result

CallName = Annotated[str, Meta(pattern=r"^[a-z0-9][a-z0-9.-]{0,99}$(?!\n)", examples=["create-account"])]


class CallRequested(Request, frozen=True, kw_only=True):
    """Do the step of this name. Where `undo` names another step, this one undoes it: `data` is then what that one was
    given and `result` what it came to, null where it is not known whether it was done.
    """

    name: CallName
    data: Any = None
    undo: CallName | None = None
    result: Any = None


class CallCompleted(Result, frozen=True, kw_only=True):
    """What the API answered."""

    value: Any = None


class CallFailed(Problem, frozen=True, kw_only=True):
    """The API says that the step cannot be done."""


class CallDeadlettered(DeadLetter, frozen=True, kw_only=True):
    """The step is kept as a dead letter."""
