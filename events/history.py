"""What has happened to a flow, and what its function decides on from it: plain data between the replayer and a store.

Answers, signals and a cancel have positions in one order, that in which they were recorded. Nothing else decides what
a flow does.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Literal

from events.problem import Problem

OnDeadLetter = Literal["hold", "fail"]


@dataclass(frozen=True, slots=True)
class Answer:
    """How a step ended. `fired` is that of its own time: the end of a sleep, and too late for anything else.

    `data` is that of the event which completed or failed it.
    """

    position: int
    at: datetime
    kind: Literal["completed", "failed", "deadlettered", "fired"]
    data: bytes = b""


@dataclass(frozen=True, slots=True)
class RecordedStep:
    """A step that was asked for. `what` is compared with what the function asks for in its place."""

    what: str
    answer: Answer | None = None


@dataclass(frozen=True, slots=True)
class Signal:
    """What somebody said to the flow, which may be before the flow waits for it."""

    position: int
    at: datetime
    name: str
    data: bytes


@dataclass(frozen=True, slots=True)
class History:
    """All that a replay reads. `first` is the number of its first step: it is not 1 after a flow began again."""

    flow_id: str
    started_at: datetime
    steps: Sequence[RecordedStep] = ()
    signals: Sequence[Signal] = ()
    cancelled: int | None = None  # the position of the cancel
    first: int = 1


@dataclass(frozen=True, slots=True)
class Lane:
    """Steps of which only so many are under way at once; named by the number of the first of them."""

    name: int
    at_once: int


@dataclass(frozen=True, slots=True)
class Asked:
    """A step that the function asks for now. A job has the `type` and `data` of its request; `due` is when it ends by
    itself.
    """

    number: int
    what: str
    type: str | None = None
    data: bytes = b""
    due: datetime | None = None
    lane: Lane | None = None
    on_dead_letter: OnDeadLetter = "hold"


@dataclass(frozen=True, slots=True)
class Waiting:
    """The function waits until so many of these steps have ended; a wait among them ends with its signal, too."""

    steps: tuple[int, ...]
    needed: int


@dataclass(frozen=True, slots=True)
class Completed:
    """The function returned; `data` is that of the completed event."""

    data: bytes


@dataclass(frozen=True, slots=True)
class Failed:
    """A step failed, or the flow was cancelled; all that was to be undone is undone, but for what the problem names."""

    problem: Problem


@dataclass(frozen=True, slots=True)
class Again:
    """The flow begins anew with other data and an empty history; the signals of the positions `kept` stay."""

    data: bytes
    kept: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class Held:
    """The function cannot go on from this history as it is: a person decides, and nothing is lost."""

    reason: str


@dataclass(frozen=True, slots=True)
class Progress:
    """What the flow last said of itself."""

    percent: float
    text: str


@dataclass(frozen=True, slots=True)
class Decision:
    """What a replay comes to; the steps are asked for only where the flow is not held."""

    end: Waiting | Completed | Failed | Again | Held
    asked: tuple[Asked, ...] = ()
    progress: Progress | None = None
