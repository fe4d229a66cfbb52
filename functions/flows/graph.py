"""The flow that does a graph of steps: flows as data, for who writes no Python."""

from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import Any, Final

from events.flow import Flow, Step, StepFailed, flow
from events.problem import JobFailed
from events.types import GraphCompleted, GraphRequested, GraphStep, event_type
from events.types.graph import GIVEN_EACH, REF, full_type, needs, references, root_of

SHOWN_CHARACTERS: Final = 80


@flow(GraphRequested)
async def graph(job: GraphRequested, do: Flow) -> GraphCompleted:
    """Each step begins when those that it needs have ended; what fails ends it, after what `on_failure` says."""
    known: dict[str, Any] = {"input": job.input}
    try:
        await _all_steps(job, do, known)
    except (StepFailed, JobFailed) as failure:
        known["failure"] = {"title": failure.problem.title, "detail": failure.problem.detail}
        for step in job.on_failure:
            with suppress(StepFailed):
                await _begun(step, do, known)
        raise
    done = {each.name: known[each.name] for each in job.steps}
    return GraphCompleted(result=done if job.result is None else resolved(job.result, known))


async def _all_steps(job: GraphRequested, do: Flow, known: dict[str, Any]) -> None:
    if len(job.steps) == 1 and job.steps[0].each is not None:  # the batch itself: one replay at its end
        known[job.steps[0].name] = await _batch(job.steps[0], do, known)
        return
    left, under_way = list(job.steps), dict[int, tuple[GraphStep, Step[Any]]]()
    while left or under_way:
        _begin(left, under_way, do, known)
        if not under_way:
            continue
        ended = await do.first(*(step for _, step in under_way.values()))
        declared, step = under_way.pop(ended.number)
        known[declared.name] = await _ended(declared, step)
        do.progress(100 * (len(known) - 1) / len(job.steps), f"{len(known) - 1} of {len(job.steps)} steps")


def _begin(
    left: list[GraphStep], under_way: dict[int, tuple[GraphStep, Step[Any]]], do: Flow, known: dict[str, Any]
) -> None:
    """Begin each step that needs no other any more; one that is left out is null at once."""
    for declared in [each for each in left if all(name in known for name in needs(each))]:
        left.remove(declared)
        if not _is_wanted(declared, known):
            known[declared.name] = None
            continue
        step = _begun(declared, do, known)
        under_way[step.number] = (declared, step)


def _begun(step: GraphStep, do: Flow, known: Mapping[str, Any]) -> Step[Any]:
    if step.each is not None:
        return _as_flow(step, do, known)
    if step.wait is not None:
        return do.wait(step.wait, within=step.within)
    if step.hours is not None:
        return do.sleep(hours=step.hours)
    return _asked(step, do, resolved(step.data, known))


def _asked(step: GraphStep, do: Flow, data: Any) -> Step[Any]:
    failing: Any = "fail" if step.allow_failures else "hold"
    if step.call is not None:
        return do.call(step.call, data, undo=step.undo, within=step.within, on_dead_letter=failing)
    type_ = full_type(step.job or "")
    return do.job(type_, {} if data is None else data, undo=step.undo, within=step.within, on_dead_letter=failing)


def _as_flow(step: GraphStep, do: Flow, known: Mapping[str, Any]) -> Step[Any]:
    """A step for each item, as a flow of its own: this one is replayed once for all of them."""
    alone = {name: getattr(step, name) for name in ("name", "job", "call", "at_once", "allow_failures", "within")}
    batch = GraphStep(**alone, data=_moved(step.data), each={REF: "input.items"})
    roots = {root_of(path) for _, path in references(step.data)} & known.keys()
    given = {"items": _items(step, known), "known": {root: known[root] for root in sorted(roots)}}
    return do.job(event_type(GraphRequested), GraphRequested(name=step.name, steps=(batch,), input=given))


async def _batch(step: GraphStep, do: Flow, known: Mapping[str, Any]) -> list[Any]:
    """The results in the order of the items; null for those that failed, where so many may."""
    data = [
        resolved(step.data, {**known, "item": item, "index": index}) for index, item in enumerate(_items(step, known))
    ]
    results = await do.map(lambda each: _asked(step, do, each), data, at_once=step.at_once, failures=True)
    failures = [each for each in results if isinstance(each, StepFailed)]
    if len(failures) > step.allow_failures:
        raise failures[step.allow_failures]
    return [None if isinstance(each, StepFailed) else each for each in results]


async def _ended(declared: GraphStep, step: Step[Any]) -> Any:
    try:
        result = await step
    except StepFailed:
        if declared.each is None and declared.allow_failures:
            return None
        raise
    return result["result"][declared.name] if declared.each is not None else result


def resolved(value: Any, known: Mapping[str, Any]) -> Any:
    """A value with what its references stand for; raise JobFailed for one that leads nowhere."""
    if isinstance(value, Mapping):
        if value.keys() == {REF}:
            return _at(str(value[REF]), known)
        return {name: resolved(each, known) for name, each in value.items()}
    if isinstance(value, list | tuple):
        return [resolved(each, known) for each in value]
    return value


def _moved(value: Any) -> Any:
    """A value as the flow of a batch has it: what it refers to, beside the item, is within that flow's input."""
    if isinstance(value, Mapping):
        if value.keys() == {REF}:
            path = str(value[REF])
            return {REF: path if root_of(path) in GIVEN_EACH else f"input.known.{path}"}
        return {name: _moved(each) for name, each in value.items()}
    if isinstance(value, list | tuple):
        return [_moved(each) for each in value]
    return value


def _items(step: GraphStep, known: Mapping[str, Any]) -> Sequence[Any]:
    items = resolved(step.each, known)
    if not isinstance(items, list):
        raise JobFailed("no-list", f"each of {step.name} must be a list, got {type(items).__name__}")
    return items


def _is_wanted(step: GraphStep, known: Mapping[str, Any]) -> bool:
    return (step.when is None or bool(resolved(step.when, known))) and not (
        step.unless is not None and resolved(step.unless, known)
    )


def _at(path: str, known: Mapping[str, Any]) -> Any:
    """What is at a path; null within what is null, as a step is that was left out."""
    root, *names = path.split(".")
    value = known.get(root)
    for name in names:
        if value is None:
            return None
        if isinstance(value, Mapping) and name in value:
            value = value[name]
        elif isinstance(value, list) and name.isdecimal() and int(name) < len(value):
            value = value[int(name)]
        else:
            detail = f"{path[:SHOWN_CHARACTERS]} leads nowhere: there is no {name[:SHOWN_CHARACTERS]}"
            raise JobFailed("no-such-reference", detail)
    return value
