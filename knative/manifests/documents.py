"""Manifests as data that knows its file and line: `ManifestDocument`, and `Place`, a value within one.

A Place may be of a value that is not there: reading on gives more of the same, its line is that of the nearest thing
that is there, and it is false. So a rule asks for `trigger["spec"]["delivery"]["timeout"]` without looking first.
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

import yaml

LIMIT_BYTES: Final = 20_000_000
LIMIT_NODES: Final = 300_000  # aliases of aliases stay small in the file and grow in memory

Path_ = tuple[str | int, ...]


class ManifestError(ValueError):
    """A manifest that cannot be read or honoured; the message is `file:line: reason`."""


class KubernetesLoader(yaml.SafeLoader):
    """YAML as Kubernetes reads it: a date is a text, and `=` as well."""

    yaml_implicit_resolvers = {  # noqa: RUF012  # the base class's own shape
        first: [each for each in resolvers if not each[0].endswith((":timestamp", ":value"))]
        for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
    }


@dataclass(frozen=True, kw_only=True)
class ManifestDocument:
    """One resource: its data, and the line of each value by its path. `repeated` are keys given twice."""

    file: str
    data: Mapping[str, Any]
    lines: Mapping[Path_, int]
    repeated: tuple[Path_, ...] = field(default=())

    @property
    def where(self) -> str:
        """`file:line` of the resource."""
        return self.root.where

    @property
    def root(self) -> "Place":
        """The whole resource as a Place."""
        return Place(self)

    @property
    def version(self) -> str:
        """The apiVersion, empty when there is none."""
        return self.root["apiVersion"].text

    @property
    def group(self) -> str:
        """The API group: empty for Kubernetes' first one."""
        return self.version.rpartition("/")[0]

    @property
    def kind(self) -> str:
        """The kind, empty when there is none."""
        return self.root["kind"].text

    @property
    def name(self) -> str:
        """The name, empty when there is none."""
        return self.root["metadata"]["name"].text

    @property
    def namespace(self) -> str:
        """The namespace, empty when whoever applies it chooses."""
        return self.root["metadata"]["namespace"].text


@dataclass(frozen=True)
class Place:
    """A value in a ManifestDocument, or the absence of one."""

    document: ManifestDocument
    path: Path_ = ()

    def __getitem__(self, step: str | int) -> "Place":
        return Place(self.document, (*self.path, step))

    def __iter__(self) -> Iterator["Place"]:
        """The members of a list; of anything else, none."""
        return (self[index] for index in range(len(self.value) if isinstance(self.value, list) else 0))

    def __bool__(self) -> bool:
        return self.value is not None

    @property
    def value(self) -> Any:
        """The data here; None when there is none."""
        found: Any = self.document.data
        for step in self.path:
            if not (isinstance(found, dict) and step in found) and not (
                isinstance(found, list) and isinstance(step, int) and step < len(found)
            ):
                return None
            found = found[step]  # type: ignore[index]  # the step fits, as just seen
        return found

    @property
    def text(self) -> str:
        """The value as a text, empty when it is none or absent."""
        return self.value if isinstance(self.value, str) else ""

    @property
    def whole(self) -> int | None:
        """A whole number, also one in quotes as in annotations; None when it is none or absent."""
        if isinstance(self.value, int) and not isinstance(self.value, bool):
            return self.value
        return int(self.text) if re.fullmatch(r"[0-9]{1,9}", self.text) else None

    @property
    def members(self) -> Iterator[tuple[str, "Place"]]:
        """Name and place of each member of a mapping."""
        return ((name, self[name]) for name in (self.value if isinstance(self.value, dict) else {}))

    @property
    def line(self) -> int:
        """The line, from 1; of something absent that of what it is missing from."""
        path = self.path
        while path and path not in self.document.lines:
            path = path[:-1]
        return self.document.lines[path]

    @property
    def where(self) -> str:
        """`file:line`, for messages."""
        return f"{self.document.file}:{self.line}"

    def error(self, reason: str) -> ManifestError:
        """An error that points here."""
        return ManifestError(f"{self.where}: {reason}")

    @property
    def field(self) -> str:
        """`spec.delivery.timeout`, `spec.containers[0].image`."""
        shown = "".join(f"[{step}]" if isinstance(step, int) else f".{step}" for step in self.path)
        return shown.removeprefix(".")


def texts(place: Place) -> Iterator[Place]:
    """Every text below a place."""
    if isinstance(place.value, str):
        yield place
    for each in (*place, *(member for _, member in place.members)):
        yield from texts(each)


def parse(text: str, file: str) -> Iterator[ManifestDocument]:
    """The resources in a text, those of a List among them; raise ManifestError for what is no YAML."""
    if len(text) > LIMIT_BYTES:
        raise _unreadable(file, 1, f"manifests of at most {LIMIT_BYTES} characters are expected, got {len(text)}")
    try:
        loader = KubernetesLoader(text)
        while loader.check_node():
            node = loader.get_node()
            if node is not None:
                yield from _documents(loader, node, file)
    except RecursionError as error:
        raise _unreadable(file, 1, "manifests nested so deep, or within themselves, are not read") from error
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        reason = f"not YAML: {error.problem or error.context}"
        raise _unreadable(file, mark.line + 1 if mark else 1, reason) from error
    except yaml.YAMLError as error:  # such as a control character, which has no line
        raise _unreadable(file, 1, f"not YAML: {' '.join(str(error).split())}") from error


def _unreadable(file: str, line: int, reason: str) -> ManifestError:
    return ManifestError(f"{file}:{line}: {reason}")


def _documents(loader: KubernetesLoader, node: yaml.Node, file: str) -> Iterator[ManifestDocument]:
    lines: dict[Path_, int] = {}
    repeated: list[Path_] = []
    if not _locate(node, (), lines, repeated):
        reason = f"manifests of at most {LIMIT_NODES} values are expected"
        raise _unreadable(file, node.start_mark.line + 1, reason)
    data = loader.construct_document(node)
    if data is None:
        return
    if not isinstance(data, dict):
        raise _unreadable(file, node.start_mark.line + 1, "a resource is a mapping")
    whole = ManifestDocument(file=file, data=data, lines=lines, repeated=tuple(repeated))
    if whole.kind.endswith("List") and isinstance(data.get("items"), list):
        for index, item in enumerate(data["items"]):
            yield _within(whole, ("items", index), item)
    else:
        yield whole


def _within(whole: ManifestDocument, start: Path_, data: Any) -> ManifestDocument:
    depth = len(start)
    lines = {path[depth:]: line for path, line in whole.lines.items() if path[:depth] == start}
    repeated = tuple(path[depth:] for path in whole.repeated if path[:depth] == start)
    return ManifestDocument(
        file=whole.file, data=data if isinstance(data, dict) else {}, lines=lines, repeated=repeated
    )


def _locate(node: yaml.Node, path: Path_, lines: dict[Path_, int], repeated: list[Path_]) -> bool:
    """Note the line of each value below; False when there are too many."""
    if len(lines) >= LIMIT_NODES:
        return False
    lines.setdefault(path, node.start_mark.line + 1)  # a member's line is that of its key
    if isinstance(node, yaml.SequenceNode):
        return all(_locate(each, (*path, index), lines, repeated) for index, each in enumerate(node.value))
    for key, value in node.value if isinstance(node, yaml.MappingNode) else ():
        below = (*path, str(key.value))
        if below in lines:
            repeated.append(below)
        lines[below] = key.start_mark.line + 1
        if not _locate(value, below, lines, repeated):
            return False
    return True
