"""Gives WeasyPrint its C declarations ready made, in place of cffi's parser.

WeasyPrint has cffi parse what it declares of Pango each time that it is imported. cffi can write a module of what it
parsed, for its part in C to load at once. That module is declarations.py:

    python -m functions.report.engine.binding     # after WeasyPrint's declarations have changed

Until then cffi parses them, as it does away from Linux, where it also knows more places of libraries.
"""

import hashlib
import importlib
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from types import ModuleType
from typing import Any, Final

MADE: Final = Path(__file__).with_name("declarations.py")
Sources = list[tuple[str, dict[str, Any]]]
"""What was declared, and with which of cffi's options."""


class Declared:
    """`cffi.FFI` for WeasyPrint: what it declares decides which one is behind it, at the first use."""

    def __init__(self) -> None:
        self.sources: Sources = []

    def cdef(self, source: str, **options: Any) -> None:
        """As cffi's."""
        self.sources.append((source, options))

    def __getattr__(self, name: str) -> Any:
        if name == "_ffi":
            self._ffi = _made_of(self.sources) or parsed(self.sources)
            return self._ffi
        value = getattr(self._ffi, name)
        setattr(self, name, value)  # asked for once
        return value


@contextmanager
def ready_made() -> Iterator[None]:
    """While the block runs, `import cffi` gives one that has `FFI` alone."""
    stand_in = ModuleType("cffi")
    stand_in.FFI = Declared  # type: ignore[attr-defined]  # a module's attributes are what is put there
    there = sys.modules.get("cffi")
    sys.modules["cffi"] = stand_in
    try:
        yield
    finally:
        del sys.modules["cffi"]
        if there is not None:
            sys.modules["cffi"] = there


def parsed(sources: Sources) -> Any:
    """cffi's own, which takes its time."""
    if not hasattr(sys.modules.get("cffi"), "__file__"):  # the one that stands in
        sys.modules.pop("cffi", None)
    ffi = importlib.import_module("cffi").FFI()
    for source, options in sources:
        ffi.cdef(source, **options)
    return ffi


def digest(sources: Sources) -> str:
    """By which declarations are known again."""
    return hashlib.sha256(repr(sources).encode()).hexdigest()


def _made_of(sources: Sources) -> Any | None:
    if sys.platform != "linux":
        return None
    with suppress(ImportError):  # another version of cffi's part in C
        from functions.report.engine import declarations

        return declarations.ffi if digest(sources) == declarations.DIGEST else None
    return None


def write(file: Path) -> None:
    """The module of what the installed WeasyPrint declares."""
    with ready_made():
        ffi = importlib.import_module("weasyprint.text.ffi").ffi
    whole = parsed(ffi.sources)
    whole.set_source("declarations", None)
    whole.emit_python_code(str(file))
    _, imported, *made = file.read_text().splitlines()  # the first says that it is generated
    head = ['"""Made by binding.py of what WeasyPrint declares."""', f"{imported}  # type: ignore[import-untyped]"]
    told = [f'DIGEST = "{digest(ffi.sources)}"', f'MADE_WITH = "{made_with()}"']
    file.write_text("\n".join([*head, *made, "", *told, ""]))


def made_with() -> str:
    """The versions here of what decides about the module."""
    from importlib.metadata import version  # slow, and nothing that a report needs

    return ", ".join(f"{each} {version(each)}" for each in ("weasyprint", "cffi"))


if __name__ == "__main__":
    write(MADE)
