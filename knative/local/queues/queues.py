"""The work queues of a runner: on the embedded broker in its own queues, on RabbitMQ as on a cluster.

Embedded, the queue of the Trigger that leads to `enqueue` is the work queue's: its events go straight to the work
queue's function, by the work queue's policy, in processes whose number follows the queue's length. On RabbitMQ all is
as on a cluster: `enqueue` publishes, and workers consume.
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
from knative.manifests.queues import WorkQueue, work_of

if TYPE_CHECKING:  # with pika, which the embedded broker need not wait for
    from functions.amqp.server import AmqpServer
    from knative.local.queues.workers import WorkerProcesses


class WorkQueues:
    """All work queues; `server` is None on the embedded broker."""

    def __init__(
        self, work_queues: tuple[WorkQueue, ...], manifests: Manifests, server: "AmqpServer | None", processes: int
    ) -> None:
        self._manifests = manifests
        self._server = server
        self._processes = processes
        self._workers: dict[str, WorkerProcesses] = {}
        by_trigger = {trigger.name: work_of(trigger, manifests, work_queues) for trigger in manifests.triggers}
        self._by_trigger = {name: work_queue for name, work_queue in by_trigger.items() if work_queue}
        # without a server nothing comes but by a Trigger
        self._work_queues = work_queues if server else tuple(dict.fromkeys(self._by_trigger.values()))

    @property
    def sinks(self) -> frozenset[str]:
        """The Services that workers bring their dead letters to."""
        return (
            frozenset(work_queue.delivery.dead_letter_sink for work_queue in self._work_queues)
            if self._server
            else frozenset()
        )

    @property
    def embedded(self) -> tuple[WorkQueue, ...]:
        """The work queues that are run in the runner's own queues."""
        return () if self._server else self._work_queues

    def limit(self, work_queue: WorkQueue) -> int:
        """How many workers there may be on this machine, as for a Service."""
        highest = work_queue.scaling.maximum
        return min(highest, self._processes) if work_queue.concurrency == 1 else highest

    def served(self, trigger: Trigger) -> Trigger:
        """The Trigger as it is served here: that of a work queue by the work queue's policy and function."""
        work_queue = None if self._server else self._by_trigger.get(trigger.name)
        if work_queue is None:
            return trigger
        parallelism = work_queue.scaling.maximum * work_queue.concurrency
        return replace(trigger, subscriber=work_queue.name, delivery=work_queue.delivery, parallelism=parallelism)

    def counts(self) -> Mapping[str, int]:
        """How many workers each work queue has on RabbitMQ."""
        return {name: workers.count for name, workers in self._workers.items()}

    async def declare(self) -> None:
        """Declare the work queues' topology on the server."""
        if self._server:
            from knative.local.queues.workers import declare

            await declare(self._server, self._work_queues)

    def scalers(self, pools: Mapping[str, Pool], broker: Broker) -> list[Scaler]:
        """The scalers of the embedded broker's work queues."""
        scalers = []
        for work_queue in self.embedded:
            pool = pools[work_queue.name]
            pool.scale(work_queue.scaling.minimum)
            scalers.append(
                Scaler(work_queue, pool, partial(self._waiting, work_queue, pool, broker), limit=self.limit(work_queue))
            )
        return scalers

    async def work(self, stack: AsyncExitStack, machine: Machine, report: Report) -> list[Scaler]:
        """The scalers of RabbitMQ's work queues, whose workers end before the ingress that they reply to."""
        if not self._server:
            return []
        from knative.local.queues.workers import WorkerProcesses, ready

        scalers = []
        for work_queue in self._work_queues:
            variables = worker_environment(work_queue, self._manifests, machine)
            workers = WorkerProcesses(work_queue, environment=variables, root=work_queue.root, report=report)
            self._workers[work_queue.name] = workers
            stack.push_async_callback(workers.close)
            scalers.append(
                Scaler(work_queue, workers, partial(ready, self._server, work_queue), limit=self.limit(work_queue))
            )
        return scalers

    async def _waiting(self, work_queue: WorkQueue, pool: Pool, broker: Broker) -> int:
        depths = broker.depths()
        queued = sum(depths[name] for name, each in self._by_trigger.items() if each is work_queue)
        return max(0, queued - pool.busy)


def worker_environment(work_queue: WorkQueue, manifests: Manifests, machine: Machine) -> dict[str, str]:
    """What `keda/worker/worker.py` needs on this machine."""
    here = {
        "K_SINK": machine.ingress_url,
        "K_SINK_TOKEN": machine.ingress_secret,
        "WORK_DEAD_LETTER_SINK": f"{machine.ingress_url}services/{work_queue.delivery.dead_letter_sink}",
        "WORK_HEALTH_PORT": "0",  # that of the manifest is a container's own
        "HOST": "127.0.0.1",
    }
    return environment(work_queue.service, manifests, machine) | here


def amqp_variables(server: "AmqpServer | None") -> dict[str, str]:
    """How a function or a worker reaches the server."""
    if server is None:
        return {}
    login = str(server.credentials.resolve()) if server.credentials else ""
    ca_file = str(server.ca_file.resolve()) if server.ca_file else ""
    return {"AMQP_URL": server.url, "AMQP_LOGIN": login, "AMQP_CA_FILE": ca_file}
