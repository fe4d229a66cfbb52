"""The systems under test, one after the other, each started once."""

import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.conformance.subscriber import Subscriber, subscriber
from tests.conformance.systems import KnativeDataPlane, Runner, System, write_manifests
from tests.support.local_runner import ROOT
from tests.support.rabbitmq_server import RabbitServer

SYSTEMS = ("embedded", "rabbitmq", "knative")
GO = ("go", "/usr/local/go/bin/go")


def pytest_configure(config: pytest.Config) -> None:
    """Our marks."""
    config.addinivalue_line("markers", "deviates(SYSTEM=reason): a promise that this system is known to break")
    config.addinivalue_line("markers", "of_rabbitmq: a promise about a RabbitMQ server, so none of the embedded broker")


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Each promise on each system; a known deviation must fail, so that a release which mends it is noticed."""
    if "system" not in metafunc.fixturenames:
        return
    marks = {mark.name: mark for mark in metafunc.definition.iter_markers()}
    known = marks["deviates"].kwargs if "deviates" in marks else {}
    parameters = [
        pytest.param(
            name,
            marks=[pytest.mark.xfail(reason=known[name], strict=True, raises=AssertionError)] if name in known else [],
        )
        for name in SYSTEMS
        if not (name == "embedded" and "of_rabbitmq" in marks)
    ]
    metafunc.parametrize("system", parameters, indirect=True, scope="session")


@pytest.fixture(scope="session")
def worker() -> Iterator[Subscriber]:
    """Where all events go."""
    with subscriber() as server:
        yield server


@pytest.fixture(autouse=True)
def _patience(request: pytest.FixtureRequest) -> None:
    """A busy machine is waited for, but not a system that is known to break the promise."""
    if "worker" in request.fixturenames:
        worker: Subscriber = request.getfixturevalue("worker")
        worker.patience_s = 0.0 if request.node.get_closest_marker("xfail") else 60.0


@pytest.fixture(scope="session")
def system(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, worker: Subscriber
) -> Iterator[System]:
    """A running system, the same for all its tests."""
    folder = tmp_path_factory.mktemp(request.param)
    built = _build(request, folder, worker)
    built.start()
    try:
        yield built
    finally:
        built.kill()


def _build(request: pytest.FixtureRequest, folder: Path, worker: Subscriber) -> System:
    manifests = write_manifests(folder / "manifests", worker.url)
    if request.param == "embedded":
        return Runner(folder, manifests)
    rabbit: RabbitServer = request.getfixturevalue("rabbit")
    vhost = f"conformance-{request.param}"
    rabbit.control("add_vhost", vhost)
    rabbit.control("set_permissions", "-p", vhost, "guest", ".*", ".*", ".*")
    if request.param == "rabbitmq":
        return Runner(folder, manifests, "--broker", rabbit.url + vhost)
    return KnativeDataPlane(
        folder,
        manifests,
        programs=request.getfixturevalue("programs"),
        rabbit=rabbit,
        vhost=vhost,
        subscriber=lambda service: f"{worker.url}/{service}",
    )


@pytest.fixture(scope="session")
def programs() -> Path:
    """Knative's binaries, built where there is Go; a machine without it skips them."""
    if not any(shutil.which(each) for each in GO):
        pytest.skip("Go is not installed, which builds Knative's data plane")
    built = subprocess.run([ROOT / ".ci/knative"], capture_output=True, text=True, check=False, env=os.environ)
    if built.returncode:
        (pytest.fail if os.environ.get("CI") else pytest.skip)(f"Knative's data plane: {built.stderr[-500:]}")
    return Path(built.stdout.strip().splitlines()[-1])
