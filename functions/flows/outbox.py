"""The outbox: events that are written with what they follow from, and kept until the broker has taken them.

Who writes one sends it after the commit. What a crash, or a broker that is down, has kept from going out falls due, and
is sent again; all that receives it takes a second one as the same.
"""

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Final

from events.http import Event, rfc3339, timestamp
from functions.flows.kept_event import packed, unpacked
from functions.storage.database import Transaction

FIRST_S: Final = 10  # so long it is left to who has written it
LAST_S: Final = 300


def write(transaction: Transaction, events: Sequence[Event], *, now: datetime) -> None:
    """Keep them until they are sent; one that is kept already stays as it was."""
    later = timestamp(now + timedelta(seconds=FIRST_S))
    query = "INSERT INTO flow_outbox (event_id, event, due_at) VALUES (?, ?, ?) ON CONFLICT (event_id) DO NOTHING"
    transaction.execute_many(query, [(each.id, packed(each), later) for each in events])


def sent(transaction: Transaction, events: Sequence[Event]) -> None:
    """The broker has taken them."""
    transaction.execute_many("DELETE FROM flow_outbox WHERE event_id = ?", [(each.id,) for each in events])


def due(transaction: Transaction, *, now: datetime, limit: int = 100) -> list[Event]:
    """The oldest that were left behind; each falls due again, twice as late, should this fail as well."""
    query = "SELECT event_id, tries FROM flow_outbox WHERE due_at <= ? ORDER BY due_at LIMIT ?"
    events = []
    for row in transaction.execute(query, timestamp(now), limit):
        later = timestamp(now + timedelta(seconds=min(FIRST_S * 2 ** row["tries"], LAST_S)))
        claim = "UPDATE flow_outbox SET due_at = ?, tries = tries + 1 WHERE event_id = ? AND tries = ? RETURNING event"
        found = transaction.execute(claim, later, row["event_id"], row["tries"])
        events += [unpacked(each["event"]) for each in found]
    return events


def next_due(transaction: Transaction) -> datetime | None:
    """When the first falls due; None where all is sent."""
    found = transaction.execute("SELECT min(due_at) AS due_at FROM flow_outbox")[0]["due_at"]
    return None if found is None else rfc3339(found)
