"""When, and in what turn, a request is let into the broker: what its attributes say of it, read and judged.

The attributes are CloudEvents extensions, so that any client can send them. A moment that has passed is now.
"""

import hashlib
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
PRIORITIES: Final[Mapping[str, int]] = {"low": -1, "normal": 0, "high": 1}
KEY_CHARACTERS: Final = 200
LONGEST_WAIT: Final = 10  # debounces, where the request does not say


@dataclass(frozen=True, slots=True, kw_only=True)
class Timing:
    """When a job is let in: at once without `not_before`. One that is debounced waits until `latest` at the longest."""

    not_before: datetime | None = None
    latest: datetime | None = None
    priority: int = 0
    unique: str | None = None
    limit: str | None = None


AT_ONCE: Final = Timing()
NAMES: Final = frozenset(["notbefore", "delay", "debounce", "debouncelimit", "priority", "uniquekey", "limitkey"])


def timing_of(event: Event, *, now: datetime) -> Timing:
    """What a request asks for; raise JobFailed with each attribute that is bad."""
    if NAMES.isdisjoint(event.attributes):
        return AT_ONCE
    reading = _Reading(event.attributes, now)
    timing = reading.timing()
    if reading.errors:
        listed = "; ".join(f"{each.pointer[2:]} {each.detail}" for each in reading.errors)
        raise JobFailed(KIND, listed, tuple(reading.errors))
    return timing


def unique_key(api: str, event: Event, key: str | None) -> str | None:
    """The key as the ledger has it: an API's own, and of one type, so that nobody joins a job of another kind."""
    if key is None:
        return None
    return hashlib.blake2b("\n".join((api, event.type, key)).encode(), digest_size=16).hexdigest()


class _Reading:
    """The attributes of one request, and what is wrong with them."""

    def __init__(self, attributes: Mapping[str, str], now: datetime) -> None:
        self._attributes = attributes
        self._now = now
        self.errors: list[FieldError] = []

    def timing(self) -> Timing:
        """All of them; what is bad is left out, and in `errors`."""
        not_before, latest = self._debounced() if "debounce" in self._attributes else (self._not_before(), None)
        if "debounce" not in self._attributes and "debouncelimit" in self._attributes:
            self._refuse("debouncelimit", "must stand beside debounce")
        return Timing(
            not_before=not_before,
            latest=latest,
            priority=self._priority(),
            unique=self._key("uniquekey"),
            limit=self._key("limitkey"),
        )

    def _not_before(self) -> datetime | None:
        """The moment of `notbefore` or `delay`; None for now."""
        self._require_alone("notbefore", "delay")
        found = [each for each in (self._moment("notbefore"), self._later("delay")) if each is not None]
        if not found or found[0] <= self._now:
            return None
        self._require_timely("delay" if "delay" in self._attributes else "notbefore", found[0])
        return found[0]

    def _debounced(self) -> tuple[datetime | None, datetime | None]:
        """When it is let in where no other comes, and when it is in any case."""
        self._require_alone("debounce", "notbefore", "delay")
        if "uniquekey" not in self._attributes:
            self._refuse("debounce", "must stand beside uniquekey, by which the jobs are one")
        wait, longest = self._duration("debounce"), self._duration("debouncelimit")
        if wait is None:
            return None, None
        longest = min(wait * LONGEST_WAIT, HORIZON) if longest is None else longest
        if longest < wait:
            self._refuse("debouncelimit", f"must be at least debounce, {self._attributes['debounce']}")
        self._require_timely("debounce", self._now + longest)
        return self._now + wait, self._now + longest

    def _priority(self) -> int:
        name = self._attributes.get("priority", "normal")
        if name not in PRIORITIES:
            self._refuse("priority", f"must be one of {', '.join(PRIORITIES)}, got {name[:40]!r}")
        return PRIORITIES.get(name, 0)

    def _key(self, name: str) -> str | None:
        key = self._attributes.get(name)
        if key is not None and not 0 < len(key) <= KEY_CHARACTERS:
            self._refuse(name, f"must have 1 to {KEY_CHARACTERS} characters, got {len(key)}")
        return key

    def _require_alone(self, *names: str) -> None:
        given = [each for each in names if each in self._attributes]
        for each in given[1:]:
            self._refuse(each, f"cannot stand beside {given[0]}")

    def _require_timely(self, name: str, moment: datetime) -> None:
        if moment - self._now > HORIZON:
            self._refuse(name, f"{LONGER}, got {self._attributes[name]}")
        expires_at = next(self._expiry(), None)
        if expires_at is not None and moment > expires_at:
            self._refuse(name, f"must not lead past expirytime {self._attributes['expirytime']}")

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
        if text is None:
            return None
        seconds = duration_s(text)
        if seconds is None:
            self._refuse(name, f"{DURATION}, got {text[:40]!r}")
            return None
        if seconds > HORIZON.total_seconds():
            self._refuse(name, f"{LONGER}, got {text[:40]}")
            return None
        return timedelta(seconds=seconds)

    def _refuse(self, name: str, detail: str) -> None:
        self.errors.append(FieldError(pointer=f"#/{name}", detail=detail))
