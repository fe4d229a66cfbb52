"""One request to the page: who asks, from which session, and the answers that a page gives.

Every answer has the headers that keep a browser from doing what a letter's text, or another site, wants of it.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import urlencode

import flask
import msgspec

from events.problem import JobFailed
from functions.console import forms, rendering
from functions.console.sessions import Session, Sessions
from functions.deadletters.service.operations import Console, OperatorSession
from functions.deadletters.service.operators import Operator

PREFIX: Final = "/dead/"
ASSET_LIFE_S: Final = 30 * 86_400
HEADERS: Final = {
    "content-security-policy": "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self';"
    " connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'",
    "x-frame-options": "DENY",
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "cache-control": "no-store",
}


@dataclass(frozen=True, kw_only=True)
class Visit:
    """A request of a known operator. `session` is new where the browser brought none."""

    request: flask.Request
    console: Console
    operator: Operator
    session: Session
    sessions: Sessions

    @property
    def operator_session(self) -> OperatorSession:
        """The operator's operator session at the console."""
        return self.console.operator_session(self.operator)

    def page(self, template: str, *, status: int = 200, **view: Any) -> flask.Response:
        """A whole page. What the form before it wanted said is said on it, and then forgotten."""
        operator_session, said = self.operator_session, self.sessions.said(self.request.cookies)
        shown = {
            "now": self.console.clock(),
            "operator": operator_session.operator.name,
            "rights": operator_session.operator.rights,
            "read_only": self.console.read_only,
            "signed_in": bool(self.session.ticket),
            "form_token": self.sessions.form_token(self.session),
            "said": said,
            "path": self.request.path,
        }
        response = html(template, status=status, **shown | view)
        if said:
            self.sessions.forget_said(response)
        return response

    def after(self, path: str, text: str = "", **more: Any) -> flask.Response:
        """Go on to another page, which says what was done; a reload then does nothing twice."""
        response = redirect(path)
        if text:
            said = {"text": text, "undo": (), "passed": (), "passed_count": 0, **more}
            self.sessions.say(response, said, secure=is_secure(self.request))
        return response

    def query(self, *without: str, **changes: object) -> str:
        """This page's query with changes."""
        given = {name: each for name, each in self.request.args.items(multi=False) if name not in without}
        return urlencode({name: each for name, each in (given | changes).items() if each not in ("", None)})


def html(template: str, *, status: int = 200, **view: Any) -> flask.Response:
    """A page."""
    text = rendering.render(template, view)
    return flask.Response(text, status, {**HEADERS, "content-type": "text/html; charset=utf-8"})


def redirect(path: str) -> flask.Response:
    """See another page below /dead/."""
    return flask.Response("", 303, {**HEADERS, "location": path})


def json(value: object) -> flask.Response:
    """What the page's script asks for."""
    return flask.Response(msgspec.json.encode(value), 200, {**HEADERS, "content-type": "application/json"})


def download(content: bytes, name: str) -> flask.Response:
    """A file that the browser keeps, and does not show."""
    headers = {"content-type": "application/octet-stream", "content-disposition": f'attachment; filename="{name}"'}
    return flask.Response(content, 200, HEADERS | headers)


def asset(name: str) -> flask.Response:
    """A file that belongs to every page."""
    kept = {"content-type": rendering.ASSETS[name], "cache-control": f"public, max-age={ASSET_LIFE_S}, immutable"}
    return flask.Response(rendering.asset(name), 200, HEADERS | kept)


def problems(error: JobFailed | None) -> Mapping[str, list[str]]:
    """What is wrong with a form, by field; what belongs to none is under the empty name."""
    if error is None:
        return {}
    return forms.pointers(error) or {"": [error.detail]}


def is_secure(request: flask.Request) -> bool:
    """Whether the browser came by HTTPS, as the gateway before this process tells it."""
    return request.is_secure or request.headers.get("X-Forwarded-Proto", "") == "https"


def inside(path: str) -> str:
    """A path below /dead/ to go to; of anything else the first page: a link may not lead to another site."""
    plain = path.isascii() and path.isprintable() and "\\" not in path
    return path if plain and path.startswith(PREFIX) else PREFIX
