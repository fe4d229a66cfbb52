"""The wait until what was applied is ready: against what an API server answered, one answer after another."""

import json
from typing import Any

import pytest

from knative.cluster.kubectl import TIMEOUT_S, Answer
from knative.cluster.overlay import overlay_of
from knative.cluster.readiness import NotReady, unready, wait

OVERLAY = overlay_of("apiVersion: v1\nkind: Namespace\nmetadata: {name: shop}\n")


def resource(kind: str = "Trigger", *, version: str = "eventing.knative.dev/v1", **status: Any) -> dict[str, Any]:
    return {
        "apiVersion": version,
        "kind": kind,
        "metadata": {"name": "shop", "generation": 2},
        "status": {"observedGeneration": 2, **status},
    }


def condition(status: str, name: str = "Ready", **why: str) -> dict[str, Any]:
    return {"conditions": [{"type": name, "status": status, **why}]}


class Told:
    """Answers in their order, the last one for ever; its clock goes on by what is slept."""

    def __init__(self, *answers: Answer | list[dict[str, Any]]) -> None:
        self._answers = list(answers)
        self.s = 0.0
        self.said: list[str] = []

    def ask(self, *arguments: str, given: str = "", timeout_s: float = TIMEOUT_S) -> Answer:
        assert arguments[:2] == ("get", "--filename=-")
        assert given == OVERLAY.text
        answer = self._answers.pop(0) if len(self._answers) > 1 else self._answers[0]
        return answer if isinstance(answer, Answer) else Answer(output=json.dumps({"items": answer}))

    def sleep(self, seconds: float) -> None:
        self.s += seconds

    def wait(self, timeout_s: float = 60.0) -> None:
        wait(self.ask, OVERLAY, timeout_s=timeout_s, now=lambda: self.s, sleep=self.sleep, say=self.said.append)


@pytest.mark.parametrize(
    ("given", "why"),
    [
        (resource(**condition("True")), None),
        (resource(**condition("False", message="its queue is not ready")), "its queue is not ready"),
        (resource(**condition("Unknown", reason="Deploying")), "Deploying"),
        (resource(**condition("Unknown")), "Ready is Unknown"),
        (resource(), "no condition Ready yet"),
        (resource("RabbitmqCluster", **condition("True", "AllReplicasReady")), None),
        (resource("RabbitmqCluster", **condition("True", "ReconcileSuccess")), "no condition AllReplicasReady yet"),
        (resource("Service", version="serving.knative.dev/v1"), "no condition Ready yet"),
        (resource("Service", version="v1"), None),
        (resource("ConfigMap", version="v1"), None),
        (resource(observedGeneration=1, **condition("True")), "its controller has not seen the last change"),
    ],
)
def test_a_resource_is_ready_when_its_kind_says_so_of_its_present_generation(
    given: dict[str, Any], why: str | None
) -> None:
    assert [each.why for each in unready([given])] == ([why] if why else [])


def test_it_waits_until_all_are_ready_and_says_when_fewer_are_missing() -> None:
    old, well = resource(observedGeneration=1, **condition("True")), resource(**condition("True"))
    told = Told([old, old], [old, well], [old, well], [well, well])

    told.wait()

    assert [each.partition(",")[0] for each in told.said] == ["2 not ready", "1 not ready"]


def test_what_does_not_become_ready_in_time_is_named_with_its_reason() -> None:
    told = Told([resource(**condition("False", message="no such host"))])

    with pytest.raises(NotReady, match="Trigger shop: no such host"):
        told.wait(timeout_s=30.0)

    assert told.s == 30.0


def test_a_cluster_that_is_away_for_a_while_is_asked_again() -> None:
    told = Told(Answer(output="", error="connection refused\n", code=1), [resource(**condition("True"))])

    told.wait()

    assert told.said == ["1 not ready, the cluster among them: connection refused"]
