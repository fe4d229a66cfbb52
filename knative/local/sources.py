"""What can be known of the functions' files before any of them is started: each is there, is Python, has its target."""

import ast
from collections.abc import Iterable, Iterator, Mapping
from difflib import get_close_matches
from importlib.util import find_spec
from pathlib import Path
from typing import Final

from knative.manifests.manifests import Service

PACKAGES: Final = ("errands", "events", "functions", "keda", "knative")
OURS: Final = "functions/runtime/serve.py"  # where it is, the packages beside it are Errands itself


def faults(services: Iterable[Service], settings: Mapping[str, Mapping[str, str]]) -> list[str]:
    """What would keep these from starting, a sentence each, with file and line; `settings` are those of --set."""
    found = list(services)
    roots = dict.fromkeys(each.root for each in found)
    shadows = (fault for root in roots for fault in _shadows(root))
    return [*shadows, *(fault for each in found if (fault := _fault(each, settings.get(each.name, {}))))]


def _shadows(root: Path) -> Iterator[str]:
    """Packages of a project that functions would import in place of Errands' own of that name."""
    if (root / OURS).exists():
        return
    for name in PACKAGES:
        spec = find_spec(name)
        for near in (root / name / "__init__.py", root / f"{name}.py"):
            if near.exists() and not (spec and spec.origin and near.samefile(spec.origin)):
                renamed = f"{root.name}_{name}".replace("-", "_")
                taken = near.parent if near.name == "__init__.py" else near
                yield (
                    f"{taken} takes the place of Errands' own package {name!r}; "
                    f"name yours after the project: mv {taken} {root / renamed}{taken.suffix}"
                )


def _fault(service: Service, given: Mapping[str, str]) -> str | None:
    variables = {**service.environment, **given}
    source, target = variables.get("FUNCTION_SOURCE"), variables.get("FUNCTION_TARGET")
    if not isinstance(source, str) or not isinstance(target, str):
        return None  # of a ConfigMap or a Secret, or functions-framework's default
    file = service.root / source
    try:
        tree = ast.parse(file.read_bytes(), filename=str(file))
    except OSError as error:
        return f"{service.where}: FUNCTION_SOURCE {source} of {service.name} cannot be read: {file}: {error.strerror}"
    except SyntaxError as error:
        return f"{file}:{error.lineno or 1}: {service.name} cannot start, this is not Python: {error.msg}"
    except ValueError as error:  # a null byte
        return f"{file}:1: {service.name} cannot start, this is not Python: {error}"
    names = set(_bound(tree.body))
    if target in names or "*" in names:
        return None
    near = get_close_matches(target, names, n=1)
    meant = f"; did you mean {near[0]}?" if near else ""
    return f"{service.where}: FUNCTION_TARGET of {service.name}: {file} has no function {target!r}{meant}"


def _bound(statements: Iterable[ast.stmt]) -> Iterator[str]:
    """The names that a module's own statements give something to; `*` where an import gives what it likes."""
    for each in statements:
        if isinstance(each, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            yield each.name
        elif isinstance(each, ast.Import | ast.ImportFrom):
            yield from ((alias.asname or alias.name).partition(".")[0] for alias in each.names)
        else:
            yield from (node.id for node in ast.walk(each) if isinstance(node, ast.Name) and _stores(node))
            yield from _bound(node for node in ast.walk(each) if isinstance(node, ast.stmt) and node is not each)


def _stores(node: ast.Name) -> bool:
    return isinstance(node.ctx, ast.Store)
