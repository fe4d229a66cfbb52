"""The pages on which an operator looks: groups, dead letters, one dead letter, replays, the audit trail."""

from typing import Final

import flask
import msgspec

from events.problem import JobFailed
from functions.console import forms, pages, rendering
from functions.console.pages import PageResponse, operator_session, problems
from functions.deadletters.service import commands, results
from functions.deadletters.service.commands import Filter
from functions.deadletters.service.log_lines import readable

PER_PAGE: Final = (50, 100, 200)
AUDIT_LINES: Final = 100
NUMBER: Final = f"int(min=1, max={2**62})"

blueprint = pages.blueprint("dead_letters")


@blueprint.get("/")
def overview() -> PageResponse:
    """The groups that wait, the largest first."""
    asked = forms.read(commands.ListGroups, flask.request.args)
    groups = operator_session().groups(msgspec.structs.replace(asked, limit=200)).groups
    return pages.page("overview.html", groups=groups, state=asked.state, cursor=_cursor())


@blueprint.get("/letters")
def listing() -> PageResponse:
    """The dead letters that match, a page of them."""
    given, error, found = flask.request.args, None, results.DeadLetterPage(dead_letters=())
    try:
        where = forms.values(commands.List, given, ("before",))
        limit = int(given.get("limit", "")) if given.get("limit", "") in map(str, PER_PAGE) else PER_PAGE[0]
        found = operator_session().list(commands.List(matching=forms.read(Filter, given), limit=limit, **where))  # type: ignore[arg-type]  # as read
    except JobFailed as wrong:
        error = wrong
    return pages.page(
        "dead_letters.html",
        status=422 if error else 200,
        page=found,
        given=given,
        errors=problems(error),
        known=operator_session().groups(commands.ListGroups(state="all", limit=200)).groups,
        matching=_asked(Filter.__struct_fields__),
        asked=_asked((*Filter.__struct_fields__, "limit")),
        cursor=_cursor(),
    )


@blueprint.get(f"/letters/<{NUMBER}:number>")
def dead_letter(number: int) -> PageResponse:
    """All of one dead letter."""
    return _dead_letter(operator_session().show(commands.Show(dead_letter=number)), unmasked=False)


@blueprint.post(f"/letters/<{NUMBER}:number>/unmask")
def unmask(number: int) -> PageResponse:
    """All of one dead letter, nothing hidden. It stands at no address, so that nobody comes by it again unnoted."""
    return _dead_letter(operator_session().unmask(commands.Unmask(dead_letter=number)), unmasked=True)


@blueprint.route(f"/letters/<{NUMBER}:number>/data", methods=["GET", "POST"])
def data(number: int) -> PageResponse:
    """The data whole, as it may be shown, or, by POST, with nothing hidden."""
    if flask.request.method == "POST":
        body = operator_session().unmask(commands.Unmask(dead_letter=number)).body
    else:
        body = operator_session().show(commands.Show(dead_letter=number)).body
    if body.data is None and body.data_base64 is None:
        raise JobFailed("data-hidden", f"the data of dead letter {number} is hidden from you")
    kind = "json" if "json" in body.attributes.get("datacontenttype", "json") else "bin"
    content = body.data.encode() if body.data is not None else body.data_base64 or b""
    return pages.download(content, f"dead-letter-{number}.{kind}")


@blueprint.get(f"/groups/<{NUMBER}:number>")
def group(number: int) -> PageResponse:
    """One group, and what was done to it."""
    return group_page(number)


def group_page(number: int, error: JobFailed | None = None) -> PageResponse:
    """The group's page, with what was wrong in the form on it."""
    detail = operator_session().group(commands.ShowGroup(group=number))
    latest = operator_session().list(commands.List(matching=Filter(group=number, state="all"), limit=10))
    return pages.page(
        "group.html",
        status=422 if error else 200,
        group=detail.group,
        history_actions=detail.history,
        latest=latest,
        errors=problems(error),
    )


@blueprint.get("/replays")
def replays() -> PageResponse:
    """The latest replays."""
    return pages.page("replays.html", runs=operator_session().replays(commands.Replays(limit=100)).runs)


@blueprint.get(f"/replays/<{NUMBER}:number>")
def run(number: int) -> PageResponse:
    """How far one replay is."""
    return pages.page("run.html", run=operator_session().progress(commands.Progress(replay=number)))


@blueprint.get("/audit")
def audit() -> PageResponse:
    """Who did what, the newest first."""
    before = forms.values(commands.Audit, flask.request.args, ("before",))
    trail = operator_session().audit(commands.Audit(limit=AUDIT_LINES, **before))  # type: ignore[arg-type]  # as read
    return pages.page("audit.html", trail=trail)


@blueprint.get("/arrivals")
def arrivals() -> PageResponse:
    """How many dead letters came since the cursor: the page's script asks for it every few seconds."""
    cursor = forms.values(commands.Watch, flask.request.args, ("cursor",))
    found = operator_session().watch(commands.Watch(**cursor))  # type: ignore[arg-type]  # as read
    return pages.json({"count": len(found.dead_letters), "cursor": found.cursor})


def _cursor() -> int:
    return operator_session().watch(commands.Watch()).cursor


def _asked(names: tuple[str, ...]) -> dict[str, str]:
    """What this page was asked for by these fields."""
    return {name: flask.request.args[name] for name in names if flask.request.args.get(name)}


def _dead_letter(detail: results.Detail, *, unmasked: bool) -> PageResponse:
    failure_report = detail.failure_report
    return pages.page(
        "dead_letter.html",
        detail=detail,
        dead_letter=detail.dead_letter,
        unmasked=unmasked,
        data=rendering.data(detail.body),
        diff=rendering.excerpt(detail.diff),
        response=rendering.excerpt(failure_report.response if failure_report else ""),
        log=rendering.excerpt("\n".join(map(readable, failure_report.log)) if failure_report else ""),
        curl=rendering.excerpt(detail.curl or ""),
        editable=forms.editable(detail.body),
    )
