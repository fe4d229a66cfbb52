"""What every operation of an operator shares: who asks, of which console, in which transaction, and what is noted."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

import msgspec

from events.http import Event
from functions.deadletters.service import contract, results, showing
from functions.deadletters.service.codes import explain
from functions.deadletters.service.commands import Filter, Selection
from functions.deadletters.service.operators import READING, Operator
from functions.deadletters.service.results import DeadLetter, Run, ShownEvent
from functions.deadletters.service.visibility import Visibility
from functions.deadletters.store import dead_letters, history, replays, selection
from functions.deadletters.store.dead_letters import Stored
from functions.runtime.adapter import system_clock
from functions.runtime.failure_reports import FailureReport
from functions.runtime.masking import Rules
from functions.storage.database import Database, Transaction

BATCH: Final = 500
SELECTED: Final = 100_000  # as many dead letters as a selection may name


class NotFound(LookupError):
    """There is no such dead letter, group or replay; the message names it."""


@dataclass(frozen=True, kw_only=True)
class ConsoleResources:
    """The dead letters, and what holds for everybody who deals with them. `launch` has a replay sent by somebody."""

    database: Database
    rules: Rules
    sink_url: str
    launch: Callable[[int], None] = lambda replay: None
    clock: Callable[[], datetime] = system_clock
    read_only: bool = False


@dataclass(frozen=True)
class Operation:
    """Base of what an operator does at the console."""

    console: ConsoleResources
    operator: Operator

    @property
    def visibility(self) -> Visibility:
        """What the operator may see."""
        return Visibility(self.console.rules, self.operator.rights)

    def _reading(self) -> AbstractContextManager[Transaction]:
        return self.console.database.transaction(writes=False)

    def _writing(self) -> AbstractContextManager[Transaction]:
        return self.console.database.transaction()

    def _note(self, transaction: Transaction, verb: str, **about: Any) -> None:
        history.record(transaction, verb, self.operator.name, now=self.console.clock(), **about)

    def _may_find(self, matching: Filter) -> None:
        """Who may not see data may not guess at it either."""
        self.operator.require("see")
        if matching.text is not None or matching.subject is not None:
            self.operator.require("data")
        named = {"id", "jobid"} if matching.id is not None else set[str]()
        named |= {name for name in ("subject", "source") if getattr(matching, name) is not None}
        if named & self.console.rules.attributes:
            self.operator.require("unmask")

    def _accepted(self, matching: Filter) -> Callable[[Event], bool] | None:
        """What a text must be found in beside SQL's own search: only what the operator is shown."""
        text = matching.text
        if text is None or self.visibility.of_everything:
            return None
        return lambda event: self.visibility.finds(event, text)

    def _numbers(self, transaction: Transaction, matching: Filter, *, after: int, limit: int) -> list[int]:
        """The oldest dead letters that match and that the operator may find, from above the number `after`."""
        where, now = (self.console.database, transaction, matching), self.console.clock()
        return selection.numbers(*where, after=after, limit=limit, now=now, accept=self._accepted(matching))

    def _dead_letter(self, transaction: Transaction, id_: int) -> DeadLetter:
        dead_letter = dead_letters.find(transaction, id_)
        if dead_letter is None:
            raise NotFound(f"there is no dead letter {id_}")
        return dead_letter

    def _stored(self, transaction: Transaction, id_: int) -> Stored:
        stored = dead_letters.stored(transaction, id_)
        if stored is None:
            raise NotFound(f"there is no dead letter {id_}")
        return stored

    def _detail(self, transaction: Transaction, id_: int, *, unmasked: bool = False) -> results.Detail:
        """All of one dead letter; where it was unmasked, with nothing hidden."""
        dead_letter, stored = self._dead_letter(transaction, id_), self._stored(transaction, id_)
        seen = self._unhidden if unmasked else self.visibility
        body = self._shown(stored.event, stored.original, unmasked=unmasked)
        report = msgspec.json.decode(stored.failure_report, type=FailureReport) if stored.failure_report else None
        return results.Detail(
            dead_letter=seen.dead_letter(dead_letter),
            explanation=explain(dead_letter.code, dead_letter.kind),
            body=body,
            failure_report=seen.failure_report(report, stored.event, stored.original) if report else None,
            diff=self._difference(stored, body, unmasked=unmasked) if dead_letter.edited else "",
            curl=None if body.masked else contract.curl(stored.event, self.console.sink_url, id_),
            history=tuple(map(seen.action, history.of_dead_letter(transaction, id_))),
            related=tuple(map(seen.dead_letter, dead_letters.related(transaction, id_))),
        )

    @property
    def _unhidden(self) -> Visibility:
        return Visibility(self.console.rules, frozenset(READING))

    def _shown(self, event: Event, other: Event, *, unmasked: bool) -> ShownEvent:
        return showing.whole(event) if unmasked else self.visibility.event(event, other)

    def _difference(self, stored: Stored, body: ShownEvent, *, unmasked: bool) -> str:
        """From the event as it came to the event as a replay sends it."""
        return contract.diff(self._shown(stored.original, stored.event, unmasked=unmasked), body)

    def _run(self, transaction: Transaction, id_: int) -> Run:
        run = replays.find(transaction, id_)
        if run is None:
            raise NotFound(f"there is no replay {id_}")
        return self.visibility.run(run)

    def _batches(self, chosen: Selection) -> Iterator[Sequence[int]]:
        """The dead letters that are chosen, in parts of a bounded size, so that the sink need not wait for long."""
        if chosen.matching is None:
            numbers = sorted(set(chosen.dead_letters))
            yield from (numbers[start : start + BATCH] for start in range(0, len(numbers), BATCH))
            return
        self._may_find(chosen.matching)
        after = 0
        while True:
            with self._reading() as transaction:
                batch = self._numbers(transaction, chosen.matching, after=after, limit=BATCH)
            if not batch:
                return
            yield batch
            after = batch[-1]
