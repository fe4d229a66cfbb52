"""The runner's log: lines that a person reads on a terminal, JSON otherwise."""

import json
import logging
import sys
from collections.abc import Mapping
from datetime import datetime
from typing import Any, Final

import msgspec

from functions.runtime import logs as json_log
from functions.runtime.logs import JsonFormatter

RESET: Final = "\x1b[0m"
COLOURS: Final = {"WARNING": "\x1b[33m", "ERROR": "\x1b[31m", "CRITICAL": "\x1b[31m"}
DIM: Final = "\x1b[2m"
SHOWN: Final = ("type", "event", "attempt", "status", "elapsed_ms")


def configure(*, terminal: bool | None = None, level: str = "INFO") -> None:
    """Set the logging up for standard error; `terminal` overrides what it is found to be."""
    json_log.configure(level)
    readable = sys.stderr.isatty() if terminal is None else terminal
    formatter: logging.Formatter = ReadableFormatter() if readable else PassingFormatter()
    for handler in logging.getLogger().handlers:
        handler.setFormatter(formatter)
    logging.getLogger("asyncio").setLevel("WARNING")


class PassingFormatter(JsonFormatter):
    """JSON lines; a line that a function wrote as JSON keeps its fields and gains the function's name."""

    def format(self, record: logging.LogRecord) -> str:
        lines = _function_lines(record)
        return super().format(record) if lines is None else "\n".join(map(json_log.encode, lines))


class ReadableFormatter(logging.Formatter):
    """Time, function or part of the runner, sentence, and the few fields that tell events apart."""

    def format(self, record: logging.LogRecord) -> str:
        lines = _function_lines(record) or [json.loads(JsonFormatter().format(record))]
        return "\n".join(map(_readable, lines))


def _readable(line: Mapping[str, Any]) -> str:
    severity = str(line.get("severity", "INFO"))
    name = str(line.get("function") or line.get("logger", "")).removeprefix("errands.").removeprefix("function.")
    fields = "  ".join(f"{each}={line[each]}" for each in SHOWN if line.get(each) is not None)
    shown = [f"{datetime.now().astimezone():%H:%M:%S}", f"{name:<12}", str(line["message"]), fields]
    when, who, sentence, rest = (_harmless(each) for each in shown)
    text = f"{when} {COLOURS.get(severity, '')}{who}{sentence}{RESET}  {DIM}{rest}{RESET}"
    return text + (_harmless("\n" + str(line["traceback"])) if line.get("traceback") else "")


def _function_lines(record: logging.LogRecord) -> list[dict[str, Any]] | None:
    """A function's own output as log lines, or None when the record is the runner's."""
    if not getattr(record, "output", False):
        return None
    function = record.name.removeprefix("function.")
    return [{"function": function, **_fields(text)} for text in record.getMessage().split("\n")]


def _fields(text: str) -> dict[str, Any]:
    try:
        line = msgspec.json.decode(text)
    except (ValueError, RecursionError):
        line = None
    if not isinstance(line, dict) or "message" not in line:
        return {"severity": "INFO", "message": json_log.told(text)}
    said = {name: json_log.told(str(line[name])) for name in ("message", "traceback") if name in line}
    return {**line, **said}


def _harmless(text: str) -> str:
    """Without the control characters that an event could carry to the terminal."""
    return "".join(char for char in text if char in "\n\t" or char.isprintable())
