"""The pages on which an operator looks: groups, dead letters, one dead letter, replays, the audit trail."""

from typing import Final

import flask
import msgspec

from events.problem import JobFailed
from functions.console import forms, rendering
from functions.console.request_context import Visit, download, json, problems
from functions.deadletters.service import commands
from functions.deadletters.service.commands import Filter

PER_PAGE: Final = (50, 100, 200)
AUDIT_LINES: Final = 100


def overview(visit: Visit) -> flask.Response:
    """The groups that wait, the largest first."""
    asked = forms.read(commands.ListGroups, visit.request.args)
    groups = visit.operator_session.groups(msgspec.structs.replace(asked, limit=200)).groups
    return visit.page("overview.html", groups=groups, state=asked.state, cursor=_cursor(visit))


def dead_letters(visit: Visit) -> flask.Response:
    """The dead letters that match, a page of them."""
    given, error, page = visit.request.args, None, commands.Page(dead_letters=())
    try:
        where = forms.values(commands.List, given, ("before",))
        limit = int(given.get("limit", "")) if given.get("limit", "") in map(str, PER_PAGE) else PER_PAGE[0]
        page = visit.operator_session.list(commands.List(matching=forms.read(Filter, given), limit=limit, **where))  # type: ignore[arg-type]  # as read
    except JobFailed as wrong:
        error = wrong
    known = visit.operator_session.groups(commands.ListGroups(state="all", limit=200)).groups
    return visit.page(
        "letters.html",
        status=422 if error else 200,
        page=page,
        given=given,
        errors=problems(error),
        known=known,
        matching=visit.query("before", "limit"),
        older=visit.query("before", before=page.next_before),
        newest=visit.query("before"),
        cursor=_cursor(visit),
    )


def dead_letter(visit: Visit, dead_letter: int) -> flask.Response:
    """All of one dead letter."""
    return _dead_letter(visit, visit.operator_session.show(commands.Show(dead_letter=dead_letter)), unmasked=False)


def unmask(visit: Visit, dead_letter: int) -> flask.Response:
    """All of one dead letter, nothing hidden. It stands at no address, so that nobody comes by it again unnoted."""
    return _dead_letter(visit, visit.operator_session.unmask(commands.Unmask(dead_letter=dead_letter)), unmasked=True)


def data(visit: Visit, dead_letter: int) -> flask.Response:
    """The data whole, as it may be shown, or, by POST, with nothing hidden."""
    if visit.request.method == "POST":
        body = visit.operator_session.unmask(commands.Unmask(dead_letter=dead_letter)).body
    else:
        body = visit.operator_session.show(commands.Show(dead_letter=dead_letter)).body
    if body.data is None and body.data_base64 is None:
        raise JobFailed("data-hidden", f"the data of dead letter {dead_letter} is hidden from you")
    kind = "json" if "json" in body.attributes.get("datacontenttype", "json") else "bin"
    content = body.data.encode() if body.data is not None else body.data_base64 or b""
    return download(content, f"letter-{dead_letter}.{kind}")


def group(visit: Visit, group: int) -> flask.Response:
    """One group, and what was done to it."""
    return group_page(visit, group)


def group_page(visit: Visit, group: int, error: JobFailed | None = None) -> flask.Response:
    """The group's page, with what was wrong in the form on it."""
    detail = visit.operator_session.group(commands.ShowGroup(group=group))
    latest = visit.operator_session.list(commands.List(matching=Filter(group=group, state="all"), limit=10))
    return visit.page(
        "group.html",
        status=422 if error else 200,
        group=detail.group,
        history_actions=detail.history,
        latest=latest,
        errors=problems(error),
    )


def replays(visit: Visit) -> flask.Response:
    """The latest replays."""
    return visit.page("replays.html", runs=visit.operator_session.replays(commands.Replays(limit=100)).runs)


def run(visit: Visit, replay: int) -> flask.Response:
    """How far one replay is."""
    return visit.page("run.html", run=visit.operator_session.progress(commands.Progress(replay=replay)))


def audit(visit: Visit) -> flask.Response:
    """Who did what, the newest first."""
    before = forms.values(commands.Audit, visit.request.args, ("before",))
    trail = visit.operator_session.audit(commands.Audit(limit=AUDIT_LINES, **before))  # type: ignore[arg-type]  # as read
    return visit.page("audit.html", trail=trail)


def arrivals(visit: Visit) -> flask.Response:
    """How many dead letters came since the cursor: the page's script asks for it every few seconds."""
    cursor = forms.values(commands.Watch, visit.request.args, ("cursor",))
    found = visit.operator_session.watch(commands.Watch(**cursor))  # type: ignore[arg-type]  # as read
    return json({"count": len(found.dead_letters), "cursor": found.cursor})


def _cursor(visit: Visit) -> int:
    return visit.operator_session.watch(commands.Watch()).cursor


def _dead_letter(visit: Visit, detail: commands.Detail, *, unmasked: bool) -> flask.Response:
    failure_report = detail.failure_report
    return visit.page(
        "letter.html",
        detail=detail,
        dead_letter=detail.dead_letter,
        unmasked=unmasked,
        data=rendering.data(detail.body),
        diff=rendering.excerpt(detail.diff),
        response=rendering.excerpt(failure_report.response if failure_report else ""),
        log=rendering.excerpt("\n".join(failure_report.log) if failure_report else ""),
        curl=rendering.excerpt(detail.curl or ""),
        editable=forms.editable(detail.body),
    )
