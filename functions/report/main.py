"""Renders a document of a job's data, stores each of its formats, and says how many pages it has."""

import time
from dataclasses import dataclass
from typing import Final

import msgspec

from events.http import Event, rfc3339
from events.job import job_key
from events.problem import JobFailed, too_wide
from events.types import ReportCompleted, ReportRequested
from events.types.report import ReportArtifact, ReportOutput
from functions.net.guard import Guard
from functions.report.assets import Assets, HostGuard
from functions.report.draft import Document, Draft, Rendered
from functions.report.inputs import InputReader, files_of
from functions.report.progress_log import ProgressLog
from functions.runtime.adapter import function, system_clock
from functions.runtime.settings import from_environment
from functions.sandbox.sandbox import Crashed, Handlers, LimitExceeded, Rejected, ResourceLimits, Sandbox
from functions.storage.ledger import ReplyLedger
from functions.storage.store import Store

MEDIA_TYPES: Final = {
    "pdf": "application/pdf",
    "html": "text/html; charset=utf-8",
    "csv": "text/csv; charset=utf-8",
    "xlsx": "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet",
}


@dataclass(frozen=True)
class Settings:
    """The function's environment; `memory_limit_bytes` come on top of the loaded libraries."""

    store_url: str
    store_public_url: str | None = None
    store_names_secret: str | None = None
    allowed_networks: str = ""
    asset_hosts: str = ""
    timeout_s: float = 60.0
    cpu_limit_s: int = 60
    memory_limit_bytes: int = 1 << 30
    pages_limit: int = 500
    rows_limit: int = 100_000
    data_limit_bytes: int = 50_000_000
    assets_limit_bytes: int = 20_000_000
    result_limit_bytes: int = 100_000_000
    fetch_timeout_s: float = 10.0
    sandbox_walls: str = "wanted"

    def __post_init__(self) -> None:
        Guard.parse(self.allowed_networks)


settings = from_environment(Settings)
store = Store(settings.store_url, public_url=settings.store_public_url, names_secret=settings.store_names_secret)
guard = Guard.parse(settings.allowed_networks)
limits = ResourceLimits(
    timeout_s=settings.timeout_s,
    cpu_s=settings.cpu_limit_s,
    memory_bytes=settings.memory_limit_bytes,
    result_limit_bytes=settings.result_limit_bytes,
)
sandbox = Sandbox(preload=("functions.report.engine.preload",), walls=settings.sandbox_walls)


@function(ReportRequested, ledger=ReplyLedger(store))
def handle(job: ReportRequested, event: Event) -> ReportCompleted:
    """One request in, its documents out; the request's time is the PDF's date, so the same job gives the same
    bytes."""
    reader = InputReader(store, guard, timeout_s=settings.fetch_timeout_s)
    files = files_of(job, reader, limit_bytes=settings.assets_limit_bytes)
    order = Draft(
        job=job,
        data=reader.data(job, limit_bytes=settings.data_limit_bytes),
        files=files,
        identifier=job_key(event),
        made_at=rfc3339(event.get("time") or system_clock().isoformat()),
        pages_limit=settings.pages_limit,
        rows_limit=settings.rows_limit,
    )
    assets = Assets(
        store=store,
        guard=HostGuard.of(guard, settings.asset_hosts),
        folder=job.own.folder if job.own else None,
        limit_bytes=settings.assets_limit_bytes,
        timeout_s=settings.fetch_timeout_s,
        patient=job.on_missing == "fail",
        used_bytes=sum(map(len, files.values())),
    )
    started_s = time.monotonic()
    progress = ProgressLog(event.id).told
    made = render(order, Handlers(on_progress=progress, on_question=assets.answer, on_restart=assets.start_again))
    render_s = round(time.monotonic() - started_s, 3)
    artifacts = tuple(_stored(event, each, made.documents[each.name]) for each in job.outputs)
    return ReportCompleted(
        artifacts=artifacts,
        pages=next((each.pages for each in artifacts if each.pages is not None), 0),
        render_s=render_s,
        size_bytes=sum(each.size_bytes for each in artifacts),
        warnings=made.warnings,
    )


def render(order: Draft, handlers: Handlers) -> Rendered:
    """Render in a child process; raise JobFailed when the document cannot be made or reaches a limit."""
    try:
        made = sandbox.run(
            "functions.report.engine.preload:render", order, result=Rendered, limits=limits, handlers=handlers
        )
    except OverflowError as error:
        raise too_wide(order.job) from error
    except LimitExceeded as error:
        raise JobFailed("limit-exceeded", f"the rendering {error}") from error
    except Rejected as error:
        raise JobFailed("template-refused", f"the document cannot be laid out: {error}") from error
    except Crashed as error:
        if error.code is None:  # a bug of ours
            raise
        # Pango has no other way to say that memory is short than SIGTRAP or SIGSEGV
        raise JobFailed("limit-exceeded", f"the rendering crashed, most likely out of memory: {error}") from error
    if made.refusal is not None:
        raise JobFailed(made.refusal.kind, made.refusal.detail, made.refusal.errors)
    return made


def _stored(event: Event, output: ReportOutput, document: Document) -> ReportArtifact:
    artifact = store.put(event, output.name, document.content, MEDIA_TYPES[output.format], now=system_clock())
    return ReportArtifact(**msgspec.structs.asdict(artifact), pages=document.pages)
