"""Sends the events by which the API hears of its letters; what the broker does not take stays for the next time."""

import logging
import threading
import time
from collections.abc import Iterator
from typing import Final

from events.http import STRUCTURED, Event, structured
from functions.deadletters.letters import Letters

log = logging.getLogger("errands.deadletters")

TIMEOUT_S: Final = 2.0  # the sink answers after this, and must not keep the dispatcher waiting
ENOUGH_S: Final = 5.0  # nor does one request send what all the others bring for ever
REFUSED: Final = 400  # for what the event is: the same again would be refused again


def send(letters: Letters, sink_url: str, lock: threading.Lock, *, token: str) -> None:
    """Post what is unsent, oldest first, until all is sent or the broker does not take one; one thread at a time."""
    if not lock.acquire(blocking=False):
        return
    try:
        import httpx  # 79 ms that the sink's first answer need not wait for

        headers = {"content-type": STRUCTURED} | ({"authorization": f"Bearer {token}"} if token else {})
        with httpx.Client(timeout=TIMEOUT_S, trust_env=False, headers=headers) as client:
            for event in _waiting(letters):
                answer = client.post(sink_url, content=structured(event))
                if answer.status_code == REFUSED:
                    log.error("the broker at %s refuses the notice %s: %s", sink_url, event.id, answer.text[:500])
                    letters.put_back(event)
                else:
                    answer.raise_for_status()
                    letters.sent(event)
    except (httpx.HTTPError, httpx.InvalidURL) as error:
        log.warning("the broker at %s does not take the notice of a letter: %s; it is kept", sink_url, error)
    finally:
        lock.release()


def _waiting(letters: Letters) -> Iterator[Event]:
    """Every unsent event once, also those that other threads bring in the meantime."""
    end_s, seen = time.monotonic() + ENOUGH_S, set[str]()
    while events := [event for event in letters.unsent() if event.id not in seen]:
        for event in events:
            if time.monotonic() > end_s:
                return
            seen.add(event.id)
            yield event
