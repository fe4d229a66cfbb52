"""What a session's cookie proves, asked without Flask: who hands requests on to the console looks at it first.

The cookie is Flask's (itsdangerous), the ticket in it our own: only who has the key can make either. That a session was
ended, or its operator taken out, is the console's to know.
"""

import hashlib
from collections.abc import Iterable
from http.cookies import CookieError, SimpleCookie
from secrets import compare_digest
from typing import Final

from itsdangerous import BadData, Signer, URLSafeTimedSerializer

COOKIE: Final = "errands_dead"
SALT: Final = "cookie-session"  # flask.sessions.SecureCookieSessionInterface.salt


def signature(key: str | bytes, salt: str, text: str) -> str:
    """What only the key's owner can make of a text."""
    return Signer(key, salt=salt).get_signature(text).decode()


def ticket(key: str | bytes, digest: str) -> str:
    """The proof that an operator has signed in, by the digest of the token."""
    return signature(key, "operator", digest)


def is_signed_in(cookies: str, key: str, digests: Iterable[str], *, now_s: float) -> bool:
    """Whether the header Cookie brings a session of one of the operators, which is not over by itself."""
    try:
        brought = SimpleCookie(cookies).get(COOKIE)
        session = _reader(key).loads(brought.value) if brought else {}
    except (CookieError, BadData, ValueError):
        return False
    given, ends_at = session.get("ticket"), session.get("ends_at")
    if not isinstance(given, str) or not isinstance(ends_at, int) or ends_at <= now_s:
        return False
    return any(compare_digest(ticket(key, each).encode(), given.encode()) for each in digests)


def _reader(key: str) -> URLSafeTimedSerializer:
    """As Flask makes its own; a session of another making is none."""
    return URLSafeTimedSerializer(
        key, salt=SALT, signer_kwargs={"key_derivation": "hmac", "digest_method": hashlib.sha1}
    )
