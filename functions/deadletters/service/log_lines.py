"""A function's own log as an operator reads it: what its JSON lines say, without their braces."""

from typing import Any, Final

import msgspec

HEAD: Final = ("time", "severity", "logger", "message")
BELOW: Final = "traceback"


def readable(line: str) -> str:
    """A line of JSON as time, severity, logger, sentence and fields, its traceback below; any other line as it is."""
    try:
        said: Any = msgspec.json.decode(line)
    except (ValueError, RecursionError):
        return line
    if not isinstance(said, dict) or "message" not in said:
        return line
    head = "  ".join(str(said[name]) for name in HEAD if said.get(name))
    fields = "  ".join(f"{name}={value}" for name, value in said.items() if name not in (*HEAD, BELOW))
    told = "  ".join(each for each in (head, fields) if each)
    return f"{told}\n{said[BELOW]}" if said.get(BELOW) else told
