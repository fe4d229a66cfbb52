"""The console's sessions that were ended before their time: a cookie that somebody kept is worth nothing any more."""

from functions.storage.database import Transaction


def end(transaction: Transaction, id_: str, *, ends_at: int, now: int) -> None:
    """Note that a session is over, until its cookie would be too old anyway."""
    transaction.execute("DELETE FROM dead_session WHERE ends_at < ?", now)
    transaction.execute(
        "INSERT INTO dead_session (id, ends_at) VALUES (?, ?) ON CONFLICT (id) DO NOTHING", id_, ends_at
    )


def is_ended(transaction: Transaction, id_: str) -> bool:
    """Whether the session is over."""
    return bool(transaction.execute("SELECT 1 AS one FROM dead_session WHERE id = ?", id_))
