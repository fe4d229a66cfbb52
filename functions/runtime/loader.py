"""Loads the target of a function's file: the object that a server calls.

As functions-framework does (`_function_registry.load_function_module`): the module has the name of its file, its folder
counts as its package and is added to the end of the path, and it can be found while it is executed. To load it with
functions-framework itself takes that library and Flask, 65 of the 150 ms in which a function is there.
"""

import importlib.util
import sys
from pathlib import Path


def load(source: str, name: str) -> object:
    """What the file `source` calls `name`; exits with a sentence where there is none."""
    file = Path(source).resolve()
    spec = importlib.util.spec_from_file_location(file.stem, file, submodule_search_locations=[str(file.parent)])
    if not file.is_file() or spec is None or spec.loader is None:
        raise SystemExit(f"FUNCTION_SOURCE must be a Python file, got {source!r}")
    module = importlib.util.module_from_spec(spec)
    sys.path.append(str(file.parent))
    sys.modules[file.stem] = module
    spec.loader.exec_module(module)
    if not hasattr(module, name):
        found = [each for each, value in vars(module).items() if callable(value) and not each.startswith("_")]
        raise SystemExit(f"FUNCTION_TARGET: {source} has no target {name!r}; it has {', '.join(found)}")
    function: object = getattr(module, name)
    return function
