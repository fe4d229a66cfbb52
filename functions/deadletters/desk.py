"""The operators' Service, apart from the sink: the page and the HTTP API under /dead, and what is done each minute.

A ping (PingSource) has it do the housekeeping: replays that were interrupted go on, letters past their time go.
"""

import secrets
from dataclasses import dataclass
from typing import Final

import flask

from events.function import flask_body, system_clock
from events.http import read
from events.problem import NotAnEvent
from functions.deadletters import housekeeping, letters, metrics
from functions.deadletters.alerts import Recipients
from functions.deadletters.api import LOOPBACK, REFUSALS, Access, Reply, problem, refusal, respond
from functions.deadletters.database import Unavailable, open_database
from functions.deadletters.housekeeping import House
from functions.deadletters.letter import is_replay_outcome
from functions.deadletters.masking import rules
from functions.deadletters.operations import Desk
from functions.deadletters.operators import everything, parse
from functions.deadletters.page import Page
from functions.deadletters.retention import Limits
from functions.deadletters.sending import Broker
from functions.deadletters.sessions import KEY_CHARACTERS, Sessions
from functions.deadletters.workers import Workers
from functions.settings import from_environment

PREFIX: Final = "/dead/"
API: Final = "api/"
PING_TYPE: Final = "dev.knative.sources.ping"


@dataclass(frozen=True)
class Settings:
    """The Service's environment.

    `deadletters_operators` are lines `NAME RIGHTS SECRET` (operators.py); `deadletters_proxy_header` the header in
    which an authenticating proxy names the operator; `errands_token` is an operator of all rights, too. With none of
    them it serves its own machine only. `deadletters_session_key` signs the page's sessions; without one, operators
    sign in again after a restart. `deadletters_replay_unanswered` is how many letters with code -1 may be replayed by
    themselves each minute.
    """

    deadletters_url: str
    k_sink: str
    host: str = "0.0.0.0"  # noqa: S104  # as functions/serve.py has it
    errands_token: str = ""
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
        """Raise ValueError for settings that would leave the letters open to everybody."""
        if self.deadletters_session_key and len(self.deadletters_session_key) < KEY_CHARACTERS:
            raise ValueError(f"DEADLETTERS_SESSION_KEY must have at least {KEY_CHARACTERS} characters")
        parse(self.deadletters_operators)
        known = self.errands_token or self.deadletters_operators or self.deadletters_proxy_header
        if not known and self.host not in LOOPBACK:
            raise ValueError(
                "DEADLETTERS_OPERATORS or DEADLETTERS_PROXY_HEADER is required:"
                f" HOST {self.host} can be reached from other machines"
            )

    @property
    def access(self) -> Access:
        """Who may ask."""
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
access = settings.access
workers = Workers(database, Broker(settings.k_sink, settings.errands_token))
desk = Desk(
    database=database,
    rules=rules(settings.deadletters_masked),
    sink_url=settings.k_sink,
    launch=workers.launch,
    read_only=settings.deadletters_read_only,
)
page = Page(desk=desk, access=access, sessions=Sessions(settings.deadletters_session_key or secrets.token_urlsafe(32)))


def handle(request: flask.Request) -> flask.Response:
    """A word of the API, the page, an event, or the health probe."""
    path = request.path.removeprefix(PREFIX)
    if path.startswith(API):
        return _response(respond(desk, access, path.removeprefix(API), request))
    if path == "metrics":
        return _response(_metrics(request))
    if request.method == "POST" and request.path == "/":
        return _response(_take(request))
    if request.path == "/healthz":
        return flask.Response("ok\n", 200, {"content-type": "text/plain; charset=utf-8"})
    if f"{request.path}/".startswith(PREFIX):
        return page.respond(request)
    return _response(problem(404, "not-found", f"{PREFIX}{API}WORD is expected, got {request.path[:100]!r}"))


def _metrics(request: flask.Request) -> Reply:
    """For a monitor, which is an operator with the right to see."""
    try:
        access.operator(dict(request.headers)).require("see")
        return Reply(status=200, body=metrics.render(database, now=system_clock()), media_type=metrics.MEDIA_TYPE)
    except REFUSALS as error:
        return refusal(error)


def _take(request: flask.Request) -> Reply:
    """How a replayed job ended, or a ping; any other event is none of the desk's. Never a 4xx: the broker drops it."""
    try:
        event = read(dict(request.headers), flask_body(request))
        if event.type == PING_TYPE:
            housekeeping.keep(database, workers, settings.house, now=system_clock())
        elif is_replay_outcome(event):
            with database.transaction() as session:
                letters.settle(session, event, now=system_clock())
    except NotAnEvent as error:
        return problem(500, "not-an-event", str(error))
    except Unavailable as error:
        return refusal(error)
    return Reply(status=202, body=b"")


def _response(reply: Reply) -> flask.Response:
    headers = {"content-type": reply.media_type, "cache-control": "no-store", "x-content-type-options": "nosniff"}
    return flask.Response(reply.body, reply.status, headers | dict(reply.headers))
