"""A container's environment as the kubelet makes it, from rendered manifests and the Secrets of an installation."""

import re
from collections.abc import Iterator, Mapping
from pathlib import Path

from knative.cluster.overlay import Overlay
from knative.manifests.documents import ManifestDocument, Place
from knative.manifests.pods import pods

Secrets = Mapping[str, Mapping[str, str]]


class CannotStart(Exception):
    """The kubelet would not start the container (CreateContainerConfigError); the message says what is not there."""


def container_of(overlay: Overlay, kind: str, name: str) -> Place:
    """The container of a resource's only pod."""
    [document] = [each for each in overlay.documents if (each.kind, each.name) == (kind, name)]
    [pod] = pods(document)
    return pod["containers"][0]


def environment(overlay: Overlay, container: Place, secrets: Secrets, folder: Path) -> dict[str, str]:
    """What the process finds; a mounted path is below `folder`, where its Secret's keys are files."""
    built: dict[str, str] = {}
    for source in container["envFrom"]:
        built |= _all_of(overlay, source, secrets)
    for variable in container["env"]:
        value = _value(overlay, container.document, variable, secrets)
        if value is not None:
            built[variable["name"].text] = _expanded(value, built)
    mounts = dict(_mounts(container, secrets, folder))
    return {name: _moved(value, mounts) for name, value in built.items()}


def command_of(container: Place) -> list[str]:
    """What is run in it: the manifest's command, or the image's (functions/Dockerfile)."""
    return [each.text for each in container["command"]] or ["python", "-m", "functions.runtime.serve"]


def _all_of(overlay: Overlay, source: Place, secrets: Secrets) -> Mapping[str, str]:
    if source["configMapRef"]:
        return _config_map(overlay, source["configMapRef"])
    return _secret(source["secretRef"], secrets)


def _config_map(overlay: Overlay, reference: Place) -> Mapping[str, str]:
    name = reference["name"].text
    [document] = [each for each in overlay.documents if each.kind == "ConfigMap" and each.name == name]
    return {key: each.text for key, each in document.root["data"].members}


def _secret(reference: Place, secrets: Secrets, key: str = "name") -> Mapping[str, str]:
    found = secrets.get(reference[key].text)
    if found is None and reference["optional"].value is not True:
        raise CannotStart(f"there is no Secret {reference[key].text}")
    return found or {}


def _value(overlay: Overlay, document: ManifestDocument, variable: Place, secrets: Secrets) -> str | None:
    source = variable["valueFrom"]
    if not source:
        return variable["value"].text
    if source["fieldRef"]:
        return {"metadata.namespace": document.namespace, "metadata.name": "pod"}[source["fieldRef"]["fieldPath"].text]
    if source["configMapKeyRef"]:
        return _config_map(overlay, source["configMapKeyRef"])[source["configMapKeyRef"]["key"].text]
    reference = source["secretKeyRef"]
    found = _secret(reference, secrets).get(reference["key"].text)
    if found is None and reference["optional"].value is not True:
        raise CannotStart(f"Secret {reference['name'].text} has no key {reference['key'].text}")
    return found


def _expanded(value: str, known: Mapping[str, str]) -> str:
    """`$(NAME)` of a variable before it; any other stays as it is."""
    return re.sub(r"\$\(([A-Za-z0-9_]+)\)", lambda found: known.get(found[1], found[0]), value)


def _mounts(container: Place, secrets: Secrets, folder: Path) -> Iterator[tuple[str, str]]:
    [pod] = pods(container.document)
    volumes = {each["name"].text: each for each in pod["volumes"]}
    for mount in container["volumeMounts"]:
        here = folder / mount["mountPath"].text.lstrip("/")
        here.mkdir(parents=True, exist_ok=True)
        volume = volumes[mount["name"].text]
        for key, value in _secret(volume["secret"], secrets, "secretName").items() if volume["secret"] else ():
            (here / key).write_text(value)
        yield mount["mountPath"].text, str(here)


def _moved(value: str, mounts: Mapping[str, str]) -> str:
    for path, here in mounts.items():
        if value == path or value.startswith(f"{path}/"):
            return here + value.removeprefix(path)
    return value
