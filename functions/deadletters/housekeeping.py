"""What is done each minute: replays that were interrupted go on, letters past their time go."""

from datetime import datetime

from functions.deadletters import replays, retention
from functions.deadletters.database import Database
from functions.deadletters.retention import Limits
from functions.deadletters.workers import Workers


def keep(database: Database, workers: Workers, limits: Limits, *, now: datetime) -> None:
    """Once; several may do it at the same time."""
    with database.transaction(writes=False) as session:
        interrupted = replays.interrupted(session, now=now)
    for each in interrupted:
        workers.launch(each)
    retention.prune(database, limits, now=now)
