"""How a trial went: a table for a person, JUnit XML for CI."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal
from xml.etree import ElementTree as ET

State = Literal["passed", "failed", "skipped", "planned"]


@dataclass(frozen=True, kw_only=True)
class Result:
    """What became of one step."""

    step: str
    state: State
    remark: str = ""
    took_s: float = 0.0


def table(results: Sequence[Result]) -> str:
    """A row for each step."""
    width = max((len(each.step) for each in results), default=0)
    rows = (f"{each.state:<8} {each.step:<{width}} {_took(each)}  {each.remark}" for each in results)
    return "\n".join(each.rstrip() for each in rows)


def _took(result: Result) -> str:
    return "" if result.state == "planned" else f"{result.took_s:6.1f} s"


def junit(results: Sequence[Result]) -> str:
    """As CI systems read it."""
    counts = {state: sum(each.state == state for each in results) for state in ("failed", "skipped")}
    suite = ET.Element(
        "testsuite",
        name="errands cluster-test",
        tests=str(len(results)),
        failures=str(counts["failed"]),
        skipped=str(counts["skipped"]),
        time=f"{sum(each.took_s for each in results):.1f}",
    )
    for each in results:
        case = ET.SubElement(suite, "testcase", classname="cluster", name=each.step, time=f"{each.took_s:.1f}")
        if each.state == "failed":
            ET.SubElement(case, "failure", message=each.remark)
        elif each.state == "skipped":
            ET.SubElement(case, "skipped", message=each.remark)
        elif each.remark:
            ET.SubElement(case, "system-out").text = each.remark
    return ET.tostring(suite, encoding="unicode", xml_declaration=True)
