"""The steps of a flow, and the course that its function takes through its history: where it goes on, and where not."""

from collections.abc import Callable, Generator, Iterable
from typing import Any, Final, Generic, TypeVar

import msgspec

from events.history import Again, Answer, Asked, Held, History, Signal, Waiting
from events.problem import JobFailed, Problem

T = TypeVar("T")

STEPS_LIMIT: Final = 10_000  # of one history: a replay reads all of it


class StepFailed(Exception):
    """A step failed, or came too late; `problem` says why. Not caught, it fails the flow, which undoes what it did."""

    def __init__(self, what: str, problem: Problem) -> None:
        super().__init__(f"{what}: {problem.detail}")
        self.problem = problem


class Cancelled(BaseException):
    """The flow is cancelled; as in asyncio no `except Exception` holds it up."""

    problem: Final = JobFailed("cancelled", "the flow was cancelled").problem


class Stopped(BaseException):
    """The function goes no further: it begins again, or asks for something else than the history has."""

    def __init__(self, end: Again | Held) -> None:
        self.end = end


class Step(Generic[T]):
    """Something that was asked for; awaited for its result, as often as wanted."""

    def __init__(
        self, course: "Course", number: int, what: str, read: Callable[[bytes], T], answer: Answer | None
    ) -> None:
        self._course = course
        self._read = read
        self.number = number
        self.what = what
        self.answer = answer

    def __await__(self) -> Generator[Waiting, None, T]:
        yield from self._course.until_ended([self])
        return self.result()

    def seen(self) -> "Answer | Signal | None":
        """What ended it; None where nothing has."""
        return self.answer

    def take(self) -> None:
        """What ended it is its own from now on."""

    def result(self) -> T:
        """Of one that has ended; raise StepFailed where it failed."""
        assert self.answer is not None  # noqa: S101  # the caller has waited for it
        if self.answer.kind == "completed":
            return self._read(self.answer.data)
        raise StepFailed(self.what, self._problem(self.answer))

    def _problem(self, answer: Answer) -> Problem:
        if answer.kind == "failed":
            return msgspec.json.decode(answer.data, type=Problem)
        if answer.kind == "fired":
            return JobFailed("too-late", f"{self.what} did not end in time").problem
        return JobFailed("dead-lettered", f"{self.what} is kept as a dead letter").problem


class Sleep(Step[None]):
    """Ends at its time."""

    def result(self) -> None:
        """Nothing."""


class Wait(Step[Any]):
    """Waits for a signal: it takes the oldest that no other wait has taken. StepFailed where none comes in time."""

    def __init__(self, course: "Course", number: int, name: str, answer: Answer | None) -> None:
        super().__init__(course, number, f"wait {name}", msgspec.json.decode, answer)
        self._name = name
        self._taken: Answer | Signal | None = None

    def seen(self) -> Answer | Signal | None:
        """The signal or the end of its time, whichever was first."""
        if self._taken is not None:
            return self._taken
        waiting = self._course.signals.get(self._name)
        found = [each for each in (waiting[0] if waiting else None, self.answer) if each is not None]
        return min(found, key=lambda each: each.position, default=None)

    def take(self) -> None:
        """Keep the signal from other waits."""
        if self._taken is None:
            self._taken = self.seen()
            if isinstance(self._taken, Signal):
                self._course.signals[self._name].pop(0)

    def result(self) -> Any:
        """The signal's data."""
        if isinstance(self._taken, Signal):
            return self._read(self._taken.data)
        return super().result()


class Together(Generic[T]):
    """Several steps; awaited for the results of all of them, in their order."""

    def __init__(self, course: "Course", steps: Iterable[Step[T]], *, failures: bool) -> None:
        self._course = course
        self.steps = tuple(steps)
        self._failures = failures

    def __await__(self) -> Generator[Waiting, None, list[T]]:
        yield from self._course.until_ended(self.steps)
        return [self._result(each) for each in self.steps]

    def _result(self, step: Step[T]) -> Any:
        try:
            return step.result()
        except StepFailed as failure:
            if self._failures:
                return failure
            raise


class First:
    """Several steps; awaited for the one that ended first."""

    def __init__(self, course: "Course", steps: Iterable[Step[Any]]) -> None:
        self._course = course
        self._steps = tuple(steps)
        if not self._steps:
            raise ValueError("the first of no steps never ends: at least one is expected")

    def __await__(self) -> Generator[Waiting, None, Step[Any]]:
        return (yield from self._course.until_first(self._steps))


class Course:
    """One replay's way through a history. `now` is when the last thing happened that the function has seen."""

    def __init__(self, history: History) -> None:
        self.history = history
        self.now = history.started_at
        self.count = 0
        self.asked: list[Asked] = []
        self.signals: dict[str, list[Signal]] = {}
        self._cancelled = history.cancelled
        for each in history.signals:
            self.signals.setdefault(each.name, []).append(each)

    @property
    def next_number(self) -> int:
        """That of the step which is asked for next."""
        return self.history.first + self.count

    def shield(self) -> None:
        """From now on a cancel changes nothing any more."""
        self._cancelled = None

    def ask(self, what: str, *, type_: str | None = None, job: Any = None, **more: Any) -> tuple[int, Answer | None]:
        """The next step's number, and its answer where the history has one."""
        index, number = self.count, self.next_number
        if index >= STEPS_LIMIT:
            raise Stopped(Held(f"a history has at most {STEPS_LIMIT} steps: do.again begins a new one"))
        self.count += 1
        if index < len(self.history.steps):
            recorded = self.history.steps[index]
            if recorded.what != what:
                raise Stopped(Held(f"step {number} was recorded as {recorded.what!r}, and {what!r} is asked for"))
            return number, recorded.answer
        data = b"" if job is None else msgspec.json.encode(job)
        self.asked.append(Asked(number, what, type_, data, **more))
        return number, None

    def until_ended(self, steps: Iterable[Step[Any]]) -> Generator[Waiting, None, None]:
        """Go on when all of these have ended; otherwise the replay ends here."""
        ends, unended = [], dict[int, None]()
        for each in steps:
            each.take()
            end = each.seen()
            if end is None:
                unended[each.number] = None
            else:
                ends.append(end)
        self._reach(None if unended else max((each.position for each in ends), default=0))
        if unended:
            yield Waiting(tuple(unended), len(unended))
        self.now = max((self.now, *(each.at for each in ends)))

    def until_first(self, steps: tuple[Step[Any], ...]) -> Generator[Waiting, None, Step[Any]]:
        ended = [(end.position, step) for step in steps if (end := step.seen()) is not None]
        position, first = min(ended, key=lambda each: each[0], default=(None, None))
        self._reach(position)
        if first is None:
            yield Waiting(tuple(each.number for each in steps), 1)
            raise RuntimeError("a replay that waits is not gone on with")
        first.take()
        end = first.seen()
        self.now = max(self.now, end.at if end else self.now)
        return first

    def _reach(self, position: int | None) -> None:
        """Raise Cancelled once, at the first wait that was not over when the cancel came."""
        if self._cancelled is not None and (position is None or position > self._cancelled):
            self._cancelled = None
            raise Cancelled
