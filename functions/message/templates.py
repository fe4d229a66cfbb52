"""A job's texts as templates, filled in a child process with limits: they are a stranger's programs.

The function's own process imports this, and neither Jinja2 nor Babel, which would delay its start.
"""

from typing import Any, Final

import msgspec
from msgspec import Struct

from events.problem import FieldError, JobFailed, too_wide
from events.types import MessageRequested
from functions.sandbox.sandbox import Crashed, LimitExceeded, Rejected, ResourceLimits, Sandbox

LIMITS: Final = ResourceLimits(timeout_s=5, cpu_s=5, memory_bytes=256 << 20)


class Templates(Struct, frozen=True, kw_only=True):
    """The templates of a message by field, and what they are filled with."""

    sources: dict[str, str]
    data: dict[str, Any]
    locale: str
    currency: str | None
    zone: str


class Filled(Struct, frozen=True, kw_only=True):
    """The texts by field."""

    texts: dict[str, str]


def filled(job: MessageRequested, sandbox: Sandbox) -> MessageRequested:
    """The job with its templates filled, if it has any; raise JobFailed when they are wrong or reach a limit."""
    if job.fill is None:
        return job
    sources = {name: text for name in ("subject", "text", "html") if (text := getattr(job, name)) is not None}
    order = Templates(sources=sources, **msgspec.structs.asdict(job.fill))
    try:
        done = sandbox.run("functions.message.filling:fill", order, result=Filled, limits=LIMITS)
    except OverflowError as error:
        raise too_wide(job) from error
    except Rejected as error:
        raise JobFailed("invalid-template", str(error), (_field_error(str(error)),)) from error
    except LimitExceeded as error:
        raise JobFailed("limit-exceeded", f"filling the templates {error}") from error
    except Crashed as error:
        if error.code is None:  # a bug of ours
            raise
        raise JobFailed(
            "limit-exceeded", f"filling the templates crashed, most likely out of memory: {error}"
        ) from error
    return msgspec.structs.replace(job, **done.texts)


def _field_error(message: str) -> FieldError:
    field, separator, detail = message.partition(": ")
    known = separator and field in ("subject", "text", "html")
    return FieldError(pointer=f"#/{field}" if known else "#/fill", detail=detail if known else message)
