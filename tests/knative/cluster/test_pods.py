"""Each function starts from what the production overlay and its README's Secrets give its pod, and nothing else."""

import asyncio
import base64
import json
import os
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import httpx
import pytest

from functions.amqp.server import AmqpServer
from functions.deadletters.service.operators import KEY_CHARACTERS, parse
from knative.cluster.needs import Needs
from knative.local.queues.workers import declare
from knative.manifests.queues import load_work_queues
from knative.manifests.reading import read
from tests.conftest import sample
from tests.support.database_servers import new_database, postgresql_server
from tests.support.local_runner import until
from tests.support.overlays import PRODUCTION, ROOT, production
from tests.support.pods import CannotStart, Secrets, command_of, container_of, environment
from tests.support.ports import free_port
from tests.support.rabbitmq_server import RabbitServer

__all__ = ["postgresql_server"]  # a fixture

pytestmark = pytest.mark.slow

SERVICES = [each.name for each in read(str(ROOT / "knative" / "base")) if each.group == "serving.knative.dev"]
# What a person makes by the README, and the topology operator for the User of the queue workers.
SECRETS: Secrets = {
    "callback": {"secrets": "whsec_" + "c2VjcmV0" * 4},
    "console": {"operators": f"ada see,data,replay {'0a' * 16}", "session-key": "0a" * 32},
    "message": {"targets": '{"ops": "slack://a/b/c"}'},
    "smtp": {"username": "errands", "password": "secret"},
    "store": {"AWS_ACCESS_KEY_ID": "key", "AWS_SECRET_ACCESS_KEY": "secret"},
    "store-names": {"STORE_NAMES_SECRET": "0a" * 32},
    "work-user-credentials": {"username": "guest", "password": "guest"},
}
SERVED_S = 60.0
RUNBOOK = PRODUCTION / "README.md"


@pytest.fixture
def secrets(postgresql_server: str) -> Secrets:
    return {**SECRETS, "deadletters-database": {"url": new_database(postgresql_server)}}


@contextmanager
def pod(
    kind: str, name: str, secrets: Secrets, folder: Path, **here: str
) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """The process of a container, and its URL; `here` is what a cluster's own names stand for on this machine."""
    container, port = container_of(production(), kind, name), free_port()
    own = environment(production(), container, secrets, folder) | here
    image = {"PATH": os.environ["PATH"], "HOME": str(folder)}  # what functions/Dockerfile sets
    command = [sys.executable, *command_of(container)[1:]]
    with (folder / "log").open("w+") as log:
        serving = {"PORT": str(port), "HOST": "0.0.0.0", "K_SERVICE": name}  # as Serving starts it
        process = subprocess.Popen(command, cwd=ROOT, env=image | serving | own, stdout=log, stderr=log, text=True)
        try:
            yield process, f"http://127.0.0.1:{port}"
        finally:
            process.terminate()
            process.wait(60)
            log.seek(0)
            sys.stdout.write(log.read())  # which pytest shows of a test that failed


def answers(process: subprocess.Popen[str], url: str) -> bool:
    assert process.poll() is None, f"it ended with {process.returncode}"
    try:
        return httpx.get(url, timeout=5).status_code == 200
    except httpx.TransportError:
        return False


@pytest.mark.parametrize("name", SERVICES)
def test_a_function_answers_its_probes_from_its_pod_s_environment_alone(
    name: str, secrets: Secrets, tmp_path: Path
) -> None:
    container = container_of(production(), "Service", name)
    paths = {container[each]["httpGet"]["path"].text for each in ("readinessProbe", "livenessProbe") if container[each]}

    with pod("Service", name, secrets, tmp_path) as (process, url):
        until(lambda: all(answers(process, url + each) for each in paths), timeout_s=SERVED_S, what=f"{name}'s probes")

    assert paths


def test_what_preflight_calls_needed_is_what_a_pod_does_not_start_without(tmp_path: Path) -> None:
    complete = {**SECRETS, "deadletters-database": {"url": "postgresql://"}}

    def refused(name: str) -> set[str]:
        found, without = set(), {key: value for key, value in complete.items() if key != name}
        for service in SERVICES:
            try:
                environment(production(), container_of(production(), "Service", service), without, tmp_path)
            except CannotStart as error:
                found.add(str(error))
        return found

    for each in Needs(production().documents).secrets:
        assert refused(each.name) == ({f"there is no Secret {each.name}"} if each.needed else set())


def test_the_readme_s_lines_make_the_secrets_that_the_pods_start_from(tmp_path: Path) -> None:
    """Each `kubectl create` of the runbook, which needs no cluster to say what it would make."""
    lines = [line for line in RUNBOOK.read_text().splitlines() if line.startswith("kubectl create secret generic ")]
    here = [line for line in lines if " -n errands " in line]
    (key,) = (line for line in RUNBOOK.read_text().splitlines() if line.startswith("openssl genrsa "))
    shell(key, tmp_path)
    dry = 'kubectl() { command kubectl "$@" --dry-run=client --output=json; }; '
    made = [json.loads(shell(dry + line, tmp_path)) for line in here]
    secrets = {
        each["metadata"]["name"]: {key: base64.b64decode(value).decode() for key, value in each["data"].items()}
        for each in made
    }

    for service in SERVICES:
        container = container_of(production(), "Service", service)
        assert environment(production(), container, {**SECRETS, **secrets}, tmp_path)
    assert all(each["metadata"]["namespace"] == production().namespace for each in made)
    assert parse(secrets["console"]["operators"]).with_token(secrets["console"]["operators"].split()[-1])
    assert len(secrets["console"]["session-key"]) >= KEY_CHARACTERS
    assert secrets["callback"]["secrets"].startswith("whsec_")


def shell(line: str, folder: Path) -> str:
    return subprocess.run(["bash", "-c", line], cwd=folder, capture_output=True, check=True, text=True).stdout


def test_enqueue_publishes_with_the_login_that_is_mounted(
    rabbit: RabbitServer, secrets: Secrets, tmp_path: Path
) -> None:
    asyncio.run(declare(AmqpServer(url=rabbit.url), load_work_queues(ROOT / "keda" / "base")))

    with pod("Service", "enqueue", secrets, tmp_path, AMQP_URL=without_login(rabbit)) as (process, url):
        until(lambda: answers(process, f"{url}/healthz"), timeout_s=SERVED_S, what="enqueue")
        response = httpx.post(url, json=sample("longreport"), headers=STRUCTURED, timeout=30)

    assert response.status_code == 202, response.text
    rabbit.control("purge_queue", "work.longreport")


@pytest.mark.parametrize(
    ("kind", "name"), [("ScaledJob", "longreport"), ("Deployment", "callbacks"), ("Deployment", "mails")]
)
def test_a_work_queue_s_worker_consumes_with_the_login_that_is_mounted(
    kind: str, name: str, rabbit: RabbitServer, secrets: Secrets, tmp_path: Path
) -> None:
    queue = f"work.{name}"
    work_queue = next(iter(load_work_queues(ROOT / "keda" / "base")))
    asyncio.run(declare(AmqpServer(url=rabbit.url), [replace(work_queue, queue=queue, keys=(name,))]))

    with pod(kind, name, secrets, tmp_path, AMQP_URL=without_login(rabbit), WORK_HEALTH_PORT="0") as (process, _):
        until(lambda: consumes(rabbit, queue, process), timeout_s=SERVED_S, poll_s=0.5, what="the worker to consume")


STRUCTURED: Mapping[str, str] = {"content-type": "application/cloudevents+json"}


def without_login(rabbit: RabbitServer) -> str:
    return f"amqp://127.0.0.1:{rabbit.port}"


def consumes(rabbit: RabbitServer, queue: str, process: subprocess.Popen[str]) -> bool:
    assert process.poll() is None, f"it ended with {process.returncode}"
    return queue in rabbit.control("list_consumers", "queue_name")
