"""The contract of the fetch function: what is behind a URL, into the store."""

from typing import Annotated

from msgspec import Meta

from events.problem import Problem
from events.types.base import Artifact, DeadLetter, FileName, Request, Result

FieldPath = Annotated[
    str, Meta(pattern=r"^[A-Za-z0-9_$@-]{1,100}(\.[A-Za-z0-9_$@-]{1,100}){0,9}$(?!\n)", examples=["data", "links.next"])
]
QueryParameter = Annotated[str, Meta(pattern=r"^[A-Za-z0-9_.\[\]-]{1,100}$(?!\n)", examples=["page", "cursor"])]


class FetchPages(Request, frozen=True, kw_only=True):
    """How pages of JSON follow each other; all their items become one file of JSON Lines.

    `items` is the field with a page's list, absent where the page is the list. `next` is the field with what is next:
    a URL of the same origin, or with `parameter` the value that this one of the query gets. With `parameter` alone that
    counts from `start`, to the first page without items.
    """

    items: FieldPath | None = None
    next: FieldPath | None = None
    parameter: QueryParameter | None = None
    start: Annotated[int, Meta(ge=0)] = 1
    limit: Annotated[int, Meta(ge=1, le=10_000, description="pages; more fail the job")] = 1_000

    def __post_init__(self) -> None:
        if self.next is None and self.parameter is None:
            raise ValueError("next, parameter or both are expected")


class FetchRequested(Request, frozen=True, kw_only=True):
    """The file behind the URL, or all its `pages`, kept under `name`."""

    url: Annotated[str, Meta(min_length=1, max_length=8_192)]
    name: FileName
    pages: FetchPages | None = None


class FetchCompleted(Result, frozen=True, kw_only=True):
    """The file in the store. `items` is how many a file of pages has."""

    artifacts: tuple[Artifact, ...]
    pages: int = 1
    items: int | None = None


class FetchFailed(Problem, frozen=True, kw_only=True):
    """The URL cannot be had, or is no JSON of such pages."""


class FetchDeadlettered(DeadLetter, frozen=True, kw_only=True):
    """The job is kept as a dead letter."""
