"""`errands deploy` and `undeploy` on Kubernetes' own API server: what is applied twice, fails half-way, and goes."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from knative.cluster import deployment
from knative.cluster.kubectl import TIMEOUT_S, Answer, Kubectl, kubectl
from knative.cluster.overlay import Overlay, overlay_of
from tests.support.kubernetes_server import KubernetesServer, kubernetes_server
from tests.support.overlays import ROOT, production

K_SINK = [
    {"op": "add", "path": "/spec/template/spec/containers/0/env/-", "value": {"name": "K_SINK", "value": "http://b"}}
]


@pytest.fixture(scope="module")
def kubernetes(tmp_path_factory: pytest.TempPathFactory) -> Iterator[KubernetesServer]:
    with kubernetes_server(tmp_path_factory.mktemp("kubernetes")) as server:
        yield server


@pytest.fixture
def ask(kubernetes: KubernetesServer, monkeypatch: pytest.MonkeyPatch) -> Kubectl:
    """kubectl on that server, which keeps what the test before has applied: to apply it again changes nothing."""
    monkeypatch.setenv("KUBECONFIG", str(kubernetes.kubeconfig))
    return kubectl


def service(ask: Kubectl, name: str) -> dict[str, Any]:
    shown = ask("get", "services.serving.knative.dev", name, "--namespace=errands", "--output=json")
    return dict(json.loads(shown.output))


def bind(ask: Kubectl, overlay: Overlay) -> None:
    """Do what eventing's webhook does for each SinkBinding of a Knative Service."""
    for each in overlay.documents:
        subject = each.root["spec"]["subject"]
        if each.kind == "SinkBinding" and subject["kind"].text == "Service":
            what = ("services.serving.knative.dev", subject["name"].text, f"--namespace={each.namespace}")
            how = ("--type=json", "--field-manager=eventing-webhook", f"--patch={json.dumps(K_SINK)}")
            assert ask("patch", *what, *how).well


def versioned(version: str) -> Overlay:
    return overlay_of(production().text.replace(":0.1.0\n", f":{version}\n"))


def test_a_second_deployment_an_upgrade_and_a_rollback_are_clean(ask: Kubectl) -> None:
    for version in ("0.1.0", "0.1.0", "0.2.0", "0.1.0"):
        overlay = versioned(version)

        applied = deployment.apply(ask, overlay)
        bind(ask, overlay)

        assert len(applied.splitlines()) == len(overlay.documents)
        image = service(ask, "deadletters")["spec"]["template"]["spec"]["containers"][0]["image"]
        assert image.endswith(f":{version}")


def test_a_deployment_after_a_failed_one_is_clean(ask: Kubectl) -> None:
    broken = overlay_of(production().text.replace("containerConcurrency: 4\n", "containerConcurrency: four\n"))
    with pytest.raises(deployment.NotDone, match="containerConcurrency"):
        deployment.apply(ask, broken)

    assert deployment.apply(ask, production())


def test_a_field_that_something_else_has_written_stops_the_deployment_until_it_is_taken_over(ask: Kubectl) -> None:
    deployment.apply(ask, production())
    binding = {
        "apiVersion": "sources.knative.dev/v1",
        "kind": "SinkBinding",
        "metadata": {"name": "own", "namespace": "errands"},
        "spec": {"subject": {"apiVersion": "serving.knative.dev/v1", "kind": "Service", "name": "ics"}},
    }
    bind(ask, overlay_of(yaml.safe_dump(binding)))

    with pytest.raises(deployment.NotDone, match=r"(?s)eventing-webhook.*errands deploy --take-over"):
        deployment.apply(ask, production())

    deployment.apply(ask, production(), take_over=True)
    assert deployment.apply(ask, production())


def undeploy(kubernetes: KubernetesServer, *arguments: str, given: str = "") -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "knative.cli.main", "undeploy", *arguments]
    environment = {**os.environ, "KUBECONFIG": str(kubernetes.kubeconfig)}
    return subprocess.run(command, input=given, capture_output=True, check=False, text=True, cwd=ROOT, env=environment)


def test_undeploy_asks_and_without_an_answer_deletes_nothing(kubernetes: KubernetesServer, ask: Kubectl) -> None:
    deployment.apply(ask, production())

    refused = [undeploy(kubernetes, given=each) for each in ("", "n\n")]

    assert [each.returncode for each in refused] == [1, 1]
    services = sum(each.kind == "Service" for each in production().documents)
    assert all(f"{services} Service" in each.stdout for each in refused)
    assert len(deployment.present(ask, production().documents)) == len(production().documents)


def test_undeploy_deletes_everything_and_returns_when_it_is_gone(kubernetes: KubernetesServer, ask: Kubectl) -> None:
    deployment.apply(ask, production())
    assert ask("create", "secret", "generic", "callback", "--namespace=errands").well

    done = undeploy(kubernetes, given="y\n")

    assert done.returncode == 0, done.stderr
    assert deployment.present(ask, production().documents) == []
    assert not ask("get", "namespace", "errands").well
    assert "nothing of it is there" in undeploy(kubernetes).stdout


def test_what_is_held_back_is_said_with_what_is_left(ask: Kubectl) -> None:
    deployment.apply(ask, production())
    held = ("brokers.eventing.knative.dev", "errands", "--namespace=errands", "--type=merge")
    ask("patch", *held, '--patch={"metadata": {"finalizers": ["rabbitmq.example/queue"]}}')
    brokers = [each for each in production().documents if each.kind == "Broker"]

    with pytest.raises(deployment.NotDone, match="Broker errands is left: "):
        deployment.remove(ask, brokers, lambda _line: None, timeout_s=2.0)

    ask("patch", *held, '--patch={"metadata": {"finalizers": null}}')


@pytest.mark.slow
def test_what_rabbitmq_holds_goes_before_rabbitmq_and_the_namespace_last() -> None:
    stages = deployment.stages(production().documents)
    stage_of = {each.kind: number for number, stage in enumerate(stages) for each in stage}

    assert stage_of["Trigger"] < stage_of["Broker"] == stage_of["Queue"] < stage_of["RabbitmqCluster"]
    assert [each.kind for each in stages[-1]] == ["Namespace"]
    assert sum(map(len, stages)) == len(production().documents)


def test_a_kind_that_the_cluster_does_not_know_has_nothing_to_delete() -> None:
    def without_keda(*arguments: str, given: str = "", timeout_s: float = TIMEOUT_S) -> Answer:
        if arguments[1].endswith(".keda.sh"):
            return Answer(output="", error=f"the server doesn't have a resource type {arguments[1]}", code=1)
        return Answer(output=json.dumps({"items": [{"metadata": {"name": "errands"}}]}))

    found = deployment.present(without_keda, production().documents)

    assert {each.name for each in found} == {"errands"}
    assert not [each for each in found if each.group == "keda.sh"]


@pytest.mark.slow
def test_undeploy_without_a_cluster_is_no_success(tmp_path: Path) -> None:
    (tmp_path / "kubeconfig").write_text("apiVersion: v1\nkind: Config\n")
    command = [sys.executable, "-m", "knative.cli.main", "undeploy", "--yes"]
    environment = {**os.environ, "KUBECONFIG": str(tmp_path / "kubeconfig")}

    done = subprocess.run(command, capture_output=True, check=False, text=True, cwd=ROOT, env=environment)

    assert done.returncode == 1
    assert "kubectl reaches no cluster" in done.stderr
