"""What holds back the jobs of a name: how many in a time, how many at once, or none for now.

A name is `all`, `type:TYPE`, `api:API` or `key:KEY`, and `key:*` is of each key by itself that has no limit of its own.
What was declared holds until it is set otherwise.
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Final

import msgspec

from events.problem import FieldError
from functions.storage.database import Transaction

ALL: Final = "all"
EACH_KEY: Final = "key:*"
NAME_CHARACTERS: Final = 300
_RATE: Final = re.compile(r"([1-9][0-9]{0,5})/([smhd])")
_PERIODS_S: Final[Mapping[str, int]] = {"s": 1, "m": 60, "h": 3600, "d": 86_400}


class Limit(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, forbid_unknown_fields=True):
    """At most `rate` (`50/s`, `100/m`, `1000/h`, `5000/d`), `burst` of them at one moment; `at_once` in flight."""

    rate: str | None = None
    burst: int = 1
    at_once: int | None = None

    @property
    def interval_us(self) -> int | None:
        """From one job to the next; None without a rate."""
        found = None if self.rate is None else _RATE.fullmatch(self.rate)
        return None if found is None else max(1, _PERIODS_S[found[2]] * 1_000_000 // int(found[1]))

    def flaws(self) -> Iterator[FieldError]:
        """Each field that is bad, and what is expected of it."""
        if self.rate is not None and self.interval_us is None:
            expected = "a number a second, minute, hour or day is expected, such as 50/s or 100/m"
            yield FieldError(pointer="#/rate", detail=f"{expected}, got {self.rate[:40]!r}")
        if not 1 <= self.burst <= 100_000:
            yield FieldError(pointer="#/burst", detail=f"must be 1 to 100000, got {self.burst}")
        if self.at_once is not None and not 1 <= self.at_once <= 100_000:
            yield FieldError(pointer="#/at_once", detail=f"must be 1 to 100000, got {self.at_once}")
        if self.rate is None and self.at_once is None:
            yield FieldError(pointer="#/rate", detail="this, or at_once, must be given")


class Pause(msgspec.Struct, frozen=True, kw_only=True):
    """That none is let in: since when, by whom, and why."""

    at_ms: int
    by: str
    reason: str


@dataclass(frozen=True, slots=True)
class Rule:
    """What holds of one name."""

    name: str
    limit: Limit | None
    pause: Pause | None


@dataclass(frozen=True, slots=True)
class Rules:
    """All that hold now."""

    limits: Mapping[str, Limit]
    pauses: Mapping[str, Pause]

    def of(self, type_: str, api: str, limit_key: str | None) -> list[Rule]:
        """Those that a job is held by, if by any."""
        if not self.limits and not self.pauses:
            return []
        found = [Rule(each, self.limit(each), self.pauses.get(each)) for each in names_of(type_, api, limit_key)]
        return [each for each in found if each.limit is not None or each.pause is not None]

    def limit(self, name: str) -> Limit | None:
        """That of a name."""
        return self.limits.get(name) or (self.limits.get(EACH_KEY) if name.startswith("key:") else None)


NO_RULES: Final = Rules({}, {})


def names_of(type_: str, api: str, limit_key: str | None) -> list[str]:
    """The names that a job has."""
    names = [ALL, f"api:{api}", f"type:{type_}"]
    return names if limit_key is None else [*names, f"key:{limit_key}"]


def read(transaction: Transaction, declared: Mapping[str, Limit]) -> Rules:
    """The rules as they are now, over those that were declared."""
    limits, pauses = dict(declared), {}
    for row in transaction.execute("SELECT name, has_limit, rate, burst, at_once, at_ms, actor, reason FROM rule"):
        if row["has_limit"]:
            limits[row["name"]] = Limit(rate=row["rate"], burst=int(row["burst"]), at_once=row["at_once"])
        elif row["has_limit"] is not None:
            limits.pop(row["name"], None)
        if row["at_ms"] is not None:
            pauses[row["name"]] = Pause(at_ms=int(row["at_ms"]), by=row["actor"], reason=row["reason"])
    return Rules(limits, pauses)


def set_limit(transaction: Transaction, name: str, limit: Limit | None, *, actor: str, now_ms: int) -> None:
    """Have this limit hold from now on, or none, whatever was declared."""
    given = (None, 1, None) if limit is None else (limit.rate, limit.burst, limit.at_once)
    transaction.execute(
        "INSERT INTO rule (name, has_limit, rate, burst, at_once) VALUES (?, ?, ?, ?, ?) ON CONFLICT (name)"
        " DO UPDATE SET has_limit = excluded.has_limit, rate = excluded.rate, burst = excluded.burst,"
        " at_once = excluded.at_once",
        *(name, int(limit is not None), *given),
    )
    told = "none" if limit is None else msgspec.json.encode(limit).decode()
    _changed(transaction, name, "limit", told, actor=actor, now_ms=now_ms)


def pause(transaction: Transaction, name: str, reason: str, *, actor: str, now_ms: int) -> None:
    """Let none in from now on; of what is paused already the reason is another."""
    transaction.execute(
        "INSERT INTO rule (name, burst, at_ms, actor, reason) VALUES (?, 1, ?, ?, ?) ON CONFLICT (name)"
        " DO UPDATE SET at_ms = COALESCE(rule.at_ms, excluded.at_ms), actor = excluded.actor, reason = excluded.reason",
        *(name, now_ms, actor, reason),
    )
    _changed(transaction, name, "paused", reason, actor=actor, now_ms=now_ms)


def resume(transaction: Transaction, name: str, *, actor: str, now_ms: int) -> bool:
    """Let them in again; False where none were paused."""
    changed = transaction.execute(
        "UPDATE rule SET at_ms = NULL, actor = NULL, reason = NULL WHERE name = ? AND at_ms IS NOT NULL RETURNING name",
        name,
    )
    if changed:
        _changed(transaction, name, "resumed", "", actor=actor, now_ms=now_ms)
    return bool(changed)


def record(transaction: Transaction, name: str, what: str, detail: str, *, actor: str, now_ms: int) -> None:
    """Keep who has changed what."""
    transaction.execute(
        "INSERT INTO rule_change (at_ms, actor, name, what, detail) VALUES (?, ?, ?, ?, ?)",
        *(now_ms, actor, name, what, detail),
    )


def _changed(transaction: Transaction, name: str, what: str, detail: str, *, actor: str, now_ms: int) -> None:
    """Keep who has changed what, and let those look again who were held by it."""
    record(transaction, name, what, detail, actor=actor, now_ms=now_ms)
    pattern = "key:%" if name == EACH_KEY else ""
    transaction.execute("UPDATE gate SET next_ms = ?, is_full = 0 WHERE name = ? OR name LIKE ?", now_ms, name, pattern)


class Change(msgspec.Struct, frozen=True, kw_only=True):
    """Who has changed what, when."""

    at_ms: int
    actor: str
    name: str
    what: str
    detail: str


def changes(transaction: Transaction, *, limit: int) -> list[Change]:
    """The last ones, the newest first."""
    query = "SELECT at_ms, actor, name, what, detail FROM rule_change ORDER BY id DESC LIMIT ?"
    return msgspec.convert(transaction.execute(query, limit), list[Change])
