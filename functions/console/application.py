"""The console as a Flask application: its blueprints, what every response carries, and how a refusal is said.

A new subject (jobs, flows, schedules) is a module with a `pages.blueprint(...)`, one more in `SUBJECTS`, and a
line of `navigation.PLACES`.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Final

import flask
from jinja2 import StrictUndefined
from werkzeug.exceptions import HTTPException

from functions.console import (
    actions,
    api,
    dead_letters,
    forms,
    jobs,
    mail,
    navigation,
    pages,
    rendering,
    sessions,
    sign_in,
    tickets,
)
from functions.console.access import Access, Unauthorized
from functions.console.gateway import Gateway
from functions.console.pages import PREFIX
from functions.console.refusals import MEDIA_TYPE, REFUSED, Refusal, refusal
from functions.deadletters.service.operations import Console

SUBJECTS: Final = (jobs.blueprint, dead_letters.blueprint, actions.blueprint, mail.blueprint)
ASSET_LIFE_S: Final = 30 * 86_400
HEADERS: Final = {
    "content-security-policy": pages.POLICY,
    "x-frame-options": "DENY",
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
}


def create_app(
    console: Console,
    access: Access,
    *,
    session_key: str,
    mail_folder: Path | None = None,
    gateway: Gateway | None = None,
    held_flows: Callable[[], int | None] = lambda: None,
) -> flask.Flask:
    """The console for everybody whom `access` knows, or who signs in with a token that it knows.

    It shows the jobs of the `gateway`, with how many flows are held, and the e-mails that are caught in the
    `mail_folder`.
    """
    app = flask.Flask(__name__, static_url_path=f"{PREFIX}static")
    app.secret_key = session_key
    app.config.update(
        SESSION_COOKIE_NAME=tickets.COOKIE,
        SESSION_COOKIE_PATH=PREFIX.rstrip("/"),
        SESSION_COOKIE_HTTPONLY=True,
        SESSION_COOKIE_SAMESITE="Strict",
        SESSION_REFRESH_EACH_REQUEST=False,
        PERMANENT_SESSION_LIFETIME=sessions.LIFE_S,
        MAX_CONTENT_LENGTH=forms.FORM_LIMIT_BYTES,
        MAX_FORM_MEMORY_SIZE=forms.FORM_LIMIT_BYTES,
        SEND_FILE_MAX_AGE_DEFAULT=ASSET_LIFE_S,
    )
    app.session_interface = sessions.Sessions()
    app.extensions.update(
        console=console, access=access, mail_folder=mail_folder, gateway=gateway, held_flows=held_flows
    )
    app.jinja_options = {"undefined": StrictUndefined, "trim_blocks": True, "lstrip_blocks": True}
    app.jinja_env.filters.update(rendering.FILTERS)
    app.jinja_env.globals.update(asset_url=rendering.asset_url)
    for each in (*SUBJECTS, sign_in.blueprint, api.blueprint):
        app.register_blueprint(each)
    app.add_url_rule("/console", "overview", _overview, strict_slashes=False)
    app.add_url_rule("/mail", "mails", _mails, strict_slashes=False)
    app.after_request(_with_headers)
    for error in REFUSED:
        app.register_error_handler(error, _refuse)
    app.register_error_handler(pages.StaleForm, _refuse_stale_form)
    app.register_error_handler(HTTPException, _refuse_http)
    return app


def _overview() -> pages.PageResponse:
    """The first of its places."""
    return flask.redirect(flask.url_for(navigation.first()), 303)


def _mails() -> pages.PageResponse:
    return flask.redirect(flask.url_for("mail.listing"), 303)


def _with_headers(response: flask.Response) -> flask.Response:
    """What keeps a browser from doing what a dead letter's text, or another site, wants of it."""
    for name, value in HEADERS.items():
        response.headers.setdefault(name, value)
    if flask.request.endpoint == "static" and response.status_code == 200:
        response.cache_control.immutable = True
    else:
        response.headers["cache-control"] = "no-store"
    return response


def _refuse(error: Exception) -> pages.PageResponse:
    if isinstance(error, Unauthorized) and _may_sign_in():
        return sign_in.form_page(after=pages.here())
    return _said(refusal(error))


def _refuse_stale_form(_error: pages.StaleForm) -> pages.PageResponse:
    return _said(Refusal(status=403, kind="stale-form", detail=pages.STALE))


def _refuse_http(error: HTTPException) -> pages.PageResponse:
    """What Flask itself refuses: an address that is none, a method, a body that is too long; and what is a bug."""
    if error.response is not None:
        return error.response  # type: ignore[return-value]  # one that somebody made on purpose
    headers = dict(error.get_headers()) if error.code == 405 else {}
    return _said(
        Refusal(
            status=error.code or 500,
            kind=error.name.lower().replace(" ", "-"),
            detail=error.description or error.name,
            headers={name: value for name, value in headers.items() if name.lower() == "allow"},
        )
    )


def _may_sign_in() -> bool:
    """Whether who is not known looks at a page, and could sign in for it."""
    of_pages = flask.request.blueprint != api.blueprint.name
    return of_pages and flask.request.method == "GET" and bool(pages.access().operators.by_digest)


def _said(refused: Refusal) -> flask.Response:
    """As problem details to a program, and as a page to a person."""
    if flask.request.path.startswith(f"{PREFIX}api/"):
        return flask.Response(refused.body, refused.status, refused.headers, content_type=MEDIA_TYPE)
    text = flask.render_template("refused.html", text=refused.detail)
    return flask.Response(text, refused.status, refused.headers)
