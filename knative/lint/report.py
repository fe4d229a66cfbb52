"""The answer as text, JSON, or annotations of GitHub Actions."""

import json
from collections.abc import Callable, Mapping
from dataclasses import asdict
from typing import Final

from knative.lint.findings import RULES, Finding


def text(found: list[Finding]) -> str:
    """Each finding in four lines, and a last line that counts."""
    errors = sum(each.severity == "error" for each in found)
    shown = [
        f"{each.file}:{each.line}: {each.severity}: {each.what} [{each.rule}]\n"
        f"    in   {each.resource}{f', {each.field}' if each.field else ''}\n"
        f"    then {each.consequence}\n"
        f"    fix  {each.fix}\n"
        for each in found
    ]
    return "\n".join([*shown, f"{errors} errors, {len(found) - errors} warnings"])


def as_json(found: list[Finding]) -> str:
    """A list of objects."""
    return json.dumps([asdict(each) for each in found], indent=2)


def github(found: list[Finding]) -> str:
    """Workflow commands, which GitHub shows beside the line."""
    return "\n".join(
        f"::{each.severity} file={_property(each.file)},line={each.line},title={_property(each.rule)}::"
        + _escaped(f"{each.resource}: {each.what}. Then {each.consequence}. Fix: {each.fix}.")
        for each in found
    )


FORMATS: Final[Mapping[str, Callable[[list[Finding]], str]]] = {"text": text, "json": as_json, "github": github}


def table() -> str:
    """All rules in Markdown, for the README."""
    rows = [f"| `{each.name}` | {each.severity} | {each.consequence} | {each.fix} |" for each in RULES.values()]
    return "\n".join(["| rule | severity | what happens | instead |", "| --- | --- | --- | --- |", *rows])


def _escaped(value: str) -> str:
    return value.replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")


def _property(value: str) -> str:
    return _escaped(value).replace(":", "%3A").replace(",", "%2C")
