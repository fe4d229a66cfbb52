"""Connections to the mail server that stay open for a while, so that a burst of e-mails logs in once."""

import smtplib
import threading
import time
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Final, Generic, TypeVar
from weakref import WeakKeyDictionary

MESSAGES_LIMIT: Final = 100  # of one connection: servers that count them end it somewhere above

Client = TypeVar("Client", bound=smtplib.SMTP)


@dataclass(frozen=True)
class KeptConnections(Generic[Client]):
    """Those that nobody uses now, each for `idle_s` at most; 0 keeps none. Threads may share it."""

    idle_s: float
    _idle: list[tuple[float, Client]] = field(default_factory=list, repr=False)
    _used: WeakKeyDictionary[Client, int] = field(default_factory=WeakKeyDictionary, repr=False)
    _lock: threading.Lock = field(default_factory=threading.Lock, repr=False)

    def take(self) -> Client | None:
        """One that is at its beginning, where the server still has one; the caller's own until it is kept again."""
        while True:
            with self._lock:
                if not self._idle:
                    return None
                _, client = self._idle.pop()
            if self._is_fresh(client):
                return client
            self.end(client)

    def keep(self, client: Client) -> None:
        """Keep it for the next e-mail, or say goodbye."""
        with self._lock:
            self._used[client] = self._used.get(client, 0) + 1
            worn = self.idle_s <= 0 or self._used[client] >= MESSAGES_LIMIT
            if not worn:
                self._idle.append((time.monotonic(), client))
        if worn:
            self.end(client)
        else:
            timer = threading.Timer(self.idle_s, self._end_idle)
            timer.daemon = True
            timer.start()

    def end(self, client: Client) -> None:
        """Say goodbye, and wait for no answer: an outcome may be waiting to be recorded."""
        with suppress(OSError):
            client.putcmd("QUIT")
        client.close()

    def _is_fresh(self, client: Client) -> bool:
        try:
            return client.rset()[0] == 250
        except OSError:
            return False

    def _end_idle(self) -> None:
        with self._lock:
            until_s = time.monotonic() - self.idle_s
            over = [client for since_s, client in self._idle if since_s <= until_s]
            self._idle[:] = [each for each in self._idle if each[1] not in over]
        for each in over:
            self.end(each)
