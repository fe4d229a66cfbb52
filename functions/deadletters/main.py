"""The dead-letter sink: keeps whatever comes before it answers, then tells the API by an event of its own.

It never replies with an event and never answers with an error while the disk takes the letter: what a broker's
dead-letter sink refuses is gone.
"""

import hashlib
import logging
import threading
from dataclasses import dataclass
from types import MappingProxyType
from urllib.parse import unquote

import flask

from events.function import Answer, aside, flask_body, log_answer, refusal, system_clock
from events.http import Event, read
from events.problem import NotAnEvent
from functions.deadletters.letters import ADDED, Letters
from functions.deadletters.outbox import send
from functions.settings import from_environment

log = logging.getLogger("errands.deadletters")

PING_TYPE = "dev.knative.sources.ping"


@dataclass(frozen=True)
class Settings:
    """The function's environment; K_SINK is the broker's ingress (SinkBinding), ERRANDS_TOKEN what it may ask for."""

    deadletters_url: str
    k_sink: str
    errands_token: str = ""


settings = from_environment(Settings)
letters = Letters(settings.deadletters_url)
sending = threading.Lock()


def handle(request: flask.Request) -> flask.Response:
    """One letter kept, or a ping; either way the outbox is emptied as far as the broker takes it."""
    answer = aside(request.method, request.path)
    if answer is None:
        event, raised = None, None
        try:
            event = _event(request)
            if event.type != PING_TYPE:
                letters.keep(event, now=system_clock())
            answer = Answer(202)
        except Exception as error:  # a full disk, for one: the runner keeps the letter and comes again
            answer, raised = refusal(error), error
        log_answer(answer, event, None, 0.0, raised)
        send(letters, settings.k_sink, sending, token=settings.errands_token)
    return flask.Response(answer.body, answer.status, dict(answer.headers))


def _event(request: flask.Request) -> Event:
    """The request as an event; what is none becomes one that holds it.

    What the broker added is read apart: it must not take an event over the limits that it kept without.
    """
    body, headers = flask_body(request), {name.lower(): value for name, value in request.headers.items()}
    failure = {name[3:]: unquote(headers.pop(name)) for name in list(headers) if name.startswith("ce-" + ADDED)}
    try:
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
