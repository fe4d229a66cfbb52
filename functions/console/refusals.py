"""What is said to somebody whose request is refused: a status, and problem details (RFC 9457)."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

import msgspec

from events.problem import FieldError, JobFailed
from functions.console.access import Elsewhere, Misdirected, Unauthorized
from functions.deadletters.service.operations import NotFound
from functions.deadletters.service.operators import Forbidden
from functions.runtime.attempts import TooManyAttempts
from functions.storage.database import StorageUnavailable

MEDIA_TYPE: Final = "application/problem+json"
STATUSES: Final[Mapping[type[Exception], tuple[int, str, Mapping[str, str]]]] = {
    Unauthorized: (401, "unauthorized", {"www-authenticate": "Bearer"}),
    Forbidden: (403, "forbidden", {}),
    NotFound: (404, "not-found", {}),
    Elsewhere: (403, "cross-site", {}),
    Misdirected: (421, "misdirected", {}),
    TooManyAttempts: (429, "too-many-attempts", {"retry-after": "60"}),
    StorageUnavailable: (503, "unavailable", {"retry-after": "5"}),
}
REFUSED: Final[tuple[type[Exception], ...]] = (*STATUSES, JobFailed)


@dataclass(frozen=True, kw_only=True)
class Refusal:
    """Why a request is refused, for a page or for a program."""

    status: int
    kind: str
    detail: str
    errors: tuple[FieldError, ...] = ()
    headers: Mapping[str, str] = field(default_factory=dict)

    @property
    def body(self) -> bytes:
        """Problem details."""
        return msgspec.json.encode(JobFailed(self.kind, self.detail, self.errors).problem)


def refusal(error: Exception) -> Refusal:
    """What to say of one of `REFUSED`."""
    if isinstance(error, JobFailed):
        return Refusal(status=422, kind=error.kind, detail=error.detail, errors=error.errors)
    status, kind, headers = STATUSES[type(error)]
    return Refusal(status=status, kind=kind, detail=str(error), headers=headers)
