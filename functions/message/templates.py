"""A job's texts as templates, filled in a child process with limits: they are a stranger's programs.

The function's own process imports this, and neither Jinja2 nor Babel, which would delay its start.
"""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Final

import msgspec
from msgspec import Struct

from events.problem import FieldError, JobFailed, NotNow, too_wide
from events.types import MessageRequested
from functions.sandbox.sandbox import Crashed, LimitExceeded, Rejected, ResourceLimits, Sandbox

TIME_S: Final = 5  # for one job's templates
PLACE_TIMEOUT_S: Final = 3.0  # so that the wait, the templates, the downloads and the mail stay under timeoutSeconds


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


@dataclass(frozen=True, kw_only=True)
class Templating:
    """Fills the templates of so many jobs `at_once`, each within its memory: a hostile one takes all that it gets."""

    sandbox: Sandbox
    at_once: int
    memory_bytes: int

    def filled(self, job: MessageRequested) -> MessageRequested:
        """The job with its templates filled, if it has any.

        Raises JobFailed when they are wrong or reach a limit, NotNow while others are filled and none is done in time.
        """
        if job.fill is None:
            return job
        limits = ResourceLimits(timeout_s=TIME_S, cpu_s=TIME_S, memory_bytes=self.memory_bytes, file_bytes=0)
        with self._place():
            return _filled(job, self.sandbox, limits)

    @cached_property
    def _places(self) -> threading.BoundedSemaphore:
        return threading.BoundedSemaphore(self.at_once)

    @contextmanager
    def _place(self) -> Iterator[None]:
        if not self._places.acquire(timeout=PLACE_TIMEOUT_S):
            raise NotNow(f"the templates of {self.at_once} jobs are filled, as many as may be at once", retry_after_s=1)
        try:
            yield
        finally:
            self._places.release()


def _filled(job: MessageRequested, sandbox: Sandbox, limits: ResourceLimits) -> MessageRequested:
    assert job.fill is not None  # noqa: S101  # the caller's condition
    sources = {name: text for name in ("subject", "text", "html") if (text := getattr(job, name)) is not None}
    order = Templates(sources=sources, **msgspec.structs.asdict(job.fill))
    try:
        done = sandbox.run("functions.message.filling:fill", order, result=Filled, limits=limits)
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
