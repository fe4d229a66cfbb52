"""A flow's diagram (Mermaid), of what its history says: what was asked for after what, and how it ended.

The function itself is not read: a step stands after those that had ended when it was asked for. Steps that were asked
for together and are the same, as those of a fan-out, are one.
"""

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Final

from functions.flows.flow_record import FlowRecord
from functions.flows.steps import StepRecord

WAVES_LIMIT: Final = 200  # more than a person follows, and about what the renderer draws
CLASSES: Final = (
    "classDef completed fill:#e3f4e1,stroke:#2e7d32",
    "classDef failed fill:#fde7e7,stroke:#c62828",
    "classDef open fill:#fff6da,stroke:#b78103",
)
ENDS: Final = {"completed": "completed", "failed": "failed", "deadlettered": "failed", "fired": "completed"}
LATE: Final = ("call ", "job ", "wait ", "undo ")  # what failed where its time came; a sleep has ended then


@dataclass(frozen=True, slots=True)
class Node:
    """Steps that are drawn as one."""

    steps: tuple[StepRecord, ...]

    @property
    def name(self) -> str:
        """Its own in the diagram."""
        return f"s{self.steps[0].number}"

    @property
    def state(self) -> str:
        """Open before failed before completed: what a person looks for."""
        states = {_state(each) for each in self.steps}
        return next(each for each in ("open", "failed", "completed") if each in states)

    @property
    def label(self) -> str:
        """What it is, and of many how many are how."""
        what = _text(self.steps[0].what)
        if len(self.steps) == 1:
            return what
        counts = Counter(map(_state, self.steps))
        return f"{len(self.steps)} x {what}<br/>{', '.join(f'{counts[each]} {each}' for each in sorted(counts))}"


def mermaid(flow: FlowRecord, recorded: Sequence[StepRecord]) -> Iterator[str]:
    """The lines of the diagram."""
    yield "flowchart TD"
    yield f'    begin(["{_text(flow.name)} {_text(flow.request.id)}"])'
    waves = [list(each) for _, each in groupby(recorded, key=lambda step: step.asked_at)]
    before, left = ["begin"], list[Node]()
    for wave in waves[:WAVES_LIMIT]:
        ended = [node for node in left if all(_ended_by(step, wave[0]) for step in node.steps)]
        left = [node for node in left if node not in ended]
        before = [node.name for node in ended] or before
        nodes = list(_nodes(wave))
        for node in nodes:
            yield f'    {" & ".join(before)} --> {node.name}["{node.label}"]:::{node.state}'
        left += nodes
    if len(waves) > WAVES_LIMIT:
        yield f'    more["and {sum(map(len, waves[WAVES_LIMIT:]))} steps more"]'
    if flow.ended_at:
        last = [node.name for node in left] or before
        yield f'    {" & ".join(last)} --> over(["{flow.state}"]):::{flow.state}'
    yield from (f"    {each}" for each in CLASSES)


def _nodes(wave: Iterable[StepRecord]) -> Iterator[Node]:
    by_what: dict[str, list[StepRecord]] = {}
    for each in wave:
        by_what.setdefault(each.what, []).append(each)
    return (Node(tuple(each)) for each in by_what.values())


def _ended_by(step: StepRecord, next_: StepRecord) -> bool:
    return step.answer is not None and step.answer.at <= next_.asked_at


def _state(step: StepRecord) -> str:
    if step.answer is None:
        return "open"
    if step.answer.kind == "fired" and step.what.startswith(LATE):
        return "failed"
    return ENDS[step.answer.kind]


def _text(text: str) -> str:
    """As a label has it: nothing in it is Mermaid's or HTML's own."""
    return "".join(each if each.isalnum() or each in " -_./:" else f"#{ord(each)};" for each in text[:80])
