"""The threads of a Service that send replays, one for each; none before it is needed, since servers fork first."""

import logging
import threading
from typing import Final

from functions.deadletters.replay.engine import Engine
from functions.deadletters.replay.sending import BrokerIngress
from functions.storage.database import Database, StorageUnavailable

log = logging.getLogger("errands.deadletters")

REPLAYS: Final = 4  # at once; more wait for the next minute


class Workers:
    """Sends replays beside the requests, until the process ends."""

    def __init__(self, database: Database, broker: BrokerIngress) -> None:
        self._database = database
        self._broker = broker
        self._threads: dict[int, threading.Thread] = {}
        self._lock = threading.Lock()

    def launch(self, replay: int) -> None:
        """Have a replay sent, unless it is being sent here, or too many are: then the next ping has it sent."""
        with self._lock:
            self._threads = {number: thread for number, thread in self._threads.items() if thread.is_alive()}
            if replay in self._threads or len(self._threads) >= REPLAYS:
                return
            # no daemon: the process waits for the round in flight, and the engine sees that it ends
            thread = threading.Thread(target=self._send, args=(replay,), name=f"replay-{replay}")
            self._threads[replay] = thread
            thread.start()

    def _send(self, replay: int) -> None:
        try:
            Engine(self._database, self._broker, stop=threading.Event()).run(replay)
        except StorageUnavailable as error:
            log.error("replay %d is interrupted: %s; the next ping goes on with it", replay, error)
