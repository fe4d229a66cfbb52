"""Loads the function of a file as functions-framework does: its application, and what stands behind its target.

The module has the name of its file; its folder counts as its package, and is added to the end of the path.
"""

import sys
import traceback
from pathlib import Path
from typing import TYPE_CHECKING, Final

from functions.runtime.adapter import Function, function_of, is_made

if TYPE_CHECKING:
    from starlette.applications import Starlette


# Errands' own, which a project's package of the same name does not take the place of.
PACKAGES: Final = ("errands", "events", "functions", "keda", "knative")


class ForeignTarget(Exception):
    """A target that the decorators of functions.runtime have not made."""


def load(source: str, name: str) -> "tuple[Starlette, Function]":
    """The application and the function `name` of the file `source`.

    Exit with a sentence where there is none. Raise ForeignTarget for what is functions-framework's own to run, such as
    a file that needs Flask's application around it while it is executed.
    """
    from functions.runtime.framework import MISSING, aio  # the runner imports this module, and runs no function

    try:
        app: Starlette = aio.create_asgi_app(name, source)  # type: ignore[no-untyped-call]  # it has no types
    except MISSING as error:
        raise SystemExit(f"FUNCTION_SOURCE, FUNCTION_TARGET: {error}") from error
    except (SyntaxError, ImportError) as error:
        raise SystemExit(mistake(error, source)) from error
    except Exception as error:
        if is_made():
            raise
        raise ForeignTarget(f"{source} makes no function of functions.runtime: {error}") from error
    function = function_of(getattr(sys.modules[Path(source).resolve().stem], name))
    if function is None:
        raise ForeignTarget(f"{source} has {name!r}, which functions.runtime has not made")
    return app, function


def mistake(error: SyntaxError | ImportError, source: str) -> str:
    """What keeps the file `source` from being loaded, as one line: file, line, what is wrong, what to do."""
    if isinstance(error, SyntaxError):
        return f"{error.filename or source}:{error.lineno or 1}: this is not Python: {error.msg}"
    frames = traceback.extract_tb(error.__traceback__)
    named = [each for each in frames if not each.filename.startswith("<frozen")]
    where = f"{named[-1].filename}:{named[-1].lineno}" if named else source
    return f"{where}: {error}; {_remedy(error)}"


def _remedy(error: ImportError) -> str:
    package = (error.name or "").partition(".")[0]
    if not isinstance(error, ModuleNotFoundError):
        return "look at how that name is written"
    if package in PACKAGES:
        return f"{package!r} is a package of Errands itself: name yours after your project"
    return f"look at how it is written, or install what has it (pip install {package}) and declare it in pyproject.toml"
