"""The thread that writes the event log (group commit), and counts for who looks after its file.

What nobody waits for is that a function is done with an event: committed at once, each by itself, that would be a sixth
of the runner's processor time under load. A crash within the pause has the function asked once more, as one just before
it. The windows rely on the order of the answers. Where the thread ends by itself, everything that was or is asked of it
is answered BrokerUnavailable, and whoever made it is told once.
"""

import asyncio
import logging
import sqlite3
from collections.abc import Callable, Sequence
from typing import Any, Final, TypeVar

from functions.storage.group_commit import GroupCommit
from knative.local.broker.broker import BrokerUnavailable
from knative.local.broker.event_log import Change, Work, commit, progress
from knative.local.broker.integrity import Count

T = TypeVar("T")

BATCH_LIMIT: Final = 512  # lists of requests in one commit

log = logging.getLogger("errands.event_log")


class Writer(GroupCommit[Work | Change]):
    """Works on one connection, which is its own from now on; `died` is called in the loop, with a sentence."""

    def __init__(self, connection: sqlite3.Connection, count: Count, died: Callable[[str], None]) -> None:
        super().__init__("event log", batch_limit=BATCH_LIMIT)
        self._connection = connection
        self._count = count
        self._counted = progress(connection)
        self._changes = connection.total_changes
        count.write(*self._counted)
        self._tell_of_death = died
        self._death: str | None = None
        self.trouble: str | None = None  # why the last commit failed

    def ask(self, asked: Callable[[sqlite3.Connection], T] | Change, *, lazily: bool = False) -> "asyncio.Future[T]":
        """Have the thread do it: with what else is asked for in this turn of the loop, or lazily after a pause."""
        if self._death is None:
            return super().ask(asked, lazily=lazily)
        future: asyncio.Future[T] = asyncio.get_running_loop().create_future()
        future.set_exception(BrokerUnavailable(self._death))
        return future

    def _finish(self, *, whole: bool) -> None:
        if whole and self._death is None:
            self._count.close(*self._counted)
        self._connection.close()

    def _committed(self, asked: Sequence[Work | Change]) -> list[Any]:
        results = commit(self._connection, asked)
        if self._connection.total_changes != self._changes:
            self._changes, self._counted = self._connection.total_changes, progress(self._connection)
            self._count.write(*self._counted)
        return results

    def _tell(self, responses: Sequence[tuple["asyncio.Future[Any]", Any]]) -> None:
        failures = [str(result) for _, result in responses if isinstance(result, BrokerUnavailable)]
        self.trouble = failures[0] if failures else None
        super()._tell(responses)

    def _died(self, reason: str) -> BrokerUnavailable:
        self._death = reason
        self._tell_of_death(reason)
        return BrokerUnavailable(reason)
