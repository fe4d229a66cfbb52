"""Who asks the gateway: APIs by their tokens, and what each of them may.

Rights are `all`, or of: `send` or `send:TYPE` (a request's type, or its job's name), `read` or `read:own`, `cancel` or
`cancel:own` (to cancel and to ask again), `files`, `admission` (limits, pauses),
`schedules`.
`own` are the jobs that it has sent itself.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from functions.runtime import credentials

ALL: Final = frozenset({"send", "read", "cancel", "files", "admission", "schedules"})
OWN: Final = frozenset({"read:own", "cancel:own"})
SEND: Final = "send:"
WHOSE: Final = "GATEWAY_TOKENS"


@dataclass(frozen=True, slots=True)
class Caller:
    """An API, by the name that its jobs keep."""

    name: str
    rights: frozenset[str]

    def may_send(self, type_: str) -> bool:
        """Whether it may ask for jobs of this type."""
        return "send" in self.rights or f"{SEND}{type_}" in self.rights or f"{SEND}{job_of(type_)}" in self.rights

    def may(self, right: str, api: str | None = None) -> bool:
        """Whether it may do this to the jobs of an API, or else to any."""
        return right in self.rights or (api == self.name and f"{right}:own" in self.rights)

    @property
    def sees_own_only(self) -> bool:
        """Whether the jobs of others are none to it."""
        return "read" not in self.rights


@dataclass(frozen=True, slots=True)
class Callers:
    """Those that are known; with nobody known, whoever asks is `anybody`."""

    by_digest: Mapping[str, Caller]
    anybody: Caller | None = None

    @classmethod
    def parse(cls, text: str, *, anybody: str | None = None) -> "Callers":
        """From lines `NAME RIGHTS SECRET`; raise ValueError that names the line."""
        found = {
            credentials.digest(secret, number, WHOSE): Caller(name, _rights(rights, number))
            for number, name, rights, secret in credentials.lines(text, WHOSE)
        }
        return cls(found, Caller(anybody, ALL) if anybody and not found else None)

    def of(self, authorization: str) -> Caller | None:
        """Who sent this header; None for nobody that is known."""
        if self.anybody is not None:
            return self.anybody
        scheme, _, token = authorization.partition(" ")  # RFC 9110 11.1
        return credentials.find(self.by_digest, token.strip()) if scheme.lower() == "bearer" else None


def job_of(type_: str) -> str:
    """The job's name in a request's type: `image` of `dev.errands.image.requested.v1`."""
    return (type_.split(".")[-3:-2] or [""])[0]


def _rights(text: str, line: int) -> frozenset[str]:
    if text == "all":
        return ALL
    given = frozenset(text.split(","))
    unknown = sorted(each for each in given - ALL - OWN if not each.removeprefix(SEND) or not each.startswith(SEND))
    if unknown:
        expected = ", ".join(sorted(ALL | OWN))
        raise ValueError(f"line {line} of {WHOSE}: rights are all or of {expected}, send:TYPE, got {unknown[0]}")
    return given
