"""The dead letters as a test looks at them: beside what runs, in its database."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from events.http import Event
from functions.deadletters.service.commands import Filter
from functions.deadletters.service.results import DeadLetter
from functions.deadletters.store import dead_letters, notices, selection
from functions.deadletters.store.dead_letter import original
from functions.deadletters.store.schema import open_dead_letters
from functions.storage.database import Database

NOW = datetime(2026, 11, 22, 9, 30, tzinfo=UTC)


@dataclass(frozen=True)
class Kept:
    """A dead letter with its event as it came; it has the letter's own attributes, too."""

    dead_letter: DeadLetter
    event: Event

    def __getattr__(self, name: str) -> Any:
        return getattr(self.dead_letter, name)


class DeadLetterStore:
    """A database of dead letters."""

    def __init__(self, url: str) -> None:
        self.database: Database = open_dead_letters(url)

    def list(self, matching: Filter = Filter(state="all")) -> Sequence[Kept]:  # noqa: B008  # frozen
        """All that match, the newest first."""
        with self.database.transaction(writes=False) as transaction:
            found = selection.page(self.database, transaction, matching, before=None, limit=100_000, now=NOW)
            stored = [dead_letters.stored(transaction, each.id) for each in found]
        return [Kept(dead_letter, each.original) for dead_letter, each in zip(found, stored, strict=True) if each]

    def keep(self, event: Event, *, now: datetime = NOW) -> int:
        """Store a dead letter and its notice, as the sink does; returns its number."""
        with self.database.transaction() as transaction:
            id_, why = dead_letters.keep(transaction, event, now=now)
            notices.write(transaction, original(event), id_, why, now=now)
            return id_

    def unsent(self) -> Sequence[Event]:
        """What the API has not been told yet, due or not."""
        with self.database.transaction(writes=False) as transaction:
            return notices.due(transaction, now=datetime(2999, 1, 1, tzinfo=UTC), limit=100_000)
