"""What becomes of who asks with a wrong token, or with none: it is turned away, later with each attempt.

A right token is looked at first, always, and is never held up: one address may be many clients'.
"""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Final

from functions.runtime.attempts import OF_A_CLIENT, WINDOW_S, Attempts
from functions.runtime.port import IngressResponse, problem

FIRST_S: Final = 0.05  # the answer to the first wrong token of the last minute; then twice as long each time
LAST_S: Final = 3.2
EXPECTED: Final = "the header Authorization: Bearer TOKEN is expected"


class Guesses:
    """Answers those who are not known; nothing is read, started or kept for them but the time of their attempts."""

    def __init__(self, pause: Callable[[float], Awaitable[None]] = asyncio.sleep) -> None:
        self._attempts = Attempts()
        self._pause = pause

    async def refuse(self, client: str) -> IngressResponse:
        """Turn a wrong token away: 401, after ten within a minute 429."""
        count = self._attempts.wrong(client)
        await self._pause(min(FIRST_S * 2 ** min(count - 1, 10), LAST_S))
        if count > OF_A_CLIENT:
            detail = f"too many wrong tokens: try again in {WINDOW_S:.0f} s"
            return problem(429, "too-many-attempts", detail, {"retry-after": f"{WINDOW_S:.0f}"})
        return unauthorized()


def unauthorized() -> IngressResponse:
    """401, to who has sent no token."""
    return problem(401, "unauthorized", EXPECTED, {"www-authenticate": "Bearer"})
