"""Finds what a manifest must not do on Knative's RabbitMQ broker: `errands lint`, described in knative/README.md.

It knows nothing of Errands' own functions. A rule is a function of all resources that yields the places which break it;
`RULE_MODULES` hold them.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Final

from knative.lint import addresses, delivery, installation, routing, safety, scaling, schema
from knative.lint.events import samples
from knative.lint.findings import Finding, findings
from knative.lint.resources import Resources
from knative.manifests.documents import ManifestDocument, ManifestError
from knative.manifests.manifests import MANIFESTS
from knative.manifests.reading import read

__all__ = ["Finding", "Linted", "lint", "look", "look_at"]

OWN_EVENTS: Final = MANIFESTS.parents[1] / "events" / "samples"
RULE_MODULES = (
    schema,
    routing,
    addresses,
    delivery,
    scaling,
    safety,
    installation,
)  # importing them declares their rules


@dataclass(frozen=True, kw_only=True)
class Linted:
    """What is wrong, and how much was looked at."""

    findings: list[Finding]
    files: int
    resources: int


def look(targets: list[str], *, events: Path | None = None, production: bool = False, broker_class: str = "") -> Linted:
    """Everything that is wrong with the manifests of all targets together; raise ManifestError, also where none is."""
    documents = tuple(document for target in targets for document in read(target))
    resources = tuple(each for each in documents if each.group != "kustomize.config.k8s.io")
    if not resources:
        raise ManifestError(f"{', '.join(targets)}: no resource is there, nothing was looked at")
    return look_at(resources, events=events, production=production, broker_class=broker_class)


def look_at(
    resources: tuple[ManifestDocument, ...],
    *,
    events: Path | None = None,
    production: bool = False,
    broker_class: str = "",
) -> Linted:
    """Everything that is wrong with these.

    Where it is known what is emitted, and Errands' own functions are among them, their events are known too.
    """
    known = samples(events) if events else ()
    if (known or _declare_events(resources)) and _services(read(str(MANIFESTS))) <= _services(resources):
        known += samples(OWN_EVENTS)
    found = findings(Resources(documents=resources, samples=known, production=production, broker_class=broker_class))
    return Linted(findings=found, files=len({each.file for each in resources}), resources=len(resources))


def _declare_events(resources: tuple[ManifestDocument, ...]) -> bool:
    return any(each.kind == "EventType" for each in resources)


def _services(resources: tuple[ManifestDocument, ...]) -> set[str]:
    return {each.name for each in resources if each.group == "serving.knative.dev"}


def lint(
    targets: list[str], *, events: Path | None = None, production: bool = False, broker_class: str = ""
) -> list[Finding]:
    """What is wrong alone."""
    return look(targets, events=events, production=production, broker_class=broker_class).findings
