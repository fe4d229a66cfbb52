"""Limits and pauses as people ask for them, over HTTP: whose jobs, judged, written, and shown."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, TypeVar

import msgspec

from events.problem import SHOWN_CHARACTERS, FieldError, JobFailed, decode
from functions.gateway.callers import job_of
from functions.gateway.ledger import rules
from functions.gateway.ledger.rules import NAME_CHARACTERS, Change, Limit, Rules
from functions.gateway.ledger.writer import Writer
from functions.gateway.results import moment
from functions.gateway.routes import Routes
from functions.runtime.asgi import read_body
from functions.runtime.port import Application, IngressResponse, problem
from functions.runtime.threads import in_thread
from functions.storage.database import Database, Transaction

if TYPE_CHECKING:
    from functions.gateway.http import Asked

JSON: Final = {"content-type": "application/json"}
RIGHT: Final = "admission"
KINDS: Final = "all, type:TYPE (or its job's name), api:API, key:KEY or key:*"
BODY_LIMIT_BYTES: Final = 65_536
CHANGES_COUNT: Final = 100
REASON_CHARACTERS: Final = 1_000
T = TypeVar("T")


class LimitResult(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A limit that holds."""

    name: str
    rate: str | None = None
    burst: int = 1
    at_once: int | None = None


class PauseResult(msgspec.Struct, frozen=True, kw_only=True):
    """Whose jobs are not let in, since when, by whom, and why."""

    name: str
    at: str
    by: str
    reason: str


class ChangeResult(msgspec.Struct, frozen=True, kw_only=True):
    """Who has changed what."""

    at: str
    by: str
    name: str
    what: str
    detail: str


class AdmissionResult(msgspec.Struct, frozen=True, kw_only=True):
    """All that holds jobs back, and the last changes of it."""

    limits: list[LimitResult]
    pauses: list[PauseResult]
    changes: list[ChangeResult]


class PauseReason(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Why."""

    reason: str = ""

    def flaws(self) -> Iterator[FieldError]:
        """Whether there is a reason."""
        if not self.reason.strip():
            yield FieldError(pointer="#/reason", detail="must say why, for those who find it paused")


@dataclass(frozen=True, slots=True)
class Ruling:
    """Answers for one ledger; whoever changes something needs the right `admission`."""

    database: Database
    writer: Writer
    routes: Routes
    declared: Mapping[str, Limit]
    clock_ms: Callable[[], int]
    wake: Callable[[], None]

    async def show(self, asked: "Asked") -> Application:
        """All that holds."""
        if not asked.caller.may("read"):
            return problem(403, "forbidden", f"{asked.caller.name} may not read what holds all jobs")
        return IngressResponse(200, msgspec.json.encode(await in_thread(self._shown)), JSON)

    async def set_limit(self, asked: "Asked") -> Application:
        """Have a limit hold."""

        def work(transaction: Transaction, name: str, limit: Limit) -> None:
            rules.set_limit(transaction, name, limit, actor=asked.caller.name, now_ms=self.clock_ms())

        return await self._changed(asked, Limit, work)

    async def remove_limit(self, asked: "Asked") -> Application:
        """Have none hold."""

        def work(transaction: Transaction, name: str, _: None) -> None:
            rules.set_limit(transaction, name, None, actor=asked.caller.name, now_ms=self.clock_ms())

        return await self._changed(asked, None, work)

    async def pause(self, asked: "Asked") -> Application:
        """Let none in."""

        def work(transaction: Transaction, name: str, given: PauseReason) -> None:
            actor, now_ms = asked.caller.name, self.clock_ms()
            rules.pause(
                transaction, name, given.reason[:REASON_CHARACTERS].replace("\x00", ""), actor=actor, now_ms=now_ms
            )

        return await self._changed(asked, PauseReason, work)

    async def resume(self, asked: "Asked") -> Application:
        """Let them in again."""

        def work(transaction: Transaction, name: str, _: None) -> None:
            rules.resume(transaction, name, actor=asked.caller.name, now_ms=self.clock_ms())

        return await self._changed(asked, None, work)

    async def _changed(
        self,
        asked: "Asked",
        taken: type[T] | None,
        work: "Callable[[Transaction, str, T], None] | Callable[[Transaction, str, None], None]",
    ) -> Application:
        """Change what the request says, and show all that holds then."""
        if not asked.caller.may(RIGHT):
            return problem(403, "forbidden", f"{asked.caller.name} may not change what holds jobs back")
        try:
            name = named(asked.parts[1], self.routes)
            given = await _body(asked, taken) if taken is not None else None
        except JobFailed as error:
            return problem(422, error.kind, error.detail, {}, error.errors)
        await self.writer.ask(lambda transaction: work(transaction, name, given))  # type: ignore[arg-type]  # as `taken` says
        self.wake()
        return IngressResponse(200, msgspec.json.encode(await in_thread(self._shown)), JSON)

    def _shown(self) -> AdmissionResult:
        with self.database.transaction(writes=False) as transaction:
            return shown(rules.read(transaction, self.declared), rules.changes(transaction, limit=CHANGES_COUNT))


def shown(held: Rules, changes: list[Change]) -> AdmissionResult:
    """What holds, in words."""
    return AdmissionResult(
        limits=[
            LimitResult(name=name, rate=each.rate, burst=each.burst, at_once=each.at_once)
            for name, each in sorted(held.limits.items())
        ],
        pauses=[
            PauseResult(name=name, at=moment(each.at_ms), by=each.by, reason=each.reason)
            for name, each in sorted(held.pauses.items())
        ],
        changes=[
            ChangeResult(at=moment(each.at_ms), by=each.actor, name=each.name, what=each.what, detail=each.detail)
            for each in changes
        ],
    )


def named(text: str, routes: Routes) -> str:
    """Whose jobs are meant, with the whole type in place of its job's name; raise JobFailed for nobody's."""
    kind, _, value = text.partition(":")
    is_text = len(text) <= NAME_CHARACTERS and text.isprintable()
    if is_text and (text == "all" or (kind in ("api", "key") and value)):
        return text
    of_kind = [each for each in routes.known_types if value in (each, job_of(each))]
    if kind == "type" and len(of_kind) == 1:
        return f"type:{of_kind[0]}"
    if kind == "type":
        known = ", ".join(routes.known_types)
        raise JobFailed("unknown-type", f"the types known here are {known}; got {value[:SHOWN_CHARACTERS]!r}")
    raise JobFailed("unknown-name", f"{KINDS} is expected, got {text[:SHOWN_CHARACTERS]!r}")


def declared_limits(text: str, routes: Routes) -> dict[str, Limit]:
    """From the JSON of GATEWAY_LIMITS, by name; raise ValueError that names it."""
    try:
        given = msgspec.json.decode(text or "{}", type=dict[str, Limit])
        for each in given.values():
            _require_limit(each)
        return {named(name, routes): each for name, each in given.items()}
    except (msgspec.DecodeError, JobFailed) as error:
        raise ValueError(f"GATEWAY_LIMITS must be JSON of limits by name: {error}") from error


async def _body(asked: "Asked", taken: type[T]) -> T:
    body = await read_body(asked.request.receive, limit_bytes=BODY_LIMIT_BYTES, discarded_bytes=0)
    if body.fault is not None:
        raise JobFailed("invalid-data", f"the body {body.fault}")
    return decode(body.content or b"{}", taken)


def _require_limit(limit: Limit) -> None:
    flaws = tuple(limit.flaws())
    if flaws:
        raise JobFailed("invalid-data", "; ".join(f"{each.pointer[2:]} {each.detail}" for each in flaws), flaws)
