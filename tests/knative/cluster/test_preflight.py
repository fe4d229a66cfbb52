"""`errands preflight`: what a cluster lacks is read off the rendered overlay, and each is said with what mends it."""

from dataclasses import replace
from pathlib import Path

import pytest

from knative.cluster.needs import Named, Needs
from knative.cluster.overlay import Overlay, overlay_of
from knative.cluster.preflight import look
from tests.support.overlays import changed, kustomized, production
from tests.support.recorded_cluster import RecordedCluster

SERVICE = """
apiVersion: serving.knative.dev/v1
kind: Service
metadata: {{name: shop, namespace: shop}}
spec:
  template:
    spec:
      containers:
        - image: shop/shop@sha256:0a
          {container}
      {pod}
"""


def pinned() -> Overlay:
    """The production overlay, its images by digest, as `make images PUSH=1` leaves it."""
    return overlay_of(production().text.replace(":0.1.0\n", "@sha256:0a\n"))


def missing(ask: RecordedCluster, overlay: Overlay) -> list[str]:
    return [each.line for each in look(ask, Needs(overlay.documents)) if each.needed and not each.well]


def of_service(*, container: str = "", pod: str = "") -> Needs:
    return Needs(overlay_of(SERVICE.format(container=container, pod=pod)).documents)


@pytest.mark.slow
def test_a_cluster_that_has_all_passes() -> None:
    overlay = pinned()

    assert missing(RecordedCluster(Needs(overlay.documents)), overlay) == []


@pytest.mark.parametrize(
    ("lacking", "told"),
    [
        ({"version": {"serverVersion": {"major": "1", "minor": "30"}}}, "Kubernetes 1.30: Knative"),
        ({"crds": ""}, "the RabbitMQ cluster operator (RabbitmqCluster v1beta1): install it"),
        ({"crds": ""}, "cert-manager: install cert-manager"),
        (
            {"without": frozenset({"keda.sh"})},
            "KEDA (ScaledJob v1alpha1, ScaledObject v1alpha1, TriggerAuthentication v1alpha1): install",
        ),
        ({"without": frozenset({"monitoring.coreos.com"})}, "or take `monitoring` out of the overlay"),
        ({"crds": "serving.knative.dev Service v1alpha1"}, "Knative Serving (Service v1): install"),
        ({"nodes": {"items": []}}, "0 nodes: RabbitMQ's pods want a node each: 3"),
        ({"storageclasses": {"items": []}}, "a default StorageClass: mark"),
        ({"config_features__knative_serving": {}}, "spreadconstraints enabled in knative-serving: kubectl patch"),
        ({"config_features__knative_eventing": {"data": {"delivery-timeout": "disabled"}}}, "delivery-timeout enabled"),
        ({"config_features__knative_eventing": None}, "delivery-timeout enabled in knative-eventing: "),
        (
            {"without": frozenset({"callback"})},
            "Secret callback: kubectl create secret generic callback --from-literal",
        ),
        ({"without": frozenset({"console"})}, "Secret console: "),
        ({"console": "session-key"}, "Secret console without operators: "),
        ({"version": None}, "a cluster: kubectl config use-context"),
    ],
)
def test_what_is_missing_is_said_with_what_mends_it(lacking: dict[str, object], told: str) -> None:
    overlay = pinned()
    without = lacking.pop("without", frozenset())
    assert isinstance(without, frozenset)

    said = missing(RecordedCluster(Needs(overlay.documents), without=without, **lacking), overlay)

    assert any(told in each for each in said), said


@pytest.mark.slow
def test_what_the_overlay_does_not_use_is_not_needed(tmp_path: Path) -> None:
    without = (("- queue-workers #", "- no-queue-workers #"), ("  - waiting\n", ""), ("  - monitoring #", "  # -"))
    folder = changed(tmp_path, *without)
    overlay = overlay_of(kustomized(folder).replace(":0.1.0\n", "@sha256:0a\n"))
    absent = frozenset({"keda.sh", "monitoring.coreos.com", "external-secrets.io"})

    assert missing(RecordedCluster(Needs(overlay.documents), without=absent), overlay) == []


def test_on_an_empty_cluster_no_setting_is_well() -> None:
    empty = RecordedCluster(
        Needs(()),
        crds="",
        config_features__knative_serving=None,
        config_features__knative_eventing=None,
        config_observability__knative_serving=None,
    )

    well = [each.what for each in look(empty, Needs(pinned().documents)) if each.well]

    assert well == ["Kubernetes 1.34", "3 nodes", "a default StorageClass", "images by digest"]


def test_no_secret_s_value_is_asked_for() -> None:
    overlay = pinned()
    ask = RecordedCluster(Needs(overlay.documents))
    missing(ask, overlay)

    asked = [each for each in ask.asked if each[:2] == ("get", "secret")]
    assert len(asked) == len(Needs(overlay.documents).secrets)
    assert all("$key" in each[-1] and ".data}}{{$key}}" in each[-1] for each in asked)


def test_images_without_a_digest_are_named() -> None:
    said = missing(RecordedCluster(Needs(production().documents)), production())

    assert [each for each in said if "images by digest (registry.shop.example/errands/call:" in each]


@pytest.mark.parametrize(
    ("container", "pod", "named"),
    [
        ("env: [{name: A, valueFrom: {secretKeyRef: {name: a, key: k}}}]", "", {"keys": ("k",)}),
        ("env: [{name: A, valueFrom: {secretKeyRef: {name: a, key: k, optional: true}}}]", "", {"needed": False}),
        ("envFrom: [{secretRef: {name: a}}]", "", {}),
        ("envFrom: [{secretRef: {name: a, optional: true}}]", "", {"needed": False}),
        ("", "volumes: [{name: v, secret: {secretName: a}}]", {}),
        ("", "volumes: [{name: v, projected: {sources: [{secret: {name: a}}]}}]", {}),
        ("", "initContainers: [{image: i, envFrom: [{secretRef: {name: a}}]}]", {}),
    ],
)
def test_every_way_to_name_a_secret_is_seen(container: str, pod: str, named: dict[str, object]) -> None:
    expected = replace(Named(name="a", namespace="shop"), **named)  # type: ignore[arg-type]  # of the case

    assert of_service(container=container, pod=pod).secrets == (expected,)


@pytest.mark.parametrize(
    ("container", "pod"),
    [
        ("env: [{name: A, valueFrom: {configMapKeyRef: {name: a, key: k}}}]", ""),
        ("envFrom: [{configMapRef: {name: a}}]", ""),
        ("", "volumes: [{name: v, configMap: {name: a}}]"),
        ("", "volumes: [{name: v, projected: {sources: [{configMap: {name: a}}]}}]"),
    ],
)
def test_every_way_to_name_a_config_map_is_seen(container: str, pod: str) -> None:
    assert [each.name for each in of_service(container=container, pod=pod).config_maps] == ["a"]


def test_a_secret_that_an_operator_makes_is_not_needed() -> None:
    user = "---\napiVersion: rabbitmq.com/v1beta1\nkind: User\nmetadata: {name: work, namespace: shop}\nspec: {}\n"
    service = SERVICE.format(container="envFrom: [{secretRef: {name: work-user-credentials}}]", pod="")

    assert Needs(overlay_of(service + user).documents).secrets == ()
    assert len(Needs(overlay_of(service).documents).secrets) == 1
