"""Where jobs wait for a rule: how many have room now, and when to look again.

A rate is held by the generic cell rate algorithm (GCRA; ITU-T I.371), of which one moment is kept: no window, no
counter, nothing that a crash loses. What is in flight is counted among the jobs' own rows, so it is given back by
whatever ends a job, and by nothing else. Several gateways lock a gate while they let jobs through it.
"""

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from typing import Final

from functions.gateway.ledger import rows
from functions.gateway.ledger.rules import ALL, Rule, names_of
from functions.storage.database import Database, Transaction

LATE_US: Final = 50_000  # by which a loop that wakes late may let in sooner: the rate holds over any longer time
TOGETHER_MS: Final = 20  # a rate's jobs are let in so seldom at the most
READY_COUNT: Final = 100
_READ: Final = "SELECT name, tat_us FROM gate WHERE name IN (VALUES {rows})"


@dataclass(slots=True)
class Gate:
    """One, as it is within a transaction that has locked it."""

    rule: Rule
    tat_us: int  # the theoretical arrival time of the next job
    in_flight: int
    has_held: bool = False

    @property
    def is_full(self) -> bool:
        """Whether something has to end first."""
        limit = self.rule.limit
        return limit is not None and limit.at_once is not None and self.in_flight >= limit.at_once

    def refuses(self, now_us: int) -> bool:
        """Whether no job is let through now."""
        return self.rule.pause is not None or self.is_full or self._free_us() > now_us

    def take(self, now_us: int) -> None:
        """One is let through."""
        self.in_flight += 1
        if self.rule.limit is not None and self.rule.limit.interval_us is not None:
            self.tat_us = max(self.tat_us, now_us - LATE_US) + self.rule.limit.interval_us

    def next_ms(self, now_us: int) -> int | None:
        """When to look again; None where something has to end, or a person to act, first."""
        if not self.has_held or self.is_full or self.rule.pause is not None:
            return None
        free_us = self._free_us()
        return -(-now_us // 1000) if free_us <= now_us else max(-(-free_us // 1000), now_us // 1000 + TOGETHER_MS)

    def room(self, now_us: int, most: int) -> int:
        """How many could go through it now, at most so many."""
        if self.rule.pause is not None:
            return 0
        limit = self.rule.limit
        if limit is not None and limit.at_once is not None:
            most = min(most, limit.at_once - self.in_flight)
        if limit is not None and limit.interval_us is not None:
            passed_us = now_us - self._free_us()
            most = min(most, passed_us // limit.interval_us + 1 if passed_us >= 0 else 0)
        return max(0, most)

    def _free_us(self) -> int:
        limit = self.rule.limit
        if limit is None or limit.interval_us is None:
            return 0
        return self.tat_us - (limit.burst - 1) * limit.interval_us


def ready(transaction: Transaction, *, now_ms: int) -> list[str]:
    """The names of those at which jobs wait that may have room by now."""
    query = "SELECT name FROM gate WHERE next_ms IS NOT NULL AND next_ms <= ? ORDER BY next_ms LIMIT ?"
    return [row["name"] for row in transaction.execute(query, now_ms, READY_COUNT)]


def next_due_ms(transaction: Transaction) -> int | None:
    """When one may have room next."""
    found = transaction.execute("SELECT next_ms FROM gate WHERE next_ms IS NOT NULL ORDER BY next_ms LIMIT 1")
    return int(found[0]["next_ms"]) if found else None


def read(transaction: Transaction, rules: Iterable[Rule]) -> dict[str, Gate]:
    """Those of these rules, as they are now, without a lock."""
    ordered = list(rules)
    found = rows.execute(transaction, _READ, [(each.name,) for each in ordered])
    tat_us = {row["name"]: int(row["tat_us"]) for row in found}
    return {each.name: Gate(each, tat_us.get(each.name, 0), _in_flight(transaction, each)) for each in ordered}


def lock(database: Database, transaction: Transaction, rules: Sequence[Rule]) -> dict[str, Gate]:
    """Those of these rules, for this transaction alone until its end."""
    ordered = sorted({each.name: each for each in rules}.items())  # always in one order, or two wait for each other
    names = [(name,) for name, _ in ordered]
    rows.execute(transaction, "INSERT INTO gate (name) VALUES {rows} ON CONFLICT DO NOTHING", names)
    if database.skip_locked:
        rows.execute(transaction, f"{_READ} ORDER BY name FOR UPDATE", names)
    return read(transaction, [each for _, each in ordered])


def _in_flight(transaction: Transaction, rule: Rule) -> int:
    """How many of its jobs were let in and have not ended, as far as its limit asks."""
    if rule.limit is None or rule.limit.at_once is None:
        return 0
    kind, _, value = rule.name.partition(":")
    condition, values = {
        "all": ("1 = 1", ()),
        "type": ("substr(type, 1, 200) = ? AND type = ?", (value[:200], value)),
        "key": ("limit_key = ? AND limit_key IS NOT NULL", (value,)),
        "api": ("api = ?", (value,)),
    }[kind]
    query = f"SELECT 1 FROM job WHERE {condition} AND let_in = 1 AND ended_ms IS NULL LIMIT ?"  # noqa: S608  # ours
    found = transaction.execute(f"SELECT count(*) AS count FROM ({query}) AS found", *values, rule.limit.at_once)  # noqa: S608
    return int(found[0]["count"])


def settle(transaction: Transaction, gates: Collection[Gate], *, now_us: int) -> None:
    """Keep what has become of them."""
    transaction.execute_many(
        "UPDATE gate SET tat_us = ?, next_ms = ?, is_full = ? WHERE name = ?",
        [(each.tat_us, each.next_ms(now_us), int(each.has_held and each.is_full), each.rule.name) for each in gates],
    )


def release(transaction: Transaction, ended: Iterable[tuple[str, str, str | None]], *, now_ms: int) -> bool:
    """Jobs of these types, APIs and keys have ended: whether another may go in their place."""
    full = {row["name"] for row in transaction.execute("SELECT name FROM gate WHERE is_full = 1")}
    if not full:
        return False
    freed = sorted(full & {name for each in ended for name in names_of(*each)} | (full & {ALL}))
    transaction.execute_many(
        "UPDATE gate SET next_ms = ?, is_full = 0 WHERE name = ?", [(now_ms, each) for each in freed]
    )
    return bool(freed)
