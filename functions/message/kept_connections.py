"""Connections to the mail server that stay open for a while, so that a burst of e-mails logs in once."""

import threading
import time
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Final, Generic, Protocol, TypeVar
from weakref import WeakKeyDictionary

MESSAGES_LIMIT: Final = 100  # of one connection: servers that count them end it somewhere above
ANSWER_S: Final = 2.0  # how long a kept connection may take to say that it is there


class Hurried(Protocol):
    """A client of smtplib's that has a time by which it must be done."""

    def hurry_until(self, end_s: float) -> None:
        """Be done then, of time.monotonic()."""

    def rset(self) -> tuple[int, bytes]:
        """Begin anew."""

    def putcmd(self, cmd: str) -> None:
        """Say something, and wait for no answer."""

    def close(self) -> None:
        """End the connection."""


Client = TypeVar("Client", bound=Hurried)


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
        client.hurry_until(time.monotonic() + ANSWER_S)
        with suppress(OSError):
            client.putcmd("QUIT")
        client.close()

    def _is_fresh(self, client: Client) -> bool:
        client.hurry_until(time.monotonic() + ANSWER_S)
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
