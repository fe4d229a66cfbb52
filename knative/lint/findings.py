"""What a rule is, and what it finds."""

import functools
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from difflib import get_close_matches
from typing import TYPE_CHECKING, Final, Literal

from knative.manifests.documents import Place

if TYPE_CHECKING:
    from knative.lint.resources import Resources

Severity = Literal["error", "warning"]
ALLOW: Final = "lint.errands.dev/allow"  # on a resource: the rules that it may break, separated by commas


@dataclass(frozen=True, kw_only=True)
class LintRule:
    """A trap. `consequence` is what happens on the broker, `fix` what to write instead: each a clause of a sentence."""

    name: str
    severity: Severity
    consequence: str
    fix: str
    check: "Callable[[Resources], Iterator[Flaw]]"


@dataclass(frozen=True)
class Flaw:
    """A place that breaks a rule, and the value that does; `fix` where this one's differs from the rule's."""

    place: Place
    what: str
    fix: str | None = None


@dataclass(frozen=True, kw_only=True, order=True)
class Finding:
    """A flaw as it is reported, with the rule that it breaks."""

    file: str
    line: int
    rule: str
    severity: Severity
    resource: str
    field: str
    what: str
    consequence: str
    fix: str


RULES: Final[dict[str, LintRule]] = {}


def rule(
    name: str, severity: Severity, *, consequence: str, fix: str
) -> "Callable[[Callable[[Resources], Iterator[Flaw]]], Callable[[Resources], Iterator[Flaw]]]":
    """Declare the decorated function as a rule of this name."""

    def declare(check: "Callable[[Resources], Iterator[Flaw]]") -> "Callable[[Resources], Iterator[Flaw]]":
        RULES[name] = LintRule(name=name, severity=severity, consequence=consequence, fix=fix, check=check)
        return functools.wraps(check)(check)

    return declare


def findings(resources: "Resources") -> list[Finding]:
    """What every rule finds, by file and line, without what the resources allow themselves."""
    found = {
        _finding(each, flaw)
        for each in RULES.values()
        for flaw in each.check(resources)
        if each.name not in _allowed(flaw.place)
    }
    return sorted(found)


def near(name: str, known: "Iterator[str] | list[str] | tuple[str, ...]") -> str:
    """`; did you mean X?` when a known name is like this one, else nothing."""
    folded = {each.lower(): each for each in known}
    found = get_close_matches(name.lower(), folded, n=1, cutoff=0.7)
    return f"; did you mean {folded[found[0]]}?" if found else ""


def _finding(rule_: LintRule, flaw: Flaw) -> Finding:
    document = flaw.place.document
    return Finding(
        file=document.file,
        line=flaw.place.line,
        rule=rule_.name,
        severity=rule_.severity,
        resource=f"{document.kind} {document.name}".strip(),
        field=flaw.place.field,
        what=flaw.what,
        consequence=rule_.consequence,
        fix=flaw.fix or rule_.fix,
    )


def _allowed(place: Place) -> list[str]:
    return [each.strip() for each in place.document.root["metadata"]["annotations"][ALLOW].text.split(",")]
