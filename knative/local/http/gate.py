"""Who may come to the operators' Service, asked here before anything is read, loaded or started for them.

Who is not known (functions/console/gate.py) is shown the page to sign in, and what that looks like.
"""

from collections.abc import Callable, Mapping
from functools import cached_property
from typing import TYPE_CHECKING, Final
from urllib.parse import quote

from functions.runtime.port import IngressRequest

if TYPE_CHECKING:
    from functions.console.gate import Gate

SIGN_IN: Final = "/dead/sign-in"
LOOK: Final = "/dead/static/"
FOR_PROGRAMS: Final = ("/dead/api/", "/dead/metrics")


class ConsoleGate:
    """Asks by the settings of the Service, which are read with the first request."""

    def __init__(self, read: Callable[[], Mapping[str, str]]) -> None:
        self._read = read

    @cached_property
    def _gate(self) -> "Gate":
        from functions.console.access import known_by  # which nobody need wait for who asks for no page
        from functions.console.gate import Gate

        given = self._read().get
        access = known_by(
            operators=given("DEADLETTERS_OPERATORS", ""),
            token=given("ERRANDS_TOKEN", ""),
            proxy_header=given("DEADLETTERS_PROXY_HEADER", ""),
        )
        return Gate(access=access, session_key=given("DEADLETTERS_SESSION_KEY", ""))

    @property
    def operator_header(self) -> str:
        """In which an authenticating proxy names who asks."""
        return self._gate.access.proxy_header

    def knows(self, headers: Mapping[str, str]) -> bool:
        """Whether these headers (names in lower case) are an operator's."""
        return self._gate.knows(headers)

    def is_for_anybody(self, request: IngressRequest) -> bool:
        """Whether it is about signing in, or the looks of that page."""
        looks = request.method in ("GET", "HEAD")
        signs_in = request.path == SIGN_IN and (looks or request.method == "POST")
        return self._gate.offers_sign_in and (signs_in or (looks and request.path.startswith(LOOK)))

    def sign_in_url(self, request: IngressRequest) -> str | None:
        """Where a person is led who looks at a page; None for a program, and where nobody could sign in."""
        for_people = request.method in ("GET", "HEAD") and not request.path.startswith(FOR_PROGRAMS)
        if not for_people or "authorization" in request.headers or not self._gate.offers_sign_in:
            return None
        return f"{SIGN_IN}?after={quote(request.target, safe='')}"
