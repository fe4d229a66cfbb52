"""Gives WeasyPrint its C declarations ready made, in place of cffi's parser.

WeasyPrint has cffi parse what it declares of Pango each time that it is imported: a fourth of that time. cffi can write
a module of what it parsed, for its part in C to load at once, which also knows every array's type without parsing it
together with all else (3 ms a type). That module is declarations.py:

    python -m functions.report.binding     # after WeasyPrint's declarations have changed

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


class Declared:
    """`cffi.FFI` for WeasyPrint: what it declares decides which one is behind it."""

    def __init__(self) -> None:
        self._sources: list[str] = []
        self._ffi: Any = None

    def cdef(self, source: str) -> None:
        """As cffi's."""
        self._sources.append(source)
        self._ffi = _made_of(self._sources) or parsed(self._sources)

    def __getattr__(self, name: str) -> Any:
        value = getattr(self._ffi, name)
        setattr(self, name, value)  # asked for once
        return value


@contextmanager
def ready_made() -> Iterator[None]:
    """While the block runs, `import cffi` gives this one."""
    there = sys.modules.pop("cffi", None)
    stand_in = ModuleType("cffi")
    setattr(stand_in, "FFI", Declared)  # noqa: B010  # mypy knows no such attribute
    sys.modules["cffi"] = stand_in
    try:
        yield
    finally:
        if sys.modules.get("cffi") is stand_in:
            del sys.modules["cffi"]
        if there is not None:
            sys.modules["cffi"] = there


def parsed(sources: list[str]) -> Any:
    """cffi's own, which takes its time."""
    sys.modules.pop("cffi", None)
    ffi = importlib.import_module("cffi").FFI()
    for source in sources:
        ffi.cdef(source)
    return ffi


def digest(sources: list[str]) -> str:
    """By which declarations are known again."""
    return hashlib.sha256("\0".join(sources).encode()).hexdigest()


def _made_of(sources: list[str]) -> Any | None:
    if sys.platform != "linux":
        return None
    with suppress(ImportError):  # another version of cffi's part in C
        from functions.report import declarations

        return declarations.ffi if digest(sources) == declarations.DIGEST else None
    return None


def write(file: Path) -> None:
    """The module of what the installed WeasyPrint declares."""
    with ready_made():
        ffi = importlib.import_module("weasyprint.text.ffi").ffi
    whole = parsed(ffi._sources)
    whole.set_source("declarations", None)
    whole.emit_python_code(str(file))
    _, imported, *made = file.read_text().splitlines()  # the first says that it is generated
    head = ['"""Made by binding.py of what WeasyPrint declares."""', f"{imported}  # type: ignore[import-untyped]"]
    file.write_text("\n".join([*head, *made, "", f'DIGEST = "{digest(ffi._sources)}"', ""]))


if __name__ == "__main__":
    write(MADE)
