"""Who may come to the operators' Service, asked here before anything is read, loaded or started for them.

The Service itself asks again, and knows more: the rights, and which sessions were ended. Who is not known is shown the
page to sign in, and what that looks like.
"""

import time
from collections.abc import Callable, Mapping
from functools import cached_property
from typing import TYPE_CHECKING, Final
from urllib.parse import quote

from knative.local.http.server import IngressRequest

if TYPE_CHECKING:
    from functions.console.access import Access

SIGN_IN: Final = "/dead/sign-in"
SIGN_IN_BYTES: Final = 16_384  # of the form
LOOK: Final = "/dead/static/"
FOR_PROGRAMS: Final = ("/dead/api/", "/dead/metrics")


class Gate:
    """Asks by the settings of the Service, which are read with the first request."""

    def __init__(self, read: Callable[[], Mapping[str, str]]) -> None:
        self._read = read

    @cached_property
    def _variables(self) -> Mapping[str, str]:
        return self._read()

    @cached_property
    def _access(self) -> "Access":
        from functions.console.access import known_by  # which nobody need wait for who asks for no page

        given = self._variables.get
        return known_by(
            operators=given("DEADLETTERS_OPERATORS", ""),
            token=given("ERRANDS_TOKEN", ""),
            proxy_header=self.operator_header,
        )

    @property
    def operator_header(self) -> str:
        """In which an authenticating proxy names who asks."""
        return self._variables.get("DEADLETTERS_PROXY_HEADER", "")

    def knows(self, headers: Mapping[str, str]) -> bool:
        """Whether these headers (names in lower case) are an operator's; where nobody is configured, anybody's."""
        if self._access.open_to is not None:
            return True
        scheme, _, token = headers.get("authorization", "").partition(" ")
        if scheme.lower() == "bearer":
            return self._access.operators.with_token(token.strip()) is not None
        name = headers.get(self.operator_header.lower(), "") if self.operator_header else ""
        return self._access.operators.told_by_proxy(name) is not None or self._is_signed_in(headers)

    def _is_signed_in(self, headers: Mapping[str, str]) -> bool:
        if "cookie" not in headers:
            return False
        from functions.console.tickets import is_signed_in

        key, digests = self._variables.get("DEADLETTERS_SESSION_KEY", ""), self._access.operators.by_digest
        return bool(key) and is_signed_in(headers["cookie"], key, digests, now_s=time.time())

    def is_for_anybody(self, request: IngressRequest) -> bool:
        """Whether it is about signing in, or the looks of that page."""
        looks = request.method in ("GET", "HEAD")
        signs_in = request.path == SIGN_IN and (looks or request.method == "POST")
        return bool(self._access.operators.by_digest) and (signs_in or (looks and request.path.startswith(LOOK)))

    def sign_in_url(self, request: IngressRequest) -> str | None:
        """Where a person is led who looks at a page; None for a program, and where nobody could sign in."""
        for_people = request.method in ("GET", "HEAD") and not request.path.startswith(FOR_PROGRAMS)
        named = "authorization" in request.headers
        if not for_people or named or not self._access.operators.by_digest:
            return None
        return f"{SIGN_IN}?after={quote(request.target, safe='')}"
