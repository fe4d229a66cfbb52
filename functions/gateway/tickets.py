"""Tickets for a job's stream: a browser's EventSource sends no headers, so its address says that it may read.

A ticket is for one job and expires. Whoever has the secret makes and checks it; nothing is remembered.
"""

import hmac
import re
from typing import Final

LIFETIME_S: Final = 24 * 3600
_TICKET: Final = re.compile(r"([0-9]{1,12})\.([0-9a-f]{32})")


class Tickets:
    """Made with one secret."""

    def __init__(self, secret: str) -> None:
        self._secret = secret.encode()

    def issue(self, key: str, *, now_s: int) -> str:
        """A ticket for the job of this key."""
        expires_s = now_s + LIFETIME_S
        return f"{expires_s}.{self._mark(key, expires_s)}"

    def admits(self, ticket: str, key: str, *, now_s: int) -> bool:
        """Whether the ticket is for this job, and has not expired."""
        parts = _TICKET.fullmatch(ticket)
        if parts is None:
            return False
        expires_s = int(parts[1])
        return hmac.compare_digest(self._mark(key, expires_s), parts[2]) and now_s <= expires_s

    def _mark(self, key: str, expires_s: int) -> str:
        return hmac.digest(self._secret, f"{key}\n{expires_s}".encode(), "sha256").hex()[:32]
