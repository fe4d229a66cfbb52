"""Who has a job's e-mail already, where the mail server does not take all its recipients at once.

`ledger/<job>/recipients.json` is written after each part that the server took, and only where another part follows: a
retry goes on with those who are left, and a mail in one part costs the store one look.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

import msgspec

from events.http import Event
from events.job import job_key
from functions.storage.store import LEDGER, Store


class MailRecipients(msgspec.Struct, frozen=True, kw_only=True):
    """Those who have it, and those whom the server refused for good, with its words; by their addresses."""

    taken: tuple[str, ...] = ()
    refused: dict[str, str] = {}

    def left(self, recipients: Mapping[str, str]) -> list[str]:
        """Of all recipients those of whom nothing is known yet."""
        return [each for each in recipients if each not in self.taken and each not in self.refused]


class SendProgress(Protocol):
    """Remembers how far a job's e-mail has come."""

    def read(self) -> MailRecipients:
        """The recipients that are done with; raise TryAgain when the store is down."""

    def note(self, recipients: MailRecipients) -> None:
        """These are done with, and more are to follow; raise TryAgain when the store is down."""


@dataclass(frozen=True)
class StoredProgress:
    """Implements SendProgress for one job, which one attempt at a time has (delivery.py)."""

    store: Store
    event: Event

    def read(self) -> MailRecipients:
        """As the last part left it."""
        found = self.store.read(self._key)
        return MailRecipients() if found is None else msgspec.json.decode(found, type=MailRecipients)

    def note(self, recipients: MailRecipients) -> None:
        """In place of what was noted before."""
        self.store.write(self._key, msgspec.json.encode(recipients))

    @property
    def _key(self) -> str:
        return f"{LEDGER}{job_key(self.event)}/recipients.json"
