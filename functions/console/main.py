"""The operators' Service, apart from the sink: the page and the HTTP API under /dead, and what is done each minute.

A ping (PingSource) has it do the maintenance: replays that were interrupted go on, dead letters past their time go.
What only visitors need is loaded by the first of them (visitors.py).
"""

import secrets
from dataclasses import dataclass
from functools import cache, cached_property
from typing import TYPE_CHECKING, Final

import msgspec

from events.http import read
from events.problem import JobFailed, NotAnEvent, TryAgain
from functions.deadletters.replay.sending import Broker
from functions.deadletters.replay.workers import Workers
from functions.deadletters.service import maintenance
from functions.deadletters.service.alerts import Recipients
from functions.deadletters.service.commands import BODY_LIMIT_BYTES
from functions.deadletters.service.maintenance import House
from functions.deadletters.service.masking import rules
from functions.deadletters.service.operators import KEY_CHARACTERS, LOOPBACK, everything, parse
from functions.deadletters.store import dead_letters
from functions.deadletters.store.dead_letter import is_replay_outcome
from functions.deadletters.store.retention import Limits
from functions.runtime.adapter import Response, refusal, system_clock
from functions.runtime.request import Request, request_function
from functions.runtime.settings import from_environment
from functions.storage.database import StorageUnavailable, open_database

if TYPE_CHECKING:
    from functions.console.api import Access
    from functions.console.visitors import Visitors

PREFIX: Final = "/dead/"
PING_TYPE: Final = "dev.knative.sources.ping"


@dataclass(frozen=True)
class Settings:
    """The Service's environment.

    `deadletters_operators` are lines `NAME RIGHTS SECRET` (operators.py); `deadletters_proxy_header` the header in
    which an authenticating proxy names the operator; `errands_token` is an operator of all rights, too. With none of
    them it serves its own machine only. `deadletters_session_key` signs the page's sessions; without one, operators
    sign in again after a restart. `deadletters_replay_unanswered` is how many dead letters with code -1 may be
    replayed by themselves each minute.
    """

    deadletters_url: str
    k_sink: str
    host: str = "0.0.0.0"  # noqa: S104  # as functions/runtime/serve.py has it
    errands_token: str = ""
    k_sink_token: str = ""
    deadletters_operators: str = ""
    deadletters_proxy_header: str = ""
    deadletters_masked: str = ""
    deadletters_read_only: bool = False
    deadletters_session_key: str = ""
    deadletters_keep_days: float = 90.0
    deadletters_keep_count: int = 1_000_000
    deadletters_keep_unresolved: bool = True
    deadletters_alert_url: str = ""
    deadletters_alert_email: str = ""
    deadletters_page_url: str = ""
    deadletters_replay_unanswered: int = 0

    def __post_init__(self) -> None:
        """Raise ValueError for settings that would leave the dead letters open to everybody."""
        if self.deadletters_session_key and len(self.deadletters_session_key) < KEY_CHARACTERS:
            raise ValueError(f"DEADLETTERS_SESSION_KEY must have at least {KEY_CHARACTERS} characters")
        parse(self.deadletters_operators)
        known = self.errands_token or self.deadletters_operators or self.deadletters_proxy_header
        if not known and self.host not in LOOPBACK:
            raise ValueError(
                "DEADLETTERS_OPERATORS or DEADLETTERS_PROXY_HEADER is required:"
                f" HOST {self.host} can be reached from other machines"
            )

    @cached_property
    def access(self) -> "Access":
        """Who may ask."""
        from functions.console.api import Access  # with all words that one may say, which a ping does not need

        operators = parse(self.deadletters_operators)
        if self.errands_token:
            operators = operators.and_token(self.errands_token, everything("token"))
        known = self.errands_token or self.deadletters_operators or self.deadletters_proxy_header
        return Access(
            operators=operators,
            proxy_header=self.deadletters_proxy_header,
            open_to=None if known else everything("local"),
        )

    @property
    def house(self) -> House:
        """What is done each minute."""
        return House(
            limits=Limits(
                days=self.deadletters_keep_days,
                count=self.deadletters_keep_count,
                unresolved_too=not self.deadletters_keep_unresolved,
            ),
            recipients=Recipients(
                webhook_url=self.deadletters_alert_url,
                email=self.deadletters_alert_email,
                page_url=self.deadletters_page_url,
            ),
            unanswered_limit=self.deadletters_replay_unanswered,
        )


settings = from_environment(Settings)
database = open_database(settings.deadletters_url)
masked = rules(settings.deadletters_masked)
session_key = settings.deadletters_session_key or secrets.token_urlsafe(KEY_CHARACTERS)
workers = Workers(database, Broker(settings.k_sink, settings.k_sink_token))


def respond(request: Request) -> Response:
    """An event, the metrics, or a visit."""
    if request.method == "POST" and request.path == "/":
        return _take(request)
    if request.path == f"{PREFIX}metrics":
        return _metrics(request)
    if f"{request.path}/".startswith(PREFIX):
        return visitors().receive(request)
    problem = JobFailed("not-found", f"an address below {PREFIX} is expected, got {request.path[:100]!r}").problem
    return Response(404, {"content-type": "application/problem+json"}, msgspec.json.encode(problem))


@cache
def visitors() -> "Visitors":
    """What Flask, the page and the HTTP API need to be loaded for."""
    from functions.console.sessions import Sessions
    from functions.console.visitors import Visitors
    from functions.deadletters.service.operations import Console

    console = Console(
        database=database,
        rules=masked,
        sink_url=settings.k_sink,
        launch=workers.launch,
        read_only=settings.deadletters_read_only,
    )
    return Visitors(console=console, access=settings.access, sessions=Sessions(session_key))


def _take(request: Request) -> Response:
    """How a replayed job ended, or a ping; any other event is none of the console's. Never a 4xx: the broker drops
    it.
    """
    try:
        if not request.whole:
            raise NotAnEvent("the body must come whole")
        event = read(request.headers, request.body)
        if event.type == PING_TYPE:
            maintenance.keep(database, workers, settings.house, now=system_clock())
        elif is_replay_outcome(event):
            with database.transaction() as transaction:
                dead_letters.settle(transaction, event, now=system_clock())
    except NotAnEvent as error:
        return refusal(error)
    except StorageUnavailable as error:
        return refusal(TryAgain(str(error)))
    return Response(202)


def _metrics(request: Request) -> Response:
    """For a monitor, which is an operator with the right to see."""
    from functions.console import api  # which only a monitor need wait for
    from functions.deadletters.service import metrics

    try:
        settings.access.operator(request.headers).require("see")
        shown = metrics.render(database, now=system_clock())
        return api.response(api.Reply(status=200, body=shown, media_type=metrics.MEDIA_TYPE))
    except api.REFUSALS as error:
        return api.response(api.refusal(error))


def _side_route(method: str, path: str) -> Response | None:
    """The health probe, which waits for no visitor."""
    return Response(200, {"content-type": "text/plain; charset=utf-8"}, b"ok\n") if path == "/healthz" else None


handle = request_function(respond, body_limit_bytes=BODY_LIMIT_BYTES, side_route=_side_route)
