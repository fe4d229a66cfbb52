"""What a trial puts beside the overlay: an API that takes callbacks, a database, Secrets, a Trigger whose job fails.

The overlay itself is deployed as it is but for its ConfigMap, which names them.
"""

import base64
import secrets
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import yaml

from knative.cluster.needs import Needs
from knative.cluster.overlay import Overlay, overlay_of
from knative.cluster.trial.receiver import HTTP_PORT, SMTP_PORT
from knative.manifests.declared import PARALLELISM
from knative.manifests.pods import containers, pods

POSTGRESQL_IMAGE: Final = "docker.io/library/postgres:17-alpine"
TRIAL: Final = {"errands.dev/trial": "true"}
# The overlay's policies leave pods with this label to policies of their own: nobody would reach the trial's otherwise.
EXEMPT: Final = {"errands.dev/sends": "events"}
FAILING: Final = "dev.errands.trial.requested.v1"
PRIVATE: Final = "10.0.0.0/8,172.16.0.0/12,192.168.0.0/16,fd00::/8"
RESTRICTED: Final = {
    "allowPrivilegeEscalation": False,
    "runAsNonRoot": True,
    "capabilities": {"drop": ["ALL"]},
    "seccompProfile": {"type": "RuntimeDefault"},
}


@dataclass(frozen=True, kw_only=True)
class Fixture:
    """The values of one trial."""

    namespace: str
    token: str
    password: str
    database_url: str
    store_url: str
    postgresql_image: str

    @property
    def receiver_url(self) -> str:
        """Where callbacks go."""
        return f"http://receiver.{self.namespace}.svc.cluster.local"


def fixture(
    namespace: str,
    *,
    database_url: str = "",
    store_url: str = "",
    postgresql_image: str = POSTGRESQL_IMAGE,
) -> Fixture:
    """New secrets; without a database the trial brings one, without a store each pod keeps its results to itself."""
    password = secrets.token_hex(16)
    own = f"postgresql://errands:{password}@postgresql.{namespace}.svc.cluster.local/errands"
    return Fixture(
        namespace=namespace,
        token=secrets.token_hex(16),
        password=password,
        database_url=database_url or own,
        store_url=store_url or "file:///tmp/store",
        postgresql_image="" if database_url else postgresql_image,
    )


def settings(given: Fixture) -> Mapping[str, str]:
    """What the ConfigMap says in a trial."""
    return {
        "STORE_URL": given.store_url,
        "STORE_PUBLIC_URL": "",
        "CALLBACK_URL": f"{given.receiver_url}/callbacks",
        "ALLOWED_ORIGINS": given.receiver_url,
        "ALLOWED_NETWORKS": PRIVATE,
        "SMTP_HOST": f"receiver.{given.namespace}.svc.cluster.local",
        "SMTP_PORT": str(SMTP_PORT),
        "SMTP_SECURITY": "none",
    }


def tried(overlay: Overlay, given: Fixture, **more: str) -> Overlay:
    """The overlay with the trial's ConfigMap; `more` stands in it too, which makes another release of the same."""
    resources = [dict(each.data) for each in overlay.documents]
    for each in resources:
        if each["kind"] == "ConfigMap" and each["metadata"]["name"] == "errands":
            each["data"] = {**each["data"], **settings(given), **more}
    return overlay_of(yaml.safe_dump_all(resources, sort_keys=False))


def secret_values(given: Fixture) -> Mapping[str, Mapping[str, str]]:
    """The Secrets that the overlay's README names, with values of this trial."""
    signing = "whsec_" + base64.b64encode(secrets.token_bytes(32)).decode()
    return {
        "callback": {"secrets": signing},
        "console": {"operators": f"trial all {given.token}", "session-key": secrets.token_hex(32)},
        "deadletters-database": {"url": given.database_url},
        "gateway": {"tokens": f"trial all {given.token}", "ticket-secret": secrets.token_hex(32)},
        "ledger-database": {"url": given.database_url},
        "message": {"targets": "{}"},
        "store-names": {"STORE_NAMES_SECRET": secrets.token_hex(32)},
    }


def namespace(overlay: Overlay, given: Fixture) -> Overlay:
    """The namespace and its Secrets, before any pod: Kubernetes makes their account once it has seen the namespace."""
    own = next(dict(each.data) for each in overlay.documents if each.kind == "Namespace")
    names = {each.name for each in Needs(overlay.documents).secrets}
    made = [_secret(given, name, values) for name, values in secret_values(given).items() if name in names]
    return overlay_of(yaml.safe_dump_all([own, *made]))


def beside(overlay: Overlay, given: Fixture) -> Overlay:
    """The trial's own pods, and who may call them."""
    database = list(_database(given)) if given.postgresql_image else []
    return overlay_of(yaml.safe_dump_all([*_receiver(overlay, given), *database, *_policies(given)]))


def failing(given: Fixture) -> Overlay:
    """The Trigger whose job fails twice, and so becomes a dead letter."""
    sink = {"ref": {"apiVersion": "serving.knative.dev/v1", "kind": "Service", "name": "deadletters"}}
    delivery = {
        "retry": 1,
        "backoffPolicy": "linear",
        "backoffDelay": "PT1S",
        "timeout": "PT30S",
        "deadLetterSink": sink,
    }
    trigger = {
        "apiVersion": "eventing.knative.dev/v1",
        "kind": "Trigger",
        "metadata": {"name": "trial-fails", "namespace": given.namespace, "annotations": {PARALLELISM: "4"}},
        "spec": {
            "broker": "errands",
            "filter": {"attributes": {"type": FAILING}},
            "delivery": delivery,
            "subscriber": {"uri": f"{given.receiver_url}/fails"},
        },
    }
    return overlay_of(yaml.safe_dump(trigger))


def _secret(given: Fixture, name: str, values: Mapping[str, str]) -> dict[str, Any]:
    metadata = {"name": name, "namespace": given.namespace}
    return {"apiVersion": "v1", "kind": "Secret", "metadata": metadata, "stringData": dict(values)}


def _receiver(overlay: Overlay, given: Fixture) -> Iterator[dict[str, Any]]:
    """In an image that the cluster has to pull anyway."""
    images = {
        each["image"].text for document in overlay.documents for pod in pods(document) for each in containers(pod)
    }
    image = next(each for each in sorted(images) if "/ics" in each)
    container = {
        "name": "receiver",
        "image": image,
        "command": ["python", "-c", (Path(__file__).with_name("receiver.py")).read_text()],
        "securityContext": {**RESTRICTED, "runAsUser": 65532},
    }
    yield from _served(given, "receiver", container, {80: HTTP_PORT, SMTP_PORT: SMTP_PORT})


def _database(given: Fixture) -> Iterator[dict[str, Any]]:
    """A PostgreSQL whose data goes with its pod."""
    variables = {"POSTGRES_USER": "errands", "POSTGRES_PASSWORD": given.password, "PGDATA": "/tmp/data"}  # noqa: S108
    container = {
        "name": "postgresql",
        "image": given.postgresql_image,
        "env": [{"name": name, "value": value} for name, value in variables.items()],
        "securityContext": {**RESTRICTED, "runAsUser": 70},
    }
    yield from _served(given, "postgresql", container, {5432: 5432})


def _served(given: Fixture, name: str, container: dict[str, Any], ports: Mapping[int, int]) -> Iterator[dict[str, Any]]:
    """A pod behind a Service: its ports, and where they lead."""
    labels = {**TRIAL, **EXEMPT, "app.kubernetes.io/name": name}
    metadata = {"name": name, "namespace": given.namespace}
    pod = {"automountServiceAccountToken": False, "terminationGracePeriodSeconds": 1, "containers": [container]}
    yield {"apiVersion": "v1", "kind": "Pod", "metadata": {**metadata, "labels": labels}, "spec": pod}
    served = [{"name": f"port-{port}", "port": port, "targetPort": target} for port, target in ports.items()]
    spec = {"selector": {"app.kubernetes.io/name": name}, "ports": served}
    yield {"apiVersion": "v1", "kind": "Service", "metadata": metadata, "spec": spec}


def _policies(given: Fixture) -> Iterator[dict[str, Any]]:
    """Everything of the namespace may call what the trial brings: in production neither is in it."""
    yield {
        "apiVersion": "networking.k8s.io/v1",
        "kind": "NetworkPolicy",
        "metadata": {"name": "trial", "namespace": given.namespace},
        "spec": {
            "podSelector": {},
            "policyTypes": ["Egress"],
            "egress": [{"to": [{"podSelector": {"matchLabels": TRIAL}}]}],
        },
    }
