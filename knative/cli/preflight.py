"""`errands preflight`: whether the cluster that kubectl talks to has what the production overlay needs."""

import json
import shutil
import subprocess
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, Final

import yaml

from knative.cli.doctor import Diagnosis

OVERLAY: Final = Path(__file__).parents[1] / "overlays" / "production"
NAMESPACE: Final = "errands"
SERVING: Final = "knative-serving"
EVENTING: Final = "knative-eventing"
FEATURES: Final = "config-features"
OBSERVABILITY: Final = "config-observability"
KUBERNETES: Final = (1, 33)  # defaultMinimumVersion of knative.dev/pkg, January 2026
NODES: Final = 3  # one for each RabbitMQ
KUBECTL_TIMEOUT_S: Final = 30

KNATIVE: Final = "https://knative.dev/docs/install/yaml-install"
# What installs a definition, by the definition.
NEEDED: Final = {
    "services.serving.knative.dev": f"install Knative Serving 1.23: {KNATIVE}/serving/install-serving-with-yaml",
    "triggers.eventing.knative.dev": f"install Knative Eventing 1.22: {KNATIVE}/eventing/install-eventing-with-yaml",
    "certificates.cert-manager.io": "install cert-manager, for the webhooks of the topology operator: cert-manager.io",
    "rabbitmqclusters.rabbitmq.com": "install the cluster operator: github.com/rabbitmq/cluster-operator/releases",
    "queues.rabbitmq.com": "install the topology operator: github.com/rabbitmq/messaging-topology-operator/releases",
    "rabbitmqbrokerconfigs.eventing.knative.dev": "install rabbitmq-broker.yaml: "
    "github.com/knative-extensions/eventing-rabbitmq/releases",
    "scaledobjects.keda.sh": "install KEDA, for the work queues, of callbacks and mails too: keda.sh/docs/deploy",
}
OPTIONAL: Final = {
    "servicemonitors.monitoring.coreos.com": "install the Prometheus operator, or take `monitoring` out of the overlay",
    "externalsecrets.external-secrets.io": "only for the component external-secrets",
}
# Secrets and whether the overlay starts without them; their keys are in its README.
SECRETS: Final = {
    **dict.fromkeys(("callback", "deadletters-database", "gateway", "ledger-database", "store-names"), True),
    **dict.fromkeys(("store", "smtp", "message"), False),
}

Kubectl = Callable[..., str | None]


def kubectl(*arguments: str) -> str | None:
    """What kubectl prints; None when it fails, as it does for what is not there."""
    command = [shutil.which("kubectl") or "kubectl", *arguments]
    try:
        done = subprocess.run(command, capture_output=True, check=False, text=True, timeout=KUBECTL_TIMEOUT_S)
    except subprocess.TimeoutExpired:
        return None
    return done.stdout if done.returncode == 0 else None


def look(ask: Kubectl = kubectl, overlay: Path = OVERLAY) -> list[Diagnosis]:
    """Everything, in the order in which it would be installed; the first alone where there is no cluster."""
    if ask is kubectl and shutil.which("kubectl") is None:
        return [Diagnosis(what="kubectl", well=False, mend="see kubernetes.io/docs/tasks/tools")]
    version = ask("version", "--output=json")
    if version is None:
        return [Diagnosis(what="a cluster", well=False, mend="kubectl reaches none: kubectl config use-context ...")]
    return [
        _version(json.loads(version)),
        *_definitions(ask),
        _nodes(_items(ask("get", "nodes", "--output=json"))),
        _storage(_items(ask("get", "storageclasses", "--output=json"))),
        # a Service with what is not enabled is refused, and so is a Trigger
        _setting(ask, FEATURES, SERVING, "kubernetes.podspec-topologyspreadconstraints", "enabled"),
        _setting(ask, FEATURES, EVENTING, "delivery-timeout", "enabled", default="enabled"),
        _setting(ask, OBSERVABILITY, SERVING, "request-metrics-protocol", "prometheus", needed=False),
        _setting(ask, OBSERVABILITY, SERVING, "metrics-protocol", "prometheus", needed=False),
        *(
            _secret(ask, name, needed=needed and not _made_by_external_secrets(overlay))
            for name, needed in SECRETS.items()
        ),
        _digests(overlay),
    ]


def _version(shown: Any) -> Diagnosis:
    server = shown.get("serverVersion", {})
    major, minor = (int("".join(filter(str.isdigit, server.get(part, ""))) or 0) for part in ("major", "minor"))
    wanted = ".".join(map(str, KUBERNETES))
    return Diagnosis(
        what=f"Kubernetes {major}.{minor}",
        well=(major, minor) >= KUBERNETES,
        mend=f"Knative 1.22 needs {wanted} or later",
    )


def _definitions(ask: Kubectl) -> list[Diagnosis]:
    known = {each.rpartition("/")[2] for each in (ask("get", "crds", "--output=name") or "").splitlines()}
    return [
        Diagnosis(what=name, well=name in known, mend=mend, needed=needed)
        for listed, needed in ((NEEDED, True), (OPTIONAL, False))
        for name, mend in listed.items()
    ]


def _items(shown: str | None) -> list[Any]:
    return list(json.loads(shown)["items"]) if shown else []


def _nodes(nodes: list[Any]) -> Diagnosis:
    usable = [each for each in nodes if not each["spec"].get("unschedulable") and _ready(each)]
    mend = f"RabbitMQ's three pods want a node each: {NODES} nodes, or fewer replicas in rabbitmq.yaml"
    return Diagnosis(what=f"{len(usable)} nodes", well=len(usable) >= NODES, mend=mend)


def _ready(node: Any) -> bool:
    conditions = node["status"].get("conditions", ())
    return any(each["type"] == "Ready" and each["status"] == "True" for each in conditions)


def _storage(classes: list[Any]) -> Diagnosis:
    mark = "storageclass.kubernetes.io/is-default-class"
    default = [each for each in classes if each["metadata"].get("annotations", {}).get(mark) == "true"]
    mend = "mark a StorageClass as the default, or name one in rabbitmq.yaml (persistence.storageClassName)"
    return Diagnosis(what="a default StorageClass", well=bool(default), mend=mend)


def _configuration(ask: Kubectl, config_map: str, namespace: str) -> dict[str, str]:
    shown = ask("get", "configmap", config_map, f"--namespace={namespace}", "--output=json")
    return dict(json.loads(shown).get("data") or {}) if shown else {}


def _setting(
    ask: Kubectl, config_map: str, namespace: str, name: str, value: str, *, default: str = "", needed: bool = True
) -> Diagnosis:
    """Whether a setting of Knative's has this value."""
    well = _configuration(ask, config_map, namespace).get(name, default).lower() == value
    data = json.dumps({"data": {name: value}})
    mend = f"kubectl patch configmap {config_map} -n {namespace} --type merge -p '{data}'"
    return Diagnosis(what=f"{name} {value} in {namespace}", well=well, mend=mend, needed=needed)


def _secret(ask: Kubectl, name: str, *, needed: bool) -> Diagnosis:
    """Only whether it is there: its values are never read."""
    found = ask("get", "secret", name, f"--namespace={NAMESPACE}", "--output=name")
    mend = f"kubectl create secret generic {name} -n {NAMESPACE} ... (knative/overlays/production/README.md)"
    return Diagnosis(what=f"Secret {name}", well=found is not None, mend=mend, needed=needed)


def _made_by_external_secrets(overlay: Path) -> bool:
    """Whether the overlay itself brings the Secrets, which then come with it."""
    return "external-secrets" in _kustomization(overlay).get("components", ())


def _kustomization(folder: Path) -> dict[str, Any]:
    """Empty where the distribution was installed without the overlay."""
    file = folder / "kustomization.yaml"
    return dict(yaml.safe_load(file.read_text())) if file.is_file() else {}


def _digests(overlay: Path) -> Diagnosis:
    images: Iterable[Any] = _kustomization(overlay / "images").get("images", ())
    loose = [each["name"] for each in images if "digest" not in each]
    what = "images by digest" + (f" ({', '.join(loose)})" if loose else "")
    return Diagnosis(what=what, well=not loose, mend="make images PUSH=1 REGISTRY=your.registry/errands")
