"""Dead letters, groups and replays against a model of a few dictionaries, whatever is done in whichever order."""

import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule, run_state_machine_as_test

from events.http import Event
from functions.deadletters.replay import engine
from functions.deadletters.replay.engine import Engine
from functions.deadletters.replay.sending import BrokerIngress, NotTaken
from functions.deadletters.service import commands
from functions.deadletters.service.commands import Filter, Selection
from functions.deadletters.service.operations import OperatorSession
from functions.deadletters.service.results import Run
from functions.deadletters.store import dead_letters
from functions.deadletters.store.dead_letter import original
from functions.runtime.adapter import reply_event
from tests.functions.deadletters.test_dead_letters import at_console, dead
from tests.support.database_servers import new_database, postgresql_server
from tests.support.dead_letter_store import NOW, DeadLetterStore

__all__ = ["postgresql_server"]  # fixtures

COMPLETED = "dev.errands.ics.completed.v1"
JOBS = st.sampled_from(["a", "b", "c"])
# Which function did not take the event, and what was said of that: texts of one cause stand together.
CAUSES: dict[str, dict[str, tuple[str, ...]]] = {
    "ics": {"full": ("the disk is full: 12 bytes left", "the disk is full: 7 bytes left"), "bug": ("KeyError: 'a'",)},
    "audit": {"down": ("the archive does not answer",)},
    "notifier": {
        "receiver": (
            "callback http://api.example:8081/hooks/17 could not be connected to within 5 s",
            "callback http://api.example:8081/hooks/abc did not answer within 15 s",
            "callback http://api.example:9002/hooks answered 503: <h1>busy</h1>",
            "http://api.example:8081 is not called now: 5 calls in a row failed, the last: answered 502",
            "http://api.example:8081 is on trial: 5 calls in a row failed, the last: did not answer within 15 s",
            "http://api.example:8081 has 20 calls in flight, the most that it gets",
        ),
        "other receiver": ("callback http://other.example/hooks cannot be reached: no such name",),
        "secret": ("callback http://api.example:8081/hooks answered 401: the signature is wrong",),
    },
}
FAILED_AT = st.sampled_from(
    [(at, cause, text) for at, causes in CAUSES.items() for cause, texts in causes.items() for text in texts]
)
WAITING = ("open", "quarantined")


@dataclass
class Letter:
    """What the model knows of a dead letter."""

    job: str
    at: str
    cause: str
    state: str = "open"
    replays: int = 0
    setbacks: int = 0

    @property
    def is_request(self) -> bool:
        return self.at != "notifier"

    @property
    def is_sent(self) -> bool:
        """Whether it was sent again, and may come back from that."""
        return self.state == "replayed" or (self.state == "completed" and not self.is_request and self.replays > 0)


@dataclass
class Item:
    """One dead letter of a replay, as it was chosen."""

    state: str
    replays: int
    now: str = "waiting"
    counted: bool = False  # its failure was one of a run before


@dataclass
class Replay:
    """What the model knows of a replay."""

    stop_after: int
    items: dict[int, Item]
    state: str = "running"


@dataclass(frozen=True)
class Recorder(BrokerIngress):
    """A broker that refuses the events of some jobs, and may end the engine as the first event comes."""

    refused: frozenset[str] = frozenset()
    tried: list[str] = field(default_factory=list)
    stop: threading.Event | None = None

    def send(self, event: Event) -> None:
        self.tried.append(event.id)
        if self.stop is not None:
            self.stop.set()
        if event.id.removesuffix("-done") in self.refused:
            raise NotTaken("as asked")


class Machine(RuleBasedStateMachine):
    """Everything that befalls dead letters, in the database and in the model."""

    new_url: Callable[[], str]

    def __init__(self) -> None:
        super().__init__()
        self.store = DeadLetterStore(type(self).new_url())
        self.now = NOW
        self.letters: dict[int, Letter] = {}
        self.replays: dict[int, Replay] = {}

    # --- what comes

    @rule(job=JOBS, failed=FAILED_AT)
    def comes(self, job: str, failed: tuple[str, str, str]) -> None:
        at, cause, text = failed
        number = self.store.keep(failing(job, at, text), now=self._later())
        letter = self.letters.setdefault(number, Letter(job, at, cause))
        assert (letter.job, letter.at) == (job, at)
        letter.setbacks += letter.is_sent
        full = letter.state == "quarantined" or (letter.is_sent and letter.setbacks >= dead_letters.SETBACK_LIMIT)
        letter.state, letter.cause = "quarantined" if full else "open", cause

    @rule(job=JOBS, how=st.sampled_from(["completed", "failed"]), late=st.booleans())
    def a_job_ends(self, job: str, how: str, late: bool) -> None:
        """`late`: the outcome is of before all dead letters, and could not be told until now."""
        now = self._later()
        at = NOW - timedelta(days=1) if late else now
        outcome = reply_event(original(failing(job, "ics", "")), f"dev.errands.ics.{how}.v1", Filter(), now=at)
        with self.store.database.transaction() as transaction:
            dead_letters.settle(transaction, outcome, now=now)
        for letter in self.letters.values():
            waits = letter.state == "replayed" or (letter.state in WAITING and not late)
            if letter.job == job and letter.is_request and waits:
                letter.state = how

    # --- what operators do

    @precondition(lambda self: self.letters)
    @rule(data=st.data())
    def discard_or_take_back(self, data: st.DataObject) -> None:
        number = data.draw(st.sampled_from(sorted(self.letters)))
        letter, selection = self.letters[number], Selection(dead_letters=(number,))
        if letter.state == "discarded":
            self.operator.undo(commands.Undo(selection=selection))
            letter.state = "quarantined" if letter.setbacks >= dead_letters.SETBACK_LIMIT else "open"
        else:
            self.operator.discard(commands.Discard(selection=selection, reason="a test"))
            letter.state = "discarded" if letter.state in WAITING else letter.state

    @precondition(lambda self: self.letters)
    @rule(data=st.data(), stop_after=st.integers(1, 3))
    def order(self, data: st.DataObject, stop_after: int) -> None:
        """By numbers, or all that are open; it is sent by another rule."""
        numbers = data.draw(st.lists(st.sampled_from(sorted(self.letters)), max_size=4, unique=True))
        chosen = Selection(dead_letters=tuple(numbers)) if numbers else Selection(matching=Filter())
        run = self.operator.replay(commands.Replay(selection=chosen, stop_after=stop_after))
        numbers = numbers or [number for number, letter in self.letters.items() if letter.state == "open"]
        items = {each: Item(self.letters[each].state, self.letters[each].replays) for each in sorted(numbers)}
        self.replays[run.id] = Replay(stop_after, items)

    @precondition(lambda self: self.replays)
    @rule(data=st.data(), refused=st.frozensets(JOBS), interrupted=st.booleans())
    def send(self, data: st.DataObject, refused: frozenset[str], interrupted: bool) -> None:
        number = data.draw(st.sampled_from(sorted(self.replays)))
        stop = threading.Event()
        broker = Recorder("", refused=refused, tried=[], stop=stop if interrupted else None)
        with self.store.database.transaction() as transaction:  # one in each round, or all in the second one
            rate = "UPDATE dead_replay SET rate_per_s = ? WHERE id = ?"
            transaction.execute(rate, 0.5 if interrupted else 1e6, number)
        Engine(self.store.database, broker, stop=stop, clock=self._later).run(number)
        assert sorted(broker.tried) == sorted(self._sent(self.replays[number], refused, interrupted=interrupted))

    @precondition(lambda self: self.replays)
    @rule(data=st.data())
    def cancel(self, data: st.DataObject) -> None:
        number = data.draw(st.sampled_from(sorted(self.replays)))
        self.operator.cancel(commands.Cancel(replay=number))
        replay = self.replays[number]
        replay.state = "cancelled" if replay.state == "running" else replay.state

    @precondition(lambda self: self.replays)
    @rule(data=st.data())
    def resume(self, data: st.DataObject) -> None:
        number = data.draw(st.sampled_from(sorted(self.replays)))
        self.operator.resume(commands.Resume(replay=number))
        replay = self.replays[number]
        if replay.state == "running":
            return
        for each, item in replay.items.items():
            item.now = "waiting" if item.now == "refused" else item.now
            item.counted |= item.now == "sent" and self.letters[each].state in WAITING
        if any(item.now == "waiting" for item in replay.items.values()):
            replay.state = "running"

    # --- what holds

    @invariant()
    def dead_letters_are_as_the_model_says(self) -> None:
        found = {each.id: (each.state, each.replays, each.setbacks) for each in self.store.list()}
        assert found == {number: (each.state, each.replays, each.setbacks) for number, each in self.letters.items()}

    @invariant()
    def one_cause_at_one_place_is_one_group(self) -> None:
        groups = {each.id: each.group for each in self.store.list()}
        causes = {number: (each.is_request, each.at, each.cause) for number, each in self.letters.items()}
        pairs = {(groups[number], causes[number]) for number in self.letters}
        assert len(pairs) == len({group for group, _ in pairs}) == len({cause for _, cause in pairs})

    @invariant()
    def replays_are_as_the_model_says(self) -> None:
        for number, replay in self.replays.items():
            run = self.operator.progress(commands.Progress(replay=number))
            assert counts(run) == (replay.state, *(self._count(replay, each) for each in STATES)), number
            assert run.returned == len(self._returned(replay))

    # --- the model

    def _sent(self, replay: Replay, refused: frozenset[str], *, interrupted: bool) -> list[str]:
        """The events of a replay that go out, and what becomes of each dead letter."""
        tried: list[str] = []
        if replay.state != "running":
            return tried
        for number, item in replay.items.items():
            if item.now != "waiting":
                continue
            if self._failures(replay) >= replay.stop_after or (interrupted and tried):
                break
            letter = self.letters[number]
            same = (letter.state, letter.replays) == (item.state, item.replays)
            if letter.state == "discarded" or not (letter.state in WAITING or same):
                item.now = "passed"
                continue
            tried.append(event_id(letter))
            item.now = "refused" if letter.job in refused else "sent"
            if item.now == "sent":
                letter.replays += 1
                letter.state = "replayed" if letter.is_request else "completed"
        if self._failures(replay) >= replay.stop_after:
            replay.state = "stopped"
        elif not (interrupted and tried):
            replay.state = "done"
        return tried

    def _failures(self, replay: Replay) -> int:
        back = sum(not replay.items[each].counted for each in self._returned(replay))
        return back + self._count(replay, "refused")

    def _returned(self, replay: Replay) -> list[int]:
        return [
            number
            for number, item in replay.items.items()
            if item.now == "sent" and self.letters[number].state in WAITING
        ]

    def _count(self, replay: Replay, state: str) -> int:
        return sum(item.now == state for item in replay.items.values())

    @property
    def operator(self) -> OperatorSession:
        return at_console(self.store, now=self.now)

    def _later(self) -> datetime:
        self.now += timedelta(seconds=1)
        return self.now


STATES = ("waiting", "sent", "refused", "passed")


def counts(run: Run) -> tuple[Any, ...]:
    return (run.state, *(getattr(run, each) for each in STATES))


def failing(job: str, at: str, text: str) -> Event:
    """A job's request as one of two functions did not take it, or its outcome as the notifier did not."""
    error = {"knativeerrordest": f"http://{at}", "knativeerrortrigger": at, "knativeerrordata": text}
    request = dead(id=job, source="/model", **error)
    if at != "notifier":
        return request
    return reply_event(original(request), COMPLETED, Filter(), now=NOW).with_attributes(id=f"{job}-done", **error)


def event_id(letter: Letter) -> str:
    return letter.job if letter.is_request else f"{letter.job}-done"


@pytest.fixture
def patience(monkeypatch: pytest.MonkeyPatch) -> None:
    """No round waits: what is sent, and not how fast, is looked at."""
    monkeypatch.setattr(engine, "ROUND_S", 0.0)


def explore(new_url: Callable[[], str], examples: int) -> None:
    kind = type("Explored", (Machine,), {"new_url": staticmethod(new_url)})
    quick = settings(
        phases=(Phase.explicit, Phase.generate),
        max_examples=examples,
        stateful_step_count=30,
        deadline=None,
        suppress_health_check=list(HealthCheck),
    )
    run_state_machine_as_test(kind, settings=quick)


@pytest.mark.slow
@pytest.mark.usefixtures("patience")
def test_dead_letters_groups_and_replays_are_as_the_model_says(tmp_path: Path) -> None:
    numbers = iter(range(1_000_000))
    explore(lambda: f"sqlite:///{tmp_path}/{next(numbers)}.db", 40)


@pytest.mark.slow
@pytest.mark.usefixtures("patience")
def test_dead_letters_on_postgresql_are_as_the_model_says(postgresql_server: str) -> None:
    explore(lambda: new_database(postgresql_server), 8)
