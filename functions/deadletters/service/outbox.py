"""Sends the events by which the API hears of its dead letters; what the broker does not take stays for next time."""

import logging
import threading
import time
from collections.abc import Iterable, Iterator
from itertools import chain
from typing import Final

from events.http import Event
from functions.deadletters.replay.sending import BrokerIngress, NotTaken, Refused
from functions.deadletters.store import notices
from functions.runtime.adapter import system_clock
from functions.runtime.logs import about
from functions.storage.database import Database, StorageUnavailable

log = logging.getLogger("errands.deadletters")

TIMEOUT_S: Final = 2.0  # the sink answers after this, and must not keep the dispatcher waiting
ENOUGH_S: Final = 5.0  # nor does one request send what all the others bring for ever


def send(database: Database, sink_url: str, lock: threading.Lock, *, token: str) -> None:
    """Post what is due, oldest first, until all is sent or the broker does not take one; one thread at a time."""
    if not lock.acquire(blocking=False):
        return
    try:
        events = _waiting(database)
        first = next(events, None)
        if first is not None:
            _send(database, chain((first,), events), sink_url, token)
    except StorageUnavailable as error:
        log.warning("the notices cannot be read or marked: %s", error)
    finally:
        lock.release()


def _send(database: Database, events: Iterable[Event], sink_url: str, token: str) -> None:
    broker = BrokerIngress(sink_url, token, timeout_s=TIMEOUT_S)
    for event in events:
        try:
            broker.send(event)
        except Refused as error:
            _note(database, event, str(error))
        except NotTaken as error:
            log.warning("the broker does not take the notice of a dead letter: %s; it is kept", error)
            return
        else:
            _note(database, event, None)


def _note(database: Database, event: Event, refusal: str | None) -> None:
    with database.transaction() as transaction:
        if refusal is None:
            notices.sent(transaction, event)
        else:
            with about(event):
                log.warning("the broker refuses the notice %s: %s", event.id, refusal)
            notices.refused(transaction, event, refusal, now=system_clock())


def _waiting(database: Database) -> Iterator[Event]:
    """Every due event once, also those that other threads bring in the meantime."""
    end_s, seen = time.monotonic() + ENOUGH_S, set[str]()
    while events := [event for event in _due(database) if event.id not in seen]:
        for event in events:
            if time.monotonic() > end_s:
                return
            seen.add(event.id)
            yield event


def _due(database: Database) -> list[Event]:
    with database.transaction(writes=False) as transaction:
        return notices.due(transaction, now=system_clock())
