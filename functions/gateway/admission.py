"""What becomes of a request at the door, before it is recorded: refused with its reason, or a job to be.

Everything that its function would refuse is refused here, by the same code, and with the path of each bad field.
"""

from collections.abc import Callable
from datetime import datetime
from typing import Final

from events.http import Event
from events.problem import JobFailed, NotAnEvent
from functions.gateway.callers import Caller
from functions.gateway.contract import Contract
from functions.gateway.ledger.job import NewJob, fingerprint, key_of
from functions.gateway.outside import ANY_ORIGIN, CallbackOrigins, Own, Refusal, refusal
from functions.gateway.routes import Routes
from functions.gateway.timing import timing_of, unique_key
from functions.runtime.adapter import system_clock
from functions.runtime.port import TooLarge, timed

# Who has accepted a job sends it at once, and has this long for it; later it is taken for one that was left behind.
SENDING_MS: Final = 30_000
NOBODY: Final = Own(0, frozenset())


class Admission:
    """Judges requests for one declaration of routes."""

    def __init__(
        self,
        routes: Routes,
        *,
        own: Own = NOBODY,
        called: CallbackOrigins = ANY_ORIGIN,
        clock: Callable[[], datetime] = system_clock,
    ) -> None:
        self._routes = routes
        self._contract = Contract(routes.schemas)
        self._own = own
        self._called = called
        self._clock = clock

    def judged(self, event: Event | NotAnEvent, caller: Caller) -> NewJob | Refusal:
        """The job that the event asks for, or why it is not taken."""
        if isinstance(event, NotAnEvent):
            return Refusal(413 if isinstance(event, TooLarge) else 400, "not-an-event", str(event))
        refused = refusal(event, self._own, self._called) or self._unwanted(event, caller)
        if refused is not None:
            return refused
        now = self._clock()
        try:
            self._contract.require(event, now=now)
            timing = timing_of(event, now=now)
        except JobFailed as error:
            return Refusal(422, error.kind, error.detail, error.errors)
        now_ms = int(now.timestamp() * 1000)
        not_before_ms = _ms(timing.not_before)
        return NewJob(
            key=key_of(event.source, event.id),
            event=timed(event),
            api=caller.name,
            fingerprint=fingerprint(event),
            accepted_ms=now_ms,
            due_ms=not_before_ms or now_ms + SENDING_MS,
            not_before_ms=not_before_ms,
            latest_ms=_ms(timing.latest),
            priority=timing.priority,
            unique_key=unique_key(caller.name, event, timing.unique),
            limit_key=timing.limit,
        )

    def _unwanted(self, event: Event, caller: Caller) -> Refusal | None:
        if self._routes.deadline_s(event) is None:
            known = ", ".join(self._routes.known_types)
            return Refusal(404, "unknown-type", f"no Trigger wants type {event.type!r}; the types known here: {known}")
        if not caller.may_send(event.type):
            return Refusal(403, "forbidden", f"{caller.name} may not send type {event.type!r}")
        return None


def _ms(moment: datetime | None) -> int | None:
    return None if moment is None else int(moment.timestamp() * 1000)
