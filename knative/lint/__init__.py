"""Finds what a manifest must not do on Knative's RabbitMQ broker: `errands lint`, described in knative/README.md.

It knows nothing of Errands' own functions. A rule is a function of all resources that yields the places which break it;
the modules `schema`, `routing`, `delivery`, `scaling`, `safety` and `repeatable` hold them.
"""

from pathlib import Path

from knative.lint import delivery, repeatable, routing, safety, scaling, schema
from knative.lint.events import samples
from knative.lint.findings import Finding, findings
from knative.lint.resources import Resources
from knative.manifests.reading import read

__all__ = ["Finding", "lint"]

RULE_MODULES = (schema, routing, delivery, scaling, safety, repeatable)  # importing them declares their rules


def lint(targets: list[str], *, events: Path | None = None, production: bool = False) -> list[Finding]:
    """Everything that is wrong with the manifests of all targets together; raise ManifestError."""
    documents = tuple(document for target in targets for document in read(target))
    resources = tuple(each for each in documents if each.group != "kustomize.config.k8s.io")
    known = samples(events) if events else ()
    return findings(Resources(documents=resources, samples=known, production=production))
