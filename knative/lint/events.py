"""The events that somebody emits, as the rules of routing know them: samples, and what manifests declare."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from knative.manifests.documents import ManifestError, Place

OPEN_ATTRIBUTES: Final = frozenset({"id", "time", "source", "subject", "dataschema", "data", "data_base64"})


@dataclass(frozen=True)
class Emitted:
    """An event that somebody emits: the attributes that are always the same. `place` where manifests declare it."""

    attributes: Mapping[str, str | int | bool]
    name: str
    place: Place | None = None

    @property
    def type(self) -> str:
        """The event's type."""
        return str(self.attributes.get("type", ""))

    def matches(self, filter_: Mapping[str, str]) -> bool:
        """Whether the event could match a filter; a value that varies from event to event is no reason against it."""
        return all(self.attributes.get(name) == value for name, value in filter_.items() if name not in OPEN_ATTRIBUTES)


def samples(folder: Path) -> tuple[Emitted, ...]:
    """The events of a folder's *.json: each a CloudEvent in structured mode, as it is emitted."""
    return tuple(_sample(file) for file in sorted(folder.glob("*.json")))


def _sample(file: Path) -> Emitted:
    try:
        event = json.loads(file.read_text())
    except (OSError, ValueError) as error:
        raise ManifestError(f"{file}:1: a CloudEvent in JSON is expected: {error}") from error
    if not isinstance(event, dict) or not isinstance(event.get("type"), str):
        raise ManifestError(f"{file}:1: a CloudEvent with a type is expected")
    known = {name: value for name, value in event.items() if isinstance(value, str | int)}
    return Emitted(known, file.name)
