"""knative/overlays/production: what differs on a cluster is sound, and nothing else differs."""

import ipaddress
import json
import os
import re
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import promql_parser
import pytest
import yaml

from functions.net.guard import special_ranges
from functions.storage.store import LEDGER, RESULTS
from knative.cli.preflight import NEEDED, SECRETS, look
from knative.lint import lint
from knative.lint.events import samples
from knative.lint.findings import findings
from knative.lint.resources import Resources
from knative.manifests.documents import parse

ROOT = Path(__file__).parents[2]
OVERLAY = ROOT / "knative" / "overlays" / "production"
WAITING = ("callbacks", "mails")  # work queues of a component
TOPOLOGY_SPREAD = "kubernetes.podspec-topologyspreadconstraints"
METRICS = {
    name for file in (ROOT / "tests/files/metrics").glob("*.txt") for name in file.read_text().split()
}  # what RabbitMQ 3.10 answers to a scrape, and what Serving 1.23 declares in its source (pkg/queue, pkg/activator)


def kustomized(folder: Path) -> str:
    """What kustomize makes of a folder; CI has it where there is a Go toolchain (.ci/run)."""
    local = str(ROOT / ".venv/bin/kustomize")
    kustomize, kubectl = shutil.which("kustomize") or shutil.which(local), shutil.which("kubectl")
    command = [kustomize, "build"] if kustomize else [kubectl, "kustomize"] if kubectl else None
    if command is None:
        if "CI" in os.environ and shutil.which("go"):
            pytest.fail("neither kustomize nor kubectl is there, although .ci/run installs one")
        pytest.skip("kubectl or kustomize is needed")
    flags = ["--load-restrictor", "LoadRestrictionsNone"]  # as the Makefile
    return subprocess.run([*map(str, command), *flags, str(folder)], capture_output=True, text=True, check=True).stdout


@pytest.fixture(scope="module")
def rendered() -> str:
    return kustomized(OVERLAY)


@pytest.fixture(scope="module")
def documents(rendered: str) -> list[Any]:
    return [each for each in yaml.safe_load_all(rendered) if each]


def of(documents: list[Any], kind: str, group: str = "") -> list[Any]:
    return [each for each in documents if each["kind"] == kind and each["apiVersion"].startswith(group)]


def functions(documents: list[Any]) -> dict[str, Any]:
    return {
        each["metadata"]["name"]: each["spec"]["template"]["spec"]
        for each in of(documents, "Service", "serving.knative")
    }


def test_it_passes_the_linter_and_the_schemas(rendered: str) -> None:
    resources = Resources(
        documents=tuple(parse(rendered, "rendered")), samples=samples(ROOT / "events/samples"), production=True
    )

    assert findings(resources) == []


@pytest.mark.slow
def test_the_linter_renders_a_folder_with_patches_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    kustomized(OVERLAY)
    monkeypatch.setenv("PATH", f"{os.environ['PATH']}:{ROOT / '.venv/bin'}")

    assert lint([str(OVERLAY)], production=True) == []


@pytest.mark.slow
def test_it_passes_with_external_secrets_too(tmp_path: Path) -> None:
    for each in ("knative", "keda"):
        shutil.copytree(ROOT / each, tmp_path / each, ignore=shutil.ignore_patterns("*.py", "__pycache__"))
    kustomization = tmp_path / "knative/overlays/production/kustomization.yaml"
    kustomization.write_text(kustomization.read_text().replace("# - external-secrets #", "- external-secrets #"))
    file = tmp_path / "rendered.yaml"
    file.write_text(kustomized(kustomization.parent))

    secrets = {each["metadata"]["name"] for each in of(list(yaml.safe_load_all(file.read_text())), "ExternalSecret")}
    assert lint([str(file)], production=True) == []
    assert secrets == set(SECRETS)


def test_callbacks_and_mails_take_work_queues(documents: list[Any]) -> None:
    enqueued = {
        each["metadata"]["name"]
        for each in of(documents, "Trigger")
        if each["spec"]["subscriber"]["ref"]["name"] == "enqueue"
    }
    policies = {each["metadata"]["name"]: each["spec"] for each in of(documents, "NetworkPolicy")}
    [function] = functions(documents)["notifier"]["containers"]

    assert enqueued == {"longreport", "message", "notifier-completed", "notifier-failed", "notifier-deadlettered"}
    assert policies["workers-call"]["podSelector"]["matchExpressions"][0]["values"] == ["longreport", *WAITING]
    for each in of(documents, "Deployment"):
        pod = each["spec"]["template"]
        [worker] = pod["spec"]["containers"]
        assert pod["metadata"]["labels"]["errands.dev/calls"] == "outside"
        assert worker["securityContext"] == function["securityContext"]
        assert pod["spec"]["automountServiceAccountToken"] is False
        assert {"secretRef": {"name": "store", "optional": True}} in worker["envFrom"]
    assert sorted(each["metadata"]["name"] for each in of(documents, "ScaledObject")) == list(WAITING)


def test_the_policy_is_that_of_the_base(documents: list[Any]) -> None:
    enqueued = {"message", "notifier-completed", "notifier-failed", "notifier-deadlettered"}  # of the component waiting

    def policy(given: list[Any]) -> dict[str, Any]:
        return {
            each["metadata"]["name"]: (each["spec"], each["metadata"]["annotations"])
            for each in of(given, "Trigger")
            if each["metadata"]["name"] not in enqueued
        }

    def time_and_numbers(given: list[Any]) -> dict[str, tuple[int, int]]:
        return {name: (pod["containerConcurrency"], pod["timeoutSeconds"]) for name, pod in functions(given).items()}

    base = [each for each in yaml.safe_load_all(kustomized(ROOT / "knative" / "base")) if each]
    here = yaml.safe_load(json.dumps(policy(documents)).replace(', "namespace": "errands"', ""))

    assert here == yaml.safe_load(json.dumps(policy(base)))
    assert time_and_numbers(documents) == time_and_numbers(base)


def test_every_function_is_hardened_bounded_and_probed(documents: list[Any]) -> None:
    for name, pod in functions(documents).items():
        [container] = pod["containers"]
        security = container["securityContext"]

        assert pod["automountServiceAccountToken"] is False, name
        assert (security["runAsNonRoot"], security["readOnlyRootFilesystem"]) == (True, True)
        assert (security["capabilities"], security["allowPrivilegeEscalation"]) == ({"drop": ["ALL"]}, False)
        assert security["seccompProfile"] == {"type": "RuntimeDefault"}
        assert {"cpu", "memory"} <= container["resources"]["requests"].keys()
        assert "memory" in container["resources"]["limits"], name
        assert container["readinessProbe"]
        assert container["livenessProbe"]
        assert [each["mountPath"] for each in container["volumeMounts"]] == ["/tmp"]  # noqa: S108  # in the pod


def test_every_image_comes_from_the_registry_of_the_installation(documents: list[Any]) -> None:
    names = {each["name"] for each in yaml.safe_load((OVERLAY / "images/kustomization.yaml").read_text())["images"]}

    assert names == {f"errands/{each.parent.name}" for each in ROOT.glob("functions/*/main.py")}
    assert all(each["containers"][0]["image"].startswith("registry.") for each in functions(documents).values())


def test_every_secret_that_is_referred_to_is_known_to_the_preflight(rendered: str) -> None:
    referred = set(re.findall(r"secret(?:Key)?Ref:\n(?:\s+(?:key|optional): .*\n)*\s+name: (\S+)", rendered))

    assert referred - {"console"} == set(SECRETS)
    assert "kind: Secret\n" not in rendered


def test_what_has_fixed_replicas_has_a_disruption_budget(documents: list[Any]) -> None:
    budgets = {each["metadata"]["name"] for each in of(documents, "PodDisruptionBudget")}
    scale = "autoscaling.knative.dev/min-scale"
    several = {
        each["metadata"]["name"]
        for each in of(documents, "Service", "serving.knative")
        if int(each["spec"]["template"]["metadata"]["annotations"][scale]) > 1
    } | {each["metadata"]["name"] for each in of(documents, "RabbitmqCluster")}

    assert several == budgets == {"deadletters", "rabbitmq"}


@pytest.mark.parametrize(
    "address",
    [
        "10.1.2.3",
        "100.64.0.1",
        "127.0.0.1",
        "169.254.169.254",
        "172.31.0.1",
        "192.168.1.1",
        "fd00::1",
        "fe80::1",
        "::1",
    ],
)
def test_the_way_out_leads_to_no_neighbour(documents: list[Any], address: str) -> None:
    [policy] = [each for each in of(documents, "NetworkPolicy") if each["metadata"]["name"] == "call-outside"]
    blocks = [each["ipBlock"] for rule in policy["spec"]["egress"] for each in rule["to"]]

    assert not any(allows(each, address) for each in blocks)
    assert any(allows(each, "93.184.215.14") for each in blocks)


def test_every_way_out_has_the_exceptions_of_the_guard(documents: list[Any]) -> None:
    ways = [
        target["ipBlock"]
        for policy in of(documents, "NetworkPolicy")
        for rule in policy["spec"].get("egress", [])
        for target in rule.get("to", [])
        if target.get("ipBlock", {}).get("cidr") in ("0.0.0.0/0", "2000::/3")
    ]

    assert len(ways) == 4
    for way in ways:
        kept = ipaddress.ip_network(way["cidr"])
        named = [ipaddress.ip_network(each) for each in way["except"]]
        special = [each for each, _ in special_ranges() if each.version == kept.version and each.subnet_of(kept)]  # type: ignore[arg-type]  # of one version
        assert [each for each in special if not any(each.subnet_of(out) for out in named)] == []  # type: ignore[arg-type]


def test_no_policy_opens_a_port_towards_everywhere(documents: list[Any]) -> None:
    policies = of(documents, "NetworkPolicy")
    outward = [
        each["metadata"]["name"]
        for each in policies
        if any("to" not in rule for rule in each["spec"].get("egress", []))
    ]
    inward = [
        each["metadata"]["name"]
        for each in policies
        if any("from" not in rule for rule in each["spec"].get("ingress", []))
    ]

    assert (outward, inward) == ([], [])


def test_a_work_queues_worker_is_as_hardened_as_a_function(documents: list[Any]) -> None:
    [function] = functions(documents)["report"]["containers"]
    for job in of(documents, "ScaledJob"):
        pod = job["spec"]["jobTargetRef"]["template"]["spec"]
        [worker] = pod["containers"]

        assert worker["securityContext"] == function["securityContext"]
        assert pod["automountServiceAccountToken"] is False
        assert all("sizeLimit" in each["emptyDir"] for each in pod["volumes"] if "emptyDir" in each)
        assert {"secretRef": {"name": "store", "optional": True}} in worker["envFrom"]


def test_who_needs_no_bucket_has_no_keys_of_it(documents: list[Any]) -> None:
    keys = {"secretRef": {"name": "store", "optional": True}}
    holders = {name for name, pod in functions(documents).items() if keys in pod["containers"][0]["envFrom"]}

    assert holders == {"call", "ics", "image", "report", "message", "notifier", "deadletters", "console"}


def test_who_puts_results_where_anybody_may_read_has_the_secret_of_their_names(documents: list[Any]) -> None:
    names = {"secretRef": {"name": "store-names"}}
    holders = {name for name, pod in functions(documents).items() if names in pod["containers"][0]["envFrom"]}
    workers = [job["spec"]["jobTargetRef"]["template"]["spec"]["containers"][0] for job in of(documents, "ScaledJob")]

    assert holders == {"ics", "image", "report"}
    assert all(names in worker["envFrom"] for worker in workers)


def test_the_bucket_s_policy_opens_results_and_nothing_that_errands_remembers() -> None:
    [statement] = json.loads((OVERLAY / "bucket-policy.json").read_text())["Statement"]

    assert statement["Action"] == "s3:GetObject"
    assert statement["Resource"].partition(":::")[2] == f"errands-results/{RESULTS}*"
    assert not [each for each in (LEDGER, "evidence/", "uploads/", "templates/") if each.startswith(RESULTS)]


SENDING = {"errands.dev/sends": "to-broker"}
MAY_SEND: list[tuple[str, dict[str, str], dict[str, str], bool]] = [
    ("a dispatcher", {}, {"eventing.knative.dev/brokerRole": "dispatcher"}, True),
    ("the sink", {}, {"serving.knative.dev/service": "deadletters"}, True),
    ("the console", {}, {"serving.knative.dev/service": "console"}, True),
    ("a worker", {}, {"app.kubernetes.io/name": "longreport"}, True),
    ("the gateway", {}, {"serving.knative.dev/service": "gateway"}, True),
    ("an API, which has the front door", {}, {"errands.dev/sends": "events"}, False),
    ("a producer of this namespace", {}, SENDING, True),
    ("a producer of another", {"kubernetes.io/metadata.name": "shop", **SENDING}, SENDING, True),
    ("its neighbour", {"kubernetes.io/metadata.name": "shop", **SENDING}, {"app": "cron"}, False),
    ("who gave itself the label", {"kubernetes.io/metadata.name": "other"}, SENDING, False),
    ("a PingSource of anybody's", {"kubernetes.io/metadata.name": "knative-eventing"}, {"app": "adapter"}, False),
    ("a pod of this namespace", {}, {"app": "debug"}, False),
    *(
        (name, {}, {"serving.knative.dev/service": name}, False)
        for name in ("ics", "image", "report", "message", "notifier", "enqueue")
    ),
]


@pytest.mark.parametrize(("who", "namespace", "pod", "may"), MAY_SEND, ids=[each[0] for each in MAY_SEND])
def test_the_brokers_ingress_is_reached_by_who_sends_and_by_nobody_else(
    documents: list[Any], who: str, namespace: dict[str, str], pod: dict[str, str], may: bool
) -> None:
    [policy] = [each["spec"] for each in of(documents, "NetworkPolicy") if each["metadata"]["name"] == "broker-called"]
    peers = [peer for rule in policy["ingress"] for peer in rule["from"]]

    assert any(lets_in(peer, namespace, pod) for peer in peers) is may


def lets_in(peer: Any, namespace: dict[str, str], pod: dict[str, str]) -> bool:
    """As NetworkPolicyPeer has it; a pod without labels of a namespace is one of the policy's own."""
    if "namespaceSelector" not in peer:
        return not namespace and selects(peer["podSelector"], pod)
    return (
        bool(namespace) and selects(peer["namespaceSelector"], namespace) and selects(peer.get("podSelector", {}), pod)
    )


def selects(selector: Any, labels: dict[str, str]) -> bool:
    exact = all(labels.get(name) == value for name, value in selector.get("matchLabels", {}).items())
    return exact and all(
        each["key"] in labels if each["operator"] == "Exists" else labels.get(each["key"]) in each["values"]
        for each in selector.get("matchExpressions", [])
    )


def test_hostile_work_is_done_behind_walls_or_not_at_all(documents: list[Any]) -> None:
    [config] = [each for each in of(documents, "ConfigMap") if each["metadata"]["name"] == "errands"]
    read = {"configMapRef": {"name": "errands"}}
    containers = [pod["containers"][0] for pod in functions(documents).values()]
    containers += [
        job["spec"]["jobTargetRef"]["template"]["spec"]["containers"][0] for job in of(documents, "ScaledJob")
    ]

    assert config["data"]["SANDBOX_WALLS"] == "required"
    assert all(read in each["envFrom"] for each in containers)
    assert not any(env["name"] == "SANDBOX_WALLS" for each in containers for env in each["env"])


def test_a_replay_to_one_function_is_let_through(documents: list[Any]) -> None:
    calls = {each["metadata"]["name"]: each["spec"] for each in of(documents, "NetworkPolicy")}

    assert calls["console-replays"]["podSelector"]["matchLabels"] == {"serving.knative.dev/service": "console"}
    assert calls["console-replays"]["egress"][0] == calls["broker-calls"]["egress"][2]


def allows(block: Any, address: str) -> bool:
    at = ipaddress.ip_address(address)
    inside = [each for each in (block["cidr"], *block["except"]) if at in ipaddress.ip_network(each)]
    return inside == [block["cidr"]]


def test_nothing_is_reachable_by_default_and_every_function_by_serving_alone(documents: list[Any]) -> None:
    policies = {each["metadata"]["name"]: each["spec"] for each in of(documents, "NetworkPolicy")}
    [called] = policies["functions-called"]["ingress"][0]["from"]

    ours = {"matchExpressions": [{"key": "errands.dev/sends", "operator": "DoesNotExist"}]}
    assert policies["default-deny"] == {"podSelector": ours, "policyTypes": ["Ingress", "Egress"]}
    # the dispatcher of the Broker's own dead letters has a role of its own (eventing-rabbitmq broker/resources)
    assert policies["broker-calls"]["podSelector"]["matchExpressions"][0]["operator"] == "Exists"
    assert "knative-serving" in called["namespaceSelector"]["matchExpressions"][0]["values"]
    assert {"deadletters-calls", "broker-called", "rabbitmq"} <= policies.keys()


def alerts() -> Iterator[Any]:
    for document in yaml.safe_load_all((OVERLAY / "monitoring/rules.yaml").read_text()):
        for group in document["spec"]["groups"]:
            yield from group["rules"]


def panels() -> list[Any]:
    dashboard = json.loads((OVERLAY / "monitoring/errands.json").read_text())
    return list(dashboard["panels"])


def queries() -> list[str]:
    shown = [target["expr"].replace("$__rate_interval", "5m") for panel in panels() for target in panel["targets"]]
    of_a_runner = [each for each in shown if "errands_" in each]  # tests/knative/local/test_monitoring.py
    return [*(each for each in shown if each not in of_a_runner), *(each["expr"] for each in alerts())]


@pytest.mark.parametrize("query", queries())
def test_each_query_is_promql_over_metrics_that_exist(query: str) -> None:
    promql_parser.parse(query)

    used = set(re.findall(r"([a-z_]+)\{", query))
    assert used
    assert used <= METRICS


def test_each_alert_has_its_place_in_the_runbook() -> None:
    runbook = (OVERLAY / "README.md").read_text()

    assert [each["alert"] for each in alerts() if f"\n**{each['alert']}.** " not in runbook] == []
    assert set(re.findall(r"\n\*\*(Errands\w+)\.\*\* ", runbook)) == {each["alert"] for each in alerts()}


def test_the_dashboard_shows_depth_retries_dead_letters_job_time_and_cold_starts(documents: list[Any]) -> None:
    titles = " ".join(each["title"].lower() for each in panels())
    [held] = [each for each in of(documents, "ConfigMap") if each["metadata"]["name"] == "errands-dashboard"]

    assert all(each in titles for each in ("waiting", "tried again", "dead letters", "job time", "cold starts"))
    assert len({each["id"] for each in panels()}) == len(panels())
    assert json.loads(held["data"]["errands.json"])["uid"] == "errands"
    assert held["metadata"]["labels"] == {"grafana_dashboard": "1"}


def cluster(**lacking: object) -> Callable[..., str | None]:
    """A cluster that has everything but what is given, as kubectl shows it."""
    node = {"spec": {}, "status": {"conditions": [{"type": "Ready", "status": "True"}]}}
    storage = {"metadata": {"annotations": {"storageclass.kubernetes.io/is-default-class": "true"}}}
    responses: dict[str, object] = {
        "version": {"serverVersion": {"major": "1", "minor": "34+"}},
        "crds": "\n".join(f"customresourcedefinition.apiextensions.k8s.io/{each}" for each in NEEDED),
        "nodes": {"items": [node] * 3},
        "storageclasses": {"items": [storage]},
        "config-features": {"data": {TOPOLOGY_SPREAD: "enabled"}},
        "config-observability": {"data": {"request-metrics-protocol": "prometheus"}},
        **{name: f"secret/{name}" for name in SECRETS},
    } | lacking

    def ask(*arguments: str) -> str | None:
        response = next(responses[each] for each in reversed(arguments) if each in responses)
        return response if response is None or isinstance(response, str) else json.dumps(response)

    return ask


@pytest.fixture
def pinned(tmp_path: Path) -> Path:
    """An overlay whose images have digests."""
    (tmp_path / "images").mkdir()
    (tmp_path / "images/kustomization.yaml").write_text("images: [{name: errands/ics, digest: 'sha256:0a'}]\n")
    return tmp_path


def test_the_preflight_passes_a_cluster_that_has_all(pinned: Path) -> None:
    missing = [each.line for each in look(cluster(), pinned) if each.needed and not each.well]

    assert missing == []


@pytest.mark.parametrize(
    ("lacking", "told"),
    [
        ({"version": {"serverVersion": {"major": "1", "minor": "30"}}}, "Kubernetes 1.30: Knative"),
        ({"crds": ""}, "rabbitmqclusters.rabbitmq.com: install the cluster operator"),
        ({"nodes": {"items": []}}, "0 nodes: RabbitMQ's three pods"),
        ({"storageclasses": {"items": []}}, "a default StorageClass: mark"),
        ({"config-features": {}}, "enabled in knative-serving: kubectl patch configmap config-features"),
        (
            {"config-features": {"data": {"delivery-timeout": "disabled"}}},
            "delivery-timeout enabled in knative-eventing: ",
        ),
        ({"callback": None}, "Secret callback: kubectl create secret generic callback -n errands"),
        ({"version": None}, "a cluster: kubectl reaches none"),
    ],
    ids=["version", "definitions", "nodes", "storage", "feature", "timeout", "secret", "unreachable"],
)
def test_the_preflight_says_what_to_install(pinned: Path, lacking: dict[str, object], told: str) -> None:
    missing = [each.line for each in look(cluster(**lacking), pinned) if each.needed and not each.well]

    assert any(told in each for each in missing)


def test_the_preflight_leaves_secrets_to_external_secrets_where_the_overlay_brings_them(pinned: Path) -> None:
    (pinned / "kustomization.yaml").write_text("components: [images, external-secrets]\n")
    missing = [each.line for each in look(cluster(callback=None), pinned) if each.needed and not each.well]

    assert missing == []


def test_the_preflight_wants_images_by_digest() -> None:
    missing = [each.line for each in look(cluster(), OVERLAY) if each.needed and not each.well]

    assert [each for each in missing if "images by digest (errands/call" in each]


@pytest.mark.slow
def test_each_alert_fires_when_it_should_and_not_before(tmp_path: Path) -> None:
    promtool = shutil.which("promtool")
    if promtool is None:
        if "CI" in os.environ:
            pytest.fail("promtool is not there, although .ci/run installs it")
        pytest.skip("promtool (Debian: prometheus) is needed")
    shutil.copy(ROOT / "tests/files/alerts.yaml", tmp_path / "alerts.yaml")
    [rules] = yaml.safe_load_all((OVERLAY / "monitoring/rules.yaml").read_text())
    (tmp_path / "rules.yaml").write_text(yaml.safe_dump(rules["spec"]))

    command = [promtool, "test", "rules", "alerts.yaml"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, check=False, text=True)

    tested = set(re.findall(r"alertname: (\w+)", (tmp_path / "alerts.yaml").read_text()))
    assert done.returncode == 0, done.stdout + done.stderr
    assert tested == {each["alert"] for each in alerts()}
