"""Rules about what is reached by a name: addresses within the cluster, sinks, files that a volume brings."""

import re
from collections import defaultdict
from collections.abc import Iterator, Mapping
from pathlib import PurePosixPath
from typing import Final
from urllib.parse import urlsplit

from knative.lint.findings import Flaw, rule
from knative.lint.resources import Resources
from knative.manifests.documents import Place, texts
from knative.manifests.pods import containers, pods

ADDRESS: Final = re.compile(r"(?<![a-z0-9.-])([a-z0-9][a-z0-9-]*)\.([a-z0-9][a-z0-9-]*)\.svc(?![a-z0-9-])")
MOUNTED: Final = PurePosixPath("/var/run/secrets")
KUBERNETES_OWN: Final = MOUNTED / "kubernetes.io"


@rule(
    "other-namespace",
    "error",
    consequence="the name is not found: what asks there never begins, and events wait for ever",
    fix="the namespace of the resource that is meant; where an overlay sets it, a kustomize replacement",
)
def other_namespace(resources: Resources) -> Iterator[Flaw]:
    """An address NAME.NAMESPACE.svc of a resource of these manifests that is in another namespace."""
    known = _namespaces(resources)
    for document in resources.documents:
        for place in texts(document.root):
            for name, namespace in ADDRESS.findall(place.text):
                if name in known and namespace not in known[name]:
                    where = " and ".join(sorted(known[name]))
                    yield Flaw(place, f"{name}.{namespace}.svc is asked, and {name} is in the namespace {where}")


@rule(
    "scaler-host-without-namespace",
    "error",
    consequence="KEDA asks from its own namespace, where there is no such name: nothing is scaled, and events wait",
    fix="amqp://NAME.NAMESPACE.svc:5672/",
)
def scaler_host_without_namespace(resources: Resources) -> Iterator[Flaw]:
    """A scaler's host that only a pod of the same namespace would find."""
    for kind in ("ScaledObject", "ScaledJob"):
        for document in resources.of(kind, "keda.sh"):
            for trigger in document.root["spec"]["triggers"]:
                host = trigger["metadata"]["host"]
                name = _host(host.text)
                if name and "." not in name:
                    yield Flaw(host, f"the scaler asks {name}")


@rule(
    "sink-binding-on-service",
    "warning",
    consequence="it writes K_SINK into the containers, a list that the manifest's apply owns whole: the next apply "
    "conflicts, and the first revision starts without K_SINK",
    fix="a variable K_SINK in the Service: http://NAME-broker-ingress in the Broker's own namespace",
)
def sink_binding_on_service(resources: Resources) -> Iterator[Flaw]:
    """A SinkBinding whose subject is a Knative Service."""
    for document in resources.of("SinkBinding", "sources.knative.dev"):
        subject = document.root["spec"]["subject"]
        if subject["kind"].text == "Service" and subject["apiVersion"].text.startswith("serving.knative.dev/"):
            yield Flaw(subject, f"the SinkBinding changes the Service {subject['name'].text}".rstrip())


@rule(
    "file-not-mounted",
    "error",
    consequence="the function finds no such file, and does not start, or fails at its first event",
    fix="a volume with the Secret, and a volumeMount above the path; patches of a list replace the whole list",
)
def file_not_mounted(resources: Resources) -> Iterator[Flaw]:
    """A variable with a path below /var/run/secrets which no volume of its container brings."""
    for document in resources.documents:
        for pod in pods(document):
            for container in containers(pod):
                yield from _not_mounted(container)


def _not_mounted(container: Place) -> Iterator[Flaw]:
    mounted = {PurePosixPath(each["mountPath"].text) for each in container["volumeMounts"]}
    for variable in container["env"]:
        path = PurePosixPath(variable["value"].text)
        above = {path, *path.parents}
        if MOUNTED in above and KUBERNETES_OWN not in above and not mounted & above:
            yield Flaw(variable["value"], f"{variable['name'].text} is {path}, where nothing is mounted")


def _namespaces(resources: Resources) -> Mapping[str, set[str]]:
    """In which namespaces each name that can be asked is; a resource whose namespace whoever applies it chooses is not
    among them.
    """
    found: dict[str, set[str]] = defaultdict(set)
    for document in resources.documents:
        reference = document.root["spec"]["rabbitmqClusterReference"]
        if reference["name"].text and (reference["namespace"].text or document.namespace):
            found[reference["name"].text].add(reference["namespace"].text or document.namespace)
        if document.namespace and document.kind in ("RabbitmqCluster", "Service"):
            found[document.name].add(document.namespace)
        if document.namespace and document.kind == "Broker":
            found[f"{document.name}-broker-ingress"].add(document.namespace)
    return found


def _host(url: str) -> str:
    try:
        return urlsplit(url).hostname or ""
    except ValueError:  # such as a placeholder in brackets
        return ""
