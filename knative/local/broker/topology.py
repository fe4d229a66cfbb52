"""What a Broker and its Triggers are in RabbitMQ: the names, arguments and bindings of eventing-rabbitmq.

Its controller makes these on a cluster (pkg/reconciler, pkg/rabbit, pkg/rabbitmqnaming); the local runner and the
conformance suite make the same. Ours alone are the waits of `functions.amqp.waits`: for each length of wait an exchange
and a queue `w.…`, whose messages then go back to the queue that is their routing key.

Three departures. Since every Trigger here has dead letters of its own, the Broker's own dead-letter exchange and queue
are not made, and a Trigger that inherits the Broker's sink has its own as well. The controller gives each Trigger's
queue a policy (pkg/rabbit/queue.go NewPolicy: priority 1, the queue by its whole name, `dead-letter-exchange` that of
the Trigger), and every queue of the Broker one of priority 0 towards the Broker's own; policies are of RabbitMQ's
management, which a runner need not reach, and without them RabbitMQ itself dead-letters nothing: the runner publishes
each dead letter, as the dispatcher does. A UID, which Kubernetes would draw, is made of the names: a runner on another
machine goes on where this one stopped, and several share the work.
"""

import hashlib
import logging
import uuid
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from itertools import chain
from typing import Final

from functions.amqp.channel import Channel
from functions.amqp.connection import connected
from functions.amqp.errors import ServerRefused
from functions.amqp.server import AmqpServer
from functions.amqp.waits import QUORUM, Waits, wait_ms
from knative.local.broker.bindings import Binding, Bindings
from knative.local.broker.broker import DLQ
from knative.manifests.manifests import Manifests, Trigger

log = logging.getLogger("errands.rabbitmq")

NAMESPACE_UID: Final = uuid.UUID("9d0c7a1e-3f65-5c0b-9a43-6f2f7a3c1d58")
TRIGGER: Final = "x-knative-trigger"
LONGEST: Final = 63  # a name's characters (knative.dev/pkg/kmeta/names.go)
SINK_WAITS_S: Final = (1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 60.0)


@dataclass(frozen=True)
class Names:
    """The names of one Broker's things."""

    broker: str
    namespace: str = "default"

    @cached_property
    def uid(self) -> str:
        """Stands for the Broker's UID."""
        return str(uuid.uuid5(NAMESPACE_UID, f"{self.namespace}/{self.broker}"))

    @property
    def exchange(self) -> str:
        return child_name(f"b.{self.namespace}.{self.broker}.", self.uid)

    def queue(self, name: str) -> str:
        """The queue of a Trigger or, with `.dlq`, of its dead letters."""
        trigger = name.removesuffix(DLQ)
        if name != trigger:
            return child_name(f"t.{self.namespace}.{trigger}.dlq.", self._trigger_uid(trigger))
        return f"{self.namespace}.{trigger}.{self.uid}"

    def dead_letter_exchange(self, trigger: str) -> str:
        """Where a Trigger's dead letters are published."""
        return child_name(f"t.{self.namespace}.{trigger}.dlx.", self._trigger_uid(trigger))

    @property
    def waits(self) -> str:
        """What the names of all waits, of exchange and queue, begin with."""
        return f"w.{self.namespace}.{self.broker}.{self.uid}"

    def _trigger_uid(self, trigger: str) -> str:
        return str(uuid.uuid5(NAMESPACE_UID, f"{self.namespace}/{self.broker}/{trigger}"))


def child_name(parent: str, suffix: str) -> str:
    """`kmeta.ChildName`: over 63 characters the name is cut and a hash put in."""
    if len(parent) + len(suffix) <= LONGEST:
        return parent + suffix
    head = LONGEST - 32
    if len(suffix) >= head:
        digest = hashlib.md5((parent + suffix).encode(), usedforsecurity=False).hexdigest()
        name = (parent[:head] + digest + suffix)[:LONGEST]
        return name.rstrip(".-_")
    return parent[: head - len(suffix)] + hashlib.md5(parent.encode(), usedforsecurity=False).hexdigest() + suffix


async def declare(channel: Channel, names: Names, triggers: Iterable[Trigger]) -> None:
    """Make what is missing; raises Refused where the server has it otherwise."""
    await _exchange(channel, names.exchange)
    for trigger in triggers:
        await _queue(channel, names, trigger.name)
        await _exchange(channel, names.dead_letter_exchange(trigger.name))
        await _queue(channel, names, trigger.name + DLQ)
        for each in _bindings_of(names, trigger):
            await _bind(channel, each)


async def declare_anew(channel: Channel, names: Names, triggers: Iterable[Trigger], bindings: Bindings) -> None:
    """Make what is missing, and take away what was bound at an earlier start and is wanted no more.

    In this order, so that a Trigger whose filter was changed is never without a binding.
    """
    triggers = tuple(triggers)
    known, wanted = bindings.known(), frozenset(chain.from_iterable(_bindings_of(names, each) for each in triggers))
    bindings.keep(known | wanted)
    await declare(channel, names, triggers)
    for each in known - wanted:
        log.warning("no Trigger wants %s in %s any more: its binding is removed", each.arguments, each.queue)
        await _unbind(channel, each)
    bindings.keep(wanted)


def _bindings_of(names: Names, trigger: Trigger) -> tuple[Binding, Binding]:
    """A Trigger's own, and that of its dead letters."""
    every = {"x-match": "all"}  # alone, for dead letters, it matches every message (trigger.go reconcileDLQBinding)
    return (
        Binding.of(names.exchange, names.queue(trigger.name), {**trigger.filter, **every, TRIGGER: trigger.name}),
        Binding.of(names.dead_letter_exchange(trigger.name), names.queue(trigger.name + DLQ), every),
    )


async def _queue(channel: Channel, names: Names, name: str) -> None:
    """A Trigger's queue or that of its dead letters."""
    await channel.call("queue_declare", queue=names.queue(name), durable=True, arguments=QUORUM)


def queues_of(names: Names, manifests: Manifests) -> tuple[str, ...]:
    """Every queue that a runner of these manifests may have made."""
    kept = (names.queue(trigger.name + end) for trigger in manifests.triggers for end in ("", DLQ))
    return (*kept, *(Waits(names.waits).name(each) for each in _waits_ms(manifests)))


def exchanges_of(names: Names, manifests: Manifests) -> tuple[str, ...]:
    """Every exchange that a runner of these manifests may have made."""
    dead_letters = (names.dead_letter_exchange(trigger.name) for trigger in manifests.triggers)
    return (names.exchange, *dead_letters, *(Waits(names.waits).name(each) for each in _waits_ms(manifests)))


@dataclass(frozen=True)
class Found:
    """A queue that is on the server."""

    messages: int
    consumers: int


async def survey(server: AmqpServer, queues: Iterable[str]) -> dict[str, Found]:
    """Which of these queues the server has, and what is in them."""
    found: dict[str, Found] = {}
    async with connected(server, name="errands broker") as connection:
        channel = await connection.channel()
        for name in queues:
            try:
                response = await channel.call("queue_declare", queue=name, passive=True)
                found[name] = Found(response.message_count, response.consumer_count)
            except ServerRefused:  # not found; it closed the channel
                channel = await connection.channel()
    return found


async def remove(server: AmqpServer, queues: Iterable[str], exchanges: Iterable[str]) -> None:
    """Delete them; what is not there is passed over."""
    async with connected(server, name="errands broker") as connection:
        channel = await connection.channel()
        for exchange in exchanges:
            await channel.call("exchange_delete", exchange=exchange)
        for queue in queues:
            await channel.call("queue_delete", queue=queue)


def _waits_ms(manifests: Manifests) -> list[int]:
    deliveries = [trigger.delivery for trigger in manifests.triggers]
    retries = (each.backoff_s(retry) for each in deliveries for retry in range(1, each.retry + 1))
    return sorted({wait_ms(each) for each in chain(retries, SINK_WAITS_S)})


async def _exchange(channel: Channel, name: str) -> None:
    await channel.call("exchange_declare", exchange=name, exchange_type="headers", durable=True)


async def _bind(channel: Channel, each: Binding) -> None:
    ends = {"queue": each.queue, "exchange": each.exchange, "routing_key": ""}
    await channel.call("queue_bind", **ends, arguments=each.arguments)


async def _unbind(channel: Channel, each: Binding) -> None:
    """RabbitMQ takes it for done where there is no such binding, queue or exchange."""
    ends = {"queue": each.queue, "exchange": each.exchange, "routing_key": ""}
    await channel.call("queue_unbind", **ends, arguments=each.arguments)
