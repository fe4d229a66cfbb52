"""The steps of a trial, in their order: an installation from nothing to nothing, and each function's job on the way.

A step that others build on (`founds`) ends the trial when it fails, but for what undoes: that is done whenever what it
undoes was begun, and never to an installation that was there before. What an overlay or a cluster leaves out is said.
"""

import json
import time
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Final

from knative.cli.doctor import Diagnosis
from knative.cluster import deployment, readiness
from knative.cluster.kubectl import Kubectl
from knative.cluster.needs import Needs
from knative.cluster.overlay import Overlay
from knative.cluster.preflight import look
from knative.cluster.readiness import Clock, Sleep
from knative.cluster.trial import fixture as fixtures
from knative.cluster.trial.fixture import FAILING, Fixture
from knative.cluster.trial.receiver import MENDED, RECEIVED
from knative.cluster.trial.report import Result
from knative.manifests.declared import MIN_SCALE, DeclaredService, DeclaredTrigger

POLL_S: Final = 2.0
READY_S: Final = 900.0
OUTCOME_S: Final = 300.0
IDLE_S: Final = 300.0
MADE_BY_THE_TRIAL: Final = ("Secret ", "images by digest")
PREPARED: Final = "namespace, Secrets, receiver, database"
# Their samples end when an API answers: a trial's answers callbacks alone.
ANSWERED_BY_AN_API: Final = frozenset({"call", "fetch", "graph", "onboarding", "signal"})
POST: Final = """
import sys, urllib.request
headers = dict(each.split("=", 1) for each in sys.argv[2:])
request = urllib.request.Request(sys.argv[1], sys.stdin.buffer.read(), headers)
print(urllib.request.urlopen(request, timeout=60).status)
"""


class Failed(Exception):
    """A step that did not go as it must; the message says how it went."""


class Skipped(Exception):
    """A step that has nothing to do here; the message says why."""


@dataclass(frozen=True, kw_only=True)
class Step:
    """`run` returns a remark; `undoes` is the step whose traces it removes."""

    name: str
    run: Callable[[], str]
    founds: bool = False
    undoes: str = ""


@dataclass(frozen=True, kw_only=True)
class Trial:
    """What the steps share."""

    ask: Kubectl
    overlay: Overlay
    given: Fixture
    samples: Path
    now: Clock = time.monotonic
    sleep: Sleep = time.sleep
    keep: bool = False

    def steps(self) -> Sequence[Step]:
        """All of them."""
        return (
            Step(name="the cluster has what the overlay needs", run=self._preflight, founds=True),
            Step(name="nothing of it is there yet", run=self._nothing_there, founds=True),
            Step(name=PREPARED, run=self._prepare, founds=True),
            Step(name="deployed", run=self._deploy, founds=True),
            Step(name="ready", run=self._ready, founds=True),
            *(Step(name=f"{job}, from zero", run=partial(self._sample, job)) for job in self.jobs),
            Step(name="a job that fails becomes a dead letter", run=self._dead_letter),
            Step(name="replayed, it is done", run=self._replay),
            Step(name="back to zero", run=self._idle),
            Step(name="deployed a second time", run=self._deploy_again),
            Step(name="upgraded", run=self._upgrade),
            Step(name="rolled back", run=self._deploy_again),
            Step(name="undeployed", run=self._undeploy, undoes=PREPARED),
        )

    @property
    def jobs(self) -> tuple[str, ...]:
        """The jobs that a Trigger wants and a sample is there of; that of a work queue last, since it takes longest."""
        triggers = (DeclaredTrigger(each) for each in self.overlay.documents if each.kind == "Trigger")
        wanted = {each.filter.get("type", "") for each in triggers}
        found = {each.split(".")[2] for each in wanted if self._file(each).is_file()} - ANSWERED_BY_AN_API
        return tuple(sorted(found, key=lambda job: (job == "longreport", job)))

    @property
    def namespace(self) -> str:
        """Where everything is."""
        return self.given.namespace

    def _file(self, type_: str) -> Path:
        return self.samples / f"{type_}.json"

    def _preflight(self) -> str:
        found = look(self.ask, Needs(self.overlay.documents))
        lacking = [each for each in found if each.needed and not each.well and not _made_here(each)]
        if lacking:
            raise Failed("; ".join(each.line for each in lacking))
        absent = [each.what for each in found if not each.well and not _made_here(each)]
        return f"without {', '.join(absent)}" if absent else ""

    def _nothing_there(self) -> str:
        if self.ask("get", "namespace", self.namespace).well:
            raise Failed(f"the namespace {self.namespace} is there: a trial does not touch an installation")
        return ""

    def _prepare(self) -> str:
        deployment.apply(self.ask, fixtures.namespace(self.overlay, self.given))
        account = ("get", "serviceaccount", "default", f"--namespace={self.namespace}")
        self._until(lambda: self.ask(*account).well, "the namespace has no account for its pods")
        deployment.apply(self.ask, fixtures.beside(self.overlay, self.given))
        waited = ("wait", "--for=condition=Ready", "pods", "--selector=errands.dev/trial", "--timeout=300s")
        done = self.ask(*waited, f"--namespace={self.namespace}", timeout_s=330)
        if not done.well:
            raise Failed(f"the trial's own pods are not ready: {' '.join(done.error.split())}")
        return "" if self.given.postgresql_image else "a database that was there"

    def _deploy(self) -> str:
        applied = deployment.apply(self.ask, fixtures.tried(self.overlay, self.given))
        return f"{len(applied.splitlines())} resources"

    def _deploy_again(self) -> str:
        remark = self._deploy()
        self._ready()
        return remark

    def _upgrade(self) -> str:
        deployment.apply(self.ask, fixtures.tried(self.overlay, self.given, TRIAL="upgraded"))
        return self._ready()

    def _ready(self) -> str:
        tried = fixtures.tried(self.overlay, self.given)
        readiness.wait(self.ask, tried, timeout_s=READY_S, now=self.now, sleep=self.sleep)
        return ""

    def _sample(self, job: str) -> str:
        type_ = f"dev.errands.{job}.requested.v1"
        running = self._pods(job)
        outcome = self._done(self._send(json.loads(self._file(type_).read_text())))
        if outcome != "completed":
            raise Failed(f"the callback says {outcome}")
        return f"{running} of its pods ran before" if running else ""

    def _dead_letter(self) -> str:
        deployment.apply(self.ask, fixtures.failing(self.given))
        readiness.wait(self.ask, fixtures.failing(self.given), timeout_s=READY_S, now=self.now, sleep=self.sleep)
        outcome = self._done(self._send(self._failing_event))
        if outcome != "deadlettered":
            raise Failed(f"the callback says {outcome}")
        return ""

    def _replay(self) -> str:
        self._in_receiver("touch", str(MENDED))
        selection = {"selection": {"matching": {"id": self._failing_event["id"]}}}
        url = f"http://console.{self.namespace}.svc.cluster.local/dead/api/replay"
        self._post(
            url, json.dumps(selection), f"authorization=Bearer {self.given.token}", "content-type=application/json"
        )
        self._until(
            lambda: any(each["path"] == "/fails" and each["headers"].get("ce-replayed") for each in self._received()),
            "the replayed job did not come",
        )
        return ""

    def _idle(self) -> str:
        names = [each.document.name for each in self._services() if (each.annotation(MIN_SCALE).whole or 0) == 0]
        self._until(lambda: not any(map(self._pods, names)), f"{', '.join(names)} did not all scale to zero", IDLE_S)
        return f"{len(names)} functions"

    def _undeploy(self) -> str:
        if self.keep:
            raise Skipped(f"kept: errands undeploy, or kubectl delete namespace {self.namespace}")
        given = (self.overlay, self.given)
        parts = (self.overlay, fixtures.failing(self.given), fixtures.namespace(*given), fixtures.beside(*given))
        resources = [document for part in parts for document in part.documents]
        there = deployment.present(self.ask, {(each.kind, each.group, each.name): each for each in resources}.values())
        deployment.remove(self.ask, there, lambda _line: None)
        return f"{len(there)} resources"

    @property
    def _failing_event(self) -> dict[str, Any]:
        id_ = f"fails-{self.given.token[:8]}"
        return {"specversion": "1.0", "id": id_, "source": "/errands/trial", "type": FAILING, "data": {}}

    def _send(self, event: dict[str, Any]) -> str:
        """Post an event to the broker, a sample under an id of its own; its id."""
        given = event if event["type"] == FAILING else {**event, "id": f"trial-{uuid.uuid4()}"}
        url = f"http://errands-broker-ingress.{self.namespace}.svc.cluster.local"
        status = self._post(url, json.dumps(given), "content-type=application/cloudevents+json")
        if status != "202":
            raise Failed(f"the broker answered {status}")
        return str(given["id"])

    def _done(self, id_: str) -> str:
        """The outcome that the callback of a job tells, once it came."""

        def outcome() -> str:
            for each in self._received():
                event = json.loads(each["body"]) if each["path"] == "/callbacks" else {}
                if event.get("jobid") == id_:
                    return str(event["outcome"])
            return ""

        return str(self._until(outcome, f"no callback of {id_}", OUTCOME_S))

    def _until(self, condition: Callable[[], Any], what: str, timeout_s: float = OUTCOME_S) -> Any:
        end_s = self.now() + timeout_s
        while not (found := condition()):
            if self.now() >= end_s:
                raise Failed(f"{what} within {timeout_s:g} s")
            self.sleep(POLL_S)
        return found

    def _received(self) -> list[Mapping[str, Any]]:
        return [json.loads(line) for line in self._in_receiver("cat", str(RECEIVED)).splitlines()]

    def _post(self, url: str, body: str, *headers: str) -> str:
        return self._in_receiver("python", "-c", POST, url, *headers, given=body).strip()

    def _in_receiver(self, *command: str, given: str = "") -> str:
        done = self.ask("exec", "receiver", f"--namespace={self.namespace}", "--stdin", "--", *command, given=given)
        if not done.well:
            raise Failed(" ".join(done.error.split())[-500:])
        return done.output

    def _pods(self, service: str) -> int:
        selected = f"--selector=serving.knative.dev/service={service}"
        shown = self.ask("get", "pods", f"--namespace={self.namespace}", selected, "--output=json")
        return len(json.loads(shown.output)["items"]) if shown.well else 0

    def _services(self) -> Iterator[DeclaredService]:
        return (DeclaredService(each) for each in self.overlay.documents if each.group == "serving.knative.dev")


def run(trial: Trial, say: Callable[[str], None]) -> list[Result]:
    """Every step, one after another; after one that founds the others only what cleans up."""
    results: list[Result] = []
    broken, tried = "", set[str]()
    for step in trial.steps():
        if (step.undoes or step.name) not in tried and (broken or step.undoes):
            results.append(Result(step=step.name, state="skipped", remark=f"not without: {broken}"))
            continue
        say(f"{step.name} ...")
        tried.add(step.name)
        results.append(_tried(step, trial.now))
        if results[-1].state == "failed" and step.founds:
            broken = step.name
    return results


def planned(trial: Trial) -> list[Result]:
    """The steps, without a cluster."""
    return [Result(step=each.name, state="planned") for each in trial.steps()]


def _tried(step: Step, now: Clock) -> Result:
    began_s = now()
    try:
        remark = step.run()
    except Skipped as error:
        return Result(step=step.name, state="skipped", remark=str(error), took_s=now() - began_s)
    except (Failed, deployment.NotDone, readiness.NotReady) as error:
        return Result(step=step.name, state="failed", remark=str(error), took_s=now() - began_s)
    return Result(step=step.name, state="passed", remark=remark, took_s=now() - began_s)


def _made_here(each: Diagnosis) -> bool:
    return each.what.startswith(MADE_BY_THE_TRIAL)
