"""`errands up --broker amqp://...`: what is its own, beyond the conformance suite's promises."""

import asyncio
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pika
import pytest

from events.http import Event
from functions.amqp.connection import connected
from functions.amqp.errors import ServerUnavailable
from functions.amqp.server import AmqpServer
from functions.amqp.waits import wait_ms
from knative.local.broker import rabbitmq
from knative.local.broker.broker import BrokerUnavailable, Delivery
from knative.local.broker.rabbitmq import RabbitBroker, prefetch
from knative.local.broker.topology import Names, child_name
from knative.manifests.manifests import load
from tests.support.amqp_messages import HELD, publish_hostile
from tests.support.local_runner import COMPLETED, ROOT, Up, event, service, trigger, until, up, waits, write_manifests
from tests.support.rabbitmq_server import RabbitServer

NAMES = Names("test")


@pytest.fixture
def vhost(rabbit: RabbitServer, tmp_path: Path) -> Iterator[str]:
    """A virtual host of the test's own; its name."""
    name = f"of {tmp_path.name}"
    rabbit.control("add_vhost", name)
    rabbit.control("set_permissions", "-p", name, "guest", ".*", ".*", ".*")
    yield name
    rabbit.control("delete_vhost", name)


def test_a_job_is_done_and_its_outcome_told(rabbit: RabbitServer, vhost: str, tmp_path: Path) -> None:
    with up(tmp_path, documents(), "--broker", url(rabbit, vhost)) as runner:
        assert runner.post(event("1")).status_code == 202
        outcome = runner.outcome("1")

    assert outcome is not None
    assert outcome["type"] == COMPLETED


def test_the_queues_are_quorum_queues_of_eventing_rabbitmqs_names(
    rabbit: RabbitServer, vhost: str, tmp_path: Path
) -> None:
    with up(tmp_path, documents(), "--broker", url(rabbit, vhost)):
        rows = rabbit.control("list_queues", "-p", vhost, "name", "type", "durable").splitlines()[1:]
        bound = rabbit.control("list_bindings", "-p", vhost, "source_name", "destination_name", "arguments")

    assert {tuple(row.split("\t")) for row in rows} == {
        (f"default.{each}.{NAMES.uid}", "quorum", "true") for each in ("echo", "heard")
    } | {(NAMES.queue(f"{each}.dlq"), "quorum", "true") for each in ("echo", "heard")}
    binding = next(line for line in bound.splitlines() if line.startswith(f"{NAMES.exchange}\tdefault.echo."))
    for part in ('{"x-match","all"}', '{"type","dev.errands.echo.requested.v1"}', '{"x-knative-trigger","echo"}'):
        assert part in binding
    [of_dead_letters] = [line for line in bound.splitlines() if line.startswith(names_of_dead_letters("echo"))]
    assert of_dead_letters.endswith('[{"x-match","all"}]')


def names_of_dead_letters(trigger: str) -> str:
    """Exchange and queue, as rabbitmqctl lists what is bound."""
    return f"{NAMES.dead_letter_exchange(trigger)}\t{NAMES.queue(f'{trigger}.dlq')}\t"


def test_two_runners_share_the_events_of_one_broker(rabbit: RabbitServer, vhost: str, tmp_path: Path) -> None:
    broker = ("--broker", url(rabbit, vhost))
    slow = {"do": "sleep", "s": 0.1}
    with (
        up(tmp_path / "one", documents(parallelism=1), *broker) as one,
        up(tmp_path / "two", documents(parallelism=1), *broker) as two,
    ):
        for number in range(20):
            one.post(event(str(number), slow))
        until(lambda: done(one) + done(two) == 20, what="twenty deliveries")

        assert done(one) > 3
        assert done(two) > 3


def test_a_queue_that_somebody_deleted_is_made_again_with_its_binding(
    rabbit: RabbitServer, vhost: str, tmp_path: Path
) -> None:
    with up(tmp_path, documents(), "--broker", url(rabbit, vhost)) as runner:
        rabbit.control("delete_queue", "-p", vhost, NAMES.queue("echo"))
        until(lambda: runner.post(event("1")).status_code == 202, what="an accepted event")

        assert runner.outcome("1") is not None


def test_a_message_that_is_no_event_becomes_a_dead_letter(rabbit: RabbitServer, vhost: str, tmp_path: Path) -> None:
    with up(tmp_path, documents(), "--broker", url(rabbit, vhost)) as runner:
        publish(url(rabbit, vhost), NAMES.queue("echo"), b"not an event")
        until(lambda: runner.metric("errands_deliveries_total", trigger="echo.dlq", code="202"), what="the dead letter")
        shown = errands("dead", "list", "--data", str(runner.data)).stdout
        runner.post(event("after"))

        assert "attribute specversion is required" in shown
        assert runner.outcome("after") is not None


@pytest.mark.parametrize("error", [BrokerUnavailable("no connection"), RuntimeError("a bug")], ids=str)
def test_what_is_no_event_is_not_forgotten_while_nothing_can_be_published(
    rabbit: RabbitServer, vhost: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    put, errors = RabbitBroker.dead_letter, [error, error]

    async def failing_twice(broker: RabbitBroker, delivery: Delivery, dead_letter: Event) -> None:
        if errors:
            raise errors.pop()
        await put(broker, delivery, dead_letter)

    monkeypatch.setattr(RabbitBroker, "dead_letter", failing_twice)
    monkeypatch.setattr(rabbitmq, "SIDE_ROUTE_AGAIN_S", 0.01)
    write_manifests(tmp_path, documents())
    address = AmqpServer(url=url(rabbit, vhost))

    async def run() -> Event:
        broker, told = RabbitBroker(address, load(tmp_path), data=tmp_path, backlog_limit=100), asyncio.Event()
        await broker.start(lambda queue: told.set() if queue == "echo.dlq" else None)
        async with connected(address) as connection, asyncio.timeout(60):
            channel = await connection.channel()
            await channel.publish(pika.BasicProperties(), b"not an event", routing_key=NAMES.queue("echo"))
            await told.wait()
        found = broker.take("echo.dlq")
        await broker.stop()
        assert found is not None
        return found.event

    assert asyncio.run(run()).type == "dev.errands.unreadable.v1"


@pytest.mark.parametrize("end", ["", ".dlq"], ids=["in the queue", "among the dead letters"])
def test_no_message_that_rabbitmq_holds_stops_a_trigger(
    rabbit: RabbitServer, vhost: str, tmp_path: Path, end: str
) -> None:
    with up(tmp_path, documents(), "--broker", url(rabbit, vhost)) as runner:
        asyncio.run(publish_hostile(url(rabbit, vhost), NAMES.queue(f"echo{end}")))
        runner.post(event("after"))

        until(lambda: runner.metric("errands_deliveries_total", trigger="echo.dlq", code="202") >= len(HELD))
        found = errands("dead", "list", "--json", "--data", str(runner.data)).stdout
        assert runner.outcome("after") is not None
        assert found.count('"dev.errands.unreadable.v1"') == len(HELD)
        assert "again in" not in runner.log.read_text()  # no connection was lost
    assert rabbit.control("list_queues", "-p", vhost, "messages").split()[1:] == ["0"] * 4


def test_what_is_not_made_now_is_put_back_to_rabbitmq_without_an_attempt(
    rabbit: RabbitServer, vhost: str, tmp_path: Path
) -> None:
    waiting = waits("PT1M", *documents(retry=0))
    with up(tmp_path, waiting, "--broker", url(rabbit, vhost)) as runner:
        runner.post(event("1", {"do": "not now", "once": str(tmp_path / "told")}))
        outcome = runner.outcome("1")

    assert outcome is not None
    assert outcome["type"] == COMPLETED


def test_attributes_that_no_frame_holds_are_refused_with_400(rabbit: RabbitServer, vhost: str, tmp_path: Path) -> None:
    with up(tmp_path, documents(), "--broker", url(rabbit, vhost)) as runner:
        many = {f"x{number}": "v" * 4_000 for number in range(40)}
        few = {f"x{number}": "v" * 4_000 for number in range(20)}
        refused = runner.post(event("1", {}, **many), inside=True)
        runner.post(event("2", {}, **few), inside=True)

        assert refused.status_code == 400
        assert "all attributes together must be at most 98304 bytes" in refused.json()["detail"]
        assert runner.outcome("2") is not None


def test_a_full_backlog_is_a_503(rabbit: RabbitServer, vhost: str, tmp_path: Path) -> None:
    held = {"do": "sleep", "s": 3}
    with up(tmp_path, documents(), "--broker", url(rabbit, vhost), "--backlog-limit", "3") as runner:
        until(lambda: runner.post(event("x", held)).status_code == 503, poll_s=0.1, what="a 503")
        response = runner.post(event("y"))

    assert response.headers["retry-after"] == "30"
    assert "its limit is 3" in response.json()["detail"]


def test_purge_removes_what_the_runner_made_and_nothing_else(rabbit: RabbitServer, vhost: str, tmp_path: Path) -> None:
    broker = ("--broker", url(rabbit, vhost))
    declare(url(rabbit, vhost), "somebody's")
    with up(tmp_path, documents(), *broker) as runner:
        runner.post(event("1", {"do": "status", "status": 503}))
        until(lambda: any(name.startswith("w.") for name in queues(rabbit, vhost)), what="a wait")
        busy = purge(runner, *broker, "--yes")
    assert "stop it first" in busy.stderr

    assert "Aborted" in purge(runner, *broker, typed="n\n").stderr
    assert len(queues(rabbit, vhost)) > 1
    assert "Remove" in purge(runner, *broker, typed="y\n").stdout
    assert queues(rabbit, vhost) == {"somebody's"}
    assert rabbit.control("list_exchanges", "-p", vhost, "name").count("test") == 0
    assert "has no queues" in purge(runner, *broker, "--yes").stdout


@pytest.mark.parametrize(
    ("broker", "reason"),
    [
        ("redis://127.0.0.1/", "an AMQP URL"),
        ("amqp://guest:wrong@127.0.0.1:{port}/", "does not let this user in"),
    ],
)
def test_a_broker_that_cannot_be_used_is_one_sentence(
    rabbit: RabbitServer, tmp_path: Path, broker: str, reason: str
) -> None:
    manifests = write_manifests(tmp_path / "manifests", documents())
    arguments = ("--data", str(tmp_path / "data"), "--port", "0", "--manifests", str(manifests))
    stopped = errands("up", "--no-lint", "--broker", broker.format(port=rabbit.port), *arguments)

    assert stopped.returncode == 64
    assert reason in stopped.stderr
    assert "Traceback" not in stopped.stderr
    assert "wrong" not in stopped.stderr


def test_an_outcome_that_is_not_this_runners_to_know_is_no_empty_answer(
    rabbit: RabbitServer, vhost: str, tmp_path: Path
) -> None:
    broker = ("--broker", url(rabbit, vhost))
    with up(tmp_path / "a", documents(), *broker) as first:
        until(lambda: _asked(first, "alone", post={"do": "sleep", "s": 2}) == 204, what="that it is alone")
        with up(tmp_path / "b", documents(), *broker) as second:
            until(lambda: _asked(first, "before") == 501, what="that there are two")
            for number in range(8):
                (first, second)[number % 2].post(event(str(number)))
            until(lambda: _settled(first) and _settled(second), what="the end of all")
            answers = {number: {_asked(each, str(number)) for each in (first, second)} for number in range(8)}
        first.kill()
        first.start()
        restarted = first.client.get("/jobs", params={"source": "/tests", "id": "0"})

    assert all(found in ({200}, {200, 501}) for found in answers.values())
    assert restarted.status_code == 501
    assert "not this runner's to know" in restarted.json()["detail"]


def _asked(runner: Up, id_: str, post: dict[str, object] | None = None) -> int:
    if post is not None:
        runner.post(event(id_, post))
    return runner.client.get("/jobs", params={"source": "/tests", "id": id_}).status_code


def _settled(runner: Up) -> bool:
    return runner.metric("errands_queue_depth", queue="echo") == 0


def test_a_server_that_is_not_up_yet_is_waited_for_and_said(rabbit: RabbitServer, vhost: str, tmp_path: Path) -> None:
    manifests = write_manifests(tmp_path / "manifests", documents())
    runner = Up(tmp_path, manifests, "--broker", url(rabbit, vhost))
    rabbit.stop()
    try:
        runner.start_only()
        until(lambda: "waiting for the broker" in runner.log.read_text(), what="the word")
        early = runner.post(event("1"))
        asked = runner.client.get("/jobs", params={"source": "/tests", "id": "1"}).status_code
        ready = runner.client.get("/readyz")
    finally:
        rabbit.start()
    until(lambda: runner.client.get("/readyz").status_code == 200, timeout_s=60, what="readiness")
    taken = runner.post(event("1")).status_code
    outcome = runner.outcome("1")
    code = runner.stop()

    assert "no RabbitMQ answers at amqp://" in runner.log.read_text()
    assert (early.status_code, asked, ready.status_code, ready.text) == (503, 503, 503, "not ready: it starts\n")
    assert int(early.headers["retry-after"]) > 0
    assert (taken, code) == (202, 0)
    assert outcome is not None


@pytest.mark.slow
def test_a_runner_that_waits_for_a_server_ends_at_once_when_it_is_told_to(tmp_path: Path) -> None:
    runner = Up(tmp_path, write_manifests(tmp_path / "manifests", documents()), "--broker", "amqp://127.0.0.1:1/")
    runner.start_only()
    until(lambda: "no RabbitMQ answers at amqp://127.0.0.1:1/" in runner.log.read_text(), what="the word")
    runner.process.terminate()

    assert runner.process.wait(10) == 0
    assert "Traceback" not in runner.log.read_text()


def test_sigterm_ends_a_runner_whose_server_is_gone_and_what_it_worked_on_is_delivered_again(
    rabbit: RabbitServer, vhost: str, tmp_path: Path
) -> None:
    with up(tmp_path, (service(), trigger(timeout="PT120S")), "--broker", url(rabbit, vhost)) as runner:
        runner.post(event("1", {"do": "sleep", "s": 10}))
        until(lambda: runner.metric("errands_processes", function="echo"), what="the function")
        rabbit.stop()
        try:
            until(lambda: runner.client.get("/readyz").status_code == 503, what="the word")
            runner.process.terminate()
            code = runner.process.wait(60)
        finally:
            rabbit.start()
        runner.start()
        until(lambda: runner.metric("errands_deliveries_total", trigger="echo", code="200") == 1, what="the job")

    assert code == 0


def test_amqps_checks_the_servers_certificate(rabbit_tls: tuple[RabbitServer, Path]) -> None:
    server, certificates = rabbit_tls

    async def connects(**files: Any) -> str:
        async with connected(AmqpServer(url=server.tls_url, **files)) as connection:
            await connection.channel()
        return "connected"

    assert asyncio.run(connects(ca_file=certificates / "ca.crt")) == "connected"
    with pytest.raises(ServerUnavailable, match="certificate verify failed"):
        asyncio.run(connects())


@pytest.mark.parametrize(
    ("parent", "suffix", "name"),
    [
        ("b.default.errands.", "b0dc6234-a1f0-5228-be05-ca9bc4a14ab9", None),
        # computed with knative.dev/pkg/kmeta.ChildName
        (
            "t.default.notifier-deadlettered.dlq.",
            "b0dc6234-a1f0-5228-be05-ca9bc4a14ab9",
            "t.default.notifier-deadlettereda12abea2a970ccc2afdc9f4852c0db64",
        ),
        ("t." + "n" * 60 + ".", "short", "t.nnnnnnnnnnnnnnnnnnnnnnnn968ba7a05aac16464230e8db2c8aff88short"),
    ],
)
def test_a_long_name_is_cut_and_hashed_as_knative_does(parent: str, suffix: str, name: str | None) -> None:
    assert child_name(parent, suffix) == (name or parent + suffix)


@pytest.mark.parametrize(
    ("delay_s", "expected_ms"), [(0, 1), (0.2, 200), (1, 1000), (1.28, 1300), (99.1, 100_000), (60, 60_000)]
)
def test_a_wait_is_rounded_up_to_two_digits(delay_s: float, expected_ms: int) -> None:
    assert wait_ms(delay_s) == expected_ms


def documents(**changes: Any) -> list[str]:
    """The echo function, and one that hears of its outcomes."""
    return [service(), trigger(**changes), trigger("heard", filter=f"{{type: {COMPLETED}}}")]


def url(rabbit: RabbitServer, vhost: str) -> str:
    """The virtual host's URL."""
    return rabbit.url + vhost.replace(" ", "%20")


def done(runner: Up) -> float:
    """The deliveries of the echo function that this runner made."""
    return runner.metric("errands_deliveries_total", trigger="echo", code="200")


def queues(rabbit: RabbitServer, vhost: str) -> set[str]:
    """The names of the queues."""
    return set(rabbit.control("list_queues", "-p", vhost, "name").splitlines()[1:])


def publish(broker: str, queue: str, content: bytes) -> None:
    """A bare message, as somebody else might send it."""

    async def work() -> None:
        async with connected(AmqpServer(url=broker)) as connection:
            channel = await connection.channel()
            await channel.publish(pika.BasicProperties(), content, routing_key=queue)

    asyncio.run(work())


def declare(broker: str, queue: str) -> None:
    """A queue that is not ours."""

    async def work() -> None:
        async with connected(AmqpServer(url=broker)) as connection:
            await (await connection.channel()).call("queue_declare", queue=queue, durable=True)

    asyncio.run(work())


def purge(runner: Up, *arguments: str, typed: str = "") -> subprocess.CompletedProcess[str]:
    """`errands broker purge` of the runner's manifests."""
    manifests = runner.data.parent / "manifests"
    return errands("broker", "purge", "--manifests", str(manifests), *arguments, typed=typed)


def errands(*arguments: str, typed: str = "") -> subprocess.CompletedProcess[str]:
    """The command line."""
    command = [sys.executable, "-m", "knative.cli.main", *arguments]
    return subprocess.run(command, cwd=ROOT, input=typed, capture_output=True, text=True, check=False, timeout=60)


@pytest.mark.parametrize(("timeout", "times"), [("PT10S", 4), ("PT150S", 4), ("PT151S", 2)])
def test_what_is_fetched_ahead_is_worked_off_long_before_the_servers_timeout(
    tmp_path: Path, timeout: str, times: int
) -> None:
    manifests = load(write_manifests(tmp_path, (service(), trigger(parallelism=8, timeout=timeout))))

    assert prefetch(manifests.triggers[0]) == times * 8


OLD, NEW = "dev.errands.old.requested.v1", "dev.errands.new.requested.v1"


def bound(rabbit: RabbitServer, vhost: str, queue: str) -> set[str]:
    """The types that are bound to a Trigger's queue; '' for a binding without."""
    rows = rabbit.control("list_bindings", "-p", vhost, "source_name", "destination_name", "arguments").splitlines()
    its = [row for row in rows if row.startswith(f"{NAMES.exchange}\t{NAMES.queue(queue)}\t")]
    return {next((each for each in (OLD, NEW) if each in row), "") for row in its}


def typed(name: str, type_: str) -> str:
    return trigger(name, filter=f"{{type: {type_}}}")


def test_a_trigger_whose_filter_was_changed_gets_what_it_wants_now_and_nothing_else(
    rabbit: RabbitServer, vhost: str, tmp_path: Path
) -> None:
    def started(*triggers: str) -> dict[str, float]:
        with up(tmp_path, (service(), *triggers), "--broker", url(rabbit, vhost)) as runner:
            if len(triggers) > 1:
                assert runner.post({**event("1"), "type": OLD}).status_code == 202
                assert runner.outcome("1") is not None
        return {each: len(bound(rabbit, vhost, each)) for each in ("changed", "other")}

    started(typed("changed", OLD))
    before = bound(rabbit, vhost, "changed")
    counts = started(typed("changed", NEW), typed("other", OLD))

    assert (before, bound(rabbit, vhost, "changed"), bound(rabbit, vhost, "other")) == ({OLD}, {NEW}, {OLD})
    assert counts == {"changed": 1, "other": 1}


def test_a_trigger_that_is_gone_gets_no_events_any_more_and_one_that_comes_back_does(
    rabbit: RabbitServer, vhost: str, tmp_path: Path
) -> None:
    seen = []
    for triggers in ((typed("a", OLD), typed("b", NEW)), (typed("b", NEW),), (typed("a", OLD), typed("b", NEW))):
        with up(tmp_path, (service(), *triggers), "--broker", url(rabbit, vhost)):
            seen.append((bound(rabbit, vhost, "a"), bound(rabbit, vhost, "b")))

    assert seen == [({OLD}, {NEW}), (set(), {NEW}), ({OLD}, {NEW})]


def test_a_start_that_cannot_know_what_was_bound_before_says_so(
    rabbit: RabbitServer, vhost: str, tmp_path: Path
) -> None:
    said = []
    for forgotten in (False, False, True):
        if forgotten:
            (tmp_path / "data" / "bindings.json").unlink()
        with up(tmp_path, (service(), typed("a", OLD)), "--broker", url(rabbit, vhost)) as runner:
            said.append(runner.log.read_text().count("does not know what was bound to them"))

    assert said == [0, 0, 1]


def test_a_start_goes_on_where_what_was_bound_is_gone_or_its_file_cannot_be_read(
    rabbit: RabbitServer, vhost: str, tmp_path: Path
) -> None:
    with up(tmp_path, (service(), typed("a", OLD)), "--broker", url(rabbit, vhost)) as runner:
        data = runner.data
    rabbit.control("delete_queue", "-p", vhost, NAMES.queue("a"))
    for damage in (None, "", "[]", '{"x": 1}', "\0\0"):
        if damage is not None:
            (data / "bindings.json").write_text(damage)
        with up(tmp_path, (service(), typed("b", NEW)), "--broker", url(rabbit, vhost)):
            assert bound(rabbit, vhost, "b") == {NEW}
