"""Generated flows on a hostile broker, in virtual time, against an oracle that runs them as plain code.

Each flow ends once, with the oracle's result; where it fails, what was done is undone in reverse; a bound on how many
run at once is kept at every moment.
"""

import random
import tempfile
from collections import defaultdict
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final

import msgspec
import pytest

from events.flow import Flow, Step, StepFailed, flow
from events.http import Event
from events.job import job_of
from events.problem import JobFailed, Problem
from events.types import DeadLetter, Request, Result, SignalRequested, event_type
from functions.flows.definitions import Definitions
from functions.flows.engine import Engine
from functions.flows.flow_record import find, flow_id
from functions.flows.schema import open_flows
from functions.runtime.adapter import reply_event
from functions.storage.database import Database
from tests.support.database_servers import new_database, postgresql_server
from tests.support.hostile_broker import HostileBroker

__all__ = ["postgresql_server"]  # a fixture

SEEDS: Final = 1_000
SEEDS_AT_ONCE: Final = 50
IN_MEMORY: Final = Path("/dev/shm")  # noqa: S108  # nothing of it outlives its test, and a commit need not reach a disk
SOURCE: Final = "/tests"
SIGNALS: Final = 10_000  # what signals say, from here on
BOUNDED = """
SELECT count(*) AS running FROM flow_step WHERE flow_id = ? AND lane IS NOT NULL AND state = 'asked' GROUP BY lane
"""


class WorkRequested(Request, frozen=True, kw_only=True):
    """Give the value back, or fail; `dead` is a dead letter at first. A negative one undoes."""

    value: int
    fails: bool = False
    dead: bool = False


class WorkCompleted(Result, frozen=True, kw_only=True):
    value: int


class GeneratedRequested(Request, frozen=True, kw_only=True):
    program: Any


class GeneratedCompleted(Result, frozen=True, kw_only=True):
    values: tuple[int, ...]


@flow(GeneratedRequested)
async def generated(job: GeneratedRequested, do: Flow) -> GeneratedCompleted:
    return GeneratedCompleted(values=tuple(await run(job.program, do)))


async def run(node: Any, do: Flow) -> list[int]:  # noqa: PLR0911, PLR0912  # a case for each kind of node
    match node:
        case ["job", work]:
            return [(await ask(work, do)).value]
        case ["seq", nodes]:
            return [value for each in nodes for value in await run(each, do)]
        case ["all", works]:
            return [each.value for each in await do.all(*[ask(work, do) for work in works])]
        case ["map", works, at_once]:
            return [each.value for each in await do.map(lambda work: ask(work, do), works, at_once=at_once)]
        case ["children", programs]:
            asked = [GeneratedRequested(program=each) for each in programs]
            found: list[GeneratedCompleted] = await do.map(generated, asked, at_once=2)
            return [value for each in found for value in each.values]
        case ["try", inner]:
            try:
                return await run(inner, do)
            except StepFailed:
                return [-1]
        case ["sleep", seconds]:
            before = do.now
            await do.sleep(seconds=seconds)
            assert (do.now - before).total_seconds() >= seconds - 0.001
            return []
        case ["wait"]:
            return [await do.wait("go")]
        case ["patience", seconds]:
            with suppress(StepFailed):
                await do.wait("never", within=f"{seconds}s")
            return [-2]
        case ["first", work, seconds]:
            job, sleep = ask(work, do), do.sleep(seconds=seconds)
            if await do.first(job, sleep) is job:  # another replay that took the other would not follow
                await do.sleep(seconds=1)
            else:
                with suppress(StepFailed):
                    await do.wait("never", within="1s")
            return [-3]
        case ["within", work, seconds]:
            with suppress(StepFailed):
                await ask(work, do, within=f"{seconds}s")
            return [-4]
        case ["declared", value]:
            do.undo(WorkRequested(value=-value))
            return []
        case ["fail"]:
            raise JobFailed("generated", "it was to fail")
        case ["again", times, inner]:
            values = await run(inner, do)
            if times > 0:
                do.again(GeneratedRequested(program=["again", times - 1, inner]))
            return values
    raise AssertionError(node)


def ask(work: dict[str, Any], do: Flow, within: str | None = None) -> Step[WorkCompleted]:
    undo = WorkRequested(value=-work["value"]) if work["undo"] else None
    asked = WorkRequested(value=work["value"], fails=work["fails"], dead=work["dead"])
    return do(asked, result=WorkCompleted, undo=undo, within=within)


class OracleFailed(Exception):
    pass


class Oracle:
    """Runs a program at once: `done` is all that was done, `undos` what is to be undone."""

    def __init__(self) -> None:
        self.done: list[int] = []
        self.undos: list[int] = []

    def run(self, node: Any) -> list[int]:  # noqa: PLR0911, PLR0912  # as above
        match node:
            case ["job", work]:
                return self._works([work])
            case ["seq", nodes]:
                return [value for each in nodes for value in self.run(each)]
            case ["all", works] | ["map", works, _]:
                return self._works(works)
            case ["children", programs]:
                return self._children(programs)
            case ["try", inner]:
                try:
                    return self.run(inner)
                except OracleFailed:
                    return [-1]
            case ["sleep", _]:
                return []
            case ["wait"]:
                return [SIGNALS]
            case ["patience", _]:
                return [-2]
            case ["first", work, _]:
                self._done(work)
                return [-3]
            case ["within", work, _]:
                self._done(work)
                return [-4]
            case ["declared", value]:
                self.undos.append(value)
                return []
            case ["again", times, inner]:
                for _ in range(times):
                    self.run(inner)
                    self.undos.clear()
                return self.run(inner)
        raise OracleFailed

    def _works(self, works: list[dict[str, Any]]) -> list[int]:
        for each in works:
            self._done(each)
        if any(each["fails"] for each in works):
            raise OracleFailed
        return [each["value"] for each in works]

    def _children(self, programs: list[Any]) -> list[int]:
        values: list[int] = []
        failed = False
        for each in programs:
            try:
                values += Oracle().run(each)
            except OracleFailed:
                failed = True
        if failed:
            raise OracleFailed
        return values

    def _done(self, work: dict[str, Any]) -> None:
        if not work["fails"]:
            self.done.append(work["value"])
            self.undos += [work["value"]] if work["undo"] else []


class Generator:
    """Makes programs; each work has a value of its own."""

    def __init__(self, seed: int) -> None:
        self.chance = random.Random(seed)  # noqa: S311  # programs, the same for a seed
        self._value = 0

    def program(self, depth: int = 3) -> Any:
        chance = self.chance
        if depth == 0 or chance.random() < 0.2:
            return self._leaf()
        kind = chance.choice(["seq", "seq", "seq", "all", "map", "children", "try"])
        if kind == "seq":
            return ["seq", [self.program(depth - 1) for _ in range(chance.randint(1, 4))]]
        if kind == "all":
            return ["all", [self._work() for _ in range(chance.randint(0, 4))]]
        if kind == "map":
            return ["map", [self._work() for _ in range(chance.randint(0, 9))], chance.randint(1, 4)]
        if kind == "children":
            return ["children", [self._without_waits(depth - 1) for _ in range(chance.randint(1, 3))]]
        return ["try", self.program(depth - 1)]

    def top(self) -> Any:
        if self.chance.random() < 0.1:
            return ["again", self.chance.randint(1, 3), ["seq", [["job", self._work()], ["wait"], ["sleep", 5]]]]
        return ["seq", [self.program(), *([["fail"]] if self.chance.random() < 0.2 else [])]]

    def _leaf(self) -> Any:
        seconds = self.chance.choice([0, 1, 30, 3_600, 172_800])
        return self.chance.choice(
            [
                ["job", self._work()],
                ["job", self._work()],
                ["sleep", seconds],
                ["wait"],
                ["patience", seconds],
                ["first", self._work(fails=False), seconds],
                ["within", self._work(fails=False), self.chance.choice([1, 15, 60])],
                ["declared", self._next()],
            ]
        )

    def _without_waits(self, depth: int) -> Any:
        found = self.program(depth)
        return found if not count_waits(found) else ["job", self._work()]

    def _work(self, fails: bool | None = None) -> dict[str, Any]:
        chance = self.chance
        fails = chance.random() < 0.04 if fails is None else fails
        return {"value": self._next(), "fails": fails, "undo": chance.random() < 0.5, "dead": chance.random() < 0.04}

    def _next(self) -> int:
        self._value += 1
        return self._value


def count_waits(node: Any) -> int:
    if not isinstance(node, list):
        return 0
    times = node[1] + 1 if node[:1] == ["again"] else 1
    return times * sum(map(count_waits, node)) + (node == ["wait"])


class Workers:
    """Do a job's work, and its undoing, once by its id, however often it comes."""

    def __init__(self, broker: HostileBroker) -> None:
        self._broker = broker
        self._kept: set[str] = set()
        self._seen: set[str] = set()
        self.done: list[int] = []
        self.first_flow: dict[int, str] = {}

    def __call__(self, event: Event) -> Event | None:
        if event.type != event_type(WorkRequested):
            return None
        job = msgspec.json.decode(event.data, type=WorkRequested)
        if job.dead and event.id not in self._kept:
            self._kept.add(event.id)
            self._broker.later(event.with_attributes(replayed="true"), 5_000)
            payload = DeadLetter(dead_letter="7", code=500, destination="http://work")
            return self._reply(event, "deadlettered", payload)
        if event.id not in self._seen:
            self._seen.add(event.id)
            self.first_flow[job.value] = event.attributes["flowid"]
            if not job.fails:
                self.done.append(job.value)
        if job.fails:
            return self._reply(event, "failed", JobFailed("generated", "it was to fail").problem)
        return self._reply(event, "completed", WorkCompleted(value=job.value))

    def _reply(self, event: Event, phase: str, payload: msgspec.Struct) -> Event:
        return reply_event(event, f"dev.errands.work.{phase}.v1", payload, now=self._broker.now)


def request(type_: type[Request], id_: str, job: Request) -> Event:
    attributes = {"specversion": "1.0", "id": id_, "source": SOURCE, "type": event_type(type_)}
    return Event(MappingProxyType({**attributes, "datacontenttype": "application/json"}), msgspec.json.encode(job))


class Simulation:
    """One seed: a program, and perhaps a cancel, on a broker of its own."""

    def __init__(self, database: Database, seed: int) -> None:
        self._database = database
        self.id = f"seed-{seed}"
        self.flow_id = flow_id(SOURCE, self.id)
        generator = Generator(seed)
        self.program = generator.top()
        self.cancelled = generator.chance.random() < 0.15
        definitions = Definitions.of([generated])
        self.broker = HostileBroker(lambda crashing, clock: Engine(crashing, definitions, clock), database, seed)
        self.workers = Workers(self.broker)

    def run(self) -> None:
        self.broker.later(request(GeneratedRequested, self.id, GeneratedRequested(program=self.program)), 5)
        for number in range(count_waits(self.program)):
            said = SignalRequested(flow=self.id, name="go", data=SIGNALS + number)
            self.broker.later(request(SignalRequested, f"{self.id}-go-{number}", said), 5_000)
        if self.cancelled:
            said = SignalRequested(flow=self.id, name="cancel")
            self.broker.later(
                request(SignalRequested, f"{self.id}-cancel", said), self.broker.chance.choice([60, 300, 5_000])
            )
        self.broker.run(self.workers, self._require_bounds)

    def ends(self) -> dict[tuple[str, str], set[str]]:
        """The ends of each flow, by the id of the event that told it."""
        found = defaultdict(set)
        for event in self.broker.taken:
            if ".generated." in event.type and ".requested." not in event.type:
                found[job_of(event)].add(f"{event.id} {event.type}")
        return found

    def own(self, values: list[int]) -> list[int]:
        """Those of the flow itself, not of its children."""
        return [each for each in values if self.workers.first_flow[each] == self.flow_id]

    def _require_bounds(self) -> None:
        with self._database.transaction(writes=False) as transaction:
            for row in transaction.execute(BOUNDED, self.flow_id):
                assert row["running"] <= 4


@pytest.fixture
def database() -> Iterator[Database]:
    with tempfile.TemporaryDirectory(dir=IN_MEMORY if IN_MEMORY.is_dir() else None) as folder:
        yield open_flows(f"sqlite:///{folder}/flows.db")


@pytest.mark.parametrize("start", range(0, SEEDS, SEEDS_AT_ONCE))
def test_every_flow_ends_once_as_its_code_says_whatever_the_broker_does(database: Database, start: int) -> None:
    for seed in range(start, start + SEEDS_AT_ONCE):
        simulation = Simulation(database, seed)
        simulation.run()
        require_ended_rightly(database, simulation)


def test_so_it_is_on_postgresql(postgresql_server: str) -> None:
    database = open_flows(new_database(postgresql_server))
    for seed in range(20):
        simulation = Simulation(database, seed)
        simulation.run()
        require_ended_rightly(database, simulation)


def require_ended_rightly(database: Database, simulation: Simulation) -> None:
    with database.transaction(writes=False) as transaction:
        found = find(transaction, simulation.flow_id)
    assert found is not None
    assert found.ending is not None, (simulation.id, found.state, found.reason, simulation.program)
    assert all(len(each) == 1 for each in simulation.ends().values()), simulation.ends()
    oracle = Oracle()
    try:
        expected: list[int] | None = oracle.run(simulation.program)
    except OracleFailed:
        expected = None
    done = simulation.own(simulation.workers.done)
    undone = [-each for each in done if each < 0]
    if simulation.cancelled and found.state == "failed":
        require_undone(simulation, done, undone)
    elif expected is None:
        assert found.state == "failed", (simulation.id, found.reason)
        assert undone == oracle.undos[::-1], (simulation.id, simulation.program)
        assert sorted(each for each in done if each > 0) == sorted(oracle.done), (simulation.id, simulation.program)
    else:
        assert found.state == "completed", (simulation.id, msgspec.json.decode(found.ending.data, type=Problem))
        values = msgspec.json.decode(found.ending.data, type=GeneratedCompleted).values
        said = [each for each in values if each >= SIGNALS]
        assert [min(each, SIGNALS) for each in values] == expected
        assert len(set(said)) == len(said)
        assert sorted(done) == sorted(oracle.done), (simulation.id, simulation.program)


def require_undone(simulation: Simulation, done: list[int], undone: list[int]) -> None:
    """Wherever a cancel struck: what could be undone and was done, is undone, and nothing twice."""
    undoable = {each["value"] for each in works(simulation.program) if each["undo"] and not each["fails"]}
    assert len(set(undone)) == len(undone)
    if simulation.program[0] != "again":  # what was done before it began again stays
        assert undoable & set(done) <= set(undone), simulation.id


def works(node: Any) -> list[dict[str, Any]]:
    if isinstance(node, dict):
        return [node]
    return [work for each in node for work in works(each)] if isinstance(node, list) else []
