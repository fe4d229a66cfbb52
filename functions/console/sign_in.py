"""The pages on which an operator signs in and out."""

import flask

from functions.console import pages, sessions
from functions.console.access import Unauthorized
from functions.console.pages import PREFIX, PageResponse
from functions.runtime.request import STRANGER_BYTES

blueprint = flask.Blueprint("sign_in", __name__, url_prefix=PREFIX.rstrip("/"))


@blueprint.before_request
def admit() -> PageResponse | None:
    """Let in anybody, with an own form."""
    flask.request.max_content_length = STRANGER_BYTES
    if pages.from_elsewhere():
        return pages.arriving()
    if flask.request.method == "POST" and not (sessions.is_begun() and sessions.is_own_form()):
        raise pages.StaleForm
    if not sessions.is_begun():
        sessions.begin()
    return None


@blueprint.get("/sign-in")
def form() -> PageResponse:
    """Ask for the token; `after` is the page that was wanted, to which who is signed in goes on."""
    after = pages.inside(flask.request.args.get("after", ""))
    return flask.redirect(after, 303) if _is_known() else form_page(after=after)


@blueprint.post("/sign-in")
def sign_in() -> PageResponse:
    """Begin the operator's session, and go on to the page that was wanted."""
    token, after = flask.request.form.get("token", "").strip(), pages.inside(flask.request.form.get("after", ""))
    if pages.access().with_token(token, dict(flask.request.headers)) is None:
        return form_page(after=after, wrong=True)
    sessions.begin(token)
    return flask.redirect(after, 303)


@blueprint.post("/sign-out")
def sign_out() -> PageResponse:
    """End the operator's session."""
    sessions.end(pages.console().database)
    return flask.redirect(flask.url_for("sign_in.form"), 303)


def _is_known() -> bool:
    try:
        return sessions.is_signed_in() and bool(sessions.operator(pages.access(), pages.console().database))
    except Unauthorized:
        return False


def form_page(*, after: str = PREFIX, wrong: bool = False) -> tuple[str, int]:
    """The form, in a session that has begun."""
    text = flask.render_template("sign_in.html", form_token=sessions.form_token(), after=after, wrong=wrong)
    return text, 422 if wrong else 401
