"""Our own manifests and functions, unchanged, in front of Knative's data plane on this machine."""

import subprocess
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from tests.conformance.functions_up import Functions, running
from tests.conformance.systems import KnativeDataPlane
from tests.support.local_runner import ROOT
from tests.support.ports import free_port
from tests.support.rabbitmq_server import rabbit_server


@contextmanager
def errands_on_knative(data: Path, settings: Mapping[str, Mapping[str, str]]) -> Iterator[str]:
    """RabbitMQ, the ingress, a pair of dispatchers for each Trigger, each function; the URL of the ingress."""
    programs = Path(subprocess.check_output([ROOT / ".ci/knative"], text=True).strip())
    port, manifests = free_port(), ROOT / "knative" / "base"
    functions = Functions(manifests, data, ingress_url=f"http://127.0.0.1:{port}/", settings=settings)
    with rabbit_server(data / "rabbitmq") as rabbit, running(functions):
        rabbit.control("add_vhost", "errands")
        rabbit.control("set_permissions", "-p", "errands", "guest", ".*", ".*", ".*")
        plane = KnativeDataPlane(
            data, manifests, programs=programs, rabbit=rabbit, vhost="errands", subscriber=functions.url, port=port
        )
        plane.start()
        try:
            yield plane.url.rstrip("/")
        finally:
            plane.kill()
