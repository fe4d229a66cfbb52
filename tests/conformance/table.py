"""The table of promise x broker in knative/README.md, made of the suite: its tests' names and their known deviations.

python -m tests.conformance.table     # writes it; a test checks that it is fresh, the suite that it is true
"""

from collections.abc import Iterator
from types import ModuleType
from typing import Any

from tests.conformance import test_broker, test_faults
from tests.conformance.conftest import SYSTEMS
from tests.support.local_runner import ROOT

README = ROOT / "knative" / "README.md"
BEGIN, END = "<!-- promises: begin -->\n", "<!-- promises: end -->\n"
HEADINGS = {"embedded": "embedded", "rabbitmq": "`--broker amqp://`", "knative": "Knative"}


def table() -> str:
    """The table in Markdown."""
    head = ["promise", *(HEADINGS[each] for each in SYSTEMS)]
    rows = [head, ["---"] * len(head), *_rows(test_broker), *_rows(test_faults)]
    return "".join(f"| {' | '.join(row)} |\n" for row in rows)


def _rows(module: ModuleType) -> Iterator[list[str]]:
    for name, test in vars(module).items():
        if name.startswith("test_"):
            marks = {mark.name: mark for mark in getattr(test, "pytestmark", [])}
            yield [name.removeprefix("test_").replace("_", " "), *(_cell(each, marks) for each in SYSTEMS)]


def _cell(system: str, marks: dict[str, Any]) -> str:
    if system == "embedded" and "of_rabbitmq" in marks:
        return "-"
    reason = marks["deviates"].kwargs.get(system) if "deviates" in marks else None
    return f"**no**: {reason}" if reason else "yes"


def written() -> str:
    """The README with the table as it is now."""
    text = README.read_text()
    before, _, rest = text.partition(BEGIN)
    _, _, after = rest.partition(END)
    return before + BEGIN + table() + END + after


if __name__ == "__main__":
    README.write_text(written())
