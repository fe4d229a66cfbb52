"""What several files of tests share: the samples, as the events that they are."""

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
from hypothesis import settings

from tests.support.rabbitmq_server import RabbitServer, make_certificates, rabbit_server

# in CI the same examples each time: a new one is found where a person sees it
settings.register_profile("ci", derandomize=True)
if "CI" in os.environ:
    settings.load_profile("ci")

SAMPLES = Path(__file__).parents[1] / "events" / "samples"


KINDS = ("rabbitmq", "postgresql", "php", "chromium", "podman", "knative", "kubernetes")
# by what a test asks for one of them: a fixture, or a parameter
ASKED = {
    **{kind: kind for kind in KINDS},
    "rabbit": "rabbitmq",
    "rabbit_tls": "rabbitmq",
    "postgresql_server": "postgresql",
    "base": "podman",
    "programs": "knative",
}
OF_SEVERAL = ("system", "database_url", "work_runner", "shop")
"""Fixtures whose parameter is the kind."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark the tests that need a real server, by its kind and as `server`: `make test-fast` is without them."""
    for item in items:
        for kind in {ASKED[each] for each in asked_by(item) if each in ASKED}:
            item.add_marker(kind)
        if any(item.get_closest_marker(kind) for kind in KINDS):
            item.add_marker("server")
    long = {item.path for item in items if item.get_closest_marker("server") or item.get_closest_marker("slow")}
    items.sort(key=lambda item: item.path not in long)  # so that no worker has one of them left at the end


def asked_by(item: pytest.Item) -> list[str]:
    """A test's fixtures, and which of several systems it is for."""
    parameters = item.callspec.params if hasattr(item, "callspec") else {}
    return [*getattr(item, "fixturenames", ()), *(str(parameters[name]) for name in OF_SEVERAL if name in parameters)]


def sample(job: str, phase: str = "requested") -> dict[str, Any]:
    """The sample of one event type in structured mode, for a test to change one field of it."""
    envelope: dict[str, Any] = json.loads((SAMPLES / f"dev.errands.{job}.{phase}.v1.json").read_bytes())
    return envelope


@pytest.fixture(scope="session")
def rabbit(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RabbitServer]:
    """A RabbitMQ server for the whole run; a test that stops it starts it again."""
    with rabbit_server(tmp_path_factory.mktemp("rabbitmq")) as server:
        yield server


@pytest.fixture(params=["embedded", "rabbitmq"])
def broker(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[tuple[str, ...]]:
    """What `errands up` is given for each of its brokers; on RabbitMQ a virtual host of the test's own."""
    if request.param == "embedded":
        yield ()
        return
    server: RabbitServer = request.getfixturevalue("rabbit")
    name = f"of.{tmp_path.name}"
    server.control("add_vhost", name)
    server.control("set_permissions", "-p", name, "guest", ".*", ".*", ".*")
    yield ("--broker", f"{server.url.rstrip('/')}/{quote(name, safe='')}")
    server.control("delete_vhost", name)


@pytest.fixture(scope="session")
def rabbit_tls(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[RabbitServer, Path]]:
    """A RabbitMQ server that takes TLS connections, and the folder with ca.crt."""
    folder = tmp_path_factory.mktemp("rabbitmq-tls")
    certificates = make_certificates(folder)
    with rabbit_server(folder, certificates=certificates) as server:
        yield server, certificates
