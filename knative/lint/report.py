"""The answer as text, JSON, or annotations of GitHub Actions."""

import json
from collections.abc import Callable, Mapping
from dataclasses import asdict
from typing import Final

from knative.lint import Linted
from knative.lint.findings import RULES


def text(linted: Linted) -> str:
    """Each finding in four lines, and a last line that counts."""
    shown = [
        f"{each.file}:{each.line}: {each.severity}: {each.what} [{each.rule}]\n"
        f"    in   {each.resource}{f', {each.field}' if each.field else ''}\n"
        f"    then {each.consequence}\n"
        f"    fix  {each.fix}\n"
        for each in linted.findings
    ]
    return "\n".join([*shown, _count(linted)])


def brief(linted: Linted) -> str:
    """A line each, as `errands up` begins; nothing where there is nothing to say."""
    return "\n".join(
        f"{each.file}:{each.line}: {each.severity}: {each.what} [{each.rule}]: {each.fix}" for each in linted.findings
    )


def as_json(linted: Linted) -> str:
    """A list of objects."""
    return json.dumps([asdict(each) for each in linted.findings], indent=2)


def github(linted: Linted) -> str:
    """Workflow commands, which GitHub shows beside the line."""
    return "\n".join(
        f"::{each.severity} file={_property(each.file)},line={each.line},title={_property(each.rule)}::"
        + _escaped(f"{each.resource}: {each.what}. Then {each.consequence}. Fix: {each.fix}.")
        for each in linted.findings
    )


FORMATS: Final[Mapping[str, Callable[[Linted], str]]] = {
    "text": text,
    "brief": brief,
    "json": as_json,
    "github": github,
}


FOR_PEOPLE: Final = frozenset({"text", "brief"})


def table() -> str:
    """All rules in Markdown, for the README."""
    rows = [f"| `{each.name}` | {each.severity} | {each.consequence} | {each.fix} |" for each in RULES.values()]
    return "\n".join(["| rule | severity | what happens | instead |", "| --- | --- | --- | --- |", *rows])


def _count(linted: Linted) -> str:
    errors = sum(each.severity == "error" for each in linted.findings)
    looked_at = f"{_counted(linted.resources, 'resource')} in {_counted(linted.files, 'file')}"
    return f"{looked_at}: {_counted(errors, 'error')}, {_counted(len(linted.findings) - errors, 'warning')}"


def _counted(number: int, noun: str) -> str:
    return f"{number} {noun}{'' if number == 1 else 's'}"


def _escaped(value: str) -> str:
    return value.replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")


def _property(value: str) -> str:
    return _escaped(value).replace(":", "%3A").replace(",", "%2C")
