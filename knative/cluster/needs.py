"""What a cluster must have before these resources are applied, read off the resources themselves.

So nothing is needed that the overlay does not use, and nothing that it uses is forgotten: kinds, Secrets, ConfigMaps,
features of Serving, storage classes, nodes. What the resources bring themselves is not needed: a Secret of an
ExternalSecret, or the login that the topology operator makes for a User.
"""

from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from functools import cached_property
from typing import Final

from knative.manifests.declared import DeclaredService
from knative.manifests.documents import ManifestDocument, Place
from knative.manifests.features import features
from knative.manifests.pods import containers, pods

KUBERNETES: Final = ".k8s.io"  # groups of Kubernetes itself end so, or have no dot
ANTI_AFFINITY: Final = ("affinity", "podAntiAffinity", "requiredDuringSchedulingIgnoredDuringExecution")


@dataclass(frozen=True, kw_only=True, order=True)
class Named:
    """A Secret or ConfigMap, and the keys asked of it; `needed` unless everything that names it goes without."""

    name: str
    namespace: str = ""
    keys: tuple[str, ...] = ()
    needed: bool = True


@dataclass(frozen=True, kw_only=True, order=True)
class Kind:
    """A kind that Kubernetes itself does not have."""

    group: str
    kind: str
    version: str


@dataclass(frozen=True)
class _Reference:
    name: str
    namespace: str
    key: str
    optional: bool


@dataclass(frozen=True)
class Needs:
    """What the resources need together."""

    documents: tuple[ManifestDocument, ...] = field(repr=False)

    @cached_property
    def kinds(self) -> tuple[Kind, ...]:
        """Each custom kind once."""
        found = {
            Kind(group=each.group, kind=each.kind, version=each.version.rpartition("/")[2]) for each in self._custom
        }
        return tuple(sorted(found))

    @cached_property
    def secrets(self) -> tuple[Named, ...]:
        """Secrets that somebody must make, before the pods start."""
        return _named(_secrets(self.documents), self._own_secrets)

    @cached_property
    def config_maps(self) -> tuple[Named, ...]:
        """ConfigMaps that are not among the resources."""
        return _named(_config_maps(self.documents), {each.name for each in self._of("ConfigMap")})

    @cached_property
    def features(self) -> tuple[str, ...]:
        """Features of Serving that its Services use."""
        services = (DeclaredService(each) for each in self._of("Service") if each.group == "serving.knative.dev")
        return tuple(sorted({feature for service in services for feature, _ in features(service)}))

    @cached_property
    def storage_classes(self) -> tuple[str, ...]:
        """Names of StorageClasses; an empty one is the default."""
        claims = [each.root["spec"]["storageClassName"].text for each in self._of("PersistentVolumeClaim")]
        clusters = [each.root["spec"]["persistence"]["storageClassName"].text for each in self._of("RabbitmqCluster")]
        return tuple(sorted({*claims, *clusters}))

    @cached_property
    def secret_stores(self) -> tuple[Named, ...]:
        """Where ExternalSecrets are read from."""
        found = {
            Named(name=each.root["spec"]["secretStoreRef"]["name"].text, namespace=each.namespace)
            for each in self._of("ExternalSecret")
            if each.root["spec"]["secretStoreRef"]["kind"].text != "ClusterSecretStore"
        }
        return tuple(sorted(found))

    @cached_property
    def nodes(self) -> int:
        """How many nodes RabbitMQ's pods want, where no two may share one."""
        apart = [each.root["spec"] for each in self._of("RabbitmqCluster") if _keeps_apart(each.root["spec"])]
        return max((each["replicas"].whole or 1 for each in apart), default=1)

    @cached_property
    def delivery_timeouts(self) -> bool:
        """Whether a delivery limits its attempts."""
        deliveries = (each.root["spec"]["delivery"] for kind in ("Broker", "Trigger") for each in self._of(kind))
        return any(each["timeout"] for each in deliveries)

    @cached_property
    def loose_images(self) -> tuple[str, ...]:
        """Images without a digest."""
        images = {
            each["image"].text for document in self.documents for pod in pods(document) for each in containers(pod)
        }
        return tuple(sorted(each for each in images if "@sha256:" not in each))

    def has(self, kind: str) -> bool:
        """Whether there is one of that kind."""
        return any(self._of(kind))

    @property
    def _custom(self) -> Iterator[ManifestDocument]:
        return (each for each in self.documents if "." in each.group and not each.group.endswith(KUBERNETES))

    @property
    def _own_secrets(self) -> set[str]:
        made = {each.name for each in self._of("Secret")}
        made |= {each.root["spec"]["target"]["name"].text or each.name for each in self._of("ExternalSecret")}
        return made | {f"{each.name}-user-credentials" for each in self._of("User")}  # topology operator

    def _of(self, kind: str) -> Iterator[ManifestDocument]:
        return (each for each in self.documents if each.kind == kind)


def _named(references: Iterable[_Reference], own: set[str]) -> tuple[Named, ...]:
    found: dict[tuple[str, str], list[_Reference]] = defaultdict(list)
    for each in references:
        if each.name not in own:
            found[each.name, each.namespace].append(each)
    return tuple(
        Named(
            name=name,
            namespace=namespace,
            keys=tuple(sorted({each.key for each in of if each.key and not each.optional})),
            needed=not all(each.optional for each in of),
        )
        for (name, namespace), of in sorted(found.items())
    )


def _secrets(documents: Iterable[ManifestDocument]) -> Iterator[_Reference]:
    for document in documents:
        yield from _of_pods(document, "secretKeyRef", "secretRef", "secret", "secretName")
        for each in document.root["spec"]["secretTargetRef"]:  # KEDA's TriggerAuthentication
            yield _reference(document, each)
        for _, each in document.root["spec"]["configuration"]["s3Credentials"].members:  # CloudNativePG's ObjectStore
            yield _reference(document, each)


def _config_maps(documents: Iterable[ManifestDocument]) -> Iterator[_Reference]:
    for document in documents:
        yield from _of_pods(document, "configMapKeyRef", "configMapRef", "configMap", "name")


def _of_pods(document: ManifestDocument, one: str, every: str, volume: str, name: str) -> Iterator[_Reference]:
    """What a resource's pods name: one key of it, all its keys as variables, or its keys as files."""
    for pod in pods(document):
        for container in containers(pod):
            found = [each["valueFrom"][one] for each in container["env"]]
            found += [each[every] for each in container["envFrom"]]
            yield from (_reference(document, each) for each in found if each)
        for mounted in pod["volumes"]:
            if mounted[volume]:
                yield _reference(document, mounted[volume], name)
            yield from (_reference(document, each[volume]) for each in mounted["projected"]["sources"] if each[volume])


def _reference(document: ManifestDocument, place: Place, name: str = "name") -> _Reference:
    optional = place["optional"].value is True
    return _Reference(place[name].text, document.namespace, place["key"].text, optional)


def _keeps_apart(spec: Place) -> bool:
    for step in ANTI_AFFINITY:
        spec = spec[step]
    return bool(spec)
