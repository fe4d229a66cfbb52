"""The manifests: read into what the runner needs, refused with file, line and reason, and safe on RabbitMQ."""

import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from events.types import REGISTRY
from knative.manifests.declared import DeclaredDelivery
from knative.manifests.documents import ManifestError
from knative.manifests.manifests import DeliverySpec, load
from knative.manifests.reading import read
from tests.support.local_runner import ROOT, service, trigger, waits, write_manifests

MANIFESTS = load(ROOT / "knative" / "base")
CONSUMER_TIMEOUT_S = 1_800
PREFETCH = 100


@pytest.mark.slow
def test_kustomize_builds_the_same_documents_as_the_files_hold() -> None:
    kubectl = shutil.which("kubectl")
    if kubectl is None:
        pytest.skip("kubectl is not installed")
    built = subprocess.run(
        [kubectl, "kustomize", str(ROOT / "knative" / "base")], capture_output=True, text=True, check=True
    )
    files = [file for file in (ROOT / "knative" / "base").glob("*.yaml") if file.name != "kustomization.yaml"]

    rendered = [each for each in yaml.safe_load_all(built.stdout) if each]
    written = [each for file in files for each in yaml.safe_load_all(file.read_text()) if each]
    assert _by_name(rendered) == _by_name(written)


@pytest.mark.parametrize("trigger_", MANIFESTS.triggers, ids=lambda each: each.name)
def test_no_attempt_outlives_its_service_and_no_event_outlives_the_consumer_timeout(trigger_: object) -> None:
    """Function's limit < timeoutSeconds <= the Trigger's timeout; 100 x seconds / parallelism < 1800 (measured)."""
    found = next(each for each in MANIFESTS.triggers if each is trigger_)
    subscriber, delivery = MANIFESTS.services[found.subscriber], found.delivery
    waits_s = sum(delivery.backoff_s(retry) for retry in range(1, delivery.retry + 1))
    worst_s = (delivery.retry + 1) * delivery.timeout_s + waits_s
    own_s = sum(float(str(subscriber.environment.get(name, 0))) for name in ("TIMEOUT_S", "FETCH_TIMEOUT_S"))

    assert own_s < subscriber.timeout_s <= delivery.timeout_s
    assert PREFETCH * worst_s / found.parallelism < CONSUMER_TIMEOUT_S


def test_what_calls_the_api_waits_for_a_day_mails_for_six_hours_and_nothing_else() -> None:
    waiting = {each.name: each.longest_wait_s / 3_600 for each in MANIFESTS.triggers if each.longest_wait_s}

    told = [
        f"{who}-{outcome}" for who in ("gateway", "notifier") for outcome in ("completed", "failed", "deadlettered")
    ]
    assert waiting == {"message": 6.0, **dict.fromkeys(["call", *told], 24.0)}


@pytest.mark.parametrize("trigger_", MANIFESTS.triggers, ids=lambda each: each.name)
def test_parallelism_is_what_the_service_can_work_on(trigger_: object) -> None:
    found = next(each for each in MANIFESTS.triggers if each is trigger_)
    sharing = sum(each.subscriber == found.subscriber for each in MANIFESTS.triggers)
    subscriber = MANIFESTS.services[found.subscriber]

    together = found.parallelism * sharing
    capacity = subscriber.max_scale * subscriber.concurrency
    assert capacity / 2 <= together <= capacity


def resources() -> Iterator[Any]:
    """All of the base, as YAML has it."""
    for file in (ROOT / "knative" / "base").glob("*.yaml"):
        yield from yaml.safe_load_all(file.read_text())


def test_the_sink_never_scales_to_zero_and_each_requested_type_is_wanted_by_one_trigger() -> None:
    declared = {
        each["spec"]["type"] for each in resources() if each["kind"] == "EventType"
    }  # of functions of their own
    requested = {each for each in REGISTRY if ".requested." in each}

    assert MANIFESTS.services["deadletters"].min_scale >= 1
    assert set(MANIFESTS.known_types) == requested | declared
    assert all(len(MANIFESTS.wanted_by({"type": each})) == 1 for each in requested)


def test_every_outcome_reaches_notifier_and_gateway_and_no_reply_reaches_the_function_that_made_it() -> None:
    for type_ in REGISTRY:
        job, phase = type_.split(".")[2:4]
        wanted = MANIFESTS.wanted_by({"type": type_, **({} if phase == "requested" else {"outcome": phase})})

        takes = {"longreport": "enqueue", "graph": "flows", "onboarding": "flows", "signal": "flows"}.get(job, job)
        assert [each.subscriber for each in wanted] == ([takes] if phase == "requested" else ["gateway", "notifier"])


def test_backoff_is_that_of_eventing_rabbitmq() -> None:
    base = {"retry": 3, "backoff_delay_s": 0.5, "timeout_s": 1, "dead_letter_sink": "sink"}
    exponential = DeliverySpec(backoff_policy="exponential", **base)  # type: ignore[arg-type]  # a mapping of mixed types
    linear = DeliverySpec(backoff_policy="linear", **base)  # type: ignore[arg-type]  # as above

    assert [exponential.backoff_s(retry) for retry in (1, 2, 3)] == [1, 2, 4]
    assert [linear.backoff_s(retry) for retry in (1, 2, 3)] == [0.5, 1, 1.5]


@pytest.mark.parametrize(
    ("document", "line", "reason"),
    [
        (trigger(retry="many"), 24, "a whole number from 0 to 1000 is expected, got 'many'"),
        (trigger(delay="5s"), 24, "an ISO 8601 duration such as PT30S is expected, got '5s'"),
        (trigger(filter="{datacontenttype: application/json}"), 24, "never matches"),
        (trigger(filter='{type: ""}'), 24, "never matches"),
        (trigger(subscriber="nobody"), 24, "a Service of these manifests is expected (deadletters"),
        (trigger().replace("retry: 2", "retryAfterMax: PT30S"), 24, "retryAfterMax has no effect"),
        (trigger().replace("filter:", "filters: []\n  filter:"), 24, "the RabbitMQ broker ignores filters"),
        (trigger().replace("timeout: PT10S", ""), 24, "timeout is required"),
        (trigger(parallelism=0), 24, "a whole number from 1 to 1000"),
        (waits("a day", trigger())[0], 24, "an ISO 8601 duration such as PT30S is expected, got 'a day'"),
        (service().replace("FUNCTION_SOURCE", "SOURCE"), 0, "env FUNCTION_SOURCE is required"),
        ("\napiVersion: flows.knative.dev/v1\nkind: Sequence\n", 0, "Sequence is not run here"),
        ("\napiVersion: v1\nkind: Service\nmetadata: {name: x}\n", 0, "a Service must be of serving.knative.dev/v1"),
        ("\n  a: [\n", 0, "not YAML"),
    ],
)
def test_what_cannot_be_honoured_is_refused_with_file_line_and_reason(
    tmp_path: Path, document: str, line: int, reason: str
) -> None:
    folder = write_manifests(tmp_path, [service(), document])

    with pytest.raises(ManifestError) as refused:
        load(folder)

    file, at, said = str(refused.value).split(":", 2)
    assert file == str(folder / "all.yaml")
    assert int(at) > line
    assert reason in said


def test_a_kustomization_that_would_have_to_be_rendered_is_refused(tmp_path: Path) -> None:
    folder = write_manifests(tmp_path, [service(), trigger()])
    (folder / "kustomization.yaml").write_text("resources: [all.yaml]\nnamePrefix: x-\n")

    with pytest.raises(ManifestError, match=r"kustomization.yaml:2: namePrefix is not honoured here"):
        load(folder)


def test_a_file_that_is_not_there_is_named_with_the_line_that_lists_it(tmp_path: Path) -> None:
    folder = write_manifests(tmp_path, [service(), trigger()])
    (folder / "kustomization.yaml").write_text("resources:\n  - all.yaml\n  - gone.yaml\n")

    with pytest.raises(ManifestError, match=r"kustomization.yaml:3: there is no file .*gone.yaml"):
        load(folder)


def test_a_folder_may_list_a_folder_with_a_kustomization_of_its_own(tmp_path: Path) -> None:
    write_manifests(tmp_path / "inner", [service(), trigger()])
    (tmp_path / "kustomization.yaml").write_text("resources: [inner]\n")

    assert [each.name for each in load(tmp_path).triggers] == ["echo"]


def test_a_value_that_yaml_takes_for_a_number_or_a_boolean_is_its_text(tmp_path: Path) -> None:
    numbers = service().replace('THREADS, value: "8"', "THREADS, value: 8")
    flag = numbers.replace("FUNCTION_TARGET, value: handle", "FUNCTION_TARGET, value: true")

    environment = load(write_manifests(tmp_path, [flag, trigger()])).services["echo"].environment

    assert (environment["THREADS"], environment["FUNCTION_TARGET"]) == ("8", "true")


def test_the_linter_and_the_runner_take_the_same_for_what_is_not_written(tmp_path: Path) -> None:
    short = trigger().replace("    retry: 2\n    backoffPolicy: linear\n    backoffDelay: PT0.05S\n", "")
    folder = write_manifests(tmp_path, [service(), short])
    [declared] = [each for each in read(str(folder)) if each.kind == "Trigger"]

    linted, run = DeclaredDelivery(declared.root["spec"]["delivery"]), load(folder).triggers[0].delivery

    assert (run.retry, run.backoff_policy, run.backoff_delay_s, run.timeout_s) == (5, "exponential", 0.2, 10.0)
    assert (linted.retry, linted.policy, linted.delay_s, linted.timeout_s) == (5, "exponential", 0.2, 10.0)


def _by_name(documents: list[dict[str, dict[str, str]]]) -> dict[tuple[str, str], object]:
    return {(str(each["kind"]), each["metadata"]["name"]): each for each in documents}
