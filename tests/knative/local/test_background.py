"""What runs beside the rest: it is begun again when it fails, and readiness tells; where it stays down, so does all."""

import asyncio
import json
import resource
import signal
import sqlite3
from datetime import UTC, datetime, timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest

from knative.local import background, ping
from knative.local.background import FAILURES, Background
from knative.local.lifetime import EXIT_FAILED
from knative.manifests.manifests import PingSource
from tests.support.local_runner import Up, event, service, trigger, until, write_manifests
from tests.support.loops import Run, on_both_loops

ECHOING = (service(), trigger())
WITH_FAULT = "import knative.local.{module} as module\n{fault}\nfrom knative.cli.main import main\nmain()\n"
HEARTBEAT = PingSource(
    name="beat", schedule="* * * * *", timezone=None, content_type="text/plain", data="", sink="echo"
)


class FaultyUp(Up):
    """A runner of which a part is made to fail."""

    def __init__(self, tmp_path: Path, module: str, fault: str) -> None:
        super().__init__(tmp_path, write_manifests(tmp_path / "manifests", ECHOING))
        self._command[1:3] = ["-c", WITH_FAULT.format(module=module, fault=fault)]


@on_both_loops
def test_a_task_that_fails_is_begun_again_and_readiness_tells(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(background, "AGAIN_S", 0.001)
    begun, troubles = asyncio.Semaphore(0), []

    async def scenario() -> None:
        kept = Background()

        async def work() -> None:
            troubles.append(kept.trouble)
            begun.release()
            if len(troubles) == 1:
                asyncio.get_running_loop().call_soon(lambda: troubles.append(kept.trouble))
                raise OSError("no descriptor")
            await asyncio.Event().wait()

        with kept.keep("the work", work):
            async with asyncio.timeout(5):
                await begun.acquire()
                await begun.acquire()

            assert troubles == [None, "the work failed: OSError('no descriptor')", None]

    run(scenario())


@on_both_loops
def test_a_task_that_fails_again_and_again_is_the_end(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(background, "AGAIN_S", 0.001)

    async def scenario() -> None:
        kept = Background()

        async def work() -> None:
            raise ValueError("a bug")

        with kept.keep("the work", work):
            async with asyncio.timeout(5):
                reason = await kept.failed()

        assert reason == kept.trouble == f"the work failed: ValueError('a bug'), {FAILURES} times in a row"

    run(scenario())


@pytest.mark.slow
def test_a_dead_event_log_thread_ends_the_runner_with_a_sentence_and_nobody_hangs(tmp_path: Path) -> None:
    fault = """
commit = module.commit
def failing(db, works):
    if any(b"poison" in str(work).encode() for work in works):
        raise SystemExit("the thread is gone")
    return commit(db, works)
module.commit = failing
"""
    with FaultyUp(tmp_path, "broker.writer", fault) as runner:
        response = runner.post(event("1", {"n": 1}, subject="poison"))
        code = runner.process.wait(30)

    assert response.status_code == 503
    assert "the event log's thread ended" in response.json()["detail"]
    assert code == EXIT_FAILED
    assert "the runner could not go on: the event log's thread ended: SystemExit('the thread is gone')" in (
        runner.log.read_text()
    )


@pytest.mark.slow
def test_outcomes_go_on_being_forgotten_after_a_failure(tmp_path: Path) -> None:
    fault = """
import knative.local.background as background
module.PRUNE_INTERVAL_S = background.AGAIN_S = 0.01
prunes = []
async def prune(self):
    prunes.append(self)
    print("prune", len(prunes), flush=True)
    if len(prunes) == 1:
        raise OSError("the disk is full")
module.EmbeddedBroker.prune = prune
"""
    with FaultyUp(tmp_path, "runner", fault) as runner:
        until(lambda: "prune 3" in runner.log.read_text(), what="the next times")
        ready = runner.client.get("/readyz").status_code

    assert ready == 200
    assert "the forgetting of old outcomes failed" in runner.log.read_text()


@pytest.mark.slow
def test_a_background_task_that_stays_down_ends_the_runner_with_a_sentence(tmp_path: Path) -> None:
    fault = """
async def failing(self):
    raise ValueError("no such time zone")
module.Pinger.run = failing
import knative.local.background as background
background.AGAIN_S = 0.01
"""
    runner = FaultyUp(tmp_path, "ping", fault)
    runner.start_only()
    code = runner.process.wait(30)

    assert code == EXIT_FAILED
    assert "the runner could not go on: the clock failed: ValueError('no such time zone'), 5 times in a row" in (
        runner.log.read_text()
    )


@pytest.mark.slow
@pytest.mark.parametrize(
    "damage",
    [
        "UPDATE event SET attributes = X'FF00' WHERE seq = {seq}",
        "UPDATE event SET attributes = '[1]' WHERE seq = {seq}",
        "UPDATE event SET attributes = '{{}}' WHERE seq = {seq}",
        "UPDATE event SET remaining = 'many' WHERE seq = {seq}",
        "UPDATE delivery SET attempt = 'one' WHERE seq = {seq}",
        "DELETE FROM event WHERE seq = {seq}",
    ],
)
def test_a_damaged_row_is_set_aside_named_and_counted_and_the_rest_goes_on(tmp_path: Path, damage: str) -> None:
    manifests = write_manifests(tmp_path / "manifests", (service(), trigger(delay="PT1S")))
    with Up(tmp_path, manifests) as runner:
        for number in range(5):
            runner.post(event(str(number), {"do": "status", "status": 503, "once": str(tmp_path / str(number))}))
        until(lambda: runner.metric("errands_retries_total", trigger="echo") == 5, what="five that wait")
        runner.kill()
        with sqlite3.connect(runner.data / "journal.db") as db:
            rows = db.execute("SELECT attributes, seq FROM event").fetchall()
            seq = next(seq for attributes, seq in rows if json.loads(attributes)["id"] == "2")
            db.execute(damage.format(seq=seq))
        runner.start()
        outcomes = [runner.outcome(str(number), wait_s=20) for number in (0, 1, 3, 4)]
        code = runner.post(event("later")).status_code
        until(lambda: runner.metric("errands_queue_depth", queue="damaged") == 1, what="the count")
        depth = until(lambda: runner.metric("errands_queue_depth", queue="echo") == 0, what="an empty queue")
        ready = runner.client.get("/readyz").status_code
        runner.stop()
    with sqlite3.connect(runner.data / "journal.db") as db:
        kept = db.execute("SELECT queue, seq FROM damaged").fetchall()

    assert all(outcomes)
    assert (code, ready, depth) == (202, 200, True)
    assert kept == [("echo", seq)]
    assert f"delivery {seq} of queue echo is damaged and set aside" in runner.log.read_text()


@pytest.mark.slow
def test_a_log_that_cannot_be_written_is_not_ready_until_it_can(tmp_path: Path) -> None:
    with Up(tmp_path, write_manifests(tmp_path / "manifests", ECHOING)) as runner:
        _sql(runner, "CREATE TRIGGER full BEFORE INSERT ON event BEGIN SELECT raise(ABORT, 'disk is full'); END")
        refused = runner.post(event("1")).status_code
        response = runner.client.get("/readyz")
        _sql(runner, "DROP TRIGGER full")
        taken = runner.post(event("1")).status_code
        until(lambda: runner.client.get("/readyz").status_code == 200, what="readiness")

    assert (refused, response.status_code, taken) == (503, 503, 202)
    assert "disk is full" in response.text


@pytest.mark.slow
def test_jobs_that_meet_a_runner_without_a_descriptor_left_are_done_when_it_has_some_again(
    tmp_path: Path, broker: tuple[str, ...]
) -> None:
    documents = (service(min_scale=0), trigger(retry=1, delay="PT0.1S"))
    with Up(tmp_path, write_manifests(tmp_path / "manifests", documents), *broker) as runner:
        pid = runner.process.pid
        runner.client.get("/healthz")  # over this connection all goes that follows
        before = resource.prlimit(pid, resource.RLIMIT_NOFILE)
        resource.prlimit(pid, resource.RLIMIT_NOFILE, (_highest_descriptor(pid) + 1, before[1]))
        statuses = [runner.post(event(str(number), {"do": "status", "status": 410})).status_code for number in range(6)]
        until(lambda: runner.log.read_text().count("cannot be tried now") >= 12, what="two vain tries of each")
        lost = runner.metric("errands_dead_letters_total", trigger="echo")
        resource.prlimit(pid, resource.RLIMIT_NOFILE, before)
        until(lambda: runner.metric("errands_dead_letters_total", trigger="echo") == 6, what="six dead letters")
        until(lambda: runner.metric("errands_queue_depth", queue="echo") == 0, what="an empty queue")
        attempts = runner.metric("errands_deliveries_total", trigger="echo", code="410")

    assert statuses == [202] * 6
    assert (lost, attempts) == (0, 6)


@pytest.mark.slow
def test_sigterm_ends_a_runner_while_its_disk_fails(tmp_path: Path) -> None:
    with Up(tmp_path, write_manifests(tmp_path / "manifests", ECHOING)) as runner:
        runner.post(event("1", {"do": "sleep", "s": 1}))
        until(lambda: runner.metric("errands_processes", function="echo"), what="the function")
        for change in ("INSERT", "UPDATE", "DELETE"):
            _sql(runner, f"CREATE TRIGGER f{change} BEFORE {change} ON delivery BEGIN SELECT raise(ABORT, 'EIO'); END")
        until(lambda: "cannot settle 1" in runner.log.read_text(), what="the failure")
        runner.process.send_signal(signal.SIGTERM)

        assert runner.process.wait(20) == 0


@on_both_loops
def test_a_clock_that_is_set_back_holds_no_ping_for_longer_than_its_own_interval(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    slept: list[float] = []
    now = datetime(2026, 1, 1, 12, 0, 30, tzinfo=UTC)
    real = asyncio.sleep

    async def sleep(delay_s: float) -> None:
        nonlocal now
        now += timedelta(seconds=delay_s) - (timedelta(hours=1) if not slept else timedelta())
        slept.append(delay_s)
        await real(0)

    async def scenario() -> None:
        due = await ping.next_due(HEARTBEAT, lambda _zone: now)

        assert due == datetime(2026, 1, 1, 11, 2, tzinfo=UTC)
        assert sum(slept) <= 90 + ping.LOOK_S

    monkeypatch.setattr("knative.local.ping.asyncio.sleep", sleep)
    run(scenario())


def test_a_ping_waits_through_the_hour_that_comes_twice(monkeypatch: pytest.MonkeyPatch) -> None:
    slept: list[float] = []

    async def sleep(delay_s: float) -> None:
        slept.append(delay_s)

    def berlin(_zone: str | None) -> datetime:
        return datetime.fromtimestamp(begun.timestamp() + sum(slept), ZoneInfo("Europe/Berlin"))

    begun = datetime(2026, 10, 25, 2, 50, tzinfo=ZoneInfo("Europe/Berlin"))
    three = PingSource(name="3", schedule="0 3 * * *", timezone="Europe/Berlin", content_type="", data="", sink="echo")
    monkeypatch.setattr("knative.local.ping.asyncio.sleep", sleep)

    assert asyncio.run(ping.next_due(three, berlin)).isoformat() == "2026-10-25T03:00:00+01:00"
    assert sum(slept) == 70 * 60


def _highest_descriptor(pid: int) -> int:
    return max(int(each.name) for each in Path(f"/proc/{pid}/fd").iterdir())


def _sql(runner: Up, statement: str) -> None:
    with sqlite3.connect(runner.data / "journal.db", timeout=10) as db:
        db.execute(statement)
