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
    Completed,
    Decision,
    Failed,
    Held,
    History,
    Lane,
    OnDeadLetter,
    Progress,
    Waiting,
)
from events.job import NAMESPACE
from events.problem import FieldError, JobFailed, Problem, decode
from events.step import Cancelled, Course, First, Sleep, Step, StepFailed, Stopped, Together, Wait
from events.types import REGISTRY, event_type, sibling_type
from events.types.base import Request
from events.types.call import CallCompleted, CallRequested

# what who writes flows, or keeps them, imports
__all__ = ["Cancelled", "Definition", "Flow", "Step", "StepFailed", "definitions", "duration", "flow", "replay"]

T = TypeVar("T")
R = TypeVar("R", bound=msgspec.Struct)
J = TypeVar("J", bound=Request)

OURS: Final = frozenset({"cancel", "resume", "complete"})  # signals that no flow waits for
UNITS: Final = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days", "w": "weeks"}
MAYBE_DONE: Final = ("fired", "deadlettered")  # a step that ended so may have been done, or may be yet

# What undoes a step: the name of a call, a job, or what makes the job of the step's result, which is None where it is
# not known whether the step was done.
Undo = str | Request | Callable[[Any], Request]


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


class Flow:
    """What a flow's function does things by: `do`."""

    def __init__(self, history: History) -> None:
        self._course = Course(history)
        self._uuids = 0
        self._lane: Lane | None = None
        self._undos: list[tuple[Step[Any] | None, Callable[[Any], Request]]] = []
        self._progress: Progress | None = None
        self._not_undone: list[FieldError] = []
        self.random: Final = random.Random(f"{history.flow_id}\n{history.first}")  # noqa: S311  # the same in each replay

    @property
    def now(self) -> datetime:
        """When the last thing happened that the function has seen: it stands still while the function runs."""
        return self._course.now

    @property
    def id(self) -> str:
        """The flow's own, the same in each replay."""
        return self._course.history.flow_id

    def uuid(self) -> uuid.UUID:
        """Another one with each call, the same in each replay."""
        self._uuids += 1
        return uuid.uuid5(NAMESPACE, f"{self.id}\n{self._course.history.first}\nuuid\n{self._uuids}")

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

    def job(
        self,
        type_: str,
        data: Any,
        *,
        undo: Undo | None = None,
        within: str | timedelta | None = None,
        on_dead_letter: OnDeadLetter = "hold",
    ) -> Step[Any]:
        """Ask for a job by its event type, also of another project; data and result are what JSON has."""
        read = partial(msgspec.json.decode, type=Any)
        step = self._job(type_, data, read, what=f"job {type_}", within=within, on_dead_letter=on_dead_letter)
        if undo is not None:
            self._undos.append((step, _undoing(undo, None)))
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
        return Together(self._course, steps, failures=failures)

    def first(self, *steps: Step[Any]) -> First:
        """Wait until one has ended: that is the result, to be awaited for its own. The others go on."""
        return First(self._course, steps)

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
        if at_once < 1:
            raise ValueError(f"at_once must be at least 1, got {at_once}")
        make: Callable[[Any], Step[Any]] = partial(self, result=ask.result) if isinstance(ask, Definition) else ask
        with self._within(Lane(self._course.next_number, at_once)):
            return Together(self._course, [make(item) for item in items], failures=failures)

    def sleep(self, **duration: float) -> Sleep:
        """Wait for so many `seconds`, `minutes`, `hours`, `days` or `weeks`, which costs a row and no process."""
        return self.until(self._course.now + timedelta(**duration))

    def until(self, moment: datetime) -> Sleep:
        """Wait until a moment."""
        number, answer = self._course.ask("sleep", due=moment)
        return Sleep(self._course, number, "sleep", _nothing, answer)

    def wait(self, name: str, *, within: str | timedelta | None = None) -> Wait:
        """Wait for a signal, be it one that came before; the result is its data. Raises StepFailed after `within`."""
        if name in OURS:
            raise ValueError(f"{name} is a signal of our own, and no flow's to wait for")
        number, answer = self._course.ask(f"wait {name}", due=self._due(within))
        return Wait(self._course, number, name, answer)

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
        kept = tuple(each.position for waiting in self._course.signals.values() for each in waiting)
        raise Stopped(Again(msgspec.json.encode(job), kept))

    def _job(
        self,
        type_: str,
        job: Any,
        read: Callable[[bytes], Any],
        *,
        what: str,
        within: str | timedelta | None = None,
        on_dead_letter: OnDeadLetter = "hold",
    ) -> Step[Any]:
        number, answer = self._course.ask(
            what, type_=type_, job=job, due=self._due(within), lane=self._lane, on_dead_letter=on_dead_letter
        )
        return Step(self._course, number, what, read, answer)

    def _due(self, within: str | timedelta | None) -> datetime | None:
        return None if within is None else self._course.now + duration(within)

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
        self._course.shield()
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
    asked = tuple(do._course.asked)
    unasked = history.steps[do._course.count :]
    with suppress(RuntimeError):  # of a function that awaits in its `finally`
        run.close()
    if unasked and not isinstance(end, Held):
        number = do._course.next_number
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
    except Stopped as stopped:
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
