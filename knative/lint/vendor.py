"""Writes `schemas.json` anew: `python -m knative.lint.vendor`, for a new release of Knative, KEDA or an operator.
`... vendor oldest` writes the same of the oldest releases that the manifests are for, which tests check them against.

The published custom resource definitions come from the Go module proxy, those of Kubernetes itself from the package
kubernetes-validate (install it for this). Kept: structure, types, enumerations. Left out: descriptions, status,
versions not served, and the parts in OPEN, which are larger than all the rest together.
"""

import importlib.util
import json
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final

import yaml

from knative.manifests.documents import KubernetesLoader

TARGET: Final = Path(__file__).with_name("schemas.json")
OLDEST: Final = Path(__file__).parents[2] / "tests" / "files" / "schemas" / "oldest.json"
KUBERNETES: Final = "v1.37.0-local-strict"  # of kubernetes-validate
OLDEST_KUBERNETES: Final = "v1.30.0-local-strict"
MODULES: Final = {
    "knative.dev/serving@v0.50.0": "config/core/300-resources/*.yaml",  # 1.23
    "knative.dev/eventing@v0.49.2": "config/core/resources/*.yaml",  # 1.22.2
    "knative.dev/eventing-rabbitmq@v0.48.0": "config/*/300-*.yaml",  # 1.21, unchanged in 1.22
    "github.com/kedacore/keda/v2@v2.20.2": "config/crd/bases/keda.sh_*.yaml",
    "github.com/rabbitmq/cluster-operator/v2@v2.16.0": "config/crd/bases/*.yaml",
    "github.com/rabbitmq/messaging-topology-operator@v1.17.4": "config/crd/bases/*.yaml",
    "github.com/prometheus-operator/prometheus-operator@v0.85.0": "example/prometheus-operator-crd/*.yaml",
    "github.com/external-secrets/external-secrets@v1.3.2": "config/crds/bases/external-secrets.io_*.yaml",
}
OLDEST_MODULES: Final = {
    "knative.dev/serving@v0.48.0": "config/core/300-resources/*.yaml",  # 1.21
    "knative.dev/eventing@v0.48.2": "config/core/resources/*.yaml",  # 1.21
    "knative.dev/eventing-rabbitmq@v0.48.0": "config/*/300-*.yaml",  # 1.21
    "github.com/kedacore/keda/v2@v2.14.0": "config/crd/bases/keda.sh_*.yaml",
    "github.com/rabbitmq/cluster-operator/v2@v2.9.0": "config/crd/bases/*.yaml",  # of RabbitMQ 3.10 to 3.13
    "github.com/rabbitmq/messaging-topology-operator@v1.14.0": "config/crd/bases/*.yaml",
    "github.com/prometheus-operator/prometheus-operator@v0.75.0": "example/prometheus-operator-crd/*.yaml",
}
CORE: Final = {
    "v1": ("ConfigMap", "Secret", "Service", "ServiceAccount", "Namespace", "PersistentVolumeClaim", "Pod"),
    "apps/v1": ("Deployment", "StatefulSet", "DaemonSet"),
    "batch/v1": ("Job", "CronJob"),
    "networking.k8s.io/v1": ("NetworkPolicy", "Ingress"),
    "policy/v1": ("PodDisruptionBudget",),
    "autoscaling/v2": ("HorizontalPodAutoscaler",),
    "rbac.authorization.k8s.io/v1": ("Role", "RoleBinding", "ClusterRole", "ClusterRoleBinding"),
}
MONITORS: Final = frozenset({"ServiceMonitor", "PodMonitor", "PrometheusRule"})
OPEN: Final = {
    ("RabbitmqCluster", "override"),
    ("SecretStore", "provider"),
    ("ClusterSecretStore", "provider"),
    ("ScaledJob", "jobTargetRef"),
    ("PushSecret", "selector"),
}
# Knative's definitions leave a delivery and a Trigger's spec open; these are all their fields (pkg/apis/duck/v1).
DELIVERY: Final = {name: {"type": "string"} for name in ("timeout", "retryAfterMax", "format")}
CLOSED: Final = frozenset({"deadLetterSink", "broker"})
KEPT: Final = ("type", "enum", "required", "minimum", "maximum", "pattern", "nullable", "minLength", "minItems")


def main() -> None:
    """Write the newest or, with the argument `oldest`, the oldest."""
    if sys.argv[1:] == ["oldest"]:
        write(OLDEST, OLDEST_MODULES, OLDEST_KUBERNETES)
    else:
        write(TARGET, MODULES, KUBERNETES)


def write(target: Path, modules: Mapping[str, str], kubernetes: str) -> None:
    """Download, trim, write; a line for each definition, so that a new release can be read as a diff."""
    definitions = _kubernetes(kubernetes)
    kinds = _core()
    for module, pattern in modules.items():
        for identity, schema in _custom_resources(module_folder(module), pattern):
            kinds.append(identity)
            definitions[identity] = schema
    lines = ",\n".join(f"{json.dumps(name)}:{_compact(schema)}" for name, schema in sorted(definitions.items()))
    sources = [*modules, f"kubernetes-validate {kubernetes}"]
    head = f'"sources":{json.dumps(sources)},\n"kinds":{json.dumps(sorted(kinds), indent=0)}'
    target.write_text(f'{{{head},\n"definitions":{{\n{lines}\n}}}}\n')


def _compact(schema: Any) -> str:
    return json.dumps(schema, separators=(",", ":"), sort_keys=True)


def module_folder(module: str) -> Path:
    shown = subprocess.run(["go", "mod", "download", "-json", module], capture_output=True, check=True)  # noqa: S607
    return Path(json.loads(shown.stdout)["Dir"])


def _custom_resources(folder: Path, pattern: str) -> Iterator[tuple[str, dict[str, Any]]]:
    """Identity (`apiVersion/kind`) and schema of each served version."""
    for file in sorted(folder.glob(pattern)):
        for document in yaml.load_all(file.read_text(), KubernetesLoader):
            if not document or document["kind"] != "CustomResourceDefinition":
                continue
            spec = document["spec"]
            group, kind = spec["group"], spec["names"]["kind"]
            if group == "monitoring.coreos.com" and kind not in MONITORS:
                continue
            for version in spec["versions"]:
                if version["served"]:
                    schema = version["schema"]["openAPIV3Schema"]
                    yield f"{group}/{version['name']}/{kind}", _resource(_trimmed(schema, kind))


def _resource(schema: dict[str, Any]) -> dict[str, Any]:
    fields = schema.setdefault("properties", {})
    fields |= {"apiVersion": {"type": "string"}, "kind": {"type": "string"}, "status": {}}
    fields["metadata"] = {"$ref": "#/definitions/meta"}
    if "jobTargetRef" in fields.get("spec", {}).get("properties", {}):
        fields["spec"]["properties"]["jobTargetRef"] = {"$ref": "#/definitions/batch.v1.JobSpec"}
    schema["additionalProperties"] = False
    return schema


def _trimmed(schema: dict[str, Any], kind: str) -> dict[str, Any]:
    kept: dict[str, Any] = {name: schema[name] for name in KEPT if name in schema}
    if schema.get("x-kubernetes-int-or-string"):
        return {"type": ["number", "string"]}
    for name in ("items", "additionalProperties"):
        if isinstance(schema.get(name), dict):
            kept[name] = _trimmed(schema[name], kind)
    if "properties" in schema:
        fields = schema["properties"].items()
        kept["properties"] = {name: {} if (kind, name) in OPEN else _trimmed(each, kind) for name, each in fields}
        if "deadLetterSink" in kept["properties"]:
            kept["properties"] |= DELIVERY
        closed = not schema.get("x-kubernetes-preserve-unknown-fields") or kept["properties"].keys() & CLOSED
        if closed and "additionalProperties" not in kept:
            kept["additionalProperties"] = False
    if kept.pop("nullable", False) and "type" in kept:
        kept["type"] = [kept["type"], "null"]
    return kept


def _kubernetes(version: str) -> dict[str, Any]:
    """The definitions that CORE and a ScaledJob's template reach, by short names such as `core.v1.PodSpec`."""
    found = importlib.util.find_spec("kubernetes_validate")
    if found is None or found.origin is None:
        raise SystemExit("kubernetes-validate is needed here: pip install kubernetes-validate")
    published = Path(found.origin).parent / "kubernetes-json-schema" / version / "_definitions.json"
    everything = json.loads(published.read_text())["$defs"]
    by_identity = {_identity(schema): name for name, schema in everything.items()}
    definitions: dict[str, Any] = {}
    for each in _core():
        definitions[each] = {"$ref": _reach(by_identity[each], everything, definitions)}
    definitions["meta"] = {"$ref": "#/definitions/" + _short("io.k8s.apimachinery.pkg.apis.meta.v1.ObjectMeta")}
    return definitions


def _core() -> list[str]:
    return [f"{version}/{kind}" for version, kinds in CORE.items() for kind in kinds]


def _identity(schema: dict[str, Any]) -> str:
    known = schema.get("x-kubernetes-group-version-kind", [{}])
    group, version, kind = (known[0].get(name, "") for name in ("group", "version", "kind"))
    return "/".join(each for each in (group, version, kind) if each)


def _short(name: str) -> str:
    return ".".join(name.split(".")[-3:])


def _reach(name: str, everything: dict[str, Any], definitions: dict[str, Any]) -> str:
    """Copy the definition and all it refers to; return the reference to it."""
    short = _short(name)
    if short not in definitions:
        definitions[short] = {}
        definitions[short] = _copied(everything[name], everything, definitions)
    return f"#/definitions/{short}"


def _copied(schema: Any, everything: dict[str, Any], definitions: dict[str, Any]) -> Any:
    if isinstance(schema, list):
        return [_copied(each, everything, definitions) for each in schema]
    if not isinstance(schema, dict):
        return schema
    if "$ref" in schema:
        name = schema["$ref"].rpartition("/")[2]
        return {} if name.endswith("Status") else {"$ref": _reach(name, everything, definitions)}
    kept = (*KEPT, "oneOf", "anyOf", "items", "additionalProperties")
    copied = {name: _copied(value, everything, definitions) for name, value in schema.items() if name in kept}
    if "properties" in schema:
        named = schema["properties"].items()
        copied["properties"] = {name: _copied(each, everything, definitions) for name, each in named}
    return copied


if __name__ == "__main__":
    main()
