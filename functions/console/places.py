"""Where in a JSON text its values stand, so that a form can name the line of what is wrong with one."""

import re
from dataclasses import dataclass
from typing import Final

import msgspec

from functions.runtime.masking import pointer

TOKEN: Final = re.compile(r'"(?:[^"\\]|\\.)*"|[{}\[\],:]|[^\s{}\[\],:"]+', re.DOTALL)
BYTE: Final = re.compile(r"\(byte (\d+)\)")


@dataclass
class Level:
    """An object or an array that is open: the name or the number of the value that comes."""

    is_object: bool
    part: str = "0"
    wants_name: bool = True

    def go_on(self) -> None:
        """After a comma."""
        if self.is_object:
            self.wants_name = True
        else:
            self.part = str(int(self.part) + 1)


def lines(text: str) -> dict[str, int]:
    """The line of each value, by its JSON Pointer; of text that is no JSON what can be made out."""
    found, levels, line, end = {"": 1}, list[Level](), 1, 0
    for token in TOKEN.finditer(text):
        line, end = line + text.count("\n", end, token.start()), token.start()
        part, inner = token[0], levels[-1] if levels else None
        if part in "}]":
            levels[-1:] = []
        elif part == ",":
            if inner:
                inner.go_on()
        elif part != ":":
            if inner and inner.is_object and inner.wants_name:
                inner.part, inner.wants_name = _name(part), False
                continue
            found.setdefault(pointer(tuple(each.part for each in levels)), line)
            if part in "{[":
                levels.append(Level(part == "{"))
    return found


def line_of(where: dict[str, int], path: str, message: str, text: str) -> int:
    """The line of what a message is about: of the byte that it names, of the value, or of what should hold it."""
    byte = BYTE.search(message)
    if byte and not path:
        return text.encode(errors="replace").count(b"\n", 0, int(byte[1])) + 1
    while path not in where:
        path = path.rpartition("/")[0]
    return where[path]


def _name(text: str) -> str:
    try:
        return msgspec.json.decode(text, type=str)
    except msgspec.DecodeError:
        return text
