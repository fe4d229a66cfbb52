"""Rules about what runs and what it knows: images that can change, secrets that anybody can read."""

import re
from collections.abc import Iterator
from typing import Final

from knative.lint.findings import Flaw, rule
from knative.lint.resources import Resources
from knative.manifests.documents import Place
from knative.manifests.pods import containers, pods

SECRET_NAME: Final = re.compile(
    r"(?i)(?:^|[_.-])(?:password|passwd|passphrase|secrets?|tokens?|api[_.-]?keys?|private[_.-]?keys?|access[_.-]?keys?"
    r"|credentials?)$"
)
PASSWORD_IN_URL: Final = re.compile(r"[a-z][a-z0-9+.-]*://[^/\s:@]*:[^/\s@]+@", re.IGNORECASE)


@rule(
    "image-without-version",
    "error",
    consequence="pods started at different times run different code, and a rollback brings back the same",
    fix="image: name@sha256:... or name:version",
)
def image_without_version(resources: Resources) -> Iterator[Flaw]:
    """An image without digest or version, where the manifests are meant for production."""
    for container in _containers(resources) if resources.production else ():
        image = container["image"].text
        version = image.rpartition("/")[2].partition(":")[2]
        if image and "@sha256:" not in image and version in ("", "latest"):
            yield Flaw(container["image"], f"the image {image} has no digest and no version")


@rule(
    "secret-in-plain-text",
    "error",
    consequence="whoever reads the manifest, the repository or the pod's description knows the secret",
    fix="valueFrom.secretKeyRef, and the Secret made by an ExternalSecret, sealed, or by hand",
)
def secret_in_plain_text(resources: Resources) -> Iterator[Flaw]:
    """A secret as a variable's value, in a ConfigMap, or a Secret with its data; the value is not shown."""
    for container in _containers(resources):
        for entry in container["env"]:
            yield from _plain(entry["name"].text, entry["value"])
    for document in resources.of("ConfigMap", ""):
        for name, place in document.root["data"].members:
            yield from _plain(name, place)
    for document in resources.of("Secret", ""):
        for name, place in (*document.root["data"].members, *document.root["stringData"].members):
            if place.value:
                yield Flaw(place, f"the Secret's {name} stands in the manifest")


def _plain(name: str, place: Place) -> Iterator[Flaw]:
    if SECRET_NAME.search(name) and place.text and not place.text.startswith("$("):
        yield Flaw(place, f"{name} has its value in plain text")
    elif PASSWORD_IN_URL.search(place.text) and "$(" not in place.text:
        yield Flaw(place, f"{name} holds a URL with a password")


def _containers(resources: Resources) -> Iterator[Place]:
    return (each for document in resources.documents for pod in pods(document) for each in containers(pod))
