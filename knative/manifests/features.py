"""What a Knative Service uses of Kubernetes that Serving takes only where it is switched on, and by which name.

The names are those of the ConfigMap `config-features` of `knative-serving`. A Service that uses one which is off is
refused by Serving's webhook (serving pkg/apis/config/features.go, pkg/apis/serving/fieldmask.go, k8s_validation.go).
"""

from collections.abc import Iterator
from typing import Final

from knative.manifests.declared import DeclaredService
from knative.manifests.documents import Place
from knative.manifests.pods import containers

NEEDS: Final = "lint.errands.dev/needs"  # on a Service: the features that its installation has switched on
ON_BY_DEFAULT: Final = frozenset({"kubernetes.podspec-volumes-emptydir"})

POD_FIELDS: Final = {
    **{
        name: f"kubernetes.podspec-{name.lower()}"
        for name in (
            "affinity",
            "dnsConfig",
            "dnsPolicy",
            "hostAliases",
            "hostIPC",
            "hostNetwork",
            "hostPID",
            "nodeSelector",
            "priorityClassName",
            "runtimeClassName",
            "schedulerName",
            "securityContext",
            "shareProcessNamespace",
            "tolerations",
            "topologySpreadConstraints",
        )
    },
    "initContainers": "kubernetes.podspec-init-containers",
}
VOLUMES: Final = {
    name: f"kubernetes.podspec-volumes-{name.lower()}" for name in ("csi", "emptyDir", "ephemeral", "hostPath", "image")
}


def features(service: DeclaredService) -> Iterator[tuple[str, Place]]:
    """Each feature that a Service uses, with the place that does; one may come several times."""
    pod = service.pod
    for name, feature in POD_FIELDS.items():
        if pod[name]:
            yield feature, pod[name]
    for volume in pod["volumes"]:
        yield from ((feature, volume[name]) for name, feature in VOLUMES.items() if volume[name])
        claim = volume["persistentVolumeClaim"]
        if claim:
            yield "kubernetes.podspec-persistent-volume-claim", claim
        if claim and claim["readOnly"].value is not True:
            yield "kubernetes.podspec-persistent-volume-write", claim
    for container in containers(pod):
        yield from _of_container(container)


def needed(service: DeclaredService) -> list[str]:
    """What a Service says that it needs."""
    return service.document.root["metadata"]["annotations"][NEEDS].text.replace(",", " ").split()


def _of_container(container: Place) -> Iterator[tuple[str, Place]]:
    for variable in container["env"]:
        source = variable["valueFrom"]
        if source["fieldRef"] or source["resourceFieldRef"]:
            yield "kubernetes.podspec-fieldref", source
    for mount in container["volumeMounts"]:
        if mount["mountPropagation"]:
            yield "kubernetes.podspec-volumes-mount-propagation", mount["mountPropagation"]
    added = container["securityContext"]["capabilities"]["add"]
    if added:
        yield "kubernetes.containerspec-addcapabilities", added
