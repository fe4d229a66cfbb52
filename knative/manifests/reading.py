"""Finds the manifests to lint: files, folders, what kustomize would make of a folder, standard input."""

import json
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from knative.lint.resources import Emitted
from knative.manifests.documents import Document, NotReadable, parse

KUSTOMIZATION: Final = ("kustomization.yaml", "kustomization.yml", "Kustomization")
PLAIN: Final = frozenset({"apiVersion", "kind", "metadata", "resources"})
STDIN: Final = "-"


class NoManifests(ValueError):
    """There is nothing to lint, or it cannot be read; the message says `file:line: reason`."""


def read(target: str) -> tuple[Document, ...]:
    """The resources of a file, a folder, or standard input (`-`); raise NoManifests."""
    if target == STDIN:
        return _parsed(sys.stdin.read(), "<stdin>")
    path = Path(target)
    if not path.exists():
        raise NoManifests(f"{target}: there is no such file or folder")
    found = tuple(_folder(path)) if path.is_dir() else _file(path)
    if not found:
        raise NoManifests(f"{target}: no manifest is there")
    return found


def samples(folder: Path) -> tuple[Emitted, ...]:
    """The events of a folder's *.json: each a CloudEvent in structured mode, as it is emitted."""
    return tuple(_sample(file) for file in sorted(folder.glob("*.json")))


def _sample(file: Path) -> Emitted:
    try:
        event = json.loads(file.read_text())
    except (OSError, ValueError) as error:
        raise NoManifests(f"{file}:1: a CloudEvent in JSON is expected: {error}") from error
    if not isinstance(event, dict) or not isinstance(event.get("type"), str):
        raise NoManifests(f"{file}:1: a CloudEvent with a type is expected")
    known = {name: value for name, value in event.items() if isinstance(value, str | int)}
    return Emitted(known, file.name)


def _folder(folder: Path) -> Iterator[Document]:
    listing = next((folder / each for each in KUSTOMIZATION if (folder / each).is_file()), None)
    if listing is None:
        for file in sorted((*folder.glob("*.yaml"), *folder.glob("*.yml"))):
            yield from _file(file)
        return
    for kustomization in _file(listing):
        if kustomization.data.keys() <= PLAIN:
            for resource in kustomization.root["resources"]:
                yield from _listed(folder / resource.text, f"{listing}:{resource.line}")
        else:
            yield from _rendered(folder)


def _listed(path: Path, where: str) -> Iterator[Document]:
    if not path.exists():
        raise NoManifests(f"{where}: there is no {path}; render it first: kubectl kustomize ... | errands lint -")
    yield from _folder(path) if path.is_dir() else _file(path)


def _rendered(folder: Path) -> tuple[Document, ...]:
    """What kustomize makes of it; lines are those of its output."""
    commands = {"kustomize": ["kustomize", "build"], "kubectl": ["kubectl", "kustomize"]}
    command = next((each for name, each in commands.items() if shutil.which(name)), None)
    if command is None:
        raise NoManifests(
            f"{folder}: it has patches; install kubectl or kustomize, or pipe its output to errands lint -"
        )
    # an overlay may stand below its base, whose files it then names one by one
    command = [*command, "--load-restrictor", "LoadRestrictionsNone", str(folder)]
    shown = subprocess.run(command, capture_output=True, check=False, text=True)
    if shown.returncode:
        raise NoManifests(f"{folder}: {' '.join(shown.stderr.split())}")
    return _parsed(shown.stdout, f"{folder} (rendered)")


def _file(file: Path) -> tuple[Document, ...]:
    try:
        text = file.read_text()
    except (OSError, UnicodeError) as error:
        raise NoManifests(f"{file}: {error}") from error
    return _parsed(text, str(file))


def _parsed(text: str, file: str) -> tuple[Document, ...]:
    try:
        return tuple(parse(text, file))
    except NotReadable as error:
        raise NoManifests(f"{file}:{error.line}: {error}") from error
