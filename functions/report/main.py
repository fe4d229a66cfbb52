"""Renders a document of a job's data, stores each of its formats, and says how many pages it has."""

import time
from dataclasses import dataclass
from typing import Final

from events.function import function, system_clock
from events.http import Event, rfc3339
from events.problem import JobFailed
from events.types import ReportCompleted, ReportRequested
from functions.report.draft import Draft, Rendered, draft
from functions.sandbox import Crashed, LimitExceeded, Limits, Rejected, Sandbox
from functions.settings import from_environment
from functions.store import ReplyLedger, Store, job_key

MEDIA_TYPES: Final = {"pdf": "application/pdf", "html": "text/html; charset=utf-8"}


@dataclass(frozen=True)
class Settings:
    """The function's environment; `memory_bytes` come on top of the loaded libraries."""

    store_url: str
    store_public_url: str | None = None
    timeout_s: float = 60.0
    cpu_limit_s: int = 60
    memory_limit_bytes: int = 1 << 30
    pages_limit: int = 500


settings = from_environment(Settings)
store = Store(settings.store_url, public_url=settings.store_public_url)
limits = Limits(timeout_s=settings.timeout_s, cpu_s=settings.cpu_limit_s, memory_bytes=settings.memory_limit_bytes)
sandbox = Sandbox(preload=("functions.report.document",))


@function(ReportRequested, ledger=ReplyLedger(store))
def handle(job: ReportRequested, event: Event) -> ReportCompleted:
    """One request in, its documents out; the request's time is the PDF's date, so the same job gives the same
    bytes."""
    made_at = rfc3339(event.get("time") or system_clock().isoformat())
    order = draft(job, identifier=job_key(event), made_at=made_at, pages_limit=settings.pages_limit)
    started_s = time.monotonic()
    made = render(order)
    render_s = round(time.monotonic() - started_s, 3)
    artifacts = tuple(
        store.put(event, each.name, made.contents[each.format], MEDIA_TYPES[each.format], now=system_clock())
        for each in job.outputs
    )
    return ReportCompleted(artifacts=artifacts, pages=made.pages, render_s=render_s)


def render(order: Draft) -> Rendered:
    """Render in a child process; raise JobFailed when the document reaches a limit."""
    try:
        return sandbox.run("functions.report.document:render", order, result=Rendered, limits=limits)
    except LimitExceeded as error:
        raise JobFailed("limit-exceeded", f"the rendering {error}") from error
    except Rejected as error:
        raise JobFailed("limit-exceeded", str(error)) from error
    except Crashed as error:
        if error.code is None:  # a bug of ours
            raise
        # Pango has no other way to say that memory is short than SIGTRAP or SIGSEGV
        raise JobFailed("limit-exceeded", f"the rendering crashed, most likely out of memory: {error}") from error
