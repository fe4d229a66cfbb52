"""The operators' page at /dead: which address is whose, who may come in, and what is refused.

It is made here and works without JavaScript; static/page.js adds live progress, arrivals and the keyboard. Forms come
by POST with the session's token, and go on to a page that may be loaded again.
"""

import io
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

import flask
import msgspec
from werkzeug.exceptions import HTTPException
from werkzeug.routing import Map, RequestRedirect, Rule

from functions.console import actions, forms, rendering, views
from functions.console.api import REFUSALS, Access, Unauthorized, refusal
from functions.console.request_context import PREFIX, Visit, asset, html, inside, is_secure, redirect
from functions.console.sessions import Session, Sessions
from functions.deadletters.service.operations import Console
from functions.deadletters.service.operators import Operator

NUMBER: Final = f"int(min=1, max={2**62})"
DEAD_LETTER, GROUP, REPLAY = (f"<{NUMBER}:{name}>" for name in ("dead_letter", "group", "replay"))
SIGN_IN: Final = f"{PREFIX}sign-in"
SIGN_OUT: Final = f"{PREFIX}sign-out"
STATIC: Final = f"{PREFIX}static/"
STALE: Final = "This form is too old, or did not come from this page. Go back, load the page again and repeat it."


def _rules(path: str, get: Callable[..., object] | None, post: Callable[..., object] | None = None) -> list[Rule]:
    by_method = {"GET": get, "POST": post}
    return [Rule(PREFIX + path, methods=[method], endpoint=each) for method, each in by_method.items() if each]


ROUTES: Final = Map(
    [
        *_rules("", views.overview),
        *_rules("dead_letters", views.dead_letters),
        *_rules(f"letters/{DEAD_LETTER}", views.dead_letter),
        *_rules(f"letters/{DEAD_LETTER}/unmask", None, views.unmask),
        *_rules(f"letters/{DEAD_LETTER}/data", views.data, views.data),
        *_rules(f"letters/{DEAD_LETTER}/edit", actions.edit_form, actions.edit),
        *_rules(f"groups/{GROUP}", views.group, actions.group),
        *_rules("replay", actions.replay_form, actions.replay),
        *_rules("discard", actions.discard_form, actions.discard),
        *_rules("undo", actions.undo_form, actions.undo),
        *_rules("replays", views.replays),
        *_rules(f"replays/{REPLAY}", views.run),
        *_rules(f"replays/{REPLAY}/cancel", None, actions.cancel),
        *_rules(f"replays/{REPLAY}/resume", None, actions.resume),
        *_rules("audit", views.audit),
        *_rules("arrivals", views.arrivals),
    ]
)


class StaleForm(Exception):
    """The form is not of this session."""


@dataclass(frozen=True, kw_only=True)
class Page:
    """The page for everybody whom `access` knows, or who signs in with a token that it knows."""

    console: Console
    access: Access
    sessions: Sessions

    def respond(self, request: flask.Request) -> flask.Response:
        """One request below /dead."""
        if request.path.startswith(STATIC):
            name = request.path.removeprefix(STATIC)
            return asset(name) if name in rendering.ASSETS else _refuse(404, "There is no such page.")
        if request.path + "/" == PREFIX:
            return redirect(PREFIX)
        if _from_elsewhere(request):
            # the browser sends a SameSite=Strict cookie only when the page itself goes on
            return html("arriving.html", target=_here(request))
        request.max_content_length = request.max_form_memory_size = forms.FORM_LIMIT_BYTES
        return self._response(request)

    def _response(self, request: flask.Request) -> flask.Response:
        try:
            return self._in_session(request)
        except StaleForm:
            return _refuse(403, STALE)
        except HTTPException as error:
            request.stream = io.BytesIO()  # functions-framework reads again after the answer, which would fail again
            return _refuse(error.code or 500, error.description or error.name)
        except REFUSALS as error:
            response = refusal(error)
            return _refuse(response.status, msgspec.json.decode(response.body)["detail"])

    def _in_session(self, request: flask.Request) -> flask.Response:
        known = self.sessions.read(request.cookies)
        session = known or self.sessions.begin()
        if request.method == "POST" and not self._is_own_form(known, request):
            raise StaleForm
        if request.path == SIGN_IN:
            response = self._sign_in(request, session)
        elif request.path == SIGN_OUT and request.method == "POST":
            response = redirect(SIGN_IN)
            self.sessions.end(response)
            return response
        else:
            response = self._dispatch(request, session)
        if known is None:
            self.sessions.keep(response, session, secure=is_secure(request))
        return response

    def _dispatch(self, request: flask.Request, session: Session) -> flask.Response:
        try:
            operator = self.sessions.operator(session, self.access, request.headers)  # type: ignore[arg-type]  # names in any case
        except Unauthorized:
            if request.method == "GET" and self.access.operators.by_digest:
                return self._sign_in_page(session, after=_here(request))
            raise
        try:
            method = "GET" if request.method == "HEAD" else request.method
            endpoint, arguments = ROUTES.bind("").match(request.path, method)
        except RequestRedirect as error:
            return redirect(error.new_url)
        response: flask.Response = endpoint(self._visit(request, session, operator), **arguments)
        return response

    def _visit(self, request: flask.Request, session: Session, operator: Operator) -> Visit:
        return Visit(request=request, console=self.console, operator=operator, session=session, sessions=self.sessions)

    def _sign_in(self, request: flask.Request, session: Session) -> flask.Response:
        if request.method != "POST":
            return self._sign_in_page(session)
        token, after = request.form.get("token", "").strip(), inside(request.form.get("after", ""))
        if self.access.operators.with_token(token) is None:
            return self._sign_in_page(session, after=after, wrong=True)
        response = redirect(after)
        self.sessions.keep(response, self.sessions.begin(token), secure=is_secure(request))
        return response

    def _sign_in_page(self, session: Session, *, after: str = PREFIX, wrong: bool = False) -> flask.Response:
        token = self.sessions.form_token(session)
        status = 422 if wrong else 401
        return html("sign_in.html", status=status, form_token=token, after=after, wrong=wrong)

    def _is_own_form(self, known: Session | None, request: flask.Request) -> bool:
        return known is not None and self.sessions.is_form_token(known, request.form.get("form_token", ""))


def _refuse(status: int, text: str) -> flask.Response:
    return html("refused.html", status=status, text=text)


def _here(request: flask.Request) -> str:
    """This address, to come back to."""
    return inside(request.full_path.rstrip("?"))


def _from_elsewhere(request: flask.Request) -> bool:
    """Whether somebody followed a link of another site: the session's cookie is not sent then."""
    return request.method == "GET" and request.headers.get("Sec-Fetch-Site") == "cross-site"
