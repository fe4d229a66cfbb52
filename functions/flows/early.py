"""Signals that came before the request of their flow: kept for it until it begins.

Of a flow and a signal that come at once neither may see the other's row. So each is written, and committed, before the
other is looked for: whoever is later finds both.
"""

from datetime import datetime

from events.http import Event, timestamp
from functions.flows.kept_event import packed, unpacked
from functions.storage.database import Transaction


def keep(transaction: Transaction, flow_id: str, signal: Event, *, now: datetime) -> None:
    """Keep a signal; the same again is the same."""
    query = "INSERT INTO flow_early (flow_id, event_id, event, at) VALUES (?, ?, ?, ?) ON CONFLICT DO NOTHING"
    transaction.execute(query, flow_id, signal.id, packed(signal), timestamp(now))


def has(transaction: Transaction, flow_id: str) -> bool:
    """Whether any is kept for the flow."""
    return bool(transaction.execute("SELECT 1 AS known FROM flow_early WHERE flow_id = ? LIMIT 1", flow_id))


def take(transaction: Transaction, flow_id: str) -> list[Event]:
    """Those that are kept for the flow, in the order in which they came; they are kept no longer."""
    rows = transaction.execute("DELETE FROM flow_early WHERE flow_id = ? RETURNING at, event_id, event", flow_id)
    return [unpacked(row["event"]) for row in sorted(rows, key=lambda row: (row["at"], row["event_id"]))]
