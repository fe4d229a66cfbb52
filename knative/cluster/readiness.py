"""Whether what was applied is ready, and the wait until it is: by the conditions that each kind tells in its status."""

import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from knative.cluster.kubectl import Kubectl
from knative.cluster.overlay import Overlay

# The condition of a kind; a kind that is not here is ready by being there.
CONDITIONS: Final[Mapping[str, str]] = {
    **dict.fromkeys(("Broker", "Trigger", "PingSource", "SinkBinding", "ExternalSecret"), "Ready"),
    **dict.fromkeys(("Queue", "Exchange", "Binding", "Policy", "User", "Permission"), "Ready"),
    **dict.fromkeys(("ScaledJob", "ScaledObject"), "Ready"),
    "RabbitmqCluster": "AllReplicasReady",
    "Deployment": "Available",
    "Cluster": "Ready",  # of CloudNativePG
}
KNATIVE_SERVICE: Final = "serving.knative.dev/"
POLL_S: Final = 2.0

Clock = Callable[[], float]
Sleep = Callable[[float], None]


@dataclass(frozen=True, kw_only=True)
class Unready:
    """One resource that is not ready, and why, as its status tells."""

    what: str
    why: str


class NotReady(Exception):
    """It did not become ready in time; the message names each, and why."""


def unready(resources: Iterable[Mapping[str, Any]]) -> list[Unready]:
    """Those that are not ready, by their conditions at the generation that they now have."""
    found = ((each, _why(each)) for each in resources)
    return [
        Unready(what=f"{each['kind']} {each['metadata']['name']}", why=why) for each, why in found if why is not None
    ]


def wait(
    ask: Kubectl,
    overlay: Overlay,
    *,
    timeout_s: float,
    now: Clock,
    sleep: Sleep,
    say: Callable[[str], None] = lambda _line: None,
) -> None:
    """Look again and again until all is ready, and say whenever fewer are missing; raises NotReady."""
    end_s, last = now() + timeout_s, -1
    while True:
        missing = _missing(ask, overlay)
        if not missing:
            return
        if len(missing) != last:
            say(f"{len(missing)} not ready, {missing[0].what} among them: {missing[0].why}")
            last = len(missing)
        if now() >= end_s:
            raise NotReady("; ".join(f"{each.what}: {each.why}" for each in missing))
        sleep(POLL_S)


def _missing(ask: Kubectl, overlay: Overlay) -> list[Unready]:
    shown = ask("get", "--filename=-", "--output=json", given=overlay.text)
    if not shown.well:
        return [Unready(what="the cluster", why=" ".join(shown.error.split()))]
    return unready(json.loads(shown.output)["items"])


def _why(resource: Mapping[str, Any]) -> str | None:
    """Why it is not ready; None when it is."""
    kind = "Ready" if resource["apiVersion"].startswith(KNATIVE_SERVICE) else CONDITIONS.get(resource["kind"])
    if kind is None:
        return None
    status = resource.get("status") or {}
    generation = resource["metadata"].get("generation")
    if status.get("observedGeneration", generation) != generation:
        return "its controller has not seen the last change"
    condition = next((each for each in status.get("conditions") or () if each["type"] == kind), None)
    if condition is None:
        return f"no condition {kind} yet"
    if condition["status"] == "True":
        return None
    return condition.get("message") or condition.get("reason") or f"{kind} is {condition['status']}"
