"""Who sits before the page, told by a signed cookie; the token that each of its forms carries; what to say once.

Nothing is kept on this side: a cookie holds a nonce and, after a sign-in, a ticket that only this key can make of the
operator's token. An operator who is taken out of the settings is signed out by that.
"""

import hashlib
import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from itsdangerous import BadData, Signer, URLSafeTimedSerializer

from functions.console.api import Access, Unauthorized
from functions.deadletters.service.operators import Operator

if TYPE_CHECKING:
    import flask

COOKIE: Final = "errands_dead"
SAID_COOKIE: Final = "errands_dead_said"
PATH: Final = "/dead"
LIFE_S: Final = 12 * 3600
SAID_LIFE_S: Final = 60


@dataclass(frozen=True)
class Session:
    """One browser: `nonce` ties its forms to it, `ticket` is its operator's, empty before the sign-in."""

    nonce: str
    ticket: str = ""


@dataclass(frozen=True)
class Sessions:
    """Makes and reads what the browser keeps, with one secret key."""

    key: str

    def read(self, cookies: Mapping[str, str]) -> Session | None:
        """The browser's session; None without one, or when it is too old or not of this key."""
        found = self._loads("session", cookies.get(COOKIE, ""), LIFE_S)
        return Session(found["nonce"], found["ticket"]) if found else None

    def begin(self, token: str = "") -> Session:
        """A new session, of the operator whose token it is."""
        digest = hashlib.sha256(token.encode(errors="replace")).hexdigest()  # as operators.py keeps it
        return Session(secrets.token_urlsafe(16), self._ticket(digest) if token else "")

    def keep(self, response: "flask.Response", session: Session, *, secure: bool) -> None:
        """Have the browser keep the session: out of reach of scripts, and of what other sites start."""
        text = self._serializer("session").dumps({"nonce": session.nonce, "ticket": session.ticket})
        self._set(response, COOKIE, text, LIFE_S, secure=secure)

    def end(self, response: "flask.Response") -> None:
        """Have the browser forget the session."""
        response.delete_cookie(COOKIE, path=PATH, httponly=True, samesite="Strict")

    def operator(self, session: Session | None, access: Access, headers: Mapping[str, str]) -> Operator:
        """Who is asking: the one who signed in, or whom the request itself tells; raise Unauthorized otherwise."""
        if session is None or not session.ticket:
            return access.operator(headers)
        for digest, operator in access.operators.by_digest.items():
            if secrets.compare_digest(self._ticket(digest), session.ticket):
                return operator
        raise Unauthorized("this operator is not known any more: sign in again")

    def form_token(self, session: Session) -> str:
        """What each form of the session carries, so that no other site's form passes for one."""
        return Signer(self.key, salt="form").get_signature(f"{session.nonce} {session.ticket}").decode()

    def is_form_token(self, session: Session, token: str) -> bool:
        """Whether a form came from the session's own page."""
        return secrets.compare_digest(self.form_token(session).encode(), token.encode(errors="replace"))

    def say(self, response: "flask.Response", said: Mapping[str, Any], *, secure: bool) -> None:
        """Have the next page say something once."""
        self._set(response, SAID_COOKIE, self._serializer("said").dumps(dict(said)), SAID_LIFE_S, secure=secure)

    def said(self, cookies: Mapping[str, str]) -> Mapping[str, Any] | None:
        """What the last form had this page say."""
        said: Mapping[str, Any] | None = self._loads("said", cookies.get(SAID_COOKIE, ""), SAID_LIFE_S)
        return said

    def forget_said(self, response: "flask.Response") -> None:
        """It was said."""
        response.delete_cookie(SAID_COOKIE, path=PATH, httponly=True, samesite="Strict")

    def _ticket(self, digest: str) -> str:
        return Signer(self.key, salt="operator").get_signature(digest).decode()

    def _serializer(self, salt: str) -> URLSafeTimedSerializer:
        return URLSafeTimedSerializer(self.key, salt=salt)

    def _loads(self, salt: str, text: str, life_s: int) -> Any:
        try:
            return self._serializer(salt).loads(text, max_age=life_s) if text else None
        except BadData:
            return None

    def _set(self, response: "flask.Response", name: str, text: str, life_s: int, *, secure: bool) -> None:
        response.set_cookie(name, text, max_age=life_s, path=PATH, httponly=True, samesite="Strict", secure=secure)
