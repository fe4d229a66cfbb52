"""The work queues of `errands up`, as their manifests declare them: routing, policy and scaling, on both brokers."""

import asyncio
import os
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from pika import BasicProperties

from functions.amqp.connection import connected
from functions.amqp.errors import ServerUnavailable
from functions.amqp.server import AmqpServer
from knative.local.queues.scaling import Scaler
from knative.local.queues.workers import declare, ready
from knative.manifests.documents import ManifestError, parse
from knative.manifests.manifests import load
from knative.manifests.queues import WorkQueue, limits_of, load_work_queues, work_of
from knative.manifests.reading import read
from tests.conftest import sample
from tests.support.local_runner import (
    ECHO,
    REQUESTED,
    ROOT,
    Up,
    children,
    event,
    service,
    trigger,
    until,
    write_manifests,
)
from tests.support.rabbitmq_server import RabbitServer

pytestmark = pytest.mark.slow

WORK_QUEUES = load_work_queues(ROOT / "keda" / "base")
LONGREPORT, TELEMETRY = WORK_QUEUES
ENQUEUE = ROOT / "functions" / "enqueue" / "main.py"

WORK_QUEUE = """
apiVersion: rabbitmq.com/v1beta1
kind: Binding
metadata: {{name: slow}}
spec: {{source: work, destination: work.slow, destinationType: queue, routingKey: {type}}}
---
apiVersion: keda.sh/v1alpha1
kind: ScaledJob
metadata: {{name: slow}}
spec:
  pollingInterval: 1
  maxReplicaCount: {maximum}
  triggers:
    - type: rabbitmq
      metadata: {{queueName: work.slow, mode: QueueLength, value: "{value}", protocol: amqp}}
  jobTargetRef:
    template:
      spec:
        containers:
          - name: worker
            image: test
            envFrom: [{{configMapRef: {{name: errands}}}}]
            env:
              - {{name: K_SINK, value: http://errands-broker-ingress}}
              - {{name: WORK_DEAD_LETTER_SINK, value: http://deadletters.default.svc.cluster.local}}
              - {{name: FUNCTION_SOURCE, value: {source}}}
              - {{name: FUNCTION_TARGET, value: handle}}
              - {{name: WORK_QUEUE, value: work.slow}}
              - {{name: WORK_RETRY, value: "1"}}
              - {{name: WORK_BACKOFF_POLICY, value: linear}}
              - {{name: WORK_BACKOFF_DELAY_S, value: "0.1"}}
              - {{name: WORK_TIMEOUT_S, value: "30"}}
              - {{name: WORK_STOP_S, value: "20"}}
              - {{name: WORK_IDLE_S, value: "2"}}
              - {{name: WORK_HEALTH_PORT, value: "8080"}}
            livenessProbe: {{httpGet: {{path: /healthz}}, periodSeconds: 1, timeoutSeconds: 1, failureThreshold: 2}}
"""


def write_work_queue(folder: Path, *, maximum: int = 2, value: int = 1) -> Path:
    """A folder with one work queue of the echo function."""
    folder.mkdir()
    (folder / "kustomization.yaml").write_text("resources: [slow.yaml]\n")
    (folder / "slow.yaml").write_text(WORK_QUEUE.format(type=REQUESTED, source=ECHO, maximum=maximum, value=value))
    return folder


def work_up(tmp_path: Path, *arguments: str, **work_queue: int) -> Up:
    """`errands up` with a work queue that a Trigger leads to."""
    enqueue = service("enqueue", source=ENQUEUE, concurrency=100).rstrip()
    enqueue += "\n            - {name: WORK_EXCHANGE, value: work}\n            - {name: AMQP_LOGIN, value: /mounted}\n"
    heard = trigger("heard", subscriber="deadletters", filter="{outcome: completed}")
    documents = [enqueue, trigger("slow", subscriber="enqueue", parallelism=100), heard]
    manifests = write_manifests(tmp_path / "manifests", documents)
    work_queues = write_work_queue(tmp_path / "work_queues", **work_queue)
    return Up(tmp_path, manifests, "--queues", str(work_queues), "--max-processes", "4", *arguments)


@pytest.fixture(params=["embedded", "rabbitmq"])
def work_runner(request: pytest.FixtureRequest, tmp_path: Path) -> Callable[..., Up]:
    if request.param == "embedded":
        return lambda **work_queue: work_up(tmp_path, **work_queue)
    server: RabbitServer = request.getfixturevalue("rabbit")
    return lambda **work_queue: work_up(tmp_path, "--broker", server.url, **work_queue)


def test_jobs_take_the_work_queue_that_their_trigger_leads_to(work_runner: Callable[..., Up]) -> None:
    with work_runner() as runner:
        for number in range(6):
            assert runner.post(event(f"work-{number}", {"n": number})).status_code == 202

        outcomes = [runner.outcome(f"work-{number}") for number in range(6)]
        assert [each and each["type"] for each in outcomes] == ["dev.errands.echo.completed.v1"] * 6
        until(lambda: runner.metric("errands_processes", function="slow") == 0, what="idle workers to end")


def test_a_worker_that_hangs_is_replaced_and_what_it_held_is_done(work_runner: Callable[..., Up]) -> None:
    with work_runner(maximum=1) as runner:
        runner.post(event("first"))
        before = runner.outcome("first")
        assert before
        os.kill(before["data"]["pid"], signal.SIGSTOP)
        runner.post(event("second"))

        after = runner.outcome("second")

        assert after
        assert after["data"]["pid"] != before["data"]["pid"]
    assert "hangs and is killed: 2 times in a row GET /healthz had no answer within 1 s" in runner.log.read_text()


def test_a_work_queue_retries_and_gives_up_by_its_own_policy(work_runner: Callable[..., Up]) -> None:
    with work_runner() as runner:
        runner.post(event("work-bad", {"do": "status", "status": 503}))

        outcome = runner.outcome("work-bad")
        assert outcome is None  # nobody wants the notice here, but the dead letter is kept

        def dead_letters() -> str:
            command = [sys.executable, "-m", "knative.cli.main", "dead", "list", "--json", "--data", str(runner.data)]
            return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False).stdout

        until(lambda: "work-bad" in dead_letters(), what="the dead letter")
        assert re.search(r'"attempts":\s*2\b', dead_letters())


def test_as_many_workers_start_as_keda_would_start(work_runner: Callable[..., Up]) -> None:
    with work_runner(maximum=3, value=4) as runner:
        for number in range(9):
            runner.post(event(f"many-{number}", {"do": "sleep", "s": 1.5}))

        until(lambda: runner.metric("errands_processes", function="slow") >= 1)
        counts = {runner.metric("errands_processes", function="slow") for _ in range(200)}
        assert max(counts) <= 3
        assert all(runner.outcome(f"many-{number}") for number in range(9))


def test_the_runner_killed_leaves_no_worker_behind(rabbit: RabbitServer, tmp_path: Path) -> None:
    runner = work_up(tmp_path, "--broker", rabbit.url)
    with runner:
        runner.post(event("killed", {"do": "sleep", "s": 1}))
        until(lambda: runner.metric("errands_processes", function="slow") == 1)
        workers = children(runner.process.pid)

        runner.kill()

        until(lambda: not any(Path(f"/proc/{pid}/cmdline").exists() for pid in workers), what="the workers' end")


def test_errands_work_runs_one_worker_of_a_work_queue(rabbit: RabbitServer, tmp_path: Path) -> None:
    asyncio.run(declare(AmqpServer(url=rabbit.url), WORK_QUEUES))
    command = [sys.executable, "-m", "knative.cli.main", "work", "longreport", "--data", str(tmp_path)]
    command += ["--set", "longreport.WORK_IDLE_S=1", "--broker", rabbit.url]

    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False, timeout=60)

    assert done.returncode == 0, done.stderr
    assert "nothing to do for 1 s" in done.stderr


def test_errands_work_names_the_work_queues_that_there_are(rabbit: RabbitServer) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "knative.cli.main", "work", "nothing", "--broker", rabbit.url],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )

    assert done.returncode == 64
    assert "expected one of longreport, telemetry" in done.stderr


# --- KEDA's arithmetic


class Counted:
    """What is scaled, as numbers."""

    def __init__(self, count: int = 0) -> None:
        self.count = count
        self.starting = 0

    def scale(self, target: int) -> None:
        self.count = target


def scaler(
    work_queue: WorkQueue, workers: Counted, *, limit: int = 100, clock: Callable[[], float] = lambda: 0.0
) -> Scaler:
    async def nothing() -> int:
        return 0

    return Scaler(work_queue, workers, nothing, limit=limit, clock=clock)


@pytest.mark.parametrize(
    ("waiting", "workers"), [(0, 0), (1, 1), (50_000, 1), (50_001, 2), (149_999, 3), (1_000_000, 4)]
)
def test_a_deployment_wants_the_ceiling_of_length_by_value(waiting: int, workers: int) -> None:
    assert TELEMETRY.scaling.desired(waiting) == workers


def test_a_deployment_is_scaled_in_only_after_the_whole_cooldown() -> None:
    now_s, workers = [0.0], Counted()
    one = scaler(TELEMETRY, workers, clock=lambda: now_s[0])

    one.step(200_000)
    for at_s, ready_ in ((10.0, 0), (100.0, 0), (110.0, 200_000), (120.0, 0), (239.0, 0)):
        now_s[0] = at_s
        one.step(ready_)
        assert workers.count == 4

    now_s[0] = 240.0
    one.step(0)
    assert workers.count == 0


def test_jobs_are_started_for_what_waits_and_never_ended() -> None:
    workers = Counted()
    one = scaler(LONGREPORT, workers)

    one.step(3)
    assert workers.count == 3
    workers.starting = 3
    one.step(3)  # the same three, which nobody has taken yet
    assert workers.count == 3
    workers.starting = 0
    one.step(2)
    assert workers.count == 5
    one.step(0)
    assert workers.count == 5
    one.step(50)
    assert workers.count == 8


def test_there_are_no_more_workers_than_this_machine_has_room_for() -> None:
    workers = Counted()

    scaler(LONGREPORT, workers, limit=2).step(10)

    assert workers.count == 2


def test_an_activation_value_holds_the_first_worker_back() -> None:
    scaling = replace(TELEMETRY.scaling, activation=10.0)

    assert [scaling.desired(each) for each in (10, 11)] == [0, 1]


# --- the manifests


def test_the_linter_finds_nothing_in_the_work_queues_manifests() -> None:
    command = [sys.executable, "-m", "knative.cli.main", "lint", "--strict", "knative/base", "keda/base"]

    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)

    assert done.returncode == 0, done.stdout


def test_every_work_queue_of_a_trigger_has_its_queue_and_its_time_chain() -> None:
    manifests = load(ROOT / "knative" / "base")
    led_to = {each.filter["type"] for each in manifests.triggers if each.subscriber == "enqueue"}

    assert led_to <= {key for work_queue in WORK_QUEUES for key in work_queue.keys}
    for work_queue in WORK_QUEUES:
        values = {name: value for name, value in work_queue.environment.items() if isinstance(value, str)}
        own_s = float(values.get("TIMEOUT_S", 0))
        assert own_s < work_queue.delivery.timeout_s < 1800  # RabbitMQ's consumer timeout
        assert work_queue.delivery.dead_letter_sink in manifests.services
        assert (ROOT / values["FUNCTION_SOURCE"]).is_file()


def test_callbacks_and_mails_have_work_queues_where_they_wait_as_long_as_on_one_machine(tmp_path: Path) -> None:
    manifests = load(ROOT / "knative" / "base")
    for name in ("callbacks.yaml", "mails.yaml"):  # of a component, whose patches kubectl applies
        shutil.copy(ROOT / "keda" / "waiting" / name, tmp_path)
    (tmp_path / "kustomization.yaml").write_text("resources: [callbacks.yaml, mails.yaml]")
    waiting = {each.name: each for each in load_work_queues(tmp_path)}
    told = {
        each.name: work_of(replace(each, subscriber="enqueue"), manifests, tuple(waiting.values()))
        for each in manifests.triggers
        if each.subscriber in ("message", "notifier")
    }

    of_callbacks, of_mails = waiting["callbacks"], waiting["mails"]
    assert {name for name, each in told.items() if each is of_callbacks} == {
        "notifier-completed",
        "notifier-failed",
        "notifier-deadlettered",
    }
    assert {name for name, each in told.items() if each is of_mails} == {"message"}
    for each in manifests.triggers:
        work_queue = told.get(each.name)
        if work_queue is not None:
            service = manifests.services[each.subscriber]
            assert float(str(work_queue.environment["WORK_LONGEST_WAIT_S"])) == each.longest_wait_s
            assert work_queue.delivery.retry == each.delivery.retry
            assert work_queue.delivery.timeout_s == each.delivery.timeout_s
            assert service.environment.items() <= work_queue.environment.items() | {("THREADS", "10")}


@pytest.mark.parametrize(
    ("old", "new", "reason"),
    [
        (
            "destination: work.slow",
            "destination: work.other",
            "a Binding to the queue work.slow is required",
        ),
        ('value: "4",', 'value: "0",', "a number over 0 is expected, got '0'"),
        ("mode: QueueLength", "mode: MessageRate", "mode QueueLength is expected"),
        ("WORK_RETRY, value", "WORK_TRIES, value", "env WORK_RETRY must be a number, got None"),
        ("value: linear", "value: often", "WORK_BACKOFF_POLICY must be linear or exponential"),
        (
            "queueName: work.slow",
            "queueName: work.fast",
            "a trigger of type rabbitmq on the queue work.slow",
        ),
    ],
)
def test_a_work_queue_that_could_not_work_is_refused_with_its_place(
    tmp_path: Path, old: str, new: str, reason: str
) -> None:
    folder = write_work_queue(tmp_path / "work_queues", value=4)
    file = folder / "slow.yaml"
    assert old in file.read_text()
    file.write_text(file.read_text().replace(old, new))

    with pytest.raises(ManifestError, match=r"slow\.yaml:\d+: ") as raised:
        load_work_queues(folder)
    assert reason in str(raised.value)


def test_the_scaler_reads_ready_messages_only_and_none_where_nobody_can_tell(rabbit: RabbitServer) -> None:
    nowhere = replace(LONGREPORT, queue="work_queue.nowhere")

    assert asyncio.run(ready(AmqpServer(url=rabbit.url), nowhere)) == 0


@pytest.fixture
def limited(rabbit: RabbitServer) -> Iterator[WorkQueue]:
    """Our own work queue in a queue of the test's own, by the limits of our own Policy."""
    name = f"work.{os.urandom(4).hex()}"
    yield replace(LONGREPORT, queue=name, exchange=name)
    rabbit.control("delete_queue", name)


def test_the_limits_of_a_work_queue_are_those_of_the_clusters_policy(rabbit: RabbitServer, limited: WorkQueue) -> None:
    [policy] = [each for each in read(str(ROOT / "keda" / "base")) if each.kind == "Policy"]

    asyncio.run(declare(AmqpServer(url=rabbit.url), [limited]))

    shown = rabbit.control("list_queues", "name", "arguments")
    [arguments] = [line.partition("\t")[2] for line in shown.splitlines() if line.startswith(limited.queue)]
    assert all(each.limits == policy.data["spec"]["definition"] for each in WORK_QUEUES)
    assert limited.limits == {"delivery-limit": 1000, "max-length-bytes": 10 * 1024**3, "overflow": "reject-publish"}
    assert all(f'{{"x-{name}",' in arguments and str(value) in arguments for name, value in limited.limits.items())


def test_a_full_work_queue_refuses_what_is_published(rabbit: RabbitServer, limited: WorkQueue) -> None:
    full = replace(limited, limits={**limited.limits, "max-length-bytes": 1_000})
    asyncio.run(declare(AmqpServer(url=rabbit.url), [full]))

    async def publish(count: int) -> None:
        async with connected(AmqpServer(url=rabbit.url), name="test") as connection:
            channel = await connection.channel()
            for _ in range(count):
                await channel.publish(BasicProperties(), b"." * 500, routing_key=full.queue)

    with pytest.raises(ServerUnavailable, match="could not keep"):
        asyncio.run(publish(20))


def test_a_queue_with_other_limits_is_taken_as_it_is_and_said(
    rabbit: RabbitServer, limited: WorkQueue, caplog: pytest.LogCaptureFixture
) -> None:
    server = AmqpServer(url=rabbit.url)
    asyncio.run(declare(server, [replace(limited, limits={})]))

    asyncio.run(declare(server, [limited]))

    assert f"{limited.queue} has other limits than its manifests" in caplog.text
    assert limited.queue in rabbit.control("list_bindings", "source_name", "destination_name")


def test_of_several_policies_the_highest_priority_holds_alone() -> None:
    [place] = [each.root["spec"] for each in read(str(ROOT / "keda" / "base")) if each.kind == "Policy"]
    manifest = "apiVersion: rabbitmq.com/v1beta1\nkind: Policy\nmetadata: {name: p}\nspec: "
    over, under, elsewhere = (
        next(parse(manifest + text, "p")).root["spec"]
        for text in (
            "{pattern: longreport, priority: 2, definition: {max-length: 5}}",
            "{pattern: longreport, definition: {max-length: 6}}",
            "{pattern: telemetry, priority: 3, definition: {max-length: 7}}",
        )
    )

    assert limits_of("work.longreport", [place, over, under, elsewhere]) == {"max-length": 5}
    assert limits_of("mail", [place, over]) == {}


def test_the_sample_of_a_long_report_asks_for_what_a_report_takes() -> None:
    wanted: dict[str, Any] = sample("longreport")["data"]

    assert wanted == sample("report")["data"]
