"""`errands preflight`: whether the cluster that kubectl talks to has what an overlay needs."""

import json
from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

from knative.cli.doctor import Diagnosis
from knative.cluster.kubectl import Kubectl
from knative.cluster.needs import Kind, Named, Needs
from knative.manifests.features import ON_BY_DEFAULT

SERVING: Final = "knative-serving"
EVENTING: Final = "knative-eventing"
FEATURES: Final = "config-features"
OBSERVABILITY: Final = "config-observability"
KUBERNETES: Final = (1, 33)  # defaultMinimumVersion of knative.dev/pkg, January 2026
KNATIVE: Final = "https://knative.dev/docs/install/yaml-install"
CERT_MANAGER: Final = Kind(group="cert-manager.io", kind="Certificate", version="v1")
SHOWN_KINDS: Final = (
    r'--output=jsonpath={range .items[*]}{.spec.group}{" "}{.spec.names.kind}'
    r'{range .spec.versions[?(@.served==true)]}{" "}{.name}{end}{"\n"}{end}'
)
SHOWN_KEYS: Final = r'--output=go-template={{range $key, $_ := .data}}{{$key}}{{"\n"}}{{end}}'


@dataclass(frozen=True, kw_only=True)
class Operator:
    """What brings kinds to a cluster: of a group all, or those that are named, before others of it are looked at."""

    name: str
    group: str
    mend: str
    kinds: tuple[str, ...] = ()


# In the order in which they are installed.
OPERATORS: Final = (
    Operator(
        name="Knative Serving",
        group="serving.knative.dev",
        mend=f"install 1.21 or later: {KNATIVE}/serving/install-serving-with-yaml",
    ),
    Operator(
        name="the RabbitMQ broker",
        group="eventing.knative.dev",
        kinds=("RabbitmqBrokerConfig",),
        mend="install rabbitmq-broker.yaml: github.com/knative-extensions/eventing-rabbitmq/releases",
    ),
    Operator(
        name="Knative Eventing",
        group="eventing.knative.dev",
        mend=f"install 1.21 or later: {KNATIVE}/eventing/install-eventing-with-yaml",
    ),
    Operator(
        name="Knative's sources",
        group="sources.knative.dev",
        mend=f"install Knative Eventing: {KNATIVE}/eventing/install-eventing-with-yaml",
    ),
    Operator(
        name="the RabbitMQ cluster operator",
        group="rabbitmq.com",
        kinds=("RabbitmqCluster",),
        mend="install it: github.com/rabbitmq/cluster-operator/releases",
    ),
    Operator(
        name="the RabbitMQ topology operator",
        group="rabbitmq.com",
        mend="install it: github.com/rabbitmq/messaging-topology-operator/releases",
    ),
    Operator(
        name="KEDA",
        group="keda.sh",
        mend="install 2.14 or later (keda.sh/docs/deploy), or no-queue-workers in place of queue-workers and waiting",
    ),
    Operator(
        name="the Prometheus operator",
        group="monitoring.coreos.com",
        mend="install it, or take `monitoring` out of the overlay's components",
    ),
    Operator(
        name="External Secrets",
        group="external-secrets.io",
        mend="install it, or take `external-secrets` out of the overlay's components",
    ),
    Operator(
        name="CloudNativePG",
        group="postgresql.cnpg.io",
        mend="install it (cloudnative-pg.io), or name a PostgreSQL that is there in Secret deadletters-database",
    ),
    Operator(
        name="CloudNativePG's backups",
        group="barmancloud.cnpg.io",
        mend="install the plugin: cloudnative-pg.io/plugin-barman-cloud/docs/installation",
    ),
)


def look(ask: Kubectl, needs: Needs) -> list[Diagnosis]:
    """Everything, in the order in which it would be installed; the first alone where there is no cluster."""
    version = ask("version", "--output=json")
    if not version.well:
        why = " ".join(version.error.split()) or "kubectl reaches none"
        return [Diagnosis(what="a cluster", well=False, mend=f"kubectl config use-context ... ({why})")]
    return [
        _version(json.loads(version.output)),
        *_kinds(ask, needs),
        _nodes(_items(ask("get", "nodes", "--output=json").output), needs.nodes),
        *_storage(_items(ask("get", "storageclasses", "--output=json").output), needs),
        *_settings(ask, needs),
        *(_named(ask, "secret", each) for each in needs.secrets),
        *(_named(ask, "configmap", each) for each in needs.config_maps),
        *(_secret_store(ask, each) for each in needs.secret_stores),
        _digests(needs),
    ]


def operator_of(kind: Kind) -> Operator:
    """What brings a kind; of a group that is not known here, whatever does."""
    for each in OPERATORS:
        if each.group == kind.group and (not each.kinds or kind.kind in each.kinds):
            return each
    return Operator(name=kind.group, group=kind.group, mend=f"install what brings {kind.kind} of {kind.group}")


def _version(shown: Any) -> Diagnosis:
    server = shown.get("serverVersion", {})
    major, minor = (int("".join(filter(str.isdigit, server.get(part, ""))) or 0) for part in ("major", "minor"))
    wanted = ".".join(map(str, KUBERNETES))
    mend = f"Knative 1.21 and later need {wanted} or later"
    return Diagnosis(what=f"Kubernetes {major}.{minor}", well=(major, minor) >= KUBERNETES, mend=mend)


def _kinds(ask: Kubectl, needs: Needs) -> Iterator[Diagnosis]:
    """A line for each operator whose kinds are used. The topology operator is installed with cert-manager."""
    served = _served(ask)
    wanted: dict[Operator, list[Kind]] = defaultdict(list)
    for each in needs.kinds:
        wanted[operator_of(each)].append(each)
    for operator in sorted(wanted, key=lambda each: OPERATORS.index(each) if each in OPERATORS else len(OPERATORS)):
        missing = [each for each in wanted[operator] if each.version not in served.get((each.group, each.kind), ())]
        if operator.name == "the RabbitMQ topology operator" and missing:
            mend = "install cert-manager, for the webhooks of the topology operator: cert-manager.io"
            known = (CERT_MANAGER.group, CERT_MANAGER.kind) in served
            yield Diagnosis(what="cert-manager", well=known, mend=mend)
        lacks = f" ({', '.join(f'{each.kind} {each.version}' for each in missing)})" if missing else ""
        yield Diagnosis(what=f"{operator.name}{lacks}", well=not missing, mend=operator.mend)


def _served(ask: Kubectl) -> Mapping[tuple[str, str], list[str]]:
    """The versions of each custom kind, by group and kind."""
    rows = (line.split() for line in ask("get", "crds", SHOWN_KINDS).output.splitlines())
    return {(row[0], row[1]): row[2:] for row in rows if len(row) > 2}


def _items(shown: str) -> list[Any]:
    return list(json.loads(shown)["items"]) if shown else []


def _nodes(nodes: list[Any], wanted: int) -> Diagnosis:
    usable = [each for each in nodes if not each["spec"].get("unschedulable") and _ready(each)]
    mend = f"RabbitMQ's pods want a node each: {wanted} nodes, or fewer replicas in rabbitmq.yaml"
    return Diagnosis(what=f"{len(usable)} nodes", well=len(usable) >= wanted, mend=mend)


def _ready(node: Any) -> bool:
    conditions = node["status"].get("conditions", ())
    return any(each["type"] == "Ready" and each["status"] == "True" for each in conditions)


def _storage(classes: list[Any], needs: Needs) -> Iterator[Diagnosis]:
    mark = "storageclass.kubernetes.io/is-default-class"
    known = {each["metadata"]["name"] for each in classes}
    default = any(each["metadata"].get("annotations", {}).get(mark) == "true" for each in classes)
    for name in needs.storage_classes:
        if name:
            yield Diagnosis(what=f"StorageClass {name}", well=name in known, mend="make it, or name one that is there")
        else:
            mend = "mark a StorageClass as the default, or name one in rabbitmq.yaml (persistence.storageClassName)"
            yield Diagnosis(what="a default StorageClass", well=default, mend=mend)


def _settings(ask: Kubectl, needs: Needs) -> Iterator[Diagnosis]:
    """What Knative's ConfigMaps say: a Service with what is off is refused, and so is a Trigger."""
    if needs.features:
        known = _configuration(ask, FEATURES, SERVING)
        for name in needs.features:
            yield _setting(known, FEATURES, SERVING, name, "enabled", default=name in ON_BY_DEFAULT)
    if needs.delivery_timeouts:
        known = _configuration(ask, FEATURES, EVENTING)
        yield _setting(known, FEATURES, EVENTING, "delivery-timeout", "enabled", default=True)
    if needs.has("PodMonitor"):
        known = _configuration(ask, OBSERVABILITY, SERVING)
        for name in ("request-metrics-protocol", "metrics-protocol"):
            yield _setting(known, OBSERVABILITY, SERVING, name, "prometheus", needed=False)


def _configuration(ask: Kubectl, config_map: str, namespace: str) -> Mapping[str, str] | None:
    """None where there is no such ConfigMap: then nothing is known of what it says, its defaults neither."""
    shown = ask("get", "configmap", config_map, f"--namespace={namespace}", "--output=json")
    return dict(json.loads(shown.output).get("data") or {}) if shown.well else None


def _setting(
    known: Mapping[str, str] | None,
    config_map: str,
    namespace: str,
    name: str,
    value: str,
    *,
    default: bool = False,
    needed: bool = True,
) -> Diagnosis:
    """Whether a setting of Knative's has this value, `default` where it has it unsaid."""
    well = known is not None and known.get(name, value if default else "").lower() == value
    data = json.dumps({"data": {name: value}})
    mend = f"kubectl patch configmap {config_map} -n {namespace} --type merge -p '{data}'"
    return Diagnosis(what=f"{name} {value} in {namespace}", well=well, mend=mend, needed=needed)


def _named(ask: Kubectl, kind: str, named: Named) -> Diagnosis:
    """Whether it is there with the keys that are asked of it; only their names are read, never a value."""
    shown = ask("get", kind, named.name, *_in(named), SHOWN_KEYS)
    lacks = sorted(set(named.keys) - set(shown.output.split())) if shown.well else []
    what = f"{'Secret' if kind == 'secret' else 'ConfigMap'} {named.name}" + (
        f" without {', '.join(lacks)}" if lacks else ""
    )
    create = "secret generic" if kind == "secret" else "configmap"
    keys = "".join(f" --from-literal={each}=..." for each in named.keys) or " ..."
    mend = f"kubectl create {create} {named.name}{keys} {' '.join(_in(named))} (the overlay's README)"
    return Diagnosis(what=what, well=shown.well and not lacks, mend=mend, needed=named.needed)


def _secret_store(ask: Kubectl, named: Named) -> Diagnosis:
    well = ask("get", "secretstores.external-secrets.io", named.name, *_in(named), "--output=name").well
    mend = "make it for your provider (external-secrets.io/latest/provider), or name another in external-secrets"
    return Diagnosis(what=f"SecretStore {named.name}", well=well, mend=mend)


def _in(named: Named) -> list[str]:
    return [f"--namespace={named.namespace}"] if named.namespace else []


def _digests(needs: Needs) -> Diagnosis:
    loose = needs.loose_images
    what = "images by digest" + (f" ({', '.join(loose)})" if loose else "")
    return Diagnosis(what=what, well=not loose, mend="make images PUSH=1 REGISTRY=your.registry/errands")
