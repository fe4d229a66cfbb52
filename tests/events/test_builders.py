"""The typed builders of PHP: written from the schemas, and what they make is what the contract reads."""

import json
from collections.abc import Iterator
from typing import Any

import pytest

from events import builders
from events.builders import JOBS, METHODS, SOURCES, Schema, fields, files, struct_name, type_of, ways, written
from events.problem import decode
from events.schema import FOLDER
from events.types import REGISTRY
from tests.conftest import sample
from tests.events.test_php_client import php

NOT_ASKED_FOR = {"call", "graph", "longreport", "onboarding", "query"}  # steps of flows, examples; Flow makes a graph
OWN_METHODS = """
$told = [];
foreach (json_decode(stream_get_contents(STDIN), true) as $name) {
    $class = new ReflectionClass("Errands\\\\Jobs\\\\$name");
    foreach ($class->getMethods() as $each) {
        $isIts = $each->getDeclaringClass()->getName() === $class->getName();
        if ($isIts && method_exists('Errands\\\\Job', $each->getName())) $told[] = "$name::{$each->getName()}";
    }
}
echo json_encode($told);
"""


def test_the_files_are_what_the_schemas_make() -> None:
    made = {SOURCES / path: text for path, text in files().items()}

    assert {each: each.read_text() for each in written()} == made, "make schemas"


def test_each_job_that_an_api_asks_for_has_a_builder() -> None:
    known = {type_.split(".")[-3] for type_ in REGISTRY if ".requested." in type_}

    assert known == {*JOBS} | NOT_ASKED_FOR, "a new job stands in JOBS of events/builders.py, or here"


def test_two_structs_of_one_name_are_refused(monkeypatch: pytest.MonkeyPatch, tmp_path: Any) -> None:
    for job in JOBS:
        name = f"{type_of(job)}.json"
        (tmp_path / name).write_text((FOLDER / name).read_text())
    report = tmp_path / f"{type_of('report')}.json"
    report.write_text(report.read_text().replace("ReportCsv", "Mailbox"))
    monkeypatch.setattr(builders, "FOLDER", tmp_path)

    with pytest.raises(ValueError, match="two schemas describe Mailbox"):
        files()


@pytest.mark.php
def test_a_builder_s_methods_hide_none_that_every_job_has() -> None:
    assert json.loads(php(OWN_METHODS, [f"{each.capitalize()}Job" for each in JOBS])) == []


# --- what they make: a call is written for each field of a job's data


def literal(value: Any) -> str:
    """JSON's value in PHP."""
    if value is None:
        return "null"
    escaped = json.dumps(value).replace("\\", "\\\\").replace("'", "\\'")
    return f"json_decode('{escaped}', true)"


def expression(value: Any, schema: Schema, structs: dict[str, Schema]) -> str:
    """What a person would write for it."""
    if isinstance(value, dict):
        names = [struct_name(each) for each in ways(schema)]
        found = [each for each in names if each in structs and each != "Input"]
        return (
            f"new Errands\\Data\\{found[0]}({arguments(value, structs[found[0]], structs)})"
            if found
            else literal(value)
        )
    if isinstance(value, list):
        items = next(each["items"] for each in ways(schema) if each.get("type") == "array")
        return "[" + ", ".join(expression(each, items, structs) for each in value) + "]"
    return literal(value)


def arguments(value: dict[str, Any], struct: Schema, structs: dict[str, Schema]) -> str:
    named = {each.name: each for each in fields(struct)}
    return ", ".join(
        f"{named[name].variable}: {expression(each, named[name].schema, structs)}" for name, each in value.items()
    )


def calls(job: str, data: dict[str, Any]) -> Iterator[str]:
    """The builder's calls that make this data."""
    schema = json.loads((FOLDER / f"{type_of(job)}.json").read_text())
    structs = schema["$defs"]
    for field in fields(structs[struct_name(schema)]):
        if field.name not in data:
            continue
        value, items = data[field.name], field.schema.get("items", {})
        name = METHODS.get((job, field.name), field.variable)
        if struct_name(items) in structs:
            adder = field.variable.removesuffix("s")
            yield from (f"->{adder}({arguments(each, structs[struct_name(items)], structs)})" for each in value)
        elif field.schema.get("type") == "array":
            yield from (f"->{name}({expression(each, items, structs)})" for each in value)
        else:
            yield f"->{name}({expression(value, field.schema, structs)})"


def built(job: str, data: dict[str, Any]) -> Any:
    """The data that PHP makes by these calls."""
    return json.loads(php(f"echo Errands\\Job::{job}(){''.join(calls(job, data))}->dataToJson();", None))


@pytest.mark.php
@pytest.mark.parametrize("job", JOBS)
def test_a_sample_is_made_by_its_builder(job: str) -> None:
    data = sample(job)["data"]

    assert built(job, data) == data
    assert decode(json.dumps(data).encode(), REGISTRY[type_of(job)])


def whole(schema: Schema, structs: dict[str, Schema], depth: int = 0) -> Any:
    """A value in which every field is given."""
    (first, *_) = [each for each in ways(schema) if "$ref" in each] or ways(schema)
    if "$ref" in first:
        struct = structs[struct_name(first)]
        return {each.name: whole(each.schema, structs, depth + 1) for each in fields(struct)}
    if "enum" in first:
        return first["enum"][-1]
    if first.get("type") == "array":
        return [whole(first["items"], structs, depth + 1)] * 2
    known: dict[str, Any] = {"integer": 7, "number": 0.5, "boolean": False, "object": {}, "string": "Łódź 'x' \\ \n"}
    return known.get(first.get("type", ""), {"any": [1, None]})


@pytest.mark.php
@pytest.mark.parametrize("job", JOBS)
def test_every_field_has_its_parameter_and_its_name(job: str) -> None:
    schema = json.loads((FOLDER / f"{type_of(job)}.json").read_text())
    structs = schema["$defs"]
    data = {each.name: whole(each.schema, structs) for each in fields(structs[struct_name(schema)])}

    assert built(job, data) == data


@pytest.mark.php
def test_what_is_left_out_is_not_sent_and_what_is_empty_is_an_object() -> None:
    ics = "Errands\\Job::ics()->event(summary: 'x', start: '2026-12-01', alarms: [new Errands\\Data\\Alarm()])"
    message = "Errands\\Job::message(['headers' => []])->to('a@b.example')"

    assert json.loads(php(f"echo {ics}->dataToJson();", None)) == {
        "events": [{"summary": "x", "start": "2026-12-01", "alarms": [{}]}]
    }
    expected = '{"headers":{},"to":["a@b.example"]}'
    assert php(f"echo {message}->dataToJson(), {message}->headers([])->dataToJson();", None) == expected * 2
