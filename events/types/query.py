"""The contract of the query function: SQL over files in the store."""

from typing import Annotated, Any, Literal

from msgspec import Meta, field

from events.problem import Problem
from events.types.base import Artifact, DeadLetter, FileName, Input, Request, Result

TableName = Annotated[str, Meta(pattern=r"^[a-z][a-z0-9_]{0,62}$(?!\n)", examples=["orders"])]
BoundValue = str | int | float | bool | None


class QueryTable(Request, frozen=True, kw_only=True):
    """A file that is one table: CSV with a heading, JSON Lines (or one list of objects), or Parquet."""

    name: TableName
    source: Input
    format: Literal["csv", "jsonl", "parquet"]


class QueryRequested(Request, frozen=True, kw_only=True):
    """One SELECT over these tables: as `sql`, or by its name in the store's folder `queries/`.

    `parameters` are bound, never put into the text: `$since` has that of the name `since`. `rows` come in the completed
    event, where they are few; the other results are a file.
    """

    sql: Annotated[str, Meta(min_length=1, max_length=20_000)] | None = None
    query: Annotated[str, Meta(pattern=r"^[a-z0-9][a-z0-9_-]{0,99}$(?!\n)")] | None = None
    tables: Annotated[tuple[QueryTable, ...], Meta(max_length=50)] = ()
    parameters: Annotated[dict[TableName, BoundValue], Meta(max_length=100)] = field(default_factory=dict)
    result: Literal["rows", "csv", "jsonl", "parquet"] = "rows"
    name: Annotated[FileName, Meta(description="of the result's file")] = "result"

    def __post_init__(self) -> None:
        if (self.sql is None) == (self.query is None):
            raise ValueError("exactly one of sql and query is expected")
        names = [each.name for each in self.tables]
        if len({*names}) < len(names):
            raise ValueError("tables must have different names")


class QueryColumn(Result, frozen=True, kw_only=True):
    """A column of the result, with its type in SQL."""

    name: str
    type: str


class QueryCompleted(Result, frozen=True, kw_only=True):
    """What the query gives: `rows` or one artefact, as it was asked for."""

    columns: tuple[QueryColumn, ...]
    count: int
    rows: tuple[dict[str, Any], ...] | None = None
    artifacts: tuple[Artifact, ...] = ()


class QueryFailed(Problem, frozen=True, kw_only=True):
    """The query or a file is wrong, or takes more than a job may."""


class QueryDeadlettered(DeadLetter, frozen=True, kw_only=True):
    """The job is kept as a dead letter."""
