"""What every page shares: who may come in, how it is rendered, and where a form goes on to.

The pages are made here and work without JavaScript; static/page.js adds live progress, arrivals and the keyboard. Forms
come by POST with the session's token, and go on to a page that may be loaded again.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import flask
import msgspec
from werkzeug.wrappers import Response

from events.problem import JobFailed
from functions.console import forms, navigation, sessions
from functions.console.access import Access
from functions.deadletters.service.operations import Console, OperatorSession
from functions.storage.file_name import disposition

PREFIX: Final = "/dead/"
STALE: Final = "This form is too old, or did not come from this page. Go back, load the page again and repeat it."

POLICY: Final = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self';"
    " connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
)

PageResponse = str | tuple[str, int] | Response


class StaleForm(Exception):
    """The form is not of this session."""


def blueprint(name: str) -> flask.Blueprint:
    """The pages of one subject: for operators only, and with forms of their own only."""
    made = flask.Blueprint(name, __name__, url_prefix=PREFIX.rstrip("/"))
    made.before_request(_admit)
    return made


def access() -> Access:
    """How operators are known."""
    found: Access = flask.current_app.extensions["access"]
    return found


def console() -> Console:
    """What the operators deal with."""
    found: Console = flask.current_app.extensions["console"]
    return found


def mail_folder() -> Path | None:
    """Where e-mails are caught, if they are."""
    found: Path | None = flask.current_app.extensions["mail_folder"]
    return found


def operator_session() -> OperatorSession:
    """The operator who asks, at the console."""
    found: OperatorSession = flask.g.operator_session
    return found


def _admit() -> PageResponse | None:
    """Let in an operator with an own form; a link of another site goes on by itself first."""
    if from_elsewhere():
        return arriving()
    is_form = flask.request.method == "POST"
    if is_form and not sessions.is_begun():
        raise StaleForm
    if not sessions.is_begun():
        sessions.begin()
    flask.g.operator_session = console().operator_session(sessions.operator(access(), console().database))
    if is_form and not sessions.is_own_form():
        raise StaleForm
    return None


def page(template: str, *, status: int = 200, **view: Any) -> tuple[str, int]:
    """A whole page. What the form before it wanted said is said on it, and then forgotten."""
    asking = operator_session()
    shown = {
        "now": console().clock(),
        "operator": asking.operator.name,
        "rights": asking.operator.rights,
        "read_only": console().read_only,
        "signed_in": sessions.is_signed_in(),
        "form_token": sessions.form_token(),
        "said": sessions.said(),
        "path": flask.request.path,
        "places": navigation.shown(asking.operator.rights),
    }
    return flask.render_template(template, **shown | view), status


def after(url: str, text: str = "", **more: Any) -> Response:
    """Go on to another page, which says what was done; a reload then does nothing twice."""
    if text:
        sessions.say(**{"text": text, "undo": (), "passed": (), "passed_count": 0, **more})
    return flask.redirect(url, 303)


def arriving() -> str:
    """A page that goes on to itself: the browser sends a SameSite=Strict cookie only when the page itself goes on."""
    return flask.render_template("arriving.html", target=here())


def json(value: object) -> flask.Response:
    """What the page's script asks for."""
    return flask.Response(msgspec.json.encode(value), content_type="application/json")


def download(content: bytes, name: str) -> flask.Response:
    """A file that the browser keeps, and does not show."""
    headers = {"content-disposition": disposition(name, kind="attachment")}
    return flask.Response(content, headers=headers, content_type="application/octet-stream")


def problems(error: JobFailed | None) -> Mapping[str, list[str]]:
    """What is wrong with a form, by field; what belongs to none is under the empty name."""
    if error is None:
        return {}
    return forms.pointers(error) or {"": [error.detail]}


def here() -> str:
    """This address, to come back to."""
    return inside(flask.request.full_path.rstrip("?"))


def inside(path: str) -> str:
    """A path below /dead/ to go to; of anything else the first place: a link may not lead to another site."""
    plain = path.isascii() and path.isprintable() and "\\" not in path
    return path if plain and path.startswith(PREFIX) else flask.url_for(navigation.first())


def from_elsewhere() -> bool:
    """Whether somebody followed a link of another site: the session's cookie is not sent then."""
    return flask.request.method == "GET" and flask.request.headers.get("Sec-Fetch-Site") == "cross-site"
