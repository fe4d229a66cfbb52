"""The contract of flows as data: steps that name each other, and no language beyond that."""

from collections.abc import Collection, Iterator, Mapping
from typing import Annotated, Any

from msgspec import Meta

from events.problem import FieldError, Problem
from events.types.base import DeadLetter, Request, Result
from events.types.call import CallName
from events.types.signal import SignalName

StepName = Annotated[str, Meta(pattern=r"^[a-z][a-z0-9_-]{0,62}$(?!\n)", examples=["account"])]
JobType = Annotated[
    str, Meta(pattern=r"^[a-z0-9]+$(?!\n)|^[a-z0-9.-]+\.requested\.v[0-9]+$(?!\n)", examples=["image"], max_length=200)
]
Duration = Annotated[str, Meta(pattern=r"^[0-9]{1,9}[smhdw]$(?!\n)", examples=["1h", "7d"])]
Reference = dict[str, Any]

REF = "$ref"
GIVEN = ("input",)  # what every step may refer to
GIVEN_EACH = ("item", "index")
GIVEN_FAILURE = ("failure",)


class GraphStep(Request, frozen=True, kw_only=True):
    """A job by its name or type, a call, a wait for a signal, or with `hours` a sleep.

    It begins when the steps in `after`, and those that it refers to, have ended: `{"$ref": "account.id"}` stands for
    that field of the step `account`, `input.` for the request's. `each` has it done for every item of a list, `at_once`
    at a time; `{"$ref": "item"}` is the item. `when` and `unless` refer to what is looked at: a step that is left
    out is null.
    """

    name: StepName
    job: JobType | None = None
    call: CallName | None = None
    wait: SignalName | None = None
    hours: Annotated[float, Meta(gt=0, le=87_600)] | None = None
    data: Any = None
    after: Annotated[tuple[StepName, ...], Meta(max_length=100)] = ()
    each: Reference | tuple[Any, ...] | None = None
    at_once: Annotated[int, Meta(ge=1, le=1_000)] = 50
    allow_failures: Annotated[int, Meta(ge=0, le=10_000, description="of so many the result is null")] = 0
    when: Reference | None = None
    unless: Reference | None = None
    within: Duration | None = None
    undo: Annotated[CallName, Meta(description="a call, should the flow fail")] | None = None

    def __post_init__(self) -> None:
        kinds = [each for each in ("job", "call", "wait", "hours") if getattr(self, each) is not None]
        if len(kinds) != 1:
            raise ValueError(f"exactly one of job, call, wait, hours is expected, got {' and '.join(kinds) or 'none'}")
        if self.each is not None and (self.undo or self.wait or self.hours):
            raise ValueError("each is for a job or a call without an undo")


class GraphRequested(Request, frozen=True, kw_only=True):
    """Steps, what they may refer to as `input`, and the `result`, which may refer to all of them; without one it has
    every step's. Should it fail, `on_failure` is done in its order, by `{"$ref": "failure.detail"}`, and all is undone.
    """

    name: StepName = "graph"
    input: Any = None
    steps: Annotated[tuple[GraphStep, ...], Meta(min_length=1, max_length=1_000)]
    result: Any = None
    on_failure: Annotated[tuple[GraphStep, ...], Meta(max_length=20)] = ()

    def flaws(self) -> Iterator[FieldError]:
        """What is wrong between the steps, each at its place."""
        names = [each.name for each in self.steps]
        for index, step in enumerate(self.steps):
            at = f"#/steps/{index}"
            if step.name in names[:index] or step.name in (*GIVEN, *GIVEN_EACH, *GIVEN_FAILURE):
                yield FieldError(pointer=f"{at}/name", detail=f"{step.name} is taken: each step has a name of its own")
            yield from _unknown(step, at, names)
        for path in _cycles(self.steps):
            index = names.index(path[0])
            yield FieldError(pointer=f"#/steps/{index}", detail=f"waits for itself: {' after '.join(path)}")
        yield from _unknown_references(self.result, "#/result", (*names, *GIVEN))
        for index, step in enumerate(self.on_failure):
            known = (*names, *GIVEN, *GIVEN_FAILURE)
            yield from _unknown_references(step.data, f"#/on_failure/{index}/data", known)


class GraphCompleted(Result, frozen=True, kw_only=True):
    """What the request's `result` comes to."""

    result: Any = None


class GraphFailed(Problem, frozen=True, kw_only=True):
    """A step failed; what was done is undone."""


class GraphDeadlettered(DeadLetter, frozen=True, kw_only=True):
    """The request is kept as a dead letter."""


def needs(step: GraphStep) -> list[str]:
    """The steps that this one waits for, each once."""
    given = (*GIVEN, *GIVEN_EACH, *GIVEN_FAILURE)
    fields = (step.data, step.each, step.when, step.unless)
    roots = [root_of(path) for field in fields for _, path in references(field)]
    return list(dict.fromkeys((*step.after, *(each for each in roots if each not in given))))


def references(value: Any, at: str = "") -> Iterator[tuple[str, str]]:
    """Where in a value something is referred to, and what."""
    if isinstance(value, Mapping):
        if value.keys() == {REF} and isinstance(value[REF], str):
            yield at, value[REF]
            return
        for name, each in value.items():
            yield from references(each, f"{at}/{name}")
    elif isinstance(value, list | tuple):
        for index, each in enumerate(value):
            yield from references(each, f"{at}/{index}")


def root_of(path: str) -> str:
    """What a reference begins with: a step's name, `input`, `item`."""
    return path.partition(".")[0]


def full_type(name: str) -> str:
    """The event type of a job that is named shortly, or in full."""
    return name if "." in name else f"dev.errands.{name}.requested.v1"


def _known_types() -> Collection[str]:
    from events.types import REGISTRY  # which is made of this module, too

    return REGISTRY


def _unknown(step: GraphStep, at: str, names: list[str]) -> Iterator[FieldError]:
    if step.job is not None and "." not in step.job and full_type(step.job) not in _known_types():
        yield FieldError(pointer=f"{at}/job", detail=f"there is no job {step.job} in the contract")
    for index, each in enumerate(step.after):
        if each not in names:
            yield FieldError(pointer=f"{at}/after/{index}", detail=f"there is no step {each}")
    outside, within = (*names, *GIVEN), (*names, *GIVEN, *(GIVEN_EACH if step.each is not None else ()))
    yield from _unknown_references(step.data, f"{at}/data", within)
    for field in ("each", "when", "unless"):
        value = getattr(step, field)
        yield from _unknown_references(value, f"{at}/{field}", outside)
        if isinstance(value, Mapping) and not list(references(value)):
            yield FieldError(pointer=f"{at}/{field}", detail=f'a reference is expected: {{"{REF}": "step.field"}}')


def _unknown_references(value: Any, at: str, known: tuple[str, ...]) -> Iterator[FieldError]:
    for where, path in references(value):
        if root_of(path) not in known:
            yield FieldError(pointer=f"{at}{where}", detail=f"there is no step {root_of(path)[:80]} to refer to")


def _cycles(steps: tuple[GraphStep, ...]) -> Iterator[list[str]]:
    """Each way from a step back to itself, once."""
    left = {each.name: needs(each) for each in steps}
    ended = True
    while ended:
        free = [name for name, need in left.items() if not any(each in left for each in need)]
        ended = bool(free)
        for name in free:
            del left[name]
    while left:
        path = [next(iter(left))]
        while True:
            following = next(each for each in left[path[-1]] if each in left)
            if following in path:
                path = path[path.index(following) :]
                break
            path.append(following)
        yield [*path, path[0]]
        for name in path:
            del left[name]
        left = {name: need for name, need in left.items() if any(each in left for each in need)}
