"""SQL over files in the store, by DuckDB in a child process that opens nothing else."""

from dataclasses import dataclass

import msgspec

from events.http import Event
from events.problem import JobFailed
from events.types import QueryColumn, QueryCompleted, QueryRequested
from functions.net.guard import Guard
from functions.query.sql import Answer, Task
from functions.runtime.adapter import function, system_clock
from functions.sandbox.sandbox import Crashed, LimitExceeded, Rejected, ResourceLimits, Sandbox
from functions.storage.inputs import load
from functions.storage.ledger import ReplyLedger
from functions.storage.settings import Settings as StoreSettings

MEDIA_TYPES = {"csv": "text/csv", "jsonl": "application/jsonl", "parquet": "application/vnd.apache.parquet"}


@dataclass(frozen=True, kw_only=True)
class Settings(StoreSettings):
    """The function's environment. With NAMED_ONLY a request may name a query, and bring none."""

    allowed_networks: str = ""
    named_only: bool = False
    source_limit_bytes: int = 256 << 20
    inline_limit_bytes: int = 65_536
    inline_rows_limit: int = 1_000
    rows_limit: int = 10_000_000
    result_limit_bytes: int = 256 << 20
    fetch_timeout_s: float = 30.0
    cpu_limit_s: int = 120
    timeout_s: float = 60.0
    memory_limit_bytes: int = 2 << 30
    query_threads: int = 2
    sandbox_walls: str = "wanted"

    def __post_init__(self) -> None:
        Guard.parse(self.allowed_networks)


settings = Settings.from_environment()
store = settings.store()
guard = Guard.parse(settings.allowed_networks)
sandbox = Sandbox(preload=("functions.query.sql",), walls=settings.sandbox_walls)
limits = ResourceLimits(
    timeout_s=settings.timeout_s,
    cpu_s=settings.cpu_limit_s,
    memory_bytes=settings.memory_limit_bytes,
    result_limit_bytes=settings.result_limit_bytes,
    file_bytes=max(settings.source_limit_bytes, settings.result_limit_bytes),
)


@function(QueryRequested, ledger=ReplyLedger(store))
def handle(job: QueryRequested, event: Event) -> QueryCompleted:
    """One query in, its rows or its file out."""
    sources = [
        load(
            each.source,
            store=store,
            guard=guard,
            limit_bytes=settings.source_limit_bytes,
            timeout_s=settings.fetch_timeout_s,
        )
        for each in job.tables
    ]
    made = _answered(job, _sql(job), sources)
    columns = tuple(QueryColumn(name=name, type=type_) for name, type_ in made.columns)
    if job.result == "rows":
        return QueryCompleted(columns=columns, count=made.count, rows=_rows(made))
    artifact = store.put(event, job.name, made.content, MEDIA_TYPES[job.result], now=system_clock())
    return QueryCompleted(columns=columns, count=made.count, artifacts=(artifact,))


def _sql(job: QueryRequested) -> str:
    if job.query is not None:
        found = store.read(f"queries/{job.query}.sql")  # a name, which leads nowhere else
        if found is None:
            raise JobFailed("query-refused", f"the store has no queries/{job.query}.sql")
        return found.decode()
    if settings.named_only:
        raise JobFailed("query-refused", "a query must be named here: NAMED_ONLY takes none from a request")
    return job.sql or ""


def _answered(job: QueryRequested, sql: str, sources: list[bytes]) -> Answer:
    task = Task(
        sql=sql,
        tables=tuple((each.name, each.format) for each in job.tables),
        parameters=job.parameters,
        result=job.result,
        rows_limit=settings.inline_rows_limit if job.result == "rows" else settings.rows_limit,
        memory_bytes=settings.memory_limit_bytes // 2,
        threads=settings.query_threads,
    )
    try:
        return sandbox.run("functions.query.sql:answer", task, *sources, result=Answer, limits=limits)
    except Rejected as error:
        raise JobFailed("query-refused", str(error)) from error
    except LimitExceeded as error:
        raise JobFailed("limit-exceeded", f"the query {error}") from error
    except Crashed as error:
        if error.code is None:  # a bug of ours, not DuckDB's end
            raise
        raise JobFailed("query-refused", f"doing the query failed: {error}") from error


def _rows(made: Answer) -> tuple[dict[str, object], ...]:
    size_bytes = sum(map(len, made.rows))
    if size_bytes > settings.inline_limit_bytes:
        detail = f"rows in an event may have {settings.inline_limit_bytes} bytes, these have {size_bytes}"
        raise JobFailed("limit-exceeded", f"{detail}: ask for a file by `result`")
    return tuple(msgspec.json.decode(each, type=dict[str, object]) for each in made.rows)
