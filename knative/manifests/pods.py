"""The pods that a resource describes: of a Service, a Deployment, a Job, a CronJob, a ScaledJob, a Pod itself."""

from collections.abc import Iterator
from typing import Final

from knative.manifests.documents import ManifestDocument, Place

POD_SPECS: Final = (
    ("spec",),
    ("spec", "template", "spec"),
    ("spec", "jobTemplate", "spec", "template", "spec"),
    ("spec", "jobTargetRef", "template", "spec"),
)


def pods(document: ManifestDocument) -> Iterator[Place]:
    """The spec of each kind of pod that the resource makes."""
    for path in POD_SPECS:
        pod = Place(document, path)
        if pod["containers"]:
            yield pod


def containers(pod: Place) -> Iterator[Place]:
    """Those of a pod, the ones that run before it included."""
    for name in ("containers", "initContainers"):
        yield from pod[name]
