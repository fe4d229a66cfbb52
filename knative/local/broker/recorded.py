"""What the functions of this machine have recorded of jobs, in the ledger of replies.

It outlives a start, and what is remembered of the newest jobs. A job of which nothing is recorded costs a look for a
folder.
"""

import asyncio
import logging
from pathlib import Path
from typing import Final

from events.http import Event
from events.job import job_key
from events.problem import TryAgain

log = logging.getLogger("errands.ingress")

LEDGER: Final = "ledger"


class RecordedJobs:
    """The jobs of one store, which is a folder."""

    def __init__(self, store: Path) -> None:
        self._store = store

    async def conflicts(self, request: Event) -> bool:
        """Whether its job is done with other data; what cannot be read conflicts with nothing: the function judges."""
        if not (self._store / LEDGER / job_key(request)).is_dir():
            return False
        return await asyncio.to_thread(self._conflicts, request)

    def _conflicts(self, request: Event) -> bool:
        from functions.storage.ledger import ReplyLedger  # with obstore, 5 MB, and for a job that comes again alone
        from functions.storage.store import Store

        try:
            return ReplyLedger(Store(self._store.resolve().as_uri())).conflicts(request)
        except TryAgain as error:
            log.warning("what is recorded of job %s cannot be read: %s", request.id, error)
            return False
