"""What `errands new` writes: a project of functions, and a function in it.

The files of `project/` and `function/` are templates, of `string.Template`; their names end in `.txt`, since most of
them are no Python until they are filled in.
"""

import keyword
import re
from collections.abc import Mapping
from importlib.metadata import version
from pathlib import Path
from string import Template
from typing import Final

from events.types import REGISTRY
from knative.manifests.manifests import MANIFESTS, load
from knative.manifests.project import Project, link_builtin
from knative.manifests.reading import KUSTOMIZATION

HERE: Final = Path(__file__).parent
NAME: Final = re.compile(r"[a-z][a-z0-9]*(?:-[a-z0-9]+)*")
NAME_CHARACTERS: Final = 40  # of a Service, whose revisions' names are longer (Knative, at most 63)
TAKEN: Final = frozenset({"errands", "events", "functions", "keda", "knative", "tests", "function"})


class CannotMake(Exception):
    """Why nothing was written."""


def new_project(folder: Path) -> list[Path]:
    """A project in a folder that is not there yet, or is empty; the files that were made."""
    name = folder.resolve().name
    _check(name)
    package = name.replace("-", "_")
    if package in TAKEN:
        raise CannotMake(f"{package!r} is the name of a package of Errands itself: give the project another name")
    if folder.exists() and any(folder.iterdir()):
        raise CannotMake(f"{folder} is there and is not empty; a function in a project: errands new function NAME")
    values = {"project": name, "package": package, "version": version("errands")}
    files = {each: _filled(each, values) for each in (HERE / "project").rglob("*.txt")}
    places = {folder / each.relative_to(HERE / "project").with_suffix(""): text for each, text in files.items()}
    init = folder / "__init__.py"
    places[folder / package / "__init__.py"] = places.pop(init)
    made = _written(places)
    link_builtin(Project(folder=folder, package=package, version="0.1.0"))
    return made


def new_function(name: str, project: Project) -> list[Path]:
    """A function in a project, and its line in the project's kustomization; the files that were made."""
    _check(name)
    module, spoken = name.replace("-", "_"), "".join(each.capitalize() for each in name.split("-"))
    requested = f"dev.errands.{spoken.lower()}.requested.v1"
    if requested in REGISTRY or name in load(MANIFESTS).services:
        raise CannotMake(f"Errands itself has a function {name!r}: give yours another name")
    values = {
        "name": name,
        "Name": spoken,
        "module": module,
        "package": project.package,
        "project": project.folder.name,
        "requested": requested,
        "completed": requested.replace("requested", "completed"),
    }
    code = project.folder / project.package / module
    places = {
        code / "__init__.py": "__init__.py",
        code / "types.py": "types.py",
        code / "greeting.py": "greeting.py",
        code / "main.py": "main.py",
        project.folder / "tests" / f"test_{module}.py": "test.py",
        project.samples / f"{name}.json": "sample.json",
        project.manifests / f"{name}.yaml": "manifest.yaml",
    }
    made = _written({place: _filled(HERE / "function" / f"{each}.txt", values) for place, each in places.items()})
    with (project.manifests / KUSTOMIZATION[0]).open("a") as listing:
        listing.write(f"  - {name}.yaml\n")
    _list_image(name, project)
    return made


def _list_image(name: str, project: Project) -> None:
    """Where the overlay takes the function's image from; nothing where the project has no such file."""
    listing = project.overlay / "functions" / KUSTOMIZATION[0]
    if listing.is_file():
        image = f"{project.folder.name}/{name}"
        with listing.open("a") as stream:
            stream.write(
                f"  - name: {image}\n    newName: registry.shop.example/{image}\n    newTag: {project.version}\n"
            )


def _check(name: str) -> None:
    if not NAME.fullmatch(name) or len(name) > NAME_CHARACTERS or keyword.iskeyword(name):
        raise CannotMake(
            f"a name of a-z, 0-9 and single hyphens is expected, at most {NAME_CHARACTERS} characters, got {name!r}"
        )


def _filled(template: Path, values: Mapping[str, str]) -> str:
    return Template(template.read_text()).substitute(values)


def _written(files: Mapping[Path, str]) -> list[Path]:
    there = [str(each) for each in files if each.exists()]
    if there:
        raise CannotMake(f"already there: {', '.join(there)}")
    for file, text in files.items():
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
    return sorted(files)
