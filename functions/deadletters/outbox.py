"""Sends the events by which the API hears of its letters; what the broker does not take stays for the next time."""

import logging
import threading
from typing import Final

from events.http import STRUCTURED, structured
from functions.deadletters.letters import Letters

log = logging.getLogger("errands.deadletters")

TIMEOUT_S: Final = 2.0  # the sink answers after this, and must not keep the dispatcher waiting


def send(letters: Letters, sink_url: str, lock: threading.Lock) -> None:
    """Post what is unsent, oldest first, until all is sent or the broker does not take one; one thread at a time."""
    if not lock.acquire(blocking=False):
        return
    try:
        import httpx  # 79 ms that the sink's first answer need not wait for

        with httpx.Client(timeout=TIMEOUT_S, trust_env=False) as client:
            for event in letters.unsent():
                answer = client.post(sink_url, content=structured(event), headers={"content-type": STRUCTURED})
                answer.raise_for_status()
                letters.sent(event)
    except httpx.HTTPError as error:
        log.warning("the broker at %s does not take the notice of a letter: %s; it is kept", sink_url, error)
    finally:
        lock.release()
