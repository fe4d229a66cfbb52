"""JSON log lines, one an event, as log collectors on a cluster read them.

A log goes to more people than the data of events: no message and no traceback holds an address of e-mail, or what may
sign an address of the web; nor, of what is said `about` an event, what the contract hides in it.
"""

import json
import logging
import sys
from collections import deque
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from datetime import UTC, datetime
from typing import Final, TextIO

import msgspec

from events.http import Event
from functions.runtime.masking import CONTRACT, without_addresses

# What every LogRecord has; anything beyond it was passed as `extra` and belongs into the line.
_STANDARD: Final = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName"}

TAIL_LINES: Final = 50
_tail: ContextVar[deque[str] | None] = ContextVar("tail", default=None)
_event: ContextVar[Event | None] = ContextVar("event", default=None)


class JsonFormatter(logging.Formatter):
    """A record as one JSON object: time, severity, logger, message, every `extra` that is set, the traceback."""

    def format(self, record: logging.LogRecord) -> str:
        line = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "severity": record.levelname,
            "logger": record.name,
            "message": told(record.getMessage()),
        }
        line |= {name: value for name, value in vars(record).items() if name not in _STANDARD and value is not None}
        if record.exc_info:
            line["traceback"] = told(self.formatException(record.exc_info))
        return encode(line)


def encode(line: Mapping[str, object]) -> str:
    """A line as JSON."""
    try:
        return msgspec.json.encode(line, enc_hook=str).decode()
    except (UnicodeEncodeError, OverflowError):  # a lone surrogate, as a file's name may hold; more than 64 bits
        return json.dumps(line, default=str)


def told(text: str) -> str:
    """A text as it may stand in a log."""
    event = _event.get()
    return without_addresses(text) if event is None else CONTRACT.told(text, event)


@contextmanager
def about(event: Event) -> Iterator[None]:
    """What this thread or task logs within is said of this event."""
    token = _event.set(event)
    try:
        yield
    finally:
        _event.reset(token)


@contextmanager
def tail() -> Iterator[deque[str]]:
    """The last lines that are logged within, by this thread or task and those that it starts with its context."""
    lines = deque[str](maxlen=TAIL_LINES)
    token = _tail.set(lines)
    try:
        yield lines
    finally:
        _tail.reset(token)


class LineHandler(logging.StreamHandler[TextIO]):
    """Writes each line, and keeps it for who is within `tail`."""

    def format(self, record: logging.LogRecord) -> str:
        line = super().format(record)
        lines = _tail.get()
        if lines is not None:
            lines.append(line)
        return line


def configure(level: str = "INFO") -> None:
    """Send every logger's lines to standard error as JSON."""
    handler = LineHandler(sys.stderr)
    handler.setFormatter(JsonFormatter())
    logging.basicConfig(level=level, handlers=[handler], force=True)
    # no line tells of these, so nobody need look for them: a tenth of the time of a line (logging HOWTO, Optimization)
    logging._srcfile = None
    logging.logThreads = logging.logProcesses = logging.logMultiprocessing = False
    logging.getLogger("httpx").setLevel("WARNING")  # it logs whole URLs, which may hold signatures
