"""Who is known, asked by a request's headers alone, before anything is read or loaded for it.

`Access` asks again, with the rights; which sessions were ended is known to the pages.
"""

import time
from collections.abc import Mapping
from dataclasses import dataclass

from functions.console.access import Access


@dataclass(frozen=True, kw_only=True)
class Gate:
    """The operators, and what signs their sessions: without a `session_key` no session is known."""

    access: Access
    session_key: str = ""

    @property
    def offers_sign_in(self) -> bool:
        """Whether anybody has a token to sign in with."""
        return bool(self.access.operators.by_digest)

    def knows(self, headers: Mapping[str, str]) -> bool:
        """Whether these headers (names in lower case) are an operator's; where nobody is configured, anybody's."""
        if self.access.open_to is not None:
            return True
        scheme, _, token = headers.get("authorization", "").partition(" ")
        if scheme.lower() == "bearer":
            return self.access.operators.with_token(token.strip()) is not None
        proxy_header = self.access.proxy_header.lower()
        name = headers.get(proxy_header, "") if proxy_header else ""
        return self.access.operators.told_by_proxy(name) is not None or self._is_signed_in(headers)

    def _is_signed_in(self, headers: Mapping[str, str]) -> bool:
        if "cookie" not in headers or not self.session_key:
            return False
        from functions.console.tickets import is_signed_in  # with itsdangerous, which only a browser need wait for

        digests = self.access.operators.by_digest
        return is_signed_in(headers["cookie"], self.session_key, digests, now_s=time.time())
