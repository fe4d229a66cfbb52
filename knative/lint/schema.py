"""Rules about what the API server would refuse: kinds, fields and types that are not those of the published schemas."""

import json
from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from knative.lint.findings import Flaw, near, rule
from knative.lint.resources import Resources
from knative.manifests.documents import ManifestDocument, Place

if TYPE_CHECKING:
    from jsonschema import ValidationError
    from jsonschema.protocols import Validator

SCHEMAS: Final = Path(__file__).with_name("schemas.json")
REFUSED: Final = "the API server refuses it, or drops the field without a word when validation is relaxed"
ANNOTATIONS: Final = {
    "autoscaling.knative.dev": [
        "class",
        "min-scale",
        "max-scale",
        "initial-scale",
        "scale-down-delay",
        "metric",
        "target",
        "scale-to-zero-pod-retention-period",
        "metric-aggregation-algorithm",
        "window",
        "target-utilization-percentage",
        "target-burst-capacity",
        "panic-window-percentage",
        "panic-threshold-percentage",
        "activation-scale",
        "minScale",
        "maxScale",
        "initialScale",
        "scaleDownDelay",
        "metricAggregationAlgorithm",
        "panicThresholdPercentage",
        "panicWindowPercentage",
        "scaleToZeroPodRetentionPeriod",
        "targetBurstCapacity",
        "targetUtilizationPercentage",
    ],
    "rabbitmq.eventing.knative.dev": ["parallelism", "cpu-request", "cpu-limit", "memory-request", "memory-limit"],
}


@rule(
    "not-a-resource",
    "error",
    consequence="nothing of this document is applied",
    fix="give apiVersion, kind and metadata.name, each once",
)
def not_a_resource(resources: Resources) -> Iterator[Flaw]:
    """A document without apiVersion, kind or name; a key given twice, of which the first is lost."""
    for document in resources.documents:
        for name in ("apiVersion", "kind"):
            if not document.root[name].text:
                yield Flaw(document.root[name], f"{name} is missing")
        metadata = document.root["metadata"]
        if document.kind != "Kustomization" and not (metadata["name"].text or metadata["generateName"].text):
            yield Flaw(metadata, "metadata.name is missing")
        for path in document.repeated:
            place = Place(document, path)
            yield Flaw(place, f"{path[-1]} is given twice, and the last one counts")


@rule("unknown-kind", "error", consequence="the API server refuses it", fix="use a kind and version that is served")
def unknown_kind(resources: Resources) -> Iterator[Flaw]:
    """A kind that is not in a group whose kinds are known here; other groups are left alone."""
    yield from unknown_kinds(resources, SCHEMAS)


def unknown_kinds(resources: Resources, published: Path) -> Iterator[Flaw]:
    """Those of a file of schemas."""
    kinds = _published(published)["kinds"]
    groups = {each.rpartition("/")[0].rpartition("/")[0] for each in kinds}
    for document in resources.documents:
        identity = f"{document.version}/{document.kind}"
        if document.version and document.kind and document.group in groups and identity not in kinds:
            here = [each for each in kinds if each.rpartition("/")[2] == document.kind] or list(kinds)
            yield Flaw(document.root["kind"], f"{identity} is not known{near(identity, here)}")


@rule("schema", "error", consequence=REFUSED, fix="write the field as its schema has it")
def schema(resources: Resources) -> Iterator[Flaw]:
    """An unknown field, a missing one, a value of another type."""
    yield from schema_flaws(resources, SCHEMAS)


def schema_flaws(resources: Resources, published: Path) -> Iterator[Flaw]:
    """Those against a file of schemas."""
    for document in resources.documents:
        validator = _validator(f"{document.version}/{document.kind}", published)
        for error in validator.iter_errors(document.data) if validator else ():
            yield from _flaws(document, error)


@rule(
    "unknown-annotation",
    "error",
    consequence="it is ignored, and the default holds: one worker, no bound of scale",
    fix="write the annotation's name as it is documented",
)
def unknown_annotation(resources: Resources) -> Iterator[Flaw]:
    """A misspelt annotation of the autoscaler or of the RabbitMQ broker."""
    for place in _annotations(resources):
        group, _, name = str(place.path[-1]).rpartition("/")
        if group in ANNOTATIONS and name not in ANNOTATIONS[group]:
            yield Flaw(place, f"{place.path[-1]} is not known{near(name, ANNOTATIONS[group])}")


@rule(
    "misplaced-annotation",
    "error",
    consequence="it is ignored or refused, and the default holds: one worker, no bound of scale",
    fix="autoscaling.knative.dev/* belongs to spec.template.metadata of a Service, "
    "rabbitmq.eventing.knative.dev/* to metadata of a Trigger or Broker",
)
def misplaced_annotation(resources: Resources) -> Iterator[Flaw]:
    """An autoscaler's annotation on the Service itself, or a dispatcher's on anything but a Trigger or Broker."""
    for place in _annotations(resources):
        group, kind = str(place.path[-1]).rpartition("/")[0], place.document.kind
        on_template = place.path[:2] == ("spec", "template")
        if group == "autoscaling.knative.dev" and kind == "Service" and not on_template:
            yield Flaw(place, f"{place.path[-1]} stands on the Service and not on its template")
        if group == "rabbitmq.eventing.knative.dev" and (kind not in ("Trigger", "Broker") or on_template):
            yield Flaw(place, f"{place.path[-1]} stands on a {kind}")


def _annotations(resources: Resources) -> Iterator[Place]:
    for document in resources.documents:
        for root in (document.root, document.root["spec"]["template"]):
            for _, place in root["metadata"]["annotations"].members:
                yield place


@cache
def _published(file: Path) -> Mapping[str, Any]:
    published: dict[str, Any] = json.loads(file.read_text())
    return published


@cache
def _validator(identity: str, file: Path) -> "Validator | None":
    from jsonschema import Draft202012Validator  # only the linter needs it, and its import is slow

    published = _published(file)
    if identity not in published["kinds"]:
        return None
    pointer = identity.replace("/", "~1")
    return Draft202012Validator({"$ref": f"#/definitions/{pointer}", "definitions": published["definitions"]})


def _flaws(document: ManifestDocument, error: "ValidationError") -> Iterator[Flaw]:
    """A schema's error as we say it: the field's line, the value, what is expected."""
    place = Place(document, tuple(error.absolute_path))
    value: Any = error.instance
    expected: Any = error.validator_value
    declared: Any = error.schema
    if error.validator == "additionalProperties":
        known = list(declared.get("properties", {}))
        for name in sorted(value.keys() - set(known)):
            yield Flaw(place[name], f"unknown field {name}{near(str(name), known)}")
    elif error.validator == "required":
        missing = [name for name in expected if name not in value]
        yield Flaw(place, f"{' and '.join(missing)} is required")
    elif error.validator == "type":
        names = [expected] if isinstance(expected, str) else [each for each in expected if each != "null"]
        yield Flaw(place, f"{place.field} must be of type {' or '.join(names)}, got {_shown(place, value)}")
    elif error.validator == "enum":
        yield Flaw(place, f"{place.field} must be one of {', '.join(map(str, expected))}, got {_shown(place, value)}")
    else:
        yield Flaw(place, f"{place.field} breaks {error.validator} {expected!r}, got {_shown(place, value)}")


def _shown(place: Place, value: object) -> str:
    """A value on one line and short; one that could be a secret only by its type."""
    if place.document.kind == "Secret" or {"env", "data", "stringData"} & set(place.path):
        return f"a value of type {type(value).__name__}"
    text = json.dumps(value, default=str)
    return text if len(text) <= 60 else f"{text[:57]}..."
