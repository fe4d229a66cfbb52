"""What the gateway is told of the manifests: which requests are wanted, until when one may take, and the schemas of
those whose structs it does not have.

`python -m knative.manifests.gateway` writes `knative/base/gateway-routes.yaml`, its ConfigMap on a cluster; the runner
tells it what the manifests say that it runs.
"""

from pathlib import Path
from typing import Final

import msgspec

from events.job import OWN
from functions.gateway.routes import REQUESTED, Declared, Route
from knative.manifests.manifests import MANIFESTS, Manifests, Trigger, load

FILE: Final = MANIFESTS / "gateway-routes.yaml"
SPREAD: Final = 0.1  # of a wait, by which the runner's dispatcher may exceed it
SLACK_S: Final = 60.0  # for the ways between broker, function, sink and gateway

HEAD: Final = """\
# Written by `make schemas`: what the gateway is told of the Triggers.
apiVersion: v1
kind: ConfigMap
metadata:
  name: gateway
data:
  routes: |
"""


def deadline_s(trigger: Trigger) -> float:
    """By when an event that was sent, and its flow, has ended or is a dead letter, as the Trigger has it."""
    delivery = trigger.delivery
    waits_s = sum(delivery.backoff_s(retry) for retry in range(1, delivery.retry + 1)) * (1 + SPREAD)
    return (
        (delivery.retry + 1) * delivery.timeout_s + waits_s + trigger.longest_wait_s + trigger.longest_flow_s + SLACK_S
    )


def declared(manifests: Manifests) -> Declared:
    """The Triggers that a request may be for."""
    routes = tuple(
        Route(
            name=each.name,
            filter=each.filter,
            deadline_s=round(deadline_s(each), 1),
            begins_flow=each.longest_flow_s > 0,
        )
        for each in manifests.triggers
        if not OWN & each.filter.keys() and REQUESTED in each.filter.get("type", REQUESTED)
    )
    return Declared(routes=routes, schemas=manifests.schemas)


def rendered(manifests: Manifests) -> str:
    """The text of the ConfigMap's file."""
    told = msgspec.json.format(msgspec.json.encode(declared(manifests), order="sorted"), indent=2).decode()
    return HEAD + "".join(f"    {line}\n" for line in told.splitlines())


def main(file: Path = FILE) -> None:
    """Write it."""
    file.write_text(rendered(load(MANIFESTS)))


if __name__ == "__main__":
    main()
