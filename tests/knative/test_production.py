"""knative/overlays/production: what differs on a cluster is sound, and nothing else differs."""

import ipaddress
import json
import os
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import promql_parser
import pytest
import yaml

from functions.gateway.files import FOLDER, OF_JOBS
from functions.gateway.metrics import JobMetrics
from functions.gateway.openapi import OPERATIONS
from functions.gateway.routes import Routes
from functions.net.guard import special_ranges
from functions.storage.store import LEDGER, RESULTS
from knative.cluster.needs import Needs
from knative.cluster.overlay import overlay_of
from knative.lint import lint
from knative.lint.events import samples
from knative.lint.findings import findings
from knative.lint.resources import Resources
from knative.lint.schema import SCHEMAS, schema_flaws, unknown_kinds
from knative.lint.vendor import KUBERNETES, MODULES, OLDEST, OLDEST_KUBERNETES, OLDEST_MODULES
from knative.manifests.documents import parse
from knative.manifests.gateway import declared
from knative.manifests.manifests import load
from tests.support.absent import program
from tests.support.overlays import PRODUCTION as OVERLAY
from tests.support.overlays import ROOT, changed, kustomized, production

WAITING = ("callbacks", "mails")  # work queues of a component
METRICS = {
    name for file in (ROOT / "tests/files/metrics").glob("*.txt") for name in file.read_text().split()
}  # what RabbitMQ 3.10 answers to a scrape, and what Serving 1.23 declares in its source (pkg/queue, pkg/activator)
METRICS |= {"up", *re.findall(r"# TYPE (\w+)", JobMetrics([]).render([], now_ms=0))}  # the gateway's


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


@pytest.mark.slow
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
def test_it_passes_with_external_secrets_too_which_bring_every_secret(tmp_path: Path) -> None:
    with_them = overlay_of(kustomized(changed(tmp_path, ("# - external-secrets #", "- external-secrets #"))))

    secrets = {each.name for each in with_them.documents if each.kind == "ExternalSecret"}
    assert findings(Resources(documents=with_them.documents, production=True)) == []
    assert secrets == {each.name for each in Needs(production().documents).secrets}
    assert Needs(with_them.documents).secrets == ()


@pytest.mark.slow
@pytest.mark.parametrize("schemas", [SCHEMAS, OLDEST], ids=["newest", "oldest"])
@pytest.mark.parametrize(
    "folder", ["knative/base", "keda/base", "knative/overlays/production", "knative/overlays/postgresql"]
)
def test_the_api_server_of_the_oldest_and_of_the_newest_release_takes_them(folder: str, schemas: Path) -> None:
    resources = Resources(documents=overlay_of(kustomized(ROOT / folder)).documents)

    assert [(each.place.where, each.what) for each in schema_flaws(resources, schemas)] == []
    assert [each.what for each in unknown_kinds(resources, schemas)] == []


def test_the_schemas_are_of_the_releases_that_the_readme_names() -> None:
    readme = (OVERLAY / "README.md").read_text()

    for file, modules, kubernetes in ((SCHEMAS, MODULES, KUBERNETES), (OLDEST, OLDEST_MODULES, OLDEST_KUBERNETES)):
        assert json.loads(file.read_text())["sources"] == [*modules, f"kubernetes-validate {kubernetes}"]
        assert kubernetes.split("-")[0].removesuffix(".0").removeprefix("v") in readme
        assert re.search(r"keda/v2@v(\d+\.\d+)", " ".join(modules))[1] in readme  # type: ignore[index]  # it is there


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
        assert container["volumeMounts"][0]["mountPath"] == "/tmp"  # noqa: S108  # in the pod
        assert all(each["readOnly"] for each in container["volumeMounts"][1:])


def test_every_image_comes_from_the_registry_of_the_installation(documents: list[Any]) -> None:
    names = {each["name"] for each in yaml.safe_load((OVERLAY / "images/kustomization.yaml").read_text())["images"]}

    assert names == {f"errands/{each.parent.name}" for each in ROOT.glob("functions/*/main.py")}
    assert all(each["containers"][0]["image"].startswith("registry.") for each in functions(documents).values())


def test_no_secret_s_value_is_in_the_overlay(rendered: str) -> None:
    assert "kind: Secret\n" not in rendered


@pytest.mark.slow
@pytest.mark.parametrize(
    ("folders", "readme"),
    [
        ([OVERLAY], OVERLAY / "README.md"),
        ([ROOT / "knative/base", ROOT / "keda/base"], ROOT / "knative/README.md"),
        ([ROOT / "keda/base"], ROOT / "keda/README.md"),
    ],
    ids=["production", "base", "keda"],
)
def test_every_secret_that_a_manifest_names_is_in_its_readme_with_its_keys(folders: list[Path], readme: Path) -> None:
    needs = Needs(overlay_of("---\n".join(map(kustomized, folders))).documents)
    told = {
        line.split()[4]: line
        for line in readme.read_text().splitlines()
        if line.startswith("kubectl create secret generic ")
    }

    assert {each.name for each in needs.secrets} <= told.keys()
    assert [each for each in needs.secrets if not all(f"={key}=" in told[each.name] for key in each.keys)] == []


def test_every_address_is_in_the_overlays_namespace(rendered: str, documents: list[Any]) -> None:
    [namespace] = [each["metadata"]["name"] for each in of(documents, "Namespace")]
    hosts = {each["metadata"]["host"] for job in of(documents, "ScaledJob") for each in job["spec"]["triggers"]}

    assert set(re.findall(r"[a-z0-9-]+\.([a-z0-9-]+)\.svc\b", rendered)) == {namespace}
    assert hosts == {f"amqp://rabbitmq.{namespace}.svc:5672/"}


def test_no_sink_binding_writes_into_a_service(documents: list[Any]) -> None:
    """Services have K_SINK by themselves: in their containers, which server-side apply gives to one owner whole."""
    bound = {each["spec"]["subject"]["kind"] for each in of(documents, "SinkBinding")}
    sending = {
        name: {each["name"]: each.get("value") for each in pod["containers"][0]["env"]}.get("K_SINK")
        for name, pod in functions(documents).items()
    }

    assert bound == {"Deployment"}
    assert (sending["deadletters"], sending["console"]) == ("http://errands-broker-ingress",) * 2


@pytest.mark.slow
def test_the_queue_workers_can_be_left_out(tmp_path: Path) -> None:
    folder = changed(tmp_path, ("- queue-workers #", "- no-queue-workers #"), ("  - waiting\n", ""))
    without = overlay_of(kustomized(folder))

    needs = Needs(without.documents)
    assert "keda.sh" not in {each.group for each in needs.kinds}
    assert not {"enqueue", "longreport"} & {each.name for each in without.documents}
    assert findings(Resources(documents=without.documents, production=True)) == []


@pytest.mark.slow
def test_apis_from_outside_come_to_the_front_door_and_to_nothing_that_is_for_inside(tmp_path: Path) -> None:
    rendered = kustomized(changed(tmp_path, ("# - outside #", "- outside #")))
    with_it = [each for each in yaml.safe_load_all(rendered) if each]
    operations = {path for _, path in OPERATIONS}

    [route] = of(with_it, "HTTPRoute")
    [rule] = route["spec"]["rules"]
    [service] = [each for each in of(with_it, "Service", "v1") if each["metadata"]["name"] == "front-door"]
    led = {each["path"]["value"] for each in rule["matches"]}
    public = next(
        each["value"]
        for each in functions(with_it)["gateway"]["containers"][0]["env"]
        if each["name"] == "GATEWAY_PUBLIC_URL"
    )
    assert rule["backendRefs"] == [{"name": "front-door", "port": service["spec"]["ports"][0]["port"]}]
    assert urlsplit(public).hostname in route["spec"]["hostnames"]
    assert {each for each in operations if each == "/" or any(each.startswith(one) for one in led - {"/"})} == {
        each for each in operations if each.partition("/")[2].partition("/")[0] in ("", "jobs", "files", "openapi.json")
    }
    assert findings(Resources(documents=tuple(parse(rendered, "rendered")), production=True)) == []


def test_a_bucket_is_reached_by_all_that_have_its_keys(documents: list[Any]) -> None:
    keys = {"secretRef": {"name": "store", "optional": True}}
    templates = {each["metadata"]["name"]: each["spec"]["template"] for each in of(documents, "Service", "serving")}
    holders = {name for name, each in templates.items() if keys in each["spec"]["containers"][0]["envFrom"]}
    outside = {name for name, each in templates.items() if each["metadata"].get("labels", {}).get("errands.dev/calls")}
    [bucket] = [each["spec"] for each in of(documents, "NetworkPolicy") if each["metadata"]["name"] == "bucket-reached"]

    assert holders == outside | set(bucket["podSelector"]["matchExpressions"][0]["values"])


@pytest.mark.slow
def test_traces_reach_the_collector_that_is_named(tmp_path: Path) -> None:
    rendered = kustomized(changed(tmp_path, ("# - tracing #", "- tracing #")))
    with_it = [each for each in yaml.safe_load_all(rendered) if each]

    env = functions(with_it)["gateway"]["containers"][0]["env"]
    [calls] = [each["spec"] for each in of(with_it, "NetworkPolicy") if each["metadata"]["name"] == "gateway-calls"]
    [endpoint] = [urlsplit(each["value"]) for each in env if each["name"] == "OTEL_EXPORTER_OTLP_ENDPOINT"]
    namespace = {"kubernetes.io/metadata.name": str(endpoint.hostname).split(".")[1]}
    assert {"to": [{"namespaceSelector": {"matchLabels": namespace}}], "ports": [{"port": endpoint.port}]} in calls[
        "egress"
    ]
    assert findings(Resources(documents=tuple(parse(rendered, "rendered")), production=True)) == []


def test_what_has_fixed_replicas_has_a_disruption_budget(documents: list[Any]) -> None:
    budgets = {each["metadata"]["name"] for each in of(documents, "PodDisruptionBudget")}
    scale = "autoscaling.knative.dev/min-scale"
    several = {
        each["metadata"]["name"]
        for each in of(documents, "Service", "serving.knative")
        if int(each["spec"]["template"]["metadata"]["annotations"][scale]) > 1
    } | {each["metadata"]["name"] for each in of(documents, "RabbitmqCluster")}

    assert several == budgets == {"deadletters", "gateway", "rabbitmq"}


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

    assert len(ways) == 6
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

    senders = {"call", "fetch", "ics", "image", "message", "notifier", "query", "report"}
    assert holders == senders | {"deadletters", "console", "gateway"}


def test_who_puts_results_where_anybody_may_read_has_the_secret_of_their_names(documents: list[Any]) -> None:
    names = {"secretRef": {"name": "store-names"}}
    holders = {name for name, pod in functions(documents).items() if names in pod["containers"][0]["envFrom"]}
    workers = [job["spec"]["jobTargetRef"]["template"]["spec"]["containers"][0] for job in of(documents, "ScaledJob")]

    assert holders == {"fetch", "ics", "image", "query", "report"}
    assert all(names in worker["envFrom"] for worker in workers)


def test_the_bucket_s_policy_opens_results_and_nothing_that_errands_remembers() -> None:
    [statement] = json.loads((OVERLAY / "bucket-policy.json").read_text())["Statement"]

    assert statement["Action"] == "s3:GetObject"
    assert statement["Resource"].partition(":::")[2] == f"errands-results/{RESULTS}*"
    assert not [each for each in (LEDGER, "evidence/", "uploads/", "templates/") if each.startswith(RESULTS)]


def test_what_the_bucket_forgets_by_age_is_of_jobs_and_outlasts_them() -> None:
    rules = json.loads((OVERLAY / "bucket-lifecycle.json").read_text())["Rules"]
    days = {each["Filter"]["Prefix"]: each["Expiration"]["Days"] for each in rules}
    kept_days, longest_days = 30, Routes(declared(load(ROOT / "knative" / "base"))).longest_s / 86_400

    assert days.keys() == {FOLDER, *OF_JOBS} - {LEDGER}  # in which endpoints are remembered as well
    assert days[FOLDER] >= kept_days
    assert min(days[each] for each in OF_JOBS if each != LEDGER) > kept_days + longest_days


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


@pytest.mark.slow
def test_no_command_selects_a_dispatcher_by_what_all_of_them_share() -> None:
    """A Deployment's selector, and labels of the Broker, find any Trigger's pod."""
    texts = [file.read_text() for file in ROOT.glob("*/**/*.md") if ".venv" not in file.parts]
    commands = [each for text in texts for each in re.findall(r"kubectl (?:logs|exec|attach|describe) [^`\n]*", text)]
    of_dispatchers = [each for each in commands if "dispatcher" in each or "brokerRole" in each]

    assert of_dispatchers
    assert [each for each in of_dispatchers if "grep ^pod/" not in each or "deploy/" in each] == []


def test_the_dashboard_shows_depth_retries_dead_letters_job_time_and_cold_starts(documents: list[Any]) -> None:
    titles = " ".join(each["title"].lower() for each in panels())
    [held] = [each for each in of(documents, "ConfigMap") if each["metadata"]["name"] == "errands-dashboard"]

    assert all(each in titles for each in ("waiting", "tried again", "dead letters", "job time", "cold starts"))
    assert len({each["id"] for each in panels()}) == len(panels())
    assert json.loads(held["data"]["errands.json"])["uid"] == "errands"
    assert held["metadata"]["labels"] == {"grafana_dashboard": "1"}


@pytest.mark.slow
def test_each_alert_fires_when_it_should_and_not_before(tmp_path: Path) -> None:
    promtool = program("promtool", "prometheus")
    shutil.copy(ROOT / "tests/files/alerts.yaml", tmp_path / "alerts.yaml")
    [rules] = yaml.safe_load_all((OVERLAY / "monitoring/rules.yaml").read_text())
    (tmp_path / "rules.yaml").write_text(yaml.safe_dump(rules["spec"]))

    command = [promtool, "test", "rules", "alerts.yaml"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, check=False, text=True)

    tested = set(re.findall(r"alertname: (\w+)", (tmp_path / "alerts.yaml").read_text()))
    assert done.returncode == 0, done.stdout + done.stderr
    assert tested == {each["alert"] for each in alerts()}
