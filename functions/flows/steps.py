"""The steps of flows: asked for once, ended once, by whoever is first."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from events.history import Answer, Asked, RecordedStep, Signal
from events.http import rfc3339, timestamp
from functions.storage.database import Row, Transaction


@dataclass(frozen=True, slots=True)
class StepRecord:
    """A step as it is kept."""

    number: int
    what: str
    type: str | None
    data: bytes
    lane: int | None
    on_dead_letter: str
    state: str
    dead_letter: str | None
    asked_at: datetime
    answer: Answer | None


def write(transaction: Transaction, flow_id: str, asked: Sequence[Asked], *, now: datetime) -> list[Asked]:
    """Keep steps that are asked for; those that go out at once, which are all but those that wait for a place."""
    at, going, rows = timestamp(now), [], []
    places: dict[int, int] = {}
    for each in asked:
        left = 1
        if each.lane is not None:
            left = places.setdefault(each.lane.name, each.lane.at_once)
            places[each.lane.name] -= 1
        if left > 0:
            going.append(each)
        lane = None if each.lane is None else each.lane.name
        state = "asked" if left > 0 else "queued"
        rows.append((flow_id, each.number, each.what, each.type, each.data, lane, each.on_dead_letter, state, at))
    columns = "flow_id, number, what, type, data, lane, on_dead_letter, state, asked_at"
    marks = ", ".join("?" * 9)
    transaction.execute_many(f"INSERT INTO flow_step ({columns}) VALUES ({marks})", rows)  # noqa: S608  # ours
    return going


def end(transaction: Transaction, flow_id: str, number: int, answer: Answer) -> list[StepRecord] | None:
    """End a step, and give its place to the next of its lane, which is returned; None where it has ended before."""
    before = find(transaction, flow_id, number)
    if before is None or before.state == "ended":
        return None
    query = (
        "UPDATE flow_step SET state = 'ended', dead_letter = NULL, position = ?, kind = ?, ended_at = ?, answer = ?"
        " WHERE flow_id = ? AND number = ?"
    )
    values = (answer.position, answer.kind, timestamp(answer.at), answer.data, flow_id, number)
    transaction.execute(query, *values)
    if before.lane is None or before.state == "queued":
        return []
    return _admit(transaction, flow_id, before.lane)


def hold(transaction: Transaction, flow_id: str, number: int, dead_letter: str) -> bool:
    """A step is kept as a dead letter; whether it had not ended before."""
    query = (
        "UPDATE flow_step SET dead_letter = ? WHERE flow_id = ? AND number = ? AND state <> 'ended' RETURNING number"
    )
    return bool(transaction.execute(query, dead_letter, flow_id, number))


def held(transaction: Transaction, flow_id: str) -> list[StepRecord]:
    """The steps that are dead letters."""
    query = "SELECT * FROM flow_step WHERE flow_id = ? AND dead_letter IS NOT NULL ORDER BY number"
    return list(map(_record, transaction.execute(query, flow_id)))


def find(transaction: Transaction, flow_id: str, number: int) -> StepRecord | None:
    """One step."""
    query = "SELECT * FROM flow_step WHERE flow_id = ? AND number = ?"
    return next(map(_record, transaction.execute(query, flow_id, number)), None)


def all_of(transaction: Transaction, flow_id: str) -> list[StepRecord]:
    """A flow's steps, in their order."""
    query = "SELECT * FROM flow_step WHERE flow_id = ? ORDER BY number"
    return list(map(_record, transaction.execute(query, flow_id)))


def recorded(transaction: Transaction, flow_id: str) -> list[RecordedStep]:
    """The same as a replay reads them."""
    query = "SELECT what, position, kind, ended_at, answer FROM flow_step WHERE flow_id = ? ORDER BY number"
    return [RecordedStep(row["what"], _answer(row)) for row in transaction.execute(query, flow_id)]


def forget(transaction: Transaction, flow_id: str, kept_signals: Sequence[int]) -> None:
    """Begin a new history: no steps, and of the signals those that are kept."""
    transaction.execute("DELETE FROM flow_step WHERE flow_id = ?", flow_id)
    for each in signals(transaction, flow_id):
        if each.position not in kept_signals:
            query = "DELETE FROM flow_signal WHERE flow_id = ? AND position = ?"
            transaction.execute(query, flow_id, each.position)


def write_signal(transaction: Transaction, flow_id: str, signal: Signal, *, event_id: str) -> None:
    """Keep a signal."""
    query = "INSERT INTO flow_signal (flow_id, position, event_id, at, name, data) VALUES (?, ?, ?, ?, ?, ?)"
    transaction.execute(query, flow_id, signal.position, event_id, timestamp(signal.at), signal.name, signal.data)


def knows_signal(transaction: Transaction, flow_id: str, event_id: str) -> bool:
    """Whether the event of a signal came before."""
    query = "SELECT 1 AS known FROM flow_signal WHERE flow_id = ? AND event_id = ?"
    return bool(transaction.execute(query, flow_id, event_id))


def signals(transaction: Transaction, flow_id: str) -> list[Signal]:
    """A flow's signals, in the order in which they came."""
    query = "SELECT position, at, name, data FROM flow_signal WHERE flow_id = ? ORDER BY position"
    rows = transaction.execute(query, flow_id)
    return [Signal(row["position"], rfc3339(row["at"]), row["name"], bytes(row["data"])) for row in rows]


def _admit(transaction: Transaction, flow_id: str, lane: int) -> list[StepRecord]:
    query = (
        "UPDATE flow_step SET state = 'asked' WHERE flow_id = ? AND number = (SELECT min(number) FROM flow_step"
        " WHERE flow_id = ? AND lane = ? AND state = 'queued') RETURNING *"
    )
    return list(map(_record, transaction.execute(query, flow_id, flow_id, lane)))


def _record(row: Row) -> StepRecord:
    return StepRecord(
        number=row["number"],
        what=row["what"],
        type=row["type"],
        data=bytes(row["data"] or b""),
        lane=row["lane"],
        on_dead_letter=row["on_dead_letter"],
        state=row["state"],
        dead_letter=row["dead_letter"],
        asked_at=rfc3339(row["asked_at"]),
        answer=_answer(row),
    )


def _answer(row: Row) -> Answer | None:
    if row["kind"] is None:
        return None
    return Answer(row["position"], rfc3339(row["ended_at"]), row["kind"], bytes(row["answer"] or b""))
