"""The flows that this installation has: those of the modules that its settings name."""

import importlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from events.flow import Definition, definitions


@dataclass(frozen=True)
class Definitions:
    """Flows by the type of their request, and by name and version."""

    newest: Mapping[str, Definition[Any]]
    versions: Mapping[tuple[str, int], Definition[Any]]

    @classmethod
    def of(cls, found: Iterable[Definition[Any]]) -> "Definitions":
        """Raise ValueError where two have the same name and version."""
        newest: dict[str, Definition[Any]] = {}
        versions: dict[tuple[str, int], Definition[Any]] = {}
        for each in found:
            if (each.name, each.version) in versions and versions[each.name, each.version] is not each:
                raise ValueError(f"flow {each.name} has version {each.version} twice")
            versions[each.name, each.version] = each
            if each.type not in newest or newest[each.type].version < each.version:
                newest[each.type] = each
        return cls(newest, versions)

    @classmethod
    def load(cls, modules: str) -> "Definitions":
        """Those of modules by their names, separated by commas; raise ValueError for one that cannot be imported."""
        found: list[Definition[Any]] = []
        for name in (each.strip() for each in modules.split(",")):
            try:
                found += definitions(vars(importlib.import_module(name))) if name else []
            except ImportError as error:
                raise ValueError(f"FLOWS names the module {name!r}, which cannot be imported: {error}") from error
        return cls.of(found)
