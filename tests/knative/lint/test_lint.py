"""The linter: what it finds and where, what it passes, and how it answers."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from knative.lint import Finding, lint, look
from knative.lint.findings import RULES
from knative.lint.repeatable import asked
from knative.lint.report import table
from knative.manifests.documents import ManifestError, parse
from knative.manifests.manifests import MANIFESTS
from tests.support.lint_cases import ANSWERING, CASES, EVENT_TYPE, FILTER, OTHER, RESIZE, SECOND, SHOP, Case, changed

ROOT = Path(__file__).parents[3]


def found(tmp_path: Path, text: str, *, events: Path | None = None, production: bool = False) -> list[Finding]:
    file = tmp_path / "shop.yaml"
    file.write_text(text)
    return lint([str(file)], events=events, production=production)


@pytest.mark.parametrize("case", CASES, ids=lambda each: each.rule)
def test_a_manifest_that_breaks_a_rule_is_found_at_its_line_and_nothing_else_is(tmp_path: Path, case: Case) -> None:
    findings = found(tmp_path, case.breaks)

    assert {each.rule for each in findings} == {case.rule}
    assert case.at in case.breaks.splitlines()[findings[0].line - 1]


@pytest.mark.parametrize("case", CASES, ids=lambda each: each.rule)
def test_a_manifest_that_almost_breaks_it_passes(tmp_path: Path, case: Case) -> None:
    assert found(tmp_path, case.almost) == []


def test_a_flow_that_asks_the_machine_is_named_with_its_line_and_what_is_beside_it_may() -> None:
    found = [(what, called) for _, what, called in asked(ROOT / "tests/support/unrepeatable_flow.py")]

    assert found == [
        ("the clock", "datetime.datetime.now"),
        ("chance", "random.random"),
        ("chance", "uuid.uuid4"),
    ]


@pytest.mark.parametrize("line", ["from errands import Flow, Request, flow", "import errands"])
def test_a_flow_is_known_by_its_public_name(tmp_path: Path, line: str) -> None:
    file, mark = tmp_path / "flow.py", "errands.flow" if line == "import errands" else "flow"
    file.write_text(f"import random\n{line}\n\n@{mark}(object)\nasync def pick(_, do):\n    return random.random()\n")

    assert [(line, what) for line, what, _ in asked(file)] == [(6, "chance")]


def test_every_rule_has_a_case() -> None:
    assert {each.rule for each in CASES} | {"image-without-version", "bound-to-rabbitmq"} == RULES.keys()


def test_an_image_without_a_version_is_refused_in_production_only(tmp_path: Path) -> None:
    versioned = SHOP.replace("shop/letters", "shop/letters:1.2").replace("shop/resize", "host:5000/resize@sha256:0a")

    assert {each.rule for each in found(tmp_path, SHOP, production=True)} == {"image-without-version"}
    assert found(tmp_path, versioned, production=True) == []
    assert found(tmp_path, SHOP) == []


def test_with_another_class_of_broker_it_names_what_is_rabbitmqs_alone(tmp_path: Path) -> None:
    sink = SHOP.replace('value: "20"', "value: http://shop-broker-ingress")
    file = tmp_path / "shop.yaml"
    file.write_text(sink.replace(FILTER, "  filters: [{prefix: {type: shop.}}]\n"))

    found_of_kafka = lint([str(file)], broker_class="Kafka")
    lines = [file.read_text().splitlines()[each.line - 1].strip() for each in found_of_kafka]

    assert {each.rule for each in found_of_kafka} == {"bound-to-rabbitmq"}
    assert [each.partition(": ")[0] for each in lines] == [
        "kind",
        "eventing.knative.dev/broker.class",
        "config",
        "value",
        "rabbitmq.eventing.knative.dev/parallelism",
    ]
    assert "filters-ignored" in {each.rule for each in lint([str(file)], broker_class="RabbitMQBroker")}


def test_two_functions_that_answer_each_other_are_a_loop_and_a_chain_is_none(tmp_path: Path) -> None:
    resized = SECOND.replace("shop.picture.added", "shop.picture.resized").replace("name: resize}}", "name: store}}")
    resize = SHOP.replace(RESIZE, ANSWERING.format("shop.picture.resized"))
    store = "---\n" + resize.split("---\n")[3].replace("name: resize", "name: store").replace('"24"', '"12"')
    chain = f"{resize}---\n{resized}{store.replace('shop.picture.resized', 'shop.picture.stored')}"
    circle = f"{resize}---\n{resized}{store.replace('shop.picture.resized', 'shop.picture.added')}"

    assert found(tmp_path, chain) == []
    assert [(each.rule, each.what) for each in found(tmp_path, circle)] == [
        ("loop", "resize answers store answers resize")
    ]


def test_samples_of_events_say_what_is_emitted(tmp_path: Path) -> None:
    events = tmp_path / "events"
    events.mkdir()
    (events / "added.json").write_text(
        json.dumps({"type": "shop.picture.added", "source": "/a", "size": 3, "big": True})
    )
    source = SHOP.replace("added\n", "added\n      source: /b\n")
    number = SHOP.replace("added\n", 'added\n      size: "3"\n')

    assert found(tmp_path, source, events=events) == []
    assert "emitted as a number" in found(tmp_path, number, events=events)[1].what


def test_a_broker_of_another_class_is_none_of_its_business(tmp_path: Path) -> None:
    filters = SHOP.replace(FILTER, "  filters: [{prefix: {type: shop.}}]\n")

    assert found(tmp_path, filters.replace("RabbitMQBroker", "Kafka")) == []


def test_a_resource_may_allow_itself_a_rule_and_no_other(tmp_path: Path) -> None:
    rigid = SHOP.replace('parallelism: "24"', 'parallelism: "25"\n    lint.errands.dev/allow: catch-all, too-parallel')

    assert found(tmp_path, rigid) == []
    assert [each.rule for each in found(tmp_path, rigid.replace("PT30S", "PT9S"))] == ["attempt-outlives-trigger"]


def test_the_members_of_a_list_are_linted_at_their_own_lines(tmp_path: Path) -> None:
    trigger = SECOND.replace("    timeout: PT30S\n", "")
    indented = "".join(f"    {line}\n" for line in trigger.splitlines())
    text = f"apiVersion: v1\nkind: List\nitems:\n  -\n{indented}"

    assert [(each.rule, each.line) for each in found(tmp_path, text) if each.rule == "no-timeout"] == [
        ("no-timeout", 16)
    ]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("a: [\n", "2: not YAML: expected the node content"),
        ("a: &a [x]\nb: *c\n", "2: not YAML: found undefined alias"),
        ("- 1\n", "1: a resource is a mapping"),
        ("a: \x00\n", "1: not YAML: "),
        ("", "no manifest is there"),
        ("a: !!python/object:os.system {}\n", "1: not YAML: could not determine a constructor"),
        (
            f"a: &a0 [{'x,' * 9}x]\n" + "".join(f"a{n}: &a{n + 1} [{f'*a{n},' * 9}*a{n}]\n" for n in range(9)),
            "at most 300000",
        ),
        ("a: &a {b: *a}\n", "nested so deep"),
        ("[" * 5000, "nested so deep"),
    ],
    ids=["open", "alias", "list", "control", "empty", "tag", "bomb", "itself", "deep"],
)
def test_what_is_no_manifest_is_refused_with_its_line(tmp_path: Path, text: str, reason: str) -> None:
    with pytest.raises(ManifestError, match=r"shop\.yaml") as refused:
        found(tmp_path, text)

    assert reason in str(refused.value)


def test_dates_and_the_equals_sign_are_texts_as_kubernetes_reads_them() -> None:
    [document] = parse("a: 2026-11-22\nb: =\nc: 0x10\n", "x")

    assert document.data == {"a": "2026-11-22", "b": "=", "c": 16}


def run(*arguments: str, given: str = "") -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "knative.cli.main", "lint", *arguments]
    return subprocess.run(command, input=given, capture_output=True, check=False, text=True, cwd=ROOT)


@pytest.mark.slow
def test_the_exit_code_is_1_on_errors_and_on_warnings_only_when_strict() -> None:
    warned, wrong = SHOP.replace('max-scale: "24"', 'max-scale: "99"'), SHOP.replace('"1"', '"0"')

    assert [run("-", given=each).returncode for each in (SHOP, warned, wrong)] == [0, 0, 1]
    assert run("-", "--strict", given=warned).returncode == 1
    assert run("no/such/folder").returncode == 64
    assert run("-", "--format", "xml", given=SHOP).returncode == 64


def test_text_tells_what_where_what_then_and_the_fix() -> None:
    shown = run("-", given=SHOP.replace('"1"', '"0"')).stdout.splitlines()

    assert shown[0] == "<stdin>:27: error: the dead-letter sink has min-scale 0 [sink-scales-to-zero]"
    assert [each.split()[0] for each in shown[1:4]] == ["in", "then", "fix"]
    assert shown[-1] == "5 resources in 1 file: 1 error, 0 warnings"


@pytest.mark.slow
def test_json_and_github_are_for_machines() -> None:
    given = SHOP.replace('"1"', '"0"')
    [finding] = json.loads(run("-", "--format", "json", given=given).stdout)
    github = run("-", "--format", "github", given=given).stdout

    assert (finding["rule"], finding["line"], finding["severity"]) == ("sink-scales-to-zero", 27, "error")
    assert github.startswith("::error file=<stdin>,line=27,title=sink-scales-to-zero::Service letters: ")
    assert json.loads(run("-", "--format", "json", given=SHOP).stdout) == []


@pytest.mark.slow
@pytest.mark.parametrize("format_", ["text", "json", "github"])
def test_no_output_shows_a_secret(format_: str) -> None:
    secrets = [
        OTHER.format(version="v1", kind="Secret", spec="{}")
        + "stringData: {password: [hunter2]}\ndata: {a: hunter2}\n",
        SHOP.replace('name: TIMEOUT_S\n              value: "20"', "name: A_TOKEN\n              value: hunter2"),
        SHOP.replace('value: "20"', "value: {a: hunter2}"),
        SHOP.replace('value: "20"', "value: s3://key:hunter2@store"),
    ]

    shown = [run("-", "--format", format_, given=each) for each in secrets]

    assert all(each.returncode == 1 for each in shown)
    assert all("hunter2" not in each.stdout + each.stderr for each in shown)


def test_a_folder_is_its_files_or_what_its_kustomization_lists(tmp_path: Path) -> None:
    (tmp_path / "shop.yaml").write_text(SHOP)
    (tmp_path / "draft.yaml").write_text(SECOND.replace("    timeout: PT30S\n", ""))
    everything = lint([str(tmp_path)])
    (tmp_path / "kustomization.yaml").write_text("resources: [shop.yaml]\n")

    assert {each.file for each in everything} == {str(tmp_path / "draft.yaml"), str(tmp_path / "shop.yaml")}
    assert lint([str(tmp_path)]) == []


def test_the_folders_below_are_looked_at_too_and_what_is_no_manifest_there_is_passed_over(tmp_path: Path) -> None:
    below, listed = tmp_path / "k8s/live", tmp_path / "listed"
    for folder in (below, listed, tmp_path / ".git", tmp_path / "node_modules"):
        folder.mkdir(parents=True)
        (folder / "draft.yaml").write_text(SECOND.replace("    timeout: PT30S\n", ""))
    (listed / "kustomization.yaml").write_text("resources: [shop.yaml]\n")
    (listed / "shop.yaml").write_text(SHOP)
    (tmp_path / "k8s/compose.yaml").write_text("services: {shop: {image: shop}}\n")

    linted = look([str(tmp_path)])

    assert {each.file for each in linted.findings} == {str(below / "draft.yaml"), str(listed / "shop.yaml")}
    assert linted.files == 2


@pytest.mark.parametrize("kustomization", [None, "resources: []\n"])
def test_to_have_looked_at_nothing_is_an_error(tmp_path: Path, kustomization: str | None) -> None:
    if kustomization:
        (tmp_path / "kustomization.yaml").write_text(
            f"apiVersion: kustomize.config.k8s.io/v1beta1\nkind: Kustomization\n{kustomization}"
        )

    done = run(str(tmp_path), given="")

    assert done.returncode == 64
    assert done.stderr.startswith(f"{tmp_path}: no ")


def test_the_events_of_our_own_functions_are_known_beside_those_that_a_project_declares(tmp_path: Path) -> None:
    declared = "apiVersion: eventing.knative.dev/v1beta2\nkind: EventType\nmetadata: {name: x}\nspec: {type: x.y}\n"
    (tmp_path / "types.yaml").write_text(declared)

    assert {each.rule for each in lint([str(MANIFESTS), str(tmp_path)])} <= {"unwanted-event"}


def test_our_own_manifests_pass_with_the_samples_of_our_events() -> None:
    assert lint([str(ROOT / "knative" / "base")], events=ROOT / "events" / "samples") == []


@pytest.mark.slow
def test_the_linter_knows_nothing_of_our_functions() -> None:
    code = (
        "import sys, knative.lint; knative.lint.lint(['knative/base'])\n"
        "print([each for each in sys.modules if each.partition('.')[0] in ('functions', 'events')])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, check=True, text=True, cwd=ROOT)

    assert done.stdout == "[]\n"


def test_the_ends_of_a_flows_steps_are_wanted_by_who_takes_its_request(tmp_path: Path) -> None:
    trial = changed(("type: shop.picture.added", "type: shop.trial.requested.v1"))
    steps = SECOND.replace("type: shop.picture.added", "flow: trial")
    found = {}
    for name, flow in (("its", "trial"), ("another", "other")):
        file = tmp_path / f"{name}.yaml"
        declared = EVENT_TYPE.format("shop.trial.requested.v1")
        file.write_text(f"{trial}{declared}---\n{steps.replace('flow: trial', f'flow: {flow}')}")
        found[name] = {each.rule for each in lint([str(file)])}

    assert ("never-emitted" in found["its"], "never-emitted" in found["another"]) == (False, True)


def test_the_readme_lists_the_rules_as_they_are() -> None:
    assert table() in (ROOT / "knative" / "README.md").read_text()
