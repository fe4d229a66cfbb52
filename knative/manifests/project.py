"""A project of functions: its folder, its package, its manifests; and which of all manifests are meant.

A project is a folder whose pyproject.toml says `package` in `[tool.errands]`. Its manifests are in `manifests/`;
what differs on a cluster is in `overlay/`.
"""

import tomllib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from knative.manifests.documents import ManifestError
from knative.manifests.manifests import MANIFESTS

BUILTIN: Final = "builtin"  # in place of a folder: Errands' own manifests, wherever it is installed
PRODUCTION: Final = MANIFESTS.parent / "overlays" / "production"
FILE: Final = "pyproject.toml"


@dataclass(frozen=True, kw_only=True)
class Project:
    """A folder with functions of one's own, in the package of this name."""

    folder: Path
    package: str
    version: str

    @property
    def manifests(self) -> Path:
        """The folder of its manifests."""
        return self.folder / "manifests"

    @property
    def overlay(self) -> Path:
        """The folder that kustomize renders for a cluster."""
        return self.folder / "overlay"

    @property
    def samples(self) -> Path:
        """The folder of its samples: for each function an event that asks for it."""
        return self.folder / "samples"


def find(start: Path) -> Project | None:
    """The project that a folder is in; None where the nearest pyproject.toml is not a project's."""
    file = next((each / FILE for each in (start, *start.parents) if (each / FILE).is_file()), None)
    if file is None:
        return None
    try:
        declared = tomllib.loads(file.read_text())
    except (OSError, ValueError) as error:
        raise ManifestError(f"{file}:1: {error}") from error
    package = declared.get("tool", {}).get("errands", {}).get("package")
    version = declared.get("project", {}).get("version", "0")
    return Project(folder=file.parent, package=str(package), version=str(version)) if package else None


def link_builtin(own: Project) -> None:
    """Have `overlay/builtin` lead to the overlay of the Errands that runs here; a folder that somebody put there stays.

    The link is in no repository, since an environment is elsewhere on each machine.
    """
    link = own.overlay / BUILTIN
    if own.overlay.is_dir() and (link.is_symlink() or not link.exists()):
        link.unlink(missing_ok=True)
        link.symlink_to(PRODUCTION)


def chosen(given: Sequence[Path] | None) -> tuple[Path, ...]:
    """The folders of manifests that are named; without any Errands' own, and those of the project that one is in."""
    if given:
        return tuple(MANIFESTS if str(each) == BUILTIN else each for each in given)
    project = find(Path.cwd())
    return (MANIFESTS, project.manifests) if project else (MANIFESTS,)
