"""Who sits before the pages: Flask's signed cookie, and the token that each form of a session carries.

The cookie holds an id and, after a sign-in, a ticket that only this key can make of the operator's token. An operator
who is taken out of the settings is signed out by that. Of a session that was ended its id is kept on this side.
"""

import hashlib
import secrets
import time
from datetime import UTC, datetime
from typing import Any, Final

import flask
from flask.sessions import SecureCookieSession, SecureCookieSessionInterface, SessionMixin

from functions.console import tickets
from functions.console.access import Access, Unauthorized
from functions.deadletters.service.operators import Operator
from functions.deadletters.store import sessions as ended
from functions.storage.database import Database

LIFE_S: Final = 12 * 3600


class Sessions(SecureCookieSessionInterface):
    """Flask's own, which end when they were begun to end, however often they change."""

    def open_session(self, app: flask.Flask, request: flask.Request) -> SecureCookieSession | None:
        """The browser's session; an empty one where there is none, or it is too old or not of this key."""
        found = super().open_session(app, request)
        return found if found and found.get("ends_at", 0) > time.time() else self.session_class()

    def get_expiration_time(self, app: flask.Flask, session: SessionMixin) -> datetime | None:
        """When the browser forgets the cookie."""
        return datetime.fromtimestamp(session["ends_at"], UTC) if session else None

    def get_cookie_secure(self, app: flask.Flask) -> bool:
        """Whether the browser came by HTTPS, as the gateway before this process tells it."""
        return flask.request.is_secure or flask.request.headers.get("X-Forwarded-Proto", "") == "https"


def begin(token: str = "") -> None:
    """A new session in place of the one before, of the operator whose token it is."""
    digest = hashlib.sha256(token.encode(errors="replace")).hexdigest()  # as operators.py keeps it
    flask.session.clear()
    flask.session.permanent = True
    flask.session.update(
        id=secrets.token_urlsafe(16), ticket=_ticket(digest) if token else "", ends_at=int(time.time()) + LIFE_S
    )


def end(database: Database) -> None:
    """End the session, for this browser and for whoever has kept its cookie."""
    if is_signed_in():
        _note_end(database)
    flask.session.clear()


def is_begun() -> bool:
    """Whether the browser has brought a session."""
    return "id" in flask.session


def is_signed_in() -> bool:
    """Whether the session is an operator's."""
    return bool(flask.session.get("ticket"))


def operator(access: Access, database: Database) -> Operator:
    """Who is asking: the one who signed in, or whom the request itself tells; raise Unauthorized otherwise."""
    if not is_signed_in():
        return access.operator(dict(flask.request.headers))
    for digest, known in access.operators.by_digest.items():
        if secrets.compare_digest(_ticket(digest), flask.session["ticket"]) and not _is_ended(database):
            return known
    raise Unauthorized("this session is over: sign in again")


def _note_end(database: Database) -> None:
    with database.transaction() as transaction:
        ended.end(transaction, flask.session["id"], ends_at=flask.session["ends_at"], now=int(time.time()))


def _is_ended(database: Database) -> bool:
    with database.transaction(writes=False) as transaction:
        return ended.is_ended(transaction, flask.session["id"])


def form_token() -> str:
    """What each form of the session carries, so that no other site's form passes for one."""
    return tickets.signature(_key(), "form", f"{flask.session['id']} {flask.session['ticket']}")


def is_own_form() -> bool:
    """Whether the form that came is of the session's own page."""
    given = flask.request.form.get("form_token", "")
    return secrets.compare_digest(form_token().encode(), given.encode(errors="replace"))


def say(**said: Any) -> None:
    """Have the next page say something once."""
    flask.session["said"] = said


def said() -> Any:
    """What the last form had this page say; it is forgotten by that."""
    return flask.session.pop("said", None)


def _ticket(digest: str) -> str:
    return tickets.ticket(_key(), digest)


def _key() -> str | bytes:
    key = flask.current_app.secret_key
    assert key  # noqa: S101  # create_app sets it
    return key
