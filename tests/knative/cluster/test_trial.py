"""`errands cluster-test`: its order, what it brings, what it says; and all of it on an API server without nodes."""

import json
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET

import pytest

from knative.cluster.kubectl import TIMEOUT_S, Answer, Kubectl, kubectl
from knative.cluster.needs import Needs
from knative.cluster.overlay import overlay_of
from knative.cluster.readiness import CONDITIONS
from knative.cluster.trial import fixture, report, steps
from knative.cluster.trial.report import Result
from knative.lint.findings import findings
from knative.lint.resources import Resources
from tests.support.kubernetes_server import KubernetesServer, kubernetes_server
from tests.support.overlays import ROOT, production
from tests.support.recorded_cluster import RecordedCluster

SAMPLES = ROOT / "events" / "samples"
GIVEN = fixture.fixture("errands")


def nothing_there(*arguments: str, given: str = "", timeout_s: float = TIMEOUT_S) -> Answer:
    """An API server that takes everything, and has nothing of it."""
    return Answer(output='{"items": []}', code=int(arguments[:2] == ("get", "namespace")))


class Played:
    """Stands for nodes, controllers and functions: what is applied becomes ready, what is sent is called back.

    What Kubernetes itself does is left to `inner`.
    """

    def __init__(self, inner: Kubectl = nothing_there, **outcomes: str) -> None:
        self.inner = inner
        self.recorded = RecordedCluster(Needs(production().documents))
        self.outcomes = outcomes
        self.lines: list[dict[str, Any]] = []
        self.commands: list[str] = []
        self.s = 0.0

    def __call__(self, *arguments: str, given: str = "", timeout_s: float = TIMEOUT_S) -> Answer:
        self.commands.append(" ".join(arguments[:2]))
        match arguments:
            case ("exec", "receiver", *_):
                return self._in_receiver(arguments[arguments.index("--") + 1 :], given)
            case ("wait", *_) | ("get", "pods", *_):
                return Answer(output='{"items": []}')
            case ("get", "--filename=-", *_):
                return Answer(output=json.dumps({"items": [*self._ready(given)]}))
            case ("apply" | "delete", *_) | ("get", "namespace" | "serviceaccount", *_):
                return self.inner(*arguments, given=given, timeout_s=timeout_s)
            case ("get", kind, *_) if kind[0].isupper():  # as deployment.present asks
                return self.inner(*arguments, timeout_s=timeout_s)
        return self.recorded(*arguments)

    def sleep(self, seconds: float) -> None:
        self.s += seconds

    def trial(self) -> steps.Trial:
        return steps.Trial(
            ask=self, overlay=production(), given=GIVEN, samples=SAMPLES, now=lambda: self.s, sleep=self.sleep
        )

    def _ready(self, text: str) -> Iterator[dict[str, Any]]:
        for each in overlay_of(text).documents:
            condition = "Ready" if each.group == "serving.knative.dev" else CONDITIONS.get(each.kind, "Ready")
            yield {**each.data, "status": {"conditions": [{"type": condition, "status": "True"}]}}

    def _in_receiver(self, command: tuple[str, ...], given: str) -> Answer:
        if command[0] == "cat":
            return Answer(output="".join(f"{json.dumps(each)}\n" for each in self.lines))
        if command[0] == "touch":
            return Answer(output="")
        if "/dead/api/replay" in command[3]:
            self.lines.append({"path": "/fails", "headers": {"ce-replayed": "true"}, "body": ""})
            return Answer(output="200\n")
        sent = json.loads(given)
        job = sent["type"].split(".")[2]
        outcome = self.outcomes.get(job, "deadlettered" if job == "trial" else "completed")
        if outcome != "none":
            callback = json.dumps({"jobid": sent["id"], "outcome": outcome})
            self.lines.append({"path": "/callbacks", "headers": {}, "body": callback})
        return Answer(output="202\n")


def states(results: list[Result]) -> dict[str, str]:
    return {each.step: each.state for each in results}


def quiet(_line: str) -> None: ...


@pytest.mark.slow
def test_every_job_of_the_overlay_goes_through_and_everything_is_removed() -> None:
    played = Played()

    results = steps.run(played.trial(), quiet)

    assert {each.state for each in results} == {"passed"}, report.table(results)
    assert [each.step for each in results if each.step.endswith("from zero")] == [
        f"{job}, from zero" for job in ("ics", "image", "message", "query", "report", "longreport")
    ]


@pytest.mark.slow
def test_a_job_that_is_not_called_back_fails_its_step_alone() -> None:
    results = steps.run(Played(ics="none", report="failed").trial(), quiet)

    failed = {each.step: each.remark for each in results if each.state == "failed"}
    assert failed.keys() == {"ics, from zero", "report, from zero"}
    assert "no callback of trial-" in failed["ics, from zero"]
    assert failed["report, from zero"] == "the callback says failed"


def test_an_installation_that_is_there_is_not_touched() -> None:
    played = Played(lambda *_arguments, **_given: Answer(output="{}"))

    results = states(steps.run(played.trial(), quiet))

    assert results["nothing of it is there yet"] == "failed"
    assert results["undeployed"] == "skipped"
    assert not [each for each in played.commands if each.startswith(("apply", "delete"))]


def test_what_was_begun_is_removed_when_it_fails_half_way() -> None:
    def failing(*arguments: str, given: str = "", timeout_s: float = TIMEOUT_S) -> Answer:
        fails = arguments[:2] == ("get", "namespace") or (arguments[0] == "apply" and "kind: Broker\n" in given)
        return Answer(output='{"items": []}', error="no", code=int(fails))

    played = Played(failing)

    results = states(steps.run(played.trial(), quiet))

    assert (results["deployed"], results["ready"], results["ics, from zero"]) == ("failed", "skipped", "skipped")
    assert results["undeployed"] == "passed"


@pytest.mark.slow
@pytest.mark.parametrize("given", [GIVEN, replace(GIVEN, postgresql_image="")], ids=["own database", "given"])
def test_what_it_brings_passes_the_linter_and_has_every_secret(given: fixture.Fixture) -> None:
    tried, failing = fixture.tried(production(), given), fixture.failing(given)
    own = (fixture.namespace(production(), given), fixture.beside(production(), given))
    together = tuple(document for part in (*own, tried, failing) for document in part.documents)

    found = findings(Resources(documents=together, production=True))

    assert {each.rule for each in found} <= {"secret-in-plain-text"}  # of this trial alone, and of no file
    assert all(not each.needed for each in Needs(together).secrets)
    assert {each.name for each in tried.documents} == {each.name for each in production().documents}


def test_the_receiver_is_a_pod_s_whole_program() -> None:
    code = (ROOT / "knative/cluster/trial/receiver.py").read_text()
    checked = "import sys; sys.path = [each for each in sys.path if 'site-packages' not in each and each]\n"

    command = [sys.executable, "-I", "-c", checked + code.replace('if __name__ == "__main__":\n    main()', "")]
    assert subprocess.run(command, cwd="/", check=False).returncode == 0


def test_the_table_and_junit_say_what_became_of_each_step() -> None:
    results = [
        Result(step="deployed", state="passed", remark="80 resources", took_s=3.0),
        Result(step="ics", state="failed", remark="no <callback>", took_s=300.0),
        Result(step="undeployed", state="skipped", remark="kept"),
    ]

    suite = ET.fromstring(report.junit(results))  # noqa: S314  # our own

    assert report.table(results).splitlines()[0] == "passed   deployed      3.0 s  80 resources"
    assert (suite.get("tests"), suite.get("failures"), suite.get("skipped")) == ("3", "1", "1")
    assert suite.findall("testcase")[1].find("failure").get("message") == "no <callback>"  # type: ignore[union-attr]


@pytest.mark.slow
def test_a_dry_run_needs_no_cluster(tmp_path: Path) -> None:
    junit = tmp_path / "junit.xml"
    command = [sys.executable, "-m", "knative.cli.main", "cluster-test", "--dry-run", f"--junit={junit}"]
    production()

    done = subprocess.run(command, capture_output=True, check=True, text=True, cwd=ROOT)

    assert done.stdout.splitlines()[0] == "planned  the cluster has what the overlay needs"
    assert done.stdout.splitlines()[-1] == "planned  undeployed"
    assert junit.read_text().count("<testcase") == len(done.stdout.splitlines())


def test_on_an_api_server_everything_is_applied_twice_and_gone_at_the_end(
    kubernetes: KubernetesServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("KUBECONFIG", str(kubernetes.kubeconfig))

    results = steps.run(Played(kubectl).trial(), quiet)

    assert {each.state for each in results} == {"passed"}, report.table(results)
    assert not kubectl("get", "namespace", "errands").well


@pytest.fixture(scope="module")
def kubernetes(tmp_path_factory: pytest.TempPathFactory) -> Iterator[KubernetesServer]:
    with kubernetes_server(tmp_path_factory.mktemp("kubernetes")) as server:
        yield server
