"""Flows: a job whose work is other jobs, its steps. One async function says what is to be done.

    @flow(OnboardingRequested)
    async def onboarding(user: OnboardingRequested, do: Flow) -> OnboardingCompleted:
        account = await do.call("create-account", {"email": user.email}, undo="delete-account")
        await do.sleep(hours=48)
        return OnboardingCompleted(account=account["id"])

`replay` runs the function from its beginning over its history to where it can go no further, and tells what it asks for
beyond what was asked for before. Here is no I/O and no clock: the same history gives the same decision, on every
machine. So the function must do the same again as well: what it needs of time and chance it has from `do`.

A step is asked for when it is made, and awaited for its result: steps made before one is awaited run at once.
"""

import random
import re
import traceback
import uuid
from collections.abc import Awaitable, Callable, Coroutine, Generator, Iterable, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import partial
from typing import Any, Final, Generic, NoReturn, TypeVar, get_type_hints, overload

import msgspec

from events.history import (
    Again,
    Answer,
    Asked,
    Completed,
    Decision,
    Failed,
    Held,
    History,
    Lane,
    OnDeadLetter,
    Progress,
    Signal,
    Waiting,
)
from events.job import NAMESPACE
from events.problem import FieldError, JobFailed, Problem, decode
from events.types import REGISTRY, event_type, sibling_type
from events.types.base import Request
from events.types.call import CallCompleted, CallRequested

T = TypeVar("T")
R = TypeVar("R", bound=msgspec.Struct)
J = TypeVar("J", bound=Request)

STEPS_LIMIT: Final = 10_000  # of one history: a replay reads all of it
OURS: Final = frozenset({"cancel", "resume", "complete"})  # signals that no flow waits for
UNITS: Final = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days", "w": "weeks"}
MAYBE_DONE: Final = ("fired", "deadlettered")  # a step that ended so may have been done, or may be yet

# What undoes a step: the name of a call, a job, or what makes the job of the step's result, which is None where it is
# not known whether the step was done.
Undo = str | Request | Callable[[Any], Request]


class StepFailed(Exception):
    """A step failed, or came too late; `problem` says why. Not caught, it fails the flow, which undoes what it did."""

    def __init__(self, what: str, problem: Problem) -> None:
        super().__init__(f"{what}: {problem.detail}")
        self.problem = problem


class Cancelled(BaseException):
    """The flow is cancelled; as in asyncio no `except Exception` holds it up."""

    problem: Final = JobFailed("cancelled", "the flow was cancelled").problem


class _Stopped(BaseException):
    """The function goes no further: it begins again, or asks for something else than the history has."""

    def __init__(self, end: Again | Held) -> None:
        self.end = end


@dataclass(frozen=True)
class Definition(Generic[J]):
    """A flow: the function, and the request that begins it. A flow that has begun keeps to its `version`."""

    function: Callable[[J, "Flow"], Awaitable[Any]]
    request: type[J]
    version: int = 1

    @property
    def type(self) -> str:
        """The event type of its request."""
        return event_type(self.request)

    @property
    def name(self) -> str:
        """The job's name, by which Triggers bring answers to it."""
        return self.type.split(".")[-3]

    @property
    def result(self) -> Any:
        """What the function says that it returns."""
        return get_type_hints(self.function).get("return", Any)


def flow(request: type[J], *, version: int = 1) -> Callable[[Callable[[J, "Flow"], Awaitable[Any]]], Definition[J]]:
    """Declare the decorated function as the flow that a request of this type begins.

    Another `version` of the function stands beside the one before for as long as flows of that one run.
    """
    return lambda function: Definition(function, request, version)


class Step(Generic[T]):
    """Something that was asked for; awaited for its result, as often as wanted."""

    def __init__(self, do: "Flow", number: int, what: str, read: Callable[[bytes], T], answer: Answer | None) -> None:
        self._do = do
        self._read = read
        self.number = number
        self.what = what
        self.answer = answer

    def __await__(self) -> Generator[Waiting, None, T]:
        yield from self._do._until_ended([self], needed=1)
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

    def __init__(self, do: "Flow", number: int, name: str, answer: Answer | None) -> None:
        super().__init__(do, number, f"wait {name}", msgspec.json.decode, answer)
        self._name = name
        self._taken: Answer | Signal | None = None

    def seen(self) -> Answer | Signal | None:
        """The signal or the end of its time, whichever was first."""
        if self._taken is not None:
            return self._taken
        waiting = self._do._signals.get(self._name)
        found = [each for each in (waiting[0] if waiting else None, self.answer) if each is not None]
        return min(found, key=lambda each: each.position, default=None)

    def take(self) -> None:
        """Keep the signal from other waits."""
        if self._taken is None:
            self._taken = self.seen()
            if isinstance(self._taken, Signal):
                self._do._signals[self._name].pop(0)

    def result(self) -> Any:
        """The signal's data."""
        if isinstance(self._taken, Signal):
            return self._read(self._taken.data)
        return super().result()


class Together(Generic[T]):
    """Several steps; awaited for the results of all of them, in their order."""

    def __init__(self, do: "Flow", steps: Iterable[Step[T]], *, failures: bool) -> None:
        self._do = do
        self.steps = tuple(steps)
        self._failures = failures

    def __await__(self) -> Generator[Waiting, None, list[T]]:
        yield from self._do._until_ended(self.steps, needed=len(self.steps))
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

    def __init__(self, do: "Flow", steps: Iterable[Step[Any]]) -> None:
        self._do = do
        self._steps = tuple(steps)

    def __await__(self) -> Generator[Waiting, None, Step[Any]]:
        return (yield from self._do._until_first(self._steps))


class Flow:
    """What a flow's function does things by: `do`."""

    def __init__(self, history: History) -> None:
        self._history = history
        self._count = 0
        self._uuids = 0
        self._lane: Lane | None = None
        self._cancelled = history.cancelled
        self._now = history.started_at
        self._undos: list[tuple[Step[Any] | None, Callable[[Any], Request]]] = []
        self._signals: dict[str, list[Signal]] = {}
        for each in history.signals:
            self._signals.setdefault(each.name, []).append(each)
        self._asked: list[Asked] = []
        self._progress: Progress | None = None
        self._not_undone: list[FieldError] = []
        self.random: Final = random.Random(f"{history.flow_id}\n{history.first}")  # noqa: S311  # the same in each replay

    @property
    def now(self) -> datetime:
        """When the last thing happened that the function has seen: it stands still while the function runs."""
        return self._now

    @property
    def id(self) -> str:
        """The flow's own, the same in each replay."""
        return self._history.flow_id

    def uuid(self) -> uuid.UUID:
        """Another one with each call, the same in each replay."""
        self._uuids += 1
        return uuid.uuid5(NAMESPACE, f"{self.id}\n{self._history.first}\nuuid\n{self._uuids}")

    @overload
    def __call__(
        self,
        job: Request,
        *,
        result: type[R],
        undo: Undo | None = ...,
        within: str | timedelta | None = ...,
        on_dead_letter: OnDeadLetter = ...,
    ) -> Step[R]: ...

    @overload
    def __call__(
        self,
        job: Request,
        *,
        result: None = ...,
        undo: Undo | None = ...,
        within: str | timedelta | None = ...,
        on_dead_letter: OnDeadLetter = ...,
    ) -> Step[Any]: ...

    def __call__(
        self,
        job: Request,
        *,
        result: Any = None,
        undo: Undo | None = None,
        within: str | timedelta | None = None,
        on_dead_letter: OnDeadLetter = "hold",
    ) -> Step[Any]:
        """Ask for a job. Its result is the completed event's struct, where the contract has that, or `result`.

        A job that is kept as a dead letter holds the flow, which goes on once the dead letter was replayed;
        `on_dead_letter="fail"` fails the step instead.
        """
        type_ = event_type(type(job))
        completed = result or REGISTRY.get(sibling_type(type_, "completed"), Any)
        read = partial(msgspec.json.decode, type=completed)
        step = self._job(type_, job, read, what=f"job {type_}", within=within, on_dead_letter=on_dead_letter)
        if undo is not None:
            self._undos.append((step, _undoing(undo, None)))
        return step

    def call(
        self,
        name: str,
        data: Any = None,
        *,
        undo: Undo | None = None,
        within: str | timedelta | None = None,
        on_dead_letter: OnDeadLetter = "hold",
    ) -> Step[Any]:
        """Ask the API to do something itself; the result is what it answers."""
        job = CallRequested(name=name, data=data)
        type_, what = event_type(CallRequested), f"call {name}"
        step = self._job(type_, job, _value, what=what, within=within, on_dead_letter=on_dead_letter)
        if undo is not None:
            self._undos.append((step, _undoing(undo, job)))
        return step

    def __getattr__(self, name: str) -> Callable[..., Step[Any]]:
        """`do.image(source=..., outputs=...)`: a job by its name, of the contract's first version of it."""
        request = REGISTRY.get(f"dev.errands.{name}.requested.v1")
        if request is None:
            raise AttributeError(f"there is no job {name!r} in the contract")

        def ask(
            *,
            undo: Undo | None = None,
            within: str | timedelta | None = None,
            on_dead_letter: OnDeadLetter = "hold",
            **fields: Any,
        ) -> Step[Any]:
            job = decode(msgspec.json.encode(fields), request)
            assert isinstance(job, Request)  # noqa: S101  # as all requests are
            return self(job, undo=undo, within=within, on_dead_letter=on_dead_letter)

        return ask

    def all(self, *steps: Step[T], failures: bool = False) -> Together[T]:
        """Wait until all have ended; then raise the first one's failure, or with `failures` have them as results."""
        return Together(self, steps, failures=failures)

    def first(self, *steps: Step[Any]) -> First:
        """Wait until one has ended: that is the result, to be awaited for its own. The others go on."""
        return First(self, steps)

    def map(
        self,
        ask: Definition[Any] | Callable[[T], Step[R]],
        items: Iterable[T],
        *,
        at_once: int = 50,
        failures: bool = False,
    ) -> Together[R]:
        """Ask for a step for each item, of which so many run at once: a flow that the items are the requests of, or
        what makes a step of an item.
        """
        make: Callable[[Any], Step[Any]] = partial(self, result=ask.result) if isinstance(ask, Definition) else ask
        with self._within(Lane(self._history.first + self._count, at_once)):
            return Together(self, [make(item) for item in items], failures=failures)

    def sleep(self, **duration: float) -> Sleep:
        """Wait for so many `seconds`, `minutes`, `hours`, `days` or `weeks`, which costs a row and no process."""
        return self.until(self._now + timedelta(**duration))

    def until(self, moment: datetime) -> Sleep:
        """Wait until a moment."""
        number, answer = self._ask("sleep", due=moment)
        return Sleep(self, number, "sleep", _nothing, answer)

    def wait(self, name: str, *, within: str | timedelta | None = None) -> Wait:
        """Wait for a signal, be it one that came before; the result is its data. Raises StepFailed after `within`."""
        if name in OURS:
            raise ValueError(f"{name} is a signal of our own, and no flow's to wait for")
        number, answer = self._ask(f"wait {name}", due=self._due(within))
        return Wait(self, number, name, answer)

    def undo(self, job: Request | Callable[[Any], Request]) -> None:
        """Have this done, too, should the flow fail; the last that was declared is the first that is done."""
        self._undos.append((None, _undoing(job, None)))

    def progress(self, percent: float, text: str = "") -> None:
        """Say how far the flow is."""
        self._progress = Progress(percent, text)

    def again(self, job: Request) -> NoReturn:
        """Begin anew with this request and an empty history, for what goes on for ever. What was done is not undone any
        more; signals that nobody has waited for are kept.
        """
        kept = tuple(each.position for waiting in self._signals.values() for each in waiting)
        raise _Stopped(Again(msgspec.json.encode(job), kept))

    def _job(
        self,
        type_: str,
        job: Request,
        read: Callable[[bytes], Any],
        *,
        what: str,
        within: str | timedelta | None = None,
        on_dead_letter: OnDeadLetter = "hold",
    ) -> Step[Any]:
        number, answer = self._ask(
            what, type_=type_, job=job, due=self._due(within), lane=self._lane, on_dead_letter=on_dead_letter
        )
        return Step(self, number, what, read, answer)

    def _ask(
        self, what: str, *, type_: str | None = None, job: Request | None = None, **more: Any
    ) -> tuple[int, Answer | None]:
        """The next step's number, and its answer where the history has one."""
        index, number = self._count, self._history.first + self._count
        if index >= STEPS_LIMIT:
            raise _Stopped(Held(f"a history has at most {STEPS_LIMIT} steps: do.again begins a new one"))
        self._count += 1
        if index < len(self._history.steps):
            recorded = self._history.steps[index]
            if recorded.what != what:
                raise _Stopped(Held(f"step {number} was recorded as {recorded.what!r}, and {what!r} is asked for"))
            return number, recorded.answer
        data = b"" if job is None else msgspec.json.encode(job)
        self._asked.append(Asked(number, what, type_, data, **more))
        return number, None

    def _due(self, within: str | timedelta | None) -> datetime | None:
        return None if within is None else self._now + duration(within)

    def _until_ended(self, steps: Iterable[Step[Any]], *, needed: int) -> Generator[Waiting, None, None]:
        """Go on when all of these have ended; otherwise the replay ends here."""
        ends = []
        for each in steps:
            each.take()
            ends.append(each.seen())
        known = [each for each in ends if each is not None]
        over = max((each.position for each in known), default=0) if len(known) == needed else None
        self._reach(over)
        if over is None:
            unended = tuple(step.number for step, end in zip(steps, ends, strict=True) if end is None)
            yield Waiting(unended, needed - len(known))
        self._now = max((self._now, *(each.at for each in known)))

    def _until_first(self, steps: tuple[Step[Any], ...]) -> Generator[Waiting, None, Step[Any]]:
        ended = [(end.position, step) for step in steps if (end := step.seen()) is not None]
        position, first = min(ended, key=lambda each: each[0], default=(None, None))
        self._reach(position)
        if first is None:
            yield Waiting(tuple(each.number for each in steps), 1)
            raise RuntimeError("a replay that waits is not gone on with")
        first.take()
        end = first.seen()
        self._now = max(self._now, end.at if end else self._now)
        return first

    def _reach(self, position: int | None) -> None:
        """Raise Cancelled once, at the first wait that was not over when the cancel came."""
        if self._cancelled is not None and (position is None or position > self._cancelled):
            self._cancelled = None
            raise Cancelled

    @contextmanager
    def _within(self, lane: Lane) -> Generator[None, None, None]:
        before, self._lane = self._lane, lane
        try:
            yield
        finally:
            self._lane = before

    async def _compensate(self) -> None:
        """Undo what was done, or may have been, the last first; each is a step that is tried like any other.

        A step under way is waited for: what undoes it must not come before it.
        """
        self._cancelled = None
        while self._undos:
            step, undoing = self._undos.pop()
            result = None
            if step is not None:
                try:
                    result = await step
                except StepFailed:
                    if step.answer is None or step.answer.kind not in MAYBE_DONE:
                        continue
            await self._undone(undoing(result))

    async def _undone(self, job: Request) -> None:
        named = job.name if isinstance(job, CallRequested) else event_type(type(job))
        step = self._job(event_type(type(job)), job, bytes, what=f"undo {named}")
        try:
            await step
        except StepFailed as failure:
            self._not_undone.append(FieldError(pointer=f"#/steps/{step.number}", detail=f"not undone: {failure}"))


def replay(definition: Definition[Any], job: Request, history: History) -> Decision:
    """What the flow does next, by its function and all that has happened to it."""
    do = Flow(history)
    run = _run(definition, job, do)
    end = _end(run, do)
    asked = tuple(do._asked)
    unasked = history.steps[do._count :]
    with suppress(RuntimeError):  # of a function that awaits in its `finally`
        run.close()
    if unasked and not isinstance(end, Held):
        number = history.first + do._count
        end = Held(f"step {number} was recorded as {unasked[0].what!r}, and is not asked for any more")
    return Decision(end, () if isinstance(end, Held) else asked, do._progress)


async def _run(definition: Definition[Any], job: Request, do: Flow) -> bytes:
    """The completed event's data."""
    try:
        result = await definition.function(job, do)
        return b"{}" if result is None else msgspec.json.encode(result)
    except (StepFailed, JobFailed, Cancelled) as cause:
        await do._compensate()
        raise cause from None


def _end(run: Coroutine[Any, Any, bytes], do: Flow) -> Waiting | Completed | Failed | Again | Held:
    """How far the function comes. A bug in it holds the flow: it goes on with the mended function."""
    try:
        waiting = run.send(None)
    except StopIteration as done:
        return Completed(done.value)
    except _Stopped as stopped:
        return stopped.end
    except (StepFailed, JobFailed, Cancelled) as failure:
        return Failed(_told(failure.problem, do))
    except Exception as bug:
        return Held("the flow has a bug: " + "".join(traceback.format_exception(bug, limit=-1)).strip())
    if isinstance(waiting, Waiting):
        return waiting
    return Held(f"the flow awaits {type(waiting).__name__}, which is no step: all that takes time is asked for by `do`")


def _told(problem: Problem, do: Flow) -> Problem:
    return msgspec.structs.replace(problem, errors=(*problem.errors, *do._not_undone))


def duration(text: str | timedelta) -> timedelta:
    """`90s`, `15m`, `1h`, `7d` or `2w`."""
    if isinstance(text, timedelta):
        return text
    parts = re.fullmatch(r"([0-9]{1,9}(?:\.[0-9]{1,3})?)([smhdw])", text)
    if parts is None:
        raise ValueError(f"a duration such as 90s, 15m, 1h or 7d is expected, got {text!r}")
    return timedelta(**{UNITS[parts[2]]: float(parts[1])})


def definitions(module: Mapping[str, object]) -> list[Definition[Any]]:
    """The flows among a module's names."""
    return [each for each in module.values() if isinstance(each, Definition)]


def _undoing(undo: Undo, of: CallRequested | None) -> Callable[[Any], Request]:
    if isinstance(undo, Request):
        return lambda result: undo
    if not isinstance(undo, str):
        return undo
    if of is None:
        return lambda result: CallRequested(name=undo, result=msgspec.to_builtins(result))
    return lambda result: CallRequested(name=undo, data=of.data, undo=of.name, result=result)


def _value(data: bytes) -> Any:
    return msgspec.json.decode(data, type=CallCompleted).value


def _nothing(_data: bytes) -> None:
    return None
