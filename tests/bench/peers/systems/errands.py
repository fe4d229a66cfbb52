"""Errands itself: `errands up` on its embedded broker, or on RabbitMQ, with all its manifests and one more function."""

import shutil
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import Final

from tests.bench.peers.systems.base import APPS, Api, Place, Running, System, end, no_rabbitmq
from tests.support.local_runner import ROOT, until
from tests.support.ports import free_port

GATEWAY: Final = ("gateway.yaml", "gateway-routes.yaml")
NOOP: Final = Path(__file__).parent.parent / "noop.yaml"
START_S: Final = 30.0


@contextmanager
def up(place: Place, *, held: bool, rabbitmq: bool, gateway: bool = True) -> Iterator[Running]:
    """The runner; its functions are at zero, and the no-op function does nothing while it is held. Without a gateway
    jobs are sent straight to the broker.
    """
    data, port, hold = place.folder / "data", free_port(), place.folder / "hold"
    prepare(place, data)
    command: list[str | Path] = [sys.executable, "-m", "knative.cli.main", "up", "--data", data, "--port", str(port)]
    command += [
        "--manifests",
        project(place.folder, gateway=gateway),
        *(("--broker", place.amqp_url) if rabbitmq else ()),
    ]
    environment = place.environment | {"PYTHONPATH": str(ROOT)}
    if held:
        command += ["--set", f"noop.BENCH_HOLD={hold}"]
    started_s = time.monotonic()
    runner = place.start("up", command, environment)
    try:
        until(partial(ready, port), timeout_s=START_S, poll_s=0.005, what="errands up")
        yield Running(
            api=lambda: api(place, f"http://127.0.0.1:{port}/"),
            hold=hold.touch,
            release=partial(hold.unlink, missing_ok=True),
            own=lambda: [runner.pid],
            servers=place.rabbitmq if rabbitmq else {},
            ready_s=time.monotonic() - started_s,
        )
    finally:
        hold.unlink(missing_ok=True)
        end([runner], grace_s=60)


def api(place: Place, ingress_url: str) -> Api:
    """An API that posts events."""
    environment = place.environment | {"PYTHONPATH": str(APPS), "BENCH_INGRESS_URL": ingress_url}
    environment["BENCH_REPORT"] = str(ROOT / "events/samples/dev.errands.report.requested.v1.json")
    return Api(place, sys.executable, "errands_client", environment)


def prepare(place: Place, data: Path) -> None:
    """A data directory with the picture in the store, and the secret that callbacks are signed with."""
    secret = place.secret.encode()
    for file, content in {"store/uploads/photo.jpg": place.photo, "secrets/callback/secrets": secret}.items():
        (data / file).parent.mkdir(parents=True, exist_ok=True)
        (data / file).write_bytes(content)


def project(folder: Path, *, gateway: bool = True) -> Path:
    """The manifests of Errands with the no-op function's beside them, as the README says to add one."""
    for package in ("events", "functions", "tests"):
        (folder / package).symlink_to(ROOT / package)
    manifests = folder / "knative"
    shutil.copytree(
        ROOT / "knative" / "base", manifests, ignore=lambda _, names: [n for n in names if not n.endswith(".yaml")]
    )
    shutil.copy(NOOP, manifests)
    listing = manifests / "kustomization.yaml"
    kept = [line for line in listing.read_text().splitlines() if gateway or not line.endswith(GATEWAY)]
    listing.write_text("\n".join([*kept, "  - noop.yaml", ""]))
    return manifests


def ready(port: int) -> bool:
    """Whether the ingress says so."""
    import httpx

    try:
        return httpx.get(f"http://127.0.0.1:{port}/readyz").status_code == 200
    except httpx.TransportError:
        return False


EMBEDDED: Final = System(
    name="embedded",
    title="Errands, embedded",
    durability="on disk before the 202 (SQLite, WAL, fsync)",
    settings="`errands up`, all manifests of `knative/` and the no-op function's, 2 processes for 8 jobs each",
    up=partial(up, rabbitmq=False),
    versions=lambda: {"errands": version("errands")},
    from_zero=True,
    parts=("latency", "report", "drain", "image"),
)
STRAIGHT: Final = System(
    name="straight",
    title="Errands, embedded, without its gateway",
    durability="on disk before the 202 (SQLite, WAL, fsync)",
    settings="`errands up`, the same manifests but the gateway's: no ledger, no watchdog",
    up=partial(up, rabbitmq=False, gateway=False),
    versions=lambda: {"errands": version("errands")},
    from_zero=True,
    parts=("latency", "drain"),
)
RABBITMQ: Final = System(
    name="rabbitmq",
    title="Errands on RabbitMQ",
    durability="in quorum queues, confirmed before the 202",
    settings="`errands up --broker amqp://...`, the same otherwise",
    up=partial(up, rabbitmq=True),
    missing=no_rabbitmq,
    versions=lambda: {"errands": version("errands")},
    from_zero=True,
    parts=("latency", "report", "drain", "image"),
)
