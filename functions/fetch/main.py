"""Brings what is behind a URL, paged or not, into the store: through the guard, within limits, off no other address."""

import time
from dataclasses import dataclass

from events.http import Event
from events.problem import JobFailed, TryAgain
from events.types import FetchCompleted, FetchPages, FetchRequested
from functions.fetch import pages
from functions.net.download import Download, SourceRefused, SourceUnavailable, download
from functions.net.guard import Guard
from functions.runtime.adapter import function, system_clock
from functions.storage.ledger import ReplyLedger
from functions.storage.settings import Settings as StoreSettings

JSON_LINES = "application/jsonl"
ANY_TYPE = "application/octet-stream"


@dataclass(frozen=True, kw_only=True)
class Settings(StoreSettings):
    """The function's environment; the limits are of all pages together."""

    allowed_networks: str = ""
    source_limit_bytes: int = 256 << 20
    timeout_s: float = 120.0

    def __post_init__(self) -> None:
        Guard.parse(self.allowed_networks)


settings = Settings.from_environment()
store = settings.store()
guard = Guard.parse(settings.allowed_networks)


@function(FetchRequested, ledger=ReplyLedger(store))
def handle(job: FetchRequested, event: Event) -> FetchCompleted:
    """One URL in, one file out."""
    end_s = time.monotonic() + settings.timeout_s
    if job.pages is not None:
        content, count, items = _all_pages(job.url, job.pages, end_s)
        artifact = store.put(event, job.name, content, JSON_LINES, now=system_clock())
        return FetchCompleted(artifacts=(artifact,), pages=count, items=items)
    found = _downloaded(job.url, settings.source_limit_bytes, end_s)
    artifact = store.put(event, job.name, found.content, found.media_type or ANY_TYPE, now=system_clock())
    return FetchCompleted(artifacts=(artifact,))


def _all_pages(url: str, asked: FetchPages, end_s: float) -> tuple[bytes, int, int]:
    """All items as JSON Lines, and how many pages and items there are."""
    content, count, total, seen = bytearray(), 0, 0, set[str]()
    following: str | None = pages.first_url(url, asked)
    while following is not None:
        if count >= asked.limit or following in seen:
            raise JobFailed(
                pages.KIND, f"there are more than {count} pages" if following not in seen else "pages repeat"
            )
        seen.add(following)
        found = _downloaded(following, settings.source_limit_bytes - len(content), end_s)
        items, told = pages.page_of(found.content, asked, following)
        content += b"".join(pages.lines(items))
        count, total = count + 1, total + len(items)
        following = pages.next_url(following, asked, count, items, told)
    return bytes(content), count, total


def _downloaded(url: str, limit_bytes: int, end_s: float) -> Download:
    left_s = end_s - time.monotonic()
    if left_s <= 0:
        raise TryAgain(f"not all was had within {settings.timeout_s:g} s")
    try:
        return download(url, guard=guard, limit_bytes=max(limit_bytes, 0), timeout_s=left_s)
    except SourceRefused as error:
        raise JobFailed("source-refused", str(error)) from error
    except SourceUnavailable as error:
        raise (
            TryAgain(str(error)) if error.retry_after_s is None else TryAgain(str(error), error.retry_after_s)
        ) from error
