"""What is due to be sent, claimed in its turn: by priority, and the older first, within a transaction of the caller's.

A step of priority is worth a wait of `AGE_MS`, so that what is low is not kept back for ever by what is higher. A job
that a rule holds back is no longer due: it is looked at again when the rule's gate has room.
"""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Final

import msgspec

from functions.gateway.ledger import gates
from functions.gateway.ledger.gates import Gate
from functions.gateway.ledger.jobs import Outgoing
from functions.gateway.ledger.rules import NO_RULES, Rule, Rules
from functions.storage.database import Database, Transaction
from functions.storage.kept_event import unpacked

AGE_MS: Final = 300_000
_CANDIDATE: Final = (
    "SELECT id, type, api, limit_key, priority, let_in, held_by, COALESCE(not_before_ms, accepted_ms) AS since_ms"
    " FROM job"
)
# as the indices have it: what is normal is most of all, and no index is kept for it alone
_OF_PRIORITY: Final = ("priority = 1 AND priority <> 0", "priority = 0", "priority = -1 AND priority <> 0")


class Candidate(msgspec.Struct, frozen=True, kw_only=True):
    """A job that is due; since when it is wanted."""

    id: int
    priority: int
    since_ms: int
    type: str = ""
    api: str = ""
    limit_key: str | None = None
    let_in: int = 0
    held_by: str | None = None

    @property
    def turn(self) -> tuple[int, int]:
        """What comes first has the least."""
        return self.since_ms - self.priority * AGE_MS, self.id


def claim(
    database: Database, transaction: Transaction, rules: Rules = NO_RULES, *, now_ms: int, until_ms: int, limit: int
) -> list[Outgoing]:
    """The jobs whose turn it is, and that no rule holds back; nobody else is given them before `until_ms`."""
    ready = _ready(transaction, rules, now_ms)
    found = _due(database, transaction, now_ms, limit)
    for name, gate in ready.items():
        found += _held(database, transaction, name, limit=gate.room(now_ms * 1000, limit))
    passing = _Passing(database, transaction, rules, now_ms * 1000, list(ready.values()), found)
    chosen: list[int] = []
    for each in sorted(found, key=lambda each: each.turn):
        if len(chosen) < limit and passing.lets(each):
            chosen.append(each.id)
    _let_in(transaction, chosen, until_ms)
    passing.settle()
    return _outgoing(transaction, chosen)


def _ready(transaction: Transaction, rules: Rules, now_ms: int) -> dict[str, Gate]:
    """The gates at which jobs wait that may have room by now, also those whose rule is gone."""
    names = gates.ready(transaction, now_ms=now_ms)
    return gates.read(transaction, [Rule(each, rules.limit(each), rules.pauses.get(each)) for each in names])


def _due(database: Database, transaction: Transaction, now_ms: int, limit: int) -> list[Candidate]:
    condition = "state = 'waiting' AND due_ms <= ?"
    return _first(database, transaction, condition, now_ms, order="due_ms, id", limit=limit)


def _held(database: Database, transaction: Transaction, name: str, *, limit: int) -> list[Candidate]:
    condition = "held_by = ? AND held_by IS NOT NULL AND ended_ms IS NULL"
    return _first(database, transaction, condition, name, order="id", limit=limit) if limit else []


def _first(
    database: Database, transaction: Transaction, condition: str, value: object, *, order: str, limit: int
) -> list[Candidate]:
    """As many of each priority, that nobody else has claimed."""
    found: list[Candidate] = []
    for of_priority in _OF_PRIORITY:
        query = f"{_CANDIDATE} WHERE {condition} AND {of_priority} ORDER BY {order} LIMIT ?"
        rows = transaction.execute(f"{query}{database.skip_locked}", value, limit)
        found += msgspec.convert(rows, list[Candidate])
    return found


@dataclass(slots=True)
class _Passing:
    """Candidates on their way through the gates of the rules, which are locked meanwhile."""

    database: Database
    transaction: Transaction
    rules: Rules
    now_us: int
    ready: Sequence[Gate]
    candidates: Sequence[Candidate]
    _gates: dict[str, Gate] = field(init=False)
    _held: dict[str, list[int]] = field(init=False)

    def __post_init__(self) -> None:
        concerned = [rule for each in self.candidates for rule in self._of(each)]
        rules = [*concerned, *(each.rule for each in self.ready)]
        self._gates = gates.lock(self.database, self.transaction, rules) if rules else {}
        self._held = defaultdict(list)

    def lets(self, job: Candidate) -> bool:
        """Whether the job goes through; what was let in before waits for nothing but a pause."""
        passed = [self._gates[each.name] for each in self._of(job)]
        refusing = next((each for each in passed if self._refuses(each, job)), None)
        if refusing is None:
            for each in passed if not job.let_in else ():
                each.take(self.now_us)
            return True
        refusing.has_held = True
        if job.held_by != refusing.rule.name:
            self._held[refusing.rule.name].append(job.id)
        return False

    def settle(self) -> None:
        """Keep who waits where, and of the gates when to look again."""
        for name, ids in self._held.items():
            self.transaction.execute(
                f"UPDATE job SET held_by = ?, due_ms = NULL, let_in = 0 WHERE id IN ({_listed(ids)})",  # noqa: S608  # numbers
                name,
            )
        for each in self.ready:
            gate = self._gates[each.rule.name]
            gate.has_held = gate.has_held or _has_held(self.transaction, each.rule.name)
        gates.settle(self.transaction, self._gates.values(), now_us=self.now_us)

    def _of(self, job: Candidate) -> list[Rule]:
        return self.rules.of(job.type, job.api, job.limit_key)

    def _refuses(self, gate: Gate, job: Candidate) -> bool:
        return gate.rule.pause is not None if job.let_in else gate.refuses(self.now_us)


def _has_held(transaction: Transaction, name: str) -> bool:
    query = "SELECT 1 FROM job WHERE held_by = ? AND held_by IS NOT NULL AND ended_ms IS NULL LIMIT 1"
    return bool(transaction.execute(query, name))


def _let_in(transaction: Transaction, ids: Sequence[int], until_ms: int) -> None:
    """What is debounced is one with no other from now on."""
    if ids:
        transaction.execute(
            "UPDATE job SET due_ms = ?, let_in = 1, held_by = NULL,"  # noqa: S608  # numbers
            " unique_key = CASE WHEN latest_ms IS NULL THEN unique_key END"
            f" WHERE id IN ({_listed(ids)})",
            until_ms,
        )


def _outgoing(transaction: Transaction, ids: Sequence[int]) -> list[Outgoing]:
    """With their requests, in this order; one of which nothing is kept cannot be sent."""
    if not ids:
        return []
    rows = transaction.execute(
        "SELECT id, key, attributes, data FROM job JOIN job_request ON job_id = id"  # noqa: S608  # numbers
        f" WHERE id IN ({_listed(ids)})"
    )
    found = {int(each["id"]): each for each in rows}
    return [
        Outgoing(each, row["key"], unpacked(bytes(row["attributes"]), bytes(row["data"])))
        for each, row in ((each, found[each]) for each in ids if each in found)
    ]


def _listed(ids: Iterable[int]) -> str:
    return ", ".join(map(str, ids))
