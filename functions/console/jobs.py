"""The pages about jobs: an overview of everything, a list, one job with what can be done to it.

What of a job is shown depends on the operator's rights, as with dead letters: which job it is needs `see`, its subject,
its request and its result need `data`, and what is masked in them `unmask`. To cancel and to do again is `replay`, to
erase is `discard`.
"""

from typing import Final
from urllib.parse import urlsplit

import flask
from msgspec import structs
from werkzeug.exceptions import NotFound
from werkzeug.wrappers import Response

from events.http import Event
from functions.console import charts, pages, rendering
from functions.console.gateway import RETRIED, Gateway, Job, name_of
from functions.console.pages import PageResponse, operator_session
from functions.deadletters.service import commands, showing
from functions.deadletters.service.results import ShownEvent
from functions.deadletters.service.visibility import Visibility
from functions.deadletters.store import history
from functions.gateway.ledger.job import STATES
from functions.runtime.masking import MASK

PER_PAGE: Final = "50"
FILTERS: Final = ("state", "type", "api", "subject", "id")
KEY: Final = "<uuid:key>"
JOBS_OF: Final = "dev.errands.{}.requested.v1"

blueprint = pages.blueprint("jobs")


@blueprint.before_request
def admit() -> None:
    """Let in who may see which jobs there are, where a gateway is known."""
    operator_session().operator.require("see")
    gateway()


@blueprint.get("/overview")
def overview() -> PageResponse:
    """Everything at a glance."""
    groups = operator_session().groups(commands.ListGroups(limit=200)).groups
    summary = gateway().summary()
    return pages.page(
        "everything.html",
        summary=summary,
        names={each.type: name_of(each.type) for each in summary.types},
        charts=[
            charts.Chart.of("In the last hour", summary.hour),
            charts.Chart.of("In the last day", summary.day),
        ],
        dead_letters=sum(each.open for each in groups),
        groups=len(groups),
        held=flask.current_app.extensions["held_flows"](),
        states=STATES,
    )


@blueprint.get("/jobs")
def listing() -> PageResponse:
    """The jobs that match, a page of them."""
    given = {name: flask.request.args[name].strip() for name in FILTERS if flask.request.args.get(name, "").strip()}
    asked = dict(given)
    if "subject" in asked:
        operator_session().operator.require("data")
    if pages.console().rules.attributes & asked.keys():  # what is hidden is not found by trying it out
        operator_session().operator.require("unmask")
    if "type" in asked and "." not in asked["type"]:
        asked["type"] = JOBS_OF.format(asked["type"])
    if asked.get("state") not in (None, *STATES):
        asked.pop("state")
    after = flask.request.args.get("after", "")
    asked |= {"after": after} if after.isascii() and after.isdigit() else {}
    found = gateway().jobs({**asked, "limit": PER_PAGE})
    jobs = [_shown(each) for each in found.jobs]
    return pages.page("jobs.html", jobs=jobs, next=found.next, given=given, after=after, states=STATES)


@blueprint.get(f"/jobs/{KEY}")
def job(key: object) -> PageResponse:
    """All of one job."""
    return _page(str(key), unmasked=False)


@blueprint.post(f"/jobs/{KEY}/unmask")
def unmask(key: object) -> PageResponse:
    """All of one job, nothing hidden; it is noted who looked."""
    asking = operator_session().operator
    asking.require("data")
    asking.require("unmask")
    with pages.console().database.transaction() as transaction:
        now = pages.console().clock()
        history.record(transaction, "job unmasked", asking.name, now=now, detail={"job": str(key)})
    return _page(str(key), unmasked=True)


@blueprint.post(f"/jobs/{KEY}/cancel")
def cancel(key: object) -> PageResponse:
    """End it."""
    return _changed(key, "POST", "/cancel", "replay", "Cancelled. Its API is told.")


@blueprint.post(f"/jobs/{KEY}/retry")
def retry(key: object) -> PageResponse:
    """Have it done again."""
    return _changed(key, "POST", "/retry", "replay", "It is done again.")


@blueprint.post(f"/jobs/{KEY}/erase")
def erase(key: object) -> PageResponse:
    """Remove all that is kept of it."""
    _change(key, "DELETE", "", "discard")
    return pages.after(flask.url_for("jobs.listing"), "Erased: its request, its result and what befell it are gone.")


def gateway() -> Gateway:
    """The one whose jobs these are."""
    found: Gateway | None = flask.current_app.extensions["gateway"]
    if found is None:
        raise NotFound("no gateway is known here: GATEWAY_URL is not set")
    return found


def _changed(key: object, method: str, what: str, right: str, said: str) -> Response:
    _change(key, method, what, right)
    return pages.after(flask.url_for("jobs.job", key=key), said)


def _change(key: object, method: str, what: str, right: str) -> None:
    operator_session().operator.require(right)
    gateway().change(str(key), method, what, actor=operator_session().operator.name)


def _page(key: str, *, unmasked: bool) -> PageResponse:
    found = gateway().job(key)
    request, outcome = gateway().request(key), gateway().outcome(found)
    stream = found.stream if found.is_open and not unmasked else ""
    matching = commands.Filter(id=found.id[:200], source=found.source[:200], state="all")
    text, status = pages.page(
        "job.html",
        job=_shown(found),
        unmasked=unmasked,
        timeline=[structs.replace(each, detail=_text(each.detail)) for each in gateway().timeline(key)],
        request=_event(request, unmasked=unmasked),
        result=_event(outcome, unmasked=unmasked),
        data=rendering.data,
        dead_letters=operator_session().list(commands.List(matching=matching, limit=20)).dead_letters,
        stream=stream,
        retried=RETRIED,
    )
    response = flask.make_response(text, status)
    response.headers["content-security-policy"] = _policy(stream)
    return response


def _policy(stream: str) -> str:
    """The pages' own, and the script may listen to the gateway."""
    parts = urlsplit(stream)
    origin = f" {parts.scheme}://{parts.netloc}" if parts.netloc else ""
    return pages.POLICY.replace("connect-src 'self'", f"connect-src 'self'{origin}")


def _visibility() -> Visibility:
    return Visibility(pages.console().rules, operator_session().operator.rights)


def _event(event: Event | None, *, unmasked: bool) -> ShownEvent | None:
    if event is None:
        return None
    return showing.whole(event) if unmasked else _visibility().event(event)


def _text(said: str | None) -> str | None:
    return None if said is None else _visibility().text(said)


def _shown(found: Job) -> Job:
    """A job without what the operator may not see."""
    visibility = _visibility()
    hidden = frozenset[str]() if visibility.of_everything else pages.console().rules.attributes
    named = {name: MASK for name in ("id", "source", "subject") if name in hidden and getattr(found, name)}
    progress = found.progress and structs.replace(found.progress, text=_text(found.progress.text) or "")
    shown = structs.replace(found, error=_text(found.error), progress=progress, **named)
    return shown if visibility.of_data else structs.replace(shown, subject=None)
