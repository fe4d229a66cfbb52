"""Addresses of results that are told anew: in a bucket those that a job's end names expire, before the results do."""

import re
from collections.abc import Mapping
from datetime import datetime
from functools import cached_property
from typing import TYPE_CHECKING, Any, Final

import msgspec
from msgspec.structs import replace

from functions.gateway.results import JobResult

if TYPE_CHECKING:
    from functions.storage.store import Store

RESULT: Final = re.compile(r"jobs/[0-9a-f-]{36}/[0-9a-f]{16}/(?!\.{1,2}$)[^/]+")  # functions/storage/store.py


class Links:
    """Those of one object store, which is opened when the first is renewed."""

    def __init__(self, store_url: str) -> None:
        self._url = store_url

    @cached_property
    def _store(self) -> "Store":
        from functions.storage.store import Store  # with obstore, 5 MB, and for results in a bucket alone

        return Store(self._url)

    def renewed(self, shown: JobResult, *, now: datetime) -> JobResult:
        """The job, each of its artefacts that expires with an address of now; one that does not stays as it is. Blocks;
        raises TryAgain where nothing can be signed.
        """
        result = _with_ends(shown.result)
        listed = result.get("artifacts")
        if not isinstance(listed, list) or not any(map(_expires, listed)):
            return shown
        fresh = [{**each, **self._address(each["key"], now)} if _expires(each) else each for each in listed]
        return replace(shown, result={**result, "artifacts": fresh})

    def _address(self, key: str, now: datetime) -> dict[str, str | None]:
        url, expires_at = self._store.result_url(key, now)
        return {"url": url, "expires_at": expires_at}


def _with_ends(result: Any) -> dict[str, Any]:
    """A result as it was written, read where something in it may expire."""
    if not isinstance(result, msgspec.Raw) or b'"expires_at"' not in bytes(result):
        return {}
    read = msgspec.json.decode(result)
    return read if isinstance(read, dict) else {}


def _expires(artifact: Any) -> bool:
    """Whether this is a result whose address ends: what a function of another project says may be anything."""
    if not isinstance(artifact, Mapping) or artifact.get("expires_at") is None:
        return False
    return isinstance(artifact.get("key"), str) and RESULT.fullmatch(artifact["key"]) is not None
