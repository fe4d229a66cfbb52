"""Replays in the database: which dead letters, how far, and who is at it. What sends them is in `engine.py`.

An item is `sending` from before its event goes out until after the answer is noted. One that an interruption left so
may have been sent: it is never sent again by itself, and its dead letter is open, so that a person decides.

An item goes out while its dead letter waits, or is as it was chosen (`chosen_as`): what another replay has sent
meanwhile, or what has ended, is passed over.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final

from msgspec import structs

from events.http import timestamp
from functions.deadletters.service.commands import Filter, Replay
from functions.deadletters.service.results import UNRESOLVED, Run
from functions.deadletters.store import history, selection
from functions.deadletters.store.dead_letters import FROM, reopen, restore
from functions.storage.database import Database, Row, Transaction

LEASE_S: Final = 10.0  # a worker that says nothing for so long is gone
SENDABLE: Final = (
    "open",
    "quarantined",
    "replayed",
    "completed",
    "failed",
)  # what is discarded has to be taken back first
AS_IT_IS: Final = "{0}.state || ':' || {0}.replays"  # changes whenever a dead letter is sent, or ends
SHOWN_REFUSALS: Final = 20
REHEARSED: Final = 1_000
MARK: Final = "UPDATE dead_replay_item SET state = ?, detail = ?, sent_at = ? WHERE replay_id = ? AND letter_id = ?"
PASSED: Final = "it was discarded, or has gone"
MEANWHILE: Final = "it was sent, or has ended, meanwhile"
COUNTED: Final = "came back"  # of an item that was sent: its failure is one of a run before
UNKNOWN: Final = "interrupted: it is not known whether the broker took it"


@dataclass(frozen=True, kw_only=True)
class ReplayPlan:
    """What a worker has to know of a replay."""

    id: int
    actor: str
    as_new: bool
    trigger_only: bool
    rate_per_s: float
    stop_after: int


@dataclass(frozen=True, kw_only=True)
class SendResult:
    """What came of one item; `refusal` says why the broker did not take it; not `tried`: it waits as before."""

    dead_letter: int
    refusal: str = ""
    tried: bool = True


def create(transaction: Transaction, database: Database, command: Replay, actor: str, *, now: datetime) -> int:
    """Note a replay and its dead letters; returns its number. Those who are to send it call `claim`."""
    rows = transaction.execute(
        "INSERT INTO dead_replay (actor, at, as_new, trigger_only, rate_per_s, stop_after, total)"
        " VALUES (?, ?, ?, ?, ?, ?, 0) RETURNING id",
        actor,
        timestamp(now),
        int(command.as_new),
        int(command.trigger_only),
        command.rate_per_s,
        command.stop_after,
    )
    replay = int(rows[0]["id"])
    if command.selection.matching is None:
        items = [(replay, dead_letter, dead_letter) for dead_letter in dict.fromkeys(command.selection.dead_letters)]
        as_it_is = f"(SELECT {AS_IT_IS.format('l')} FROM dead_letter l WHERE l.id = ?)"  # noqa: S608  # constants
        query = f"INSERT INTO dead_replay_item (replay_id, letter_id, chosen_as) VALUES (?, ?, {as_it_is})"  # noqa: S608
        transaction.execute_many(query, items)
    else:
        where, values = selection.condition(database, meant(command.selection.matching), now)
        query = f"SELECT ?, l.id, {AS_IT_IS.format('l')} {FROM} WHERE {where}"  # values apart
        transaction.execute(f"INSERT INTO dead_replay_item (replay_id, letter_id, chosen_as) {query}", replay, *values)
    total = "UPDATE dead_replay SET total = (SELECT count(*) FROM dead_replay_item WHERE replay_id = id) WHERE id = ?"
    transaction.execute(total, replay)
    return replay


def meant(matching: Filter) -> Filter:
    """Of all that match only the open dead letters, unless another state is asked for: quarantined ones are passed
    over.
    """
    return structs.replace(matching, state="open") if matching.state in ("unresolved", "all") else matching


def rehearse(transaction: Transaction, database: Database, command: Replay, actor: str, *, now: datetime) -> Run:
    """What a replay would send, without sending or noting anything."""
    if command.selection.matching is None:
        query = f"SELECT 1 AS one FROM dead_letter WHERE id = ? AND state IN ({_marks(SENDABLE)})"  # noqa: S608  # marks
        asked = tuple(dict.fromkeys(command.selection.dead_letters))
        found = [each for each in asked if transaction.execute(query, each, *SENDABLE)]
        total, passed = len(found), len(asked) - len(found)
    else:
        matching = meant(command.selection.matching)
        total = selection.count(database, transaction, matching, now=now)
        passed = selection.count(database, transaction, command.selection.matching, now=now) - total
        found = selection.numbers(database, transaction, matching, after=0, limit=REHEARSED, now=now)
    return Run(
        id=0,
        state="done",
        actor=actor,
        at=timestamp(now),
        reason="dry run",
        as_new=command.as_new,
        trigger_only=command.trigger_only,
        rate_per_s=command.rate_per_s,
        total=total,
        waiting=total,
        passed=passed,
        would_send=tuple(found[:REHEARSED]),
    )


def claim(transaction: Transaction, replay: int, worker: str, *, now: datetime) -> ReplayPlan | None:
    """Take or keep the replay for a worker; None when it has ended or another worker is at it."""
    rows = transaction.execute(
        "UPDATE dead_replay SET worker = ?, alive_until = ? WHERE id = ? AND state = 'running'"
        " AND (worker = ? OR alive_until < ? OR alive_until > ?) RETURNING *",
        worker,
        timestamp(now + timedelta(seconds=LEASE_S)),
        replay,
        worker,
        *_abandoned(now),
    )
    return _plan(rows[0]) if rows else None


def take(transaction: Transaction, plan: ReplayPlan, limit: int) -> list[int]:
    """The next dead letters to send, marked as being sent; those that are not to be sent are passed over."""
    query = (
        f"SELECT i.letter_id, i.chosen_as, l.state, {AS_IT_IS.format('l')} AS as_it_is FROM dead_replay_item i"  # noqa: S608  # constants
        " LEFT JOIN dead_letter l ON l.id = i.letter_id WHERE i.replay_id = ? AND i.state = 'waiting'"
        " ORDER BY i.letter_id LIMIT ?"
    )
    asked = transaction.execute(query, plan.id, limit)
    reasons = {each["letter_id"]: _why_not(each) for each in asked}
    passed = [("passed", reason, None, plan.id, number) for number, reason in reasons.items() if reason]
    transaction.execute_many(MARK, passed)
    wanted = {each["letter_id"]: each for each in asked if not reasons[each["letter_id"]]}
    taken = _mark_replayed(transaction, wanted) if wanted else []
    transaction.execute_many(MARK, [("sending", wanted[each]["state"], None, plan.id, each) for each in taken])
    return taken


def _why_not(item: Row) -> str:
    """Why a dead letter is not sent; empty where it is."""
    if item["state"] not in SENDABLE:
        return PASSED
    same = item["chosen_as"] in (None, item["as_it_is"])
    return "" if same or item["state"] in UNRESOLVED else MEANWHILE


def _mark_replayed(transaction: Transaction, wanted: Mapping[int, Row]) -> list[int]:
    """Those of the dead letters that are still as they were read: no other replay has taken them in between."""
    as_read = [f"{number}:{row['as_it_is']}" for number, row in wanted.items()]
    marked = transaction.execute(
        "UPDATE dead_letter SET state = 'replayed', closed_at = NULL, replays = replays + 1"  # noqa: S608  # marks
        f" WHERE id IN ({_marks(as_read)}) AND id || ':' || {AS_IT_IS.format('dead_letter')} IN ({_marks(as_read)})"
        " RETURNING id",
        *wanted,
        *as_read,
    )
    return sorted(row["id"] for row in marked)


def waiting(transaction: Transaction, replay: int) -> bool:
    """Whether there are dead letters to send."""
    query = "SELECT 1 AS one FROM dead_replay_item WHERE replay_id = ? AND state = 'waiting' LIMIT 1"
    return bool(transaction.execute(query, replay))


def note(transaction: Transaction, plan: ReplayPlan, results: Sequence[SendResult], *, now: datetime) -> None:
    """Note what came of dead letters that were taken. One whose end no event tells is completed as soon as it is sent:
    where it fails again, it comes back.
    """
    sent = [each.dead_letter for each in results if each.tried and not each.refusal]
    transaction.execute_many(MARK, [("sent", "", timestamp(now), plan.id, each) for each in sent])
    closed = (
        "UPDATE dead_letter SET closed_at = ?, state = CASE WHEN replay_key IS NULL THEN 'completed' ELSE state END"
        " WHERE id = ? AND state = 'replayed'"
    )
    transaction.execute_many(closed, [(timestamp(now), each) for each in sent])
    how = {name: True for name in ("as_new", "trigger_only") if getattr(plan, name)}
    history.record_each(transaction, "replayed", plan.actor, sent, now=now, replay=plan.id, detail=how)
    for each in results:
        if each.refusal or not each.tried:
            _give_back(transaction, plan, each, now)


def _give_back(transaction: Transaction, plan: ReplayPlan, result: SendResult, now: datetime) -> None:
    """The dead letter did not go out: it is as if it had not been taken."""
    query = "SELECT detail FROM dead_replay_item WHERE replay_id = ? AND letter_id = ?"
    before = transaction.execute(query, plan.id, result.dead_letter)[0]["detail"]
    state = "refused" if result.tried else "waiting"
    transaction.execute(MARK, state, result.refusal, None, plan.id, result.dead_letter)
    restore(transaction, result.dead_letter, before, now=now)
    if result.tried:
        told = {"reason": result.refusal}
        history.record_each(
            transaction, "not taken", plan.actor, [result.dead_letter], now=now, replay=plan.id, detail=told
        )


def end(transaction: Transaction, replay: int, state: str, reason: str) -> bool:
    """A replay that runs ends; returns whether it ran."""
    query = (
        "UPDATE dead_replay SET state = ?, reason = ?, alive_until = '' WHERE id = ? AND state = 'running' RETURNING id"
    )
    return bool(transaction.execute(query, state, reason, replay))


def release(transaction: Transaction, replay: int, worker: str) -> None:
    """The worker goes, and another may go on at once."""
    transaction.execute("UPDATE dead_replay SET alive_until = '' WHERE id = ? AND worker = ?", replay, worker)


def resume(transaction: Transaction, replay: int) -> bool:
    """A replay that has ended runs again: those that were refused wait once more, and its failures are counted anew.

    What is in doubt stays so. Returns whether there is one with dead letters to send.
    """
    ended = transaction.execute("SELECT id FROM dead_replay WHERE id = ? AND state <> 'running'", replay)
    if ended:
        again = "UPDATE dead_replay_item SET state = 'waiting', detail = '' WHERE replay_id = ? AND state = 'refused'"
        transaction.execute(f"{again} AND detail <> ?", replay, UNKNOWN)
        counted = "UPDATE dead_replay_item SET detail = ? WHERE replay_id = ? AND state = 'sent' AND letter_id IN"
        back = "(SELECT id FROM dead_letter WHERE state IN ('open', 'quarantined'))"
        transaction.execute(f"{counted} {back}", COUNTED, replay)
    query = (
        "UPDATE dead_replay SET state = 'running', reason = '' WHERE id = ? AND EXISTS (SELECT 1 FROM dead_replay_item"
        " WHERE replay_id = ? AND state IN ('waiting', 'sending')) RETURNING id"
    )
    return bool(transaction.execute(query, replay, replay))


def give_up_unknown(transaction: Transaction, plan: ReplayPlan, *, now: datetime) -> None:
    """What an interrupted worker left as being sent: its dead letters are open, for a person to decide."""
    query = "SELECT letter_id FROM dead_replay_item WHERE replay_id = ? AND state = 'sending'"
    doubtful = [row["letter_id"] for row in transaction.execute(query, plan.id)]
    for each in doubtful:
        transaction.execute(MARK, "refused", UNKNOWN, None, plan.id, each)
        reopen(transaction, each, among=("replayed",))
    told = {"reason": UNKNOWN}
    history.record_each(transaction, "interrupted", plan.actor, doubtful, now=now, replay=plan.id, detail=told)


def interrupted(transaction: Transaction, *, now: datetime) -> list[int]:
    """Replays that run and have nobody who is at it."""
    query = "SELECT id FROM dead_replay WHERE state = 'running' AND (alive_until < ? OR alive_until > ?) ORDER BY id"
    return [row["id"] for row in transaction.execute(query, *_abandoned(now))]


def _abandoned(now: datetime) -> tuple[str, str]:
    """Between which a lease holds: what lasts for longer than any does is of a clock that was set back."""
    return timestamp(now), timestamp(now + 2 * timedelta(seconds=LEASE_S))


def running(transaction: Transaction, actor: str) -> bool:
    """Whether a replay that this one ordered has not ended."""
    query = "SELECT 1 AS one FROM dead_replay WHERE state = 'running' AND actor = ? LIMIT 1"
    return bool(transaction.execute(query, actor))


def refused(transaction: Transaction, replay: int) -> int:
    """How many dead letters the broker refused, since the replay was ordered or resumed."""
    query = "SELECT count(*) AS n FROM dead_replay_item WHERE replay_id = ? AND state = 'refused' AND detail <> ?"
    return int(transaction.execute(query, replay, UNKNOWN)[0]["n"])


def returned(transaction: Transaction, replay: int, *, but: str) -> int:
    """How many of the dead letters that were sent are back already, but for items that say so."""
    query = (
        "SELECT count(*) AS n FROM dead_replay_item i JOIN dead_letter l ON l.id = i.letter_id"
        " WHERE i.replay_id = ? AND i.state = 'sent' AND i.detail <> ? AND l.state IN ('open', 'quarantined')"
    )
    return int(transaction.execute(query, replay, but)[0]["n"])


def find(transaction: Transaction, replay: int) -> Run | None:
    """How far a replay is, or None."""
    rows = transaction.execute("SELECT * FROM dead_replay WHERE id = ?", replay)
    return _run(transaction, rows[0]) if rows else None


def latest(transaction: Transaction, limit: int) -> tuple[Run, ...]:
    """The newest replays first."""
    rows = transaction.execute("SELECT * FROM dead_replay ORDER BY id DESC LIMIT ?", limit)
    return tuple(_run(transaction, row) for row in rows)


def _run(transaction: Transaction, row: Row) -> Run:
    counts = "SELECT state, count(*) AS n FROM dead_replay_item WHERE replay_id = ? GROUP BY state"
    by_state = {each["state"]: each["n"] for each in transaction.execute(counts, row["id"])}
    why = (
        "SELECT letter_id, detail FROM dead_replay_item WHERE replay_id = ? AND state IN ('refused', 'passed')"
        " ORDER BY letter_id LIMIT ?"
    )
    same = ("id", "state", "actor", "at", "reason", "rate_per_s", "total")
    return Run(
        as_new=bool(row["as_new"]),
        trigger_only=bool(row["trigger_only"]),
        **_ends(transaction, row["id"]),
        refusals={
            str(each["letter_id"]): each["detail"] for each in transaction.execute(why, row["id"], SHOWN_REFUSALS)
        },
        **{name: row[name] for name in same},
        **{state: by_state.get(state, 0) for state in ("waiting", "sending", "sent", "refused", "passed")},
    )


def _ends(transaction: Transaction, replay: int) -> dict[str, Any]:
    """How those that were sent ended, as far as it is known."""
    query = (
        "SELECT l.state, count(*) AS n FROM dead_replay_item i JOIN dead_letter l ON l.id = i.letter_id"
        " WHERE i.replay_id = ? AND i.state = 'sent' GROUP BY l.state"
    )
    found = {row["state"]: int(row["n"]) for row in transaction.execute(query, replay)}
    ended = {state: found.get(state, 0) for state in ("completed", "failed", "discarded")}
    back = sum(found.get(state, 0) for state in UNRESOLVED)
    return {**ended, "returned": back, "awaited": found.get("replayed", 0)}


def _plan(row: Row) -> ReplayPlan:
    same = {name: row[name] for name in ("id", "actor", "rate_per_s", "stop_after")}
    return ReplayPlan(as_new=bool(row["as_new"]), trigger_only=bool(row["trigger_only"]), **same)


def _marks(values: Sequence[object]) -> str:
    return ", ".join("?" for _ in values)
