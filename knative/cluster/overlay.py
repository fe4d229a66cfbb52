"""An overlay as it is applied: the text that kustomize makes of it, and the resources in it."""

from dataclasses import dataclass
from pathlib import Path

from knative.manifests.documents import ManifestDocument, parse
from knative.manifests.project import PRODUCTION
from knative.manifests.reading import render


@dataclass(frozen=True, kw_only=True)
class Overlay:
    """Rendered once, so that what is checked is what is applied."""

    text: str
    documents: tuple[ManifestDocument, ...]

    @property
    def namespace(self) -> str:
        """That of its Namespace; empty where it has none."""
        return next((each.name for each in self.documents if each.kind == "Namespace"), "")


def overlay(folder: Path = PRODUCTION) -> Overlay:
    """Render a folder; raises ManifestError."""
    return overlay_of(render(folder), f"{folder} (rendered)")


def overlay_of(text: str, name: str = "rendered") -> Overlay:
    """What kustomize has printed."""
    return Overlay(text=text, documents=tuple(parse(text, name)))
