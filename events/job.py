"""A job's identity, and what of its request stands on every later event of it.

A request's own `source` and `id` name its job, and nothing else on a request does: whoever sends may put any extension
there. Later events carry them as `jobsource` and `jobid`, which functions set.
"""

import uuid
from collections.abc import Iterator
from typing import Final

import msgspec

from events.http import Event

# of the ids that are computed: the same cause gives the same id (RFC 9562 5.5)
NAMESPACE: Final = uuid.UUID("5b1f3f5e-6d0e-5a55-9f0a-2b7c6c0b7a11")

# Ours: set by functions, never taken from outside.
OF_JOBS: Final = frozenset(["jobsource", "jobid", "causationid", "outcome", "replayed", "retried"])
OF_STEPS: Final = frozenset(["stepof", "flow", "flowid", "flowjob", "step"])
OWN: Final = OF_JOBS | OF_STEPS
# When and in what order a job is done; of no meaning once it is.
ADMISSION: Final = frozenset(
    ["expirytime", "notbefore", "delay", "priority", "uniquekey", "limitkey", "debounce", "debouncelimit"]
)
# CloudEvents' own, each event's for itself, but for `subject`.
CONTEXT: Final = frozenset(["specversion", "id", "source", "type", "time", "datacontenttype", "dataschema"])
BROKERS: Final = "knativeerror"  # what a broker puts on a dead letter begins so
CARRIED_FIRST: Final = ("subject", "callbackurl")
NOT_EXTENSIONS: Final = OWN | ADMISSION | CONTEXT | frozenset(CARRIED_FIRST)  # of the caller's
CARRIED_LIMIT_COUNT: Final = 20
CARRIED_LIMIT_BYTES: Final = 4_096  # of names and values together, beside those that are carried first


def is_request(event: Event) -> bool:
    """Whether the event asks for a job, so that an outcome follows it."""
    return ".requested." in event.type


def phase(event: Event) -> str:
    """What of its job an event of ours tells by its type: `requested`, `completed`, `failed` or `deadlettered`."""
    return event.type.split(".")[-2:][0]


def outcome_of(event: Event) -> str | None:
    """How a job ended, where the event tells that: its `outcome`; a flow's step has none, and tells it by its type."""
    return phase(event) if "flow" in event.attributes else event.get("outcome")


def job_of(event: Event) -> tuple[str, str]:
    """The source and id of the request whose job the event belongs to."""
    if is_request(event):
        return event.source, event.id
    return event.get("jobsource") or event.source, event.get("jobid") or event.id


def job_key(cause: Event) -> str:
    """A name for the job, safe in a path: its request's source and id may hold anything."""
    source, id_ = job_of(cause)
    return str(uuid.uuid5(NAMESPACE, f"{source}\n{id_}"))


def canonical(data: bytes) -> bytes:
    """An event's data however it is written: JSON with its names in order and no blanks; anything else as it is."""
    try:
        return msgspec.json.encode(msgspec.json.decode(data), order="deterministic")
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return data


def carried(event: Event) -> dict[str, str]:
    """The attributes that the next event of the job has too: subject, callback, and the caller's extensions."""
    kept = {name: event.attributes[name] for name in CARRIED_FIRST if name in event.attributes}
    return kept | dict(_within_limits(event))


def too_much(event: Event) -> str | None:
    """What is over the limits of the caller's extensions, as a sentence; None where nothing is."""
    extensions = list(_extensions(event))
    size_bytes = sum(_size_bytes(name, value) for name, value in extensions)
    if len(extensions) > CARRIED_LIMIT_COUNT:
        return f"at most {CARRIED_LIMIT_COUNT} extension attributes are carried, got {len(extensions)}"
    if size_bytes > CARRIED_LIMIT_BYTES:
        return f"extension attributes must have at most {CARRIED_LIMIT_BYTES} bytes together, got {size_bytes}"
    return None


def _within_limits(event: Event) -> Iterator[tuple[str, str]]:
    left_bytes = CARRIED_LIMIT_BYTES
    for number, (name, value) in enumerate(_extensions(event)):
        left_bytes -= _size_bytes(name, value)
        if number >= CARRIED_LIMIT_COUNT or left_bytes < 0:
            return
        yield name, value


def _extensions(event: Event) -> Iterator[tuple[str, str]]:
    """The caller's own, by name."""
    for name in sorted(event.attributes.keys() - NOT_EXTENSIONS):
        if not name.startswith(BROKERS):
            yield name, event.attributes[name]


def _size_bytes(name: str, value: str) -> int:
    return len(name) + len(value.encode())
