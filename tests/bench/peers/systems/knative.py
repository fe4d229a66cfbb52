"""The same functions behind the released data plane of Knative's RabbitMQ broker, without a cluster.

There is no Knative Serving here: each function is one process that runs all the time, so nothing starts from zero.
Of the manifests only those that the jobs need have dispatchers.
"""

import os
import shutil
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Final

import httpx

from tests.bench.peers.systems.base import Place, Running, System, no_rabbitmq
from tests.bench.peers.systems.errands import NOOP, api, prepare
from tests.conformance.functions_up import Functions, running
from tests.conformance.systems import KnativeDataPlane
from tests.support.local_runner import ROOT, until
from tests.support.ports import free_port

MANIFESTS: Final = ("config", "broker", "deadletters", "notifier", "image")
BUILD: Final = ROOT / ".ci" / "knative"


@contextmanager
def up(place: Place, *, held: bool) -> Iterator[Running]:
    """The ingress and the functions; the dispatchers start when they are released."""
    data, port = place.folder / "data", free_port()
    prepare(place, data)
    functions = Functions(subset(place.folder), data, ingress_url=f"http://127.0.0.1:{port}/", settings={})
    plane = KnativeDataPlane(
        place.folder,
        place.folder / "knative",
        programs=programs(),
        rabbit=place.rabbit,
        vhost=place.vhost,
        subscriber=functions.url,
        port=port,
    )
    started_s = time.monotonic()
    with running(functions):
        try:
            plane.declare()
            plane.start_part("ingress")
            until(partial(responses, plane.url), what="the ingress of Knative")
            yield Running(
                api=lambda: api(place, plane.url),
                release=partial(dispatch, plane),
                own=lambda: [each.pid for each in (*plane.parts.values(), *functions.processes.values())],
                servers=place.rabbitmq,
                ready_s=time.monotonic() - started_s,
            )
        finally:
            plane.kill()


def dispatch(plane: KnativeDataPlane) -> None:
    """Start what the broker's controller would."""
    for name in plane.part_names:
        if name != "ingress":
            plane.start_part(name)


def subset(folder: Path) -> Path:
    """The manifests of what the jobs need."""
    manifests = folder / "knative"
    manifests.mkdir()
    for each in (*(ROOT / "knative" / "base" / f"{name}.yaml" for name in MANIFESTS), NOOP):
        shutil.copy(each, manifests)
    listed = "".join(f"  - {each.name}\n" for each in sorted(manifests.iterdir()))
    (manifests / "kustomization.yaml").write_text(f"resources:\n{listed}")
    return manifests


def responses(url: str) -> bool:
    """Whether somebody listens."""
    try:
        return bool(httpx.get(url).status_code)
    except httpx.TransportError:
        return False


def programs() -> Path:
    """Where the two programs are; the first time builds them."""
    path = f"{os.environ['PATH']}:/usr/local/go/bin"
    return Path(subprocess.check_output([BUILD], text=True, env=os.environ | {"PATH": path}).strip())


def missing() -> str | None:
    """RabbitMQ, and Go, which builds the two programs."""
    go = shutil.which("go", path=f"{os.environ['PATH']}:/usr/local/go/bin")
    return no_rabbitmq() or (None if go else "it takes Go to build it")


def versions() -> dict[str, str]:
    """As .ci/knative names its folder."""
    return {"eventing-rabbitmq": programs().name.rpartition("-")[2]}


KNATIVE: Final = System(
    name="knative",
    title="Errands on Knative's data plane",
    durability="in quorum queues, confirmed before the 202",
    settings="released ingress and dispatchers, one process of each function, always running",
    up=up,
    versions=versions,
    missing=missing,
    from_nothing=False,
)
