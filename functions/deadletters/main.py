"""The dead-letter sink: keeps whatever comes before it answers, then tells the API by an event of its own.

It never replies with an event and never answers with an error while the store takes the dead letter: what a broker's
dead-letter sink refuses is gone.
"""

import hashlib
import logging
import threading
from contextlib import suppress
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final
from urllib.parse import unquote

from events.http import Event, read
from events.problem import NotAnEvent, TryAgain
from functions.deadletters.service.outbox import send
from functions.deadletters.store import dead_letters, notices
from functions.deadletters.store.dead_letter import ADDED, is_undelivered_outcome, original
from functions.deadletters.store.retention import erase
from functions.deadletters.store.schema import open_dead_letters
from functions.runtime.adapter import Response, log_response, refusal, system_clock
from functions.runtime.failure_reports import FailureReportReader
from functions.runtime.masking import rules
from functions.runtime.notes import ERASED
from functions.runtime.request import Request, request_function
from functions.runtime.settings import from_environment
from functions.storage.database import StorageUnavailable

log = logging.getLogger("errands.deadletters")

PING_TYPE: Final = "dev.knative.sources.ping"
# An event has 10 MiB at most; what is more is no event, and kept up to here, in memory while it is.
BODY_LIMIT_BYTES: Final = 64 * 1024 * 1024


@dataclass(frozen=True)
class Settings:
    """The function's environment; K_SINK is the broker's ingress, K_SINK_TOKEN what it may ask for,
    STORE_URL the object store, in which functions leave the failure report of their failures. What
    DEADLETTERS_MASKED names, as the contract does, is left out of the errors that quote it.
    """

    deadletters_url: str
    k_sink: str
    k_sink_token: str = ""
    store_url: str = ""
    deadletters_masked: str = ""


settings = from_environment(Settings)
masked = rules(settings.deadletters_masked)
database = open_dead_letters(settings.deadletters_url)
reader = FailureReportReader(settings.store_url)
sending = threading.Lock()


def respond(request: Request) -> Response:
    """One dead letter kept, or a ping; either way the outbox is emptied as far as the broker takes it."""
    event, raised, response = _event(request), None, Response(202)
    try:
        take(event)
    except StorageUnavailable as error:  # a full disk, for one: the runner keeps the dead letter and comes again
        raised = TryAgain(str(error))
        response = refusal(raised)
    log_response(response, event, None, 0.0, raised)
    send(database, settings.k_sink, sending, token=settings.k_sink_token)
    return response


def take(event: Event) -> None:
    """Do with an event what the sink is for; it is on disk when this returns."""
    if event.type == PING_TYPE:
        return
    now, sent = system_clock(), original(event)
    with database.transaction() as transaction:
        if event.type == ERASED:
            erase(transaction, event)
            return
        if is_undelivered_outcome(event):
            dead_letters.settle(transaction, event, now=now)
            return
        id_, why = dead_letters.keep(transaction, event, now=now, rules=masked)
        notices.write(transaction, sent, id_, why, now=now)
    _add_failure_report(id_, sent, why.destination)


def _add_failure_report(id_: int, sent: Event, destination: str) -> None:
    """What the function itself said, where it left that; the dead letter is kept by now, whatever becomes of this."""
    found = reader.find(sent, destination)
    if found is not None:
        with suppress(StorageUnavailable), database.transaction() as transaction:
            dead_letters.add_failure_report(transaction, id_, found)


def _event(request: Request) -> Event:
    """The request as an event; what is none becomes one that holds it.

    What the broker added is read apart: it must not take an event over the limits that it kept without.
    """
    headers, body = dict(request.headers), request.body
    failure = {name[3:]: unquote(headers.pop(name)) for name in list(headers) if name.startswith("ce-" + ADDED)}
    try:
        if not request.whole:
            raise NotAnEvent(f"the body must come whole and be at most {BODY_LIMIT_BYTES} bytes; this is its beginning")
        return read(headers, body).with_attributes(**failure)
    except NotAnEvent as error:
        attributes = failure | {
            "specversion": "1.0",
            "id": hashlib.sha256(body).hexdigest(),
            "source": "/errands/deadletters",
            "type": "dev.errands.unreadable",
            "knativeerrordata": str(error)[:1_000].encode("ascii", "replace").decode(),
        }
        return Event(MappingProxyType(attributes), body)


handle = request_function(respond, body_limit_bytes=BODY_LIMIT_BYTES)
