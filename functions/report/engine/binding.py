"""Gives WeasyPrint its C declarations ready made, in place of cffi's parser.

WeasyPrint has cffi parse what it declares of Pango each time that it is imported: a fourth of that time. cffi can write
a module of what it parsed, for its part in C to load at once, which also knows every array's type without parsing it
together with all else (3 ms a type). That module is declarations.py:

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
    """`cffi.FFI` for WeasyPrint: what it declares decides which one is behind it."""

    def __init__(self) -> None:
        self.sources: Sources = []
        self._ffi: Any = None

    def cdef(self, source: str, **options: Any) -> None:
        """As cffi's."""
        self.sources.append((source, options))
        self._ffi = _made_of(self.sources) or parsed(self.sources)

    def __getattr__(self, name: str) -> Any:
        value = getattr(self._ffi, name)
        setattr(self, name, value)  # asked for once
        return value


class Cffi(ModuleType):
    """`cffi` for WeasyPrint, which has of it nothing but this."""

    FFI = Declared

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        return getattr(_cffi(), name)


@contextmanager
def ready_made() -> Iterator[None]:
    """While the block runs, `import cffi` gives this one."""
    there = sys.modules.get("cffi")
    stand_in = sys.modules["cffi"] = Cffi("cffi")
    try:
        yield
    finally:
        if sys.modules["cffi"] is stand_in:
            del sys.modules["cffi"]
        if there is not None:
            sys.modules["cffi"] = there


def parsed(sources: Sources) -> Any:
    """cffi's own, which takes its time."""
    ffi = _cffi().FFI()
    for source, options in sources:
        ffi.cdef(source, **options)
    return ffi


def _cffi() -> ModuleType:
    if isinstance(sys.modules.get("cffi"), Cffi):
        del sys.modules["cffi"]
    return importlib.import_module("cffi")


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
    from importlib.metadata import version  # 18 ms, and nothing that a report needs

    return ", ".join(f"{each} {version(each)}" for each in ("weasyprint", "cffi"))


if __name__ == "__main__":
    write(MADE)
