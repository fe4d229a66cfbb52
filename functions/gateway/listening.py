"""Of several gateways on one PostgreSQL, each hears what the others have recorded (NOTIFY, LISTEN).

At best effort: a stream looks at its job with each comment as well. One gateway alone has a file, and nobody to tell.
"""

import asyncio
import logging
from collections.abc import Callable, Sequence
from typing import Final

from functions.storage.database import Database, Postgresql, Transaction

log = logging.getLogger("errands.gateway")

CHANNEL: Final = "errands_jobs"
KEYS_OF_ONE: Final = 200  # PostgreSQL takes 8,000 bytes
AGAIN_S: Final = 5.0


def tell(database: Database, transaction: Transaction, keys: Sequence[str]) -> None:
    """Have the others hear, with the commit, that something has befallen these jobs."""
    if not isinstance(database, Postgresql):
        return
    for start in range(0, len(keys), KEYS_OF_ONE):
        transaction.execute("SELECT pg_notify(?, ?)", CHANNEL, " ".join(keys[start : start + KEYS_OF_ONE]))


async def listen(ledger_url: str, wake: Callable[[Sequence[str]], None]) -> None:
    """Wake who waits for the jobs that the others tell of, until cancelled."""
    import psycopg  # an installation on SQLite need not wait for it

    while True:
        try:
            async with await psycopg.AsyncConnection.connect(ledger_url, autocommit=True) as connection:
                await connection.execute(f"LISTEN {CHANNEL}".encode())
                async for told in connection.notifies():
                    wake(told.payload.split())
        except psycopg.Error as error:
            log.warning("other gateways are not heard for now: %s", str(error).partition("\n")[0])
        await asyncio.sleep(AGAIN_S)
