"""Finds manifests and reads them: files, folders, what kustomize would make of a folder, standard input.

The linter reads whatever it is given (`read`). The runner reads a folder whose kustomization lists plain files
(`read_listed`): one that would have to be rendered first it refuses.
"""

import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final

from knative.manifests.documents import ManifestDocument, ManifestError, parse
from knative.manifests.fields import text

KUSTOMIZATION: Final = ("kustomization.yaml", "kustomization.yml", "Kustomization")
PLAIN: Final = frozenset({"apiVersion", "kind", "metadata", "resources"})
STDIN: Final = "-"

# what becomes of a folder whose kustomization changes things
_Patched = Callable[[Path, ManifestDocument], Iterator[ManifestDocument]]


def read(target: str) -> tuple[ManifestDocument, ...]:
    """The resources of a file, a folder, or standard input (`-`); raise ManifestError."""
    if target == STDIN:
        return tuple(parse(sys.stdin.read(), "<stdin>"))
    path = Path(target)
    if not path.exists():
        raise ManifestError(f"{target}: there is no such file or folder")
    found = tuple(_folder(path)) if path.is_dir() else _file(path)
    if not found and not (path.is_dir() and _listing(path)):  # a list may be empty, as a new project's is
        raise ManifestError(f"{target}: no manifest is there")
    return found


def read_listed(folder: Path) -> Iterator[ManifestDocument]:
    """The resources of the files that the folder's kustomization lists; raise ManifestError."""
    listing = _listing(folder)
    if listing is None:
        file = folder / KUSTOMIZATION[0]
        raise ManifestError(f"{file}:1: there is no such file: a folder of manifests lists its files in it")
    return _listed(folder, listing, _refused)


def _listing(folder: Path) -> Path | None:
    return next((folder / each for each in KUSTOMIZATION if (folder / each).is_file()), None)


def _folder(folder: Path) -> Iterator[ManifestDocument]:
    """What its kustomization lists, or else its files and those of the folders below it, which may have one."""
    listing = _listing(folder)
    if listing is not None:
        yield from _listed(folder, listing, _rendered)
        return
    for each in sorted(folder.iterdir()):
        if each.is_dir() and not each.is_symlink() and not each.name.startswith((".", "node_modules")):
            yield from (resource for resource in _folder(each) if resource.kind or resource.version)
        elif each.suffix in (".yaml", ".yml"):
            yield from _file(each)


def _listed(folder: Path, listing: Path, patched: _Patched) -> Iterator[ManifestDocument]:
    for kustomization in _file(listing):
        if not kustomization.data.keys() <= PLAIN:
            yield from patched(folder, kustomization)
            continue
        for resource in kustomization.root["resources"]:
            path = folder / text(resource)
            inner = _listing(path)
            if not path.exists():
                raise resource.error(f"there is no file {path}; render it first: kubectl kustomize")
            if inner:
                yield from _listed(path, inner, patched)
            else:
                yield from _folder(path) if path.is_dir() else _file(path)


def _refused(_folder: Path, kustomization: ManifestDocument) -> Iterator[ManifestDocument]:
    name = min(kustomization.data.keys() - PLAIN)
    raise kustomization.root[name].error(f"{name} is not honoured here; render it first with kubectl kustomize")


def _rendered(folder: Path, _kustomization: ManifestDocument) -> Iterator[ManifestDocument]:
    """What kustomize makes of it; lines are those of its output."""
    return parse(render(folder), f"{folder} (rendered)")


def render(folder: Path) -> str:
    """The text that kustomize makes of a folder; raises ManifestError."""
    commands = {"kustomize": ["kustomize", "build"], "kubectl": ["kubectl", "kustomize"]}
    command = next((each for name, each in commands.items() if shutil.which(name)), None)
    if command is None:
        raise ManifestError(
            f"{folder}: it has patches; install kubectl or kustomize, or pipe its output to errands lint -"
        )
    # an overlay may stand below its base, whose files it then names one by one
    command = [*command, "--load-restrictor", "LoadRestrictionsNone", str(folder)]
    shown = subprocess.run(command, capture_output=True, check=False, text=True)
    if shown.returncode:
        raise ManifestError(f"{folder}: {' '.join(shown.stderr.split())}")
    return shown.stdout


def _file(file: Path) -> tuple[ManifestDocument, ...]:
    try:
        written = file.read_text()
    except (OSError, UnicodeError) as error:
        raise ManifestError(f"{file}: {error}") from error
    return tuple(parse(written, str(file)))
