"""When, and in what turn, a request is let into the broker: what its attributes say of it, read and judged.

The attributes are CloudEvents extensions, so that any client can send them. A moment that has passed is now.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from events.duration import duration_s
from events.http import Event, rfc3339
from events.problem import FieldError, JobFailed, NotAnEvent

KIND: Final = "invalid-attribute"
HORIZON: Final = timedelta(days=366)
LONGER: Final = f"must be at most {HORIZON.days} days ahead"
DURATION: Final = "must be an ISO 8601 duration of days, hours, minutes and seconds, such as P2DT12H or PT90S"


@dataclass(frozen=True, slots=True, kw_only=True)
class Timing:
    """When a job is let in; at once without `not_before`."""

    not_before: datetime | None = None


AT_ONCE: Final = Timing()
NAMES: Final = frozenset(["notbefore", "delay"])


def timing_of(event: Event, *, now: datetime) -> Timing:
    """What a request asks for; raise JobFailed with each attribute that is bad."""
    if NAMES.isdisjoint(event.attributes):
        return AT_ONCE
    reading = _Reading(event.attributes, now)
    timing = Timing(not_before=reading.not_before())
    if reading.errors:
        listed = "; ".join(f"{each.pointer[2:]} {each.detail}" for each in reading.errors)
        raise JobFailed(KIND, listed, tuple(reading.errors))
    return timing


class _Reading:
    """The attributes of one request, and what is wrong with them."""

    def __init__(self, attributes: Mapping[str, str], now: datetime) -> None:
        self._attributes = attributes
        self._now = now
        self.errors: list[FieldError] = []

    def not_before(self) -> datetime | None:
        """The moment of `notbefore` or `delay`; None for now."""
        self._require_alone("notbefore", "delay")
        found = [each for each in (self._moment("notbefore"), self._later("delay")) if each is not None]
        if not found or found[0] <= self._now:
            return None
        name = "delay" if "delay" in self._attributes else "notbefore"
        self._require_timely(name, found[0])
        return found[0]

    def _require_alone(self, *names: str) -> None:
        given = [each for each in names if each in self._attributes]
        for each in given[1:]:
            self._refuse(each, f"cannot stand beside {given[0]}")

    def _require_timely(self, name: str, moment: datetime) -> None:
        if moment - self._now > HORIZON:
            self._refuse(name, f"{LONGER}, got {self._attributes[name]}")
        expires_at = next(self._expiry(), None)
        if expires_at is not None and moment > expires_at:
            self._refuse(name, f"must not be after expirytime {self._attributes['expirytime']}")

    def _expiry(self) -> Iterator[datetime]:
        if "expirytime" in self._attributes:
            yield rfc3339(self._attributes["expirytime"])  # which was judged before

    def _moment(self, name: str) -> datetime | None:
        if name not in self._attributes:
            return None
        try:
            return rfc3339(self._attributes[name])
        except NotAnEvent as error:
            self._refuse(name, str(error))
            return None

    def _later(self, name: str) -> datetime | None:
        duration = self._duration(name)
        return None if duration is None else self._now + duration

    def _duration(self, name: str) -> timedelta | None:
        text = self._attributes.get(name)
        seconds = None if text is None else duration_s(text)
        if text is not None and seconds is None:
            self._refuse(name, f"{DURATION}, got {text[:40]!r}")
        if seconds is None or seconds > HORIZON.total_seconds():
            if seconds is not None:
                self._refuse(name, f"{LONGER}, got {(text or '')[:40]}")
            return None
        return timedelta(seconds=seconds)

    def _refuse(self, name: str, detail: str) -> None:
        self.errors.append(FieldError(pointer=f"#/{name}", detail=detail))
