"""Events of the gateway's own that are to be sent: recorded with what they tell of, so that none is lost."""

from collections.abc import Sequence
from typing import Literal

import msgspec

from events.http import Event
from functions.storage.database import Database, Transaction
from functions.storage.kept_event import packed, unpacked

Place = Literal["broker", "sink"]  # the dead letters' one


class Letter(msgspec.Struct, frozen=True, kw_only=True):
    """One of them."""

    id: int
    place: Place
    attributes: bytes
    data: bytes

    @property
    def event(self) -> Event:
        """What is to be sent."""
        return unpacked(bytes(self.attributes), bytes(self.data))


def add(
    transaction: Transaction, event: Event, *, job: int | None = None, due_ms: int, place: Place = "broker"
) -> None:
    """Have it sent from `due_ms` on; the same again is the same."""
    transaction.execute(
        "INSERT INTO outbox (event_id, job_id, place, attributes, data, due_ms) VALUES (?, ?, ?, ?, ?, ?)"
        " ON CONFLICT DO NOTHING",
        *(f"{place} {event.source} {event.id}", job, place, *packed(event), due_ms),
    )


def claim(database: Database, transaction: Transaction, *, now_ms: int, until_ms: int, limit: int) -> list[Letter]:
    """What is due; nobody else is given it before `until_ms`."""
    found = transaction.execute(
        "UPDATE outbox SET due_ms = ?, tries = tries + 1 WHERE id IN (SELECT id FROM outbox WHERE due_ms <= ?"  # noqa: S608
        f" ORDER BY due_ms, id LIMIT ?{database.skip_locked}) RETURNING id, place, attributes, data",
        *(until_ms, now_ms, limit),
    )
    return sorted(msgspec.convert(found, list[Letter]), key=lambda each: each.id)


def done(transaction: Transaction, ids: Sequence[int]) -> None:
    """These have arrived."""
    transaction.execute_many("DELETE FROM outbox WHERE id = ?", [(each,) for each in ids])


def bring_back(transaction: Transaction, back_ms: int, *, now_ms: int) -> None:
    """The clock was set back by so much: what is due after the new present follows it."""
    transaction.execute("UPDATE outbox SET due_ms = due_ms - ? WHERE due_ms > ?", back_ms, now_ms)


def next_due_ms(transaction: Transaction) -> int | None:
    """When one is to be sent next."""
    found = transaction.execute("SELECT due_ms FROM outbox ORDER BY due_ms LIMIT 1")
    return int(found[0]["due_ms"]) if found else None
