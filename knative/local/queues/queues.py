"""The queue lanes of a runner: on the embedded broker in its own queues, on RabbitMQ as on a cluster.

Embedded, the queue of the Trigger that leads to `enqueue` is the lane's: its events go straight to the lane's
function, by the lane's policy, in processes whose number follows the queue's length. On RabbitMQ all is as on a
cluster: `enqueue` publishes, and workers consume.
"""

from collections.abc import Mapping
from contextlib import AsyncExitStack
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING

from knative.local.broker.broker import Broker
from knative.local.process.environment import Machine, environment
from knative.local.process.processes import Pool, Report
from knative.local.queues.scaling import Scaler
from knative.manifests.manifests import Manifests, Trigger
from knative.manifests.queues import Lane, lane_of

if TYPE_CHECKING:  # pika takes 40 ms that the embedded broker need not wait for
    from functions.amqp.connection import Server
    from knative.local.queues.workers import Workers


class Lanes:
    """All lanes; `server` is None on the embedded broker."""

    def __init__(self, lanes: tuple[Lane, ...], manifests: Manifests, server: "Server | None", processes: int) -> None:
        self._manifests = manifests
        self._server = server
        self._processes = processes
        self._workers: dict[str, Workers] = {}
        by_trigger = {trigger.name: lane_of(trigger, manifests, lanes) for trigger in manifests.triggers}
        self._by_trigger = {name: lane for name, lane in by_trigger.items() if lane}
        # without a server nothing comes but by a Trigger
        self._lanes = lanes if server else tuple(dict.fromkeys(self._by_trigger.values()))

    @property
    def sinks(self) -> frozenset[str]:
        """The Services that workers bring their letters to."""
        return frozenset(lane.delivery.dead_letter_sink for lane in self._lanes) if self._server else frozenset()

    @property
    def embedded(self) -> tuple[Lane, ...]:
        """Those that are run in the runner's own queues."""
        return () if self._server else self._lanes

    def limit(self, lane: Lane) -> int:
        """How many workers there may be on this machine, as for a Service."""
        highest = lane.scaling.maximum
        return min(highest, self._processes) if lane.concurrency == 1 else highest

    def served(self, trigger: Trigger) -> Trigger:
        """The Trigger as it is served here: that of a lane by the lane's policy and function."""
        lane = None if self._server else self._by_trigger.get(trigger.name)
        if lane is None:
            return trigger
        parallelism = lane.scaling.maximum * lane.concurrency
        return replace(trigger, subscriber=lane.name, delivery=lane.delivery, parallelism=parallelism)

    def counts(self) -> Mapping[str, int]:
        """How many workers each lane has on RabbitMQ."""
        return {name: workers.count for name, workers in self._workers.items()}

    async def declare(self) -> None:
        """Their topology on the server."""
        if self._server:
            from knative.local.queues.workers import declare

            await declare(self._server, self._lanes)

    def scalers(self, pools: Mapping[str, Pool], broker: Broker) -> list[Scaler]:
        """Those of the embedded broker."""
        scalers = []
        for lane in self.embedded:
            pool = pools[lane.name]
            pool.scale(lane.scaling.minimum)
            scalers.append(Scaler(lane, pool, partial(self._waiting, lane, pool, broker), limit=self.limit(lane)))
        return scalers

    async def work(self, stack: AsyncExitStack, machine: Machine, report: Report) -> list[Scaler]:
        """Those of RabbitMQ, whose workers end with the stack: before the ingress, which takes their last replies."""
        if not self._server:
            return []
        from knative.local.queues.workers import Workers, ready

        scalers = []
        for lane in self._lanes:
            variables = worker_environment(lane, self._manifests, machine)
            workers = Workers(lane, environment=variables, root=self._manifests.root, report=report)
            self._workers[lane.name] = workers
            stack.push_async_callback(workers.close)
            scalers.append(Scaler(lane, workers, partial(ready, self._server, lane), limit=self.limit(lane)))
        return scalers

    async def _waiting(self, lane: Lane, pool: Pool, broker: Broker) -> int:
        depths = broker.depths()
        queued = sum(depths[name] for name, each in self._by_trigger.items() if each is lane)
        return max(0, queued - pool.busy)


def worker_environment(lane: Lane, manifests: Manifests, machine: Machine) -> dict[str, str]:
    """What `keda/worker/worker.py` needs on this machine."""
    here = {
        "K_SINK": machine.ingress_url,
        "LANE_DEAD_LETTER_SINK": f"{machine.ingress_url}services/{lane.delivery.dead_letter_sink}",
    }
    token = {"ERRANDS_TOKEN": machine.token} if machine.token else {}
    return environment(lane.service, manifests, machine) | here | token


def amqp_variables(server: "Server | None") -> dict[str, str]:
    """How a function or a worker reaches the server."""
    if server is None:
        return {}
    login = str(server.credentials.resolve()) if server.credentials else ""
    ca_file = str(server.ca_file.resolve()) if server.ca_file else ""
    return {"AMQP_URL": server.url, "AMQP_LOGIN": login, "AMQP_CA_FILE": ca_file}
