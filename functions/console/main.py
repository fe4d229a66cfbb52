"""The operators' Service, apart from the sink: the console under /dead, its metrics, and what is done each minute.

A ping (PingSource) has it do the maintenance: replays that were interrupted go on, dead letters past their time go.
Flask and the pages are loaded by the first request for one (application.py): a console that nobody looks at has
neither their memory nor their start.
"""

import secrets
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Final

import msgspec

from events.http import Event, read
from events.problem import JobFailed, NotAnEvent, TryAgain
from functions.console.settings import Settings
from functions.deadletters.replay.sending import BrokerIngress
from functions.deadletters.replay.workers import Workers
from functions.deadletters.service import maintenance
from functions.deadletters.service.commands import BODY_LIMIT_BYTES
from functions.deadletters.service.operators import KEY_CHARACTERS
from functions.deadletters.store import dead_letters
from functions.deadletters.store.dead_letter import is_outcome
from functions.deadletters.store.schema import open_dead_letters
from functions.runtime.adapter import Response, refusal, system_clock
from functions.runtime.masking import rules
from functions.runtime.request import Request, request_function
from functions.runtime.settings import from_environment
from functions.storage.database import StorageUnavailable

if TYPE_CHECKING:
    import flask

    from functions.console.gate import Gate

PREFIX: Final = "/dead/"
ON: Final = ("/console", "/console/", "/mail", "/mail/")  # which lead on to what is below /dead/
PING_TYPE: Final = "dev.knative.sources.ping"
PROBLEM: Final = "application/problem+json"

settings = from_environment(Settings)
database = open_dead_letters(settings.deadletters_url)
masked = rules(settings.deadletters_masked)
session_key = settings.deadletters_session_key or secrets.token_urlsafe(KEY_CHARACTERS)
workers = Workers(database, BrokerIngress(settings.k_sink, settings.k_sink_token))


def respond(request: Request) -> Response:
    """Take an event, show the metrics, or hand the request to the console."""
    if request.method == "POST" and request.path == "/":
        return _take(request)
    if request.path == f"{PREFIX}metrics":
        return _metrics(request)
    if f"{request.path}/".startswith(PREFIX) or request.path in ON:
        from functions.console.bridge import answer

        return answer(application(), request)
    problem = JobFailed("not-found", f"an address below {PREFIX} is expected, got {request.path[:100]!r}").problem
    return Response(404, {"content-type": PROBLEM}, msgspec.json.encode(problem))


@cache
def application() -> "flask.Flask":
    """The console's Flask application."""
    from functions.console.application import create_app
    from functions.console.gateway import Gateway
    from functions.console.held_flows import HeldFlows
    from functions.deadletters.service.operations import Console

    console = Console(
        database=database,
        rules=masked,
        sink_url=settings.k_sink,
        launch=workers.launch,
        read_only=settings.deadletters_read_only,
    )
    return create_app(
        console,
        settings.access,
        session_key=session_key,
        mail_folder=Path(settings.caught_mail) if settings.caught_mail else None,
        gateway=Gateway(settings.gateway_url.rstrip("/"), settings.gateway_token) if settings.gateway_url else None,
        held_flows=HeldFlows(settings.flows_url),
    )


def _take(request: Request) -> Response:
    """Do what a ping asks for, or note how a job ended. Never a 4xx: the broker drops such an event."""
    try:
        if not request.whole:
            raise NotAnEvent("the body must come whole")
        event = read(request.headers, request.body)
        if event.type == PING_TYPE:
            maintenance.keep(database, workers, settings.maintenance, now=system_clock())
        elif is_outcome(event):
            _settle(event)
    except NotAnEvent as error:
        return refusal(error)
    except StorageUnavailable as error:
        return refusal(TryAgain(str(error)))
    return Response(202)


def _settle(outcome: Event) -> None:
    """Mark the dead letters of the job, of which there are none mostly: then nothing is locked."""
    with database.transaction(writes=False) as transaction:
        awaited = dead_letters.awaits(transaction, outcome)
    if awaited:
        with database.transaction() as transaction:
            dead_letters.settle(transaction, outcome, now=system_clock())


def _metrics(request: Request) -> Response:
    """For a monitor, which is an operator with the right to see."""
    from functions.console import refusals  # which only a monitor need wait for
    from functions.deadletters.service import metrics

    common = {"cache-control": "no-store", "x-content-type-options": "nosniff"}
    try:
        settings.access.operator(request.headers).require("see")
        return Response(
            200, {"content-type": metrics.MEDIA_TYPE, **common}, metrics.render(database, now=system_clock())
        )
    except refusals.REFUSED as error:
        refused = refusals.refusal(error)
        return Response(refused.status, {"content-type": PROBLEM, **common, **refused.headers}, refused.body)


def _side_route(method: str, path: str) -> Response | None:
    """The health probe, which waits for no operator."""
    return Response(200, {"content-type": "text/plain; charset=utf-8"}, b"ok\n") if path == "/healthz" else None


def _knows(headers: Mapping[str, str], path: str) -> bool:
    """Whether an operator asks, or the broker brings an event."""
    return path == "/" or _gate().knows(headers)


@cache
def _gate() -> "Gate":
    from functions.console.gate import Gate  # which a ping does not need

    return Gate(access=settings.access, session_key=session_key)


handle = request_function(respond, body_limit_bytes=BODY_LIMIT_BYTES, knows=_knows, side_route=_side_route)
