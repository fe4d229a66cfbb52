"""The broker on a RabbitMQ server, with the shapes of eventing-rabbitmq (`topology.py`) and without its losses.

Two connections, since RabbitMQ under a memory or disk alarm reads nothing more from one that publishes: what is
consumed can still be acknowledged. Whatever follows from a delivery (a reply, another attempt, a dead letter) is
published and confirmed before the delivery is acknowledged. So a crash between the two repeats, and never loses.

A retry is published to a wait in RabbitMQ with its counts in the headers `x-errands-attempt` and `x-errands-waited`;
nothing waits in this process, and the events behind it go on. When a connection is lost its deliveries are forgotten
here: RabbitMQ delivers them again. Outcomes for `GET /jobs` are kept in memory, the last OUTCOMES of them.
"""

import asyncio
import itertools
import logging
import math
from collections import OrderedDict, deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Final, TypeVar

from events.http import Event
from events.problem import NotAnEvent
from functions.amqp.channel import Channel
from functions.amqp.connection import AmqpConnection, connected, stay_connected
from functions.amqp.errors import ServerRefused, ServerUnavailable
from functions.amqp.message import UNREADABLE, Message, to_message
from functions.amqp.server import AmqpServer
from functions.amqp.waits import Waits
from functions.runtime.outcome import NO_RESPONSE, Result, dead_letter
from knative.local.broker.bindings import Bindings
from knative.local.broker.broker import DLQ, BrokerAway, BrokerUnavailable, BrokerUnusable, Delivery
from knative.local.broker.topology import Names, declare, declare_anew, survey
from knative.manifests.manifests import Manifests, Trigger

T = TypeVar("T")

log = logging.getLogger("errands.rabbitmq")

OUTCOMES: Final = 10_000
DEPTHS_INTERVAL_S: Final = 1.0
SIDE_ROUTE_AGAIN_S: Final = 1.0
CONSUME_AGAIN_S: Final = 0.5
START_TIMEOUT_S: Final = 30.0
AT_HAND_S: Final = 600.0
UNKNOWN_BINDINGS: Final = (
    "%s has queues of these Triggers, and this data folder does not know what was bound to them:"
    " where a filter was changed since, its queue gets the old events as well"
    " (`rabbitmqctl list_bindings` shows it, `errands broker purge` ends it)"
)
# They travel in one frame, of 128 KiB; this leaves room for what a dead letter adds. A longer one ends the connection.
ATTRIBUTES_BYTES: Final = 96 * 1024


@dataclass(slots=True)
class _ConsumedQueue:
    """A queue as far as it is in this process; `held` are deliveries not settled, with where to acknowledge them."""

    prefetch: int
    waiting: deque[Delivery] = field(default_factory=deque)
    held: dict[int, tuple[Channel, int]] = field(default_factory=dict)
    ready: int = 0  # on the server


class RabbitBroker:
    """Implements `knative.local.broker.broker.Broker` on a RabbitMQ server."""

    def __init__(self, server: AmqpServer, manifests: Manifests, *, data: Path, backlog_limit: int) -> None:
        self._server = server
        self._bindings = Bindings(data, server.place)
        self._triggers = manifests.triggers
        self._names = Names(manifests.broker)
        self._backlog_limit = backlog_limit
        self._queues = {
            trigger.name + end: _ConsumedQueue(prefetch=prefetch(trigger))
            for trigger in manifests.triggers
            for end in ("", DLQ)
        }
        self._tags = itertools.count(1)
        self._publisher: Channel | None = None
        self._waits = Waits(self._names.waits)
        self._waiting: dict[int, int] = {}  # how many are in each wait, by its milliseconds
        self._outcomes: OrderedDict[tuple[str, str], Event] = OrderedDict()
        self._own: OrderedDict[tuple[str, str], None] = OrderedDict()  # jobs whose end can come through here alone
        self._shared = False  # whether others take from these queues as well, as they were last looked at
        self._backlog = 0
        self._side_routes: set[asyncio.Task[None]] = set()

    async def start(self, wake: Callable[[str], None], died: Callable[[str], None] = log.critical) -> None:
        """Declare everything and consume; what goes wrong later is tried again."""
        self._wake = wake
        try:
            if self._bindings.is_new and await survey(self._server, map(self._names.queue, self._queues)):
                log.warning(UNKNOWN_BINDINGS, self._server.place)
            async with connected(self._server, name="errands up") as connection:
                await declare_anew(await connection.channel(), self._names, self._triggers, self._bindings)
        except ServerUnavailable as error:
            raise BrokerAway(str(error)) from error
        except (ServerRefused, ValueError) as error:
            raise BrokerUnusable(f"the RabbitMQ server cannot be used: {error}") from error
        self._publishing, self._consuming = asyncio.Event(), asyncio.Event()
        self._links = [
            asyncio.create_task(stay_connected(self._server, serve, name=f"errands up, {what}"))
            for serve, what in ((self._publish_on, "publishing"), (self._consume_on, "consuming"))
        ]
        for link in self._links:
            link.add_done_callback(partial(_ended, died))
        try:
            async with asyncio.timeout(START_TIMEOUT_S):
                await asyncio.gather(self._publishing.wait(), self._consuming.wait())
        except TimeoutError as error:
            await self.stop()
            raise BrokerAway(f"{self._server.place} was not ready within {START_TIMEOUT_S:g} s") from error

    async def stop(self) -> None:
        """Send the last acknowledgements and close."""
        ending = [*self._side_routes, *self._links]
        for task in ending:
            task.cancel()
        await asyncio.gather(*ending, return_exceptions=True)

    @property
    def trouble(self) -> str | None:
        """Why nothing can be kept at present."""
        return None if self._publisher else f"no connection to {self._server.place}"

    async def publish(self, event: Event, queues: Sequence[str]) -> None:
        """Publish to the Broker's exchange, whose bindings lead to these queues; safe there when this returns."""
        if self._backlog >= self._backlog_limit:
            reason = f"the backlog holds {self._backlog} deliveries; its limit is {self._backlog_limit}"
            raise BrokerUnavailable(reason, 30)
        size_bytes = sum(len(name) + len(value.encode()) for name, value in event.attributes.items())
        if size_bytes > ATTRIBUTES_BYTES:
            raise NotAnEvent(f"all attributes together must be at most {ATTRIBUTES_BYTES} bytes, got {size_bytes}")
        if queues:
            await self._publish(event, exchange=self._names.exchange)
        if not self._shared:
            _keep(self._own, (event.source, event.id), None)
        self._remember(event)

    def take(self, queue: str) -> Delivery | None:
        """The next delivery that RabbitMQ has sent."""
        waiting = self._queues[queue].waiting
        return waiting.popleft() if waiting else None

    async def acknowledge(self, delivery: Delivery, reply: Event | None, reply_queues: Sequence[str]) -> None:
        """Publish the reply, then acknowledge; one that RabbitMQ delivers again has made the same reply already."""
        if not self._holds(delivery):
            return
        if reply is not None:
            if reply_queues:
                await self._publish(reply, exchange=self._names.exchange)
            self._remember(reply)
        self._settle(delivery)

    async def retry(self, delivery: Delivery, *, delay_s: float, charged: bool = True) -> None:
        """Publish to the wait, then acknowledge."""
        if not self._holds(delivery):
            return
        wait, back_to = await self._wait(delay_s), self._names.queue(delivery.queue)
        waited_s = math.ceil(delivery.waited_s + (0.0 if charged else delay_s))
        counts = {"x_errands_attempt": delivery.attempt + charged, "x_errands_waited": waited_s}
        await self._publish(delivery.event, exchange=wait, routing_key=back_to, **counts)
        self._settle(delivery)

    async def dead_letter(self, delivery: Delivery, dead_letter: Event) -> None:
        """Publish to the Trigger's dead letters, then acknowledge."""
        if self._holds(delivery):
            await self._publish(dead_letter, exchange=self._names.dead_letter_exchange(delivery.queue))
            self._settle(delivery)

    async def outcome(self, source: str, id_: str) -> Event | None:
        """The last event of a job, while it is among the last that were seen here."""
        return self._outcomes.get((source, id_))

    async def asked(self) -> Mapping[tuple[str, str], bytes]:
        """None: what waits in a queue can only be consumed."""
        return {}

    def knows(self, source: str, id_: str) -> bool:
        """Whether the job was taken here, and no other runner has worked on these queues since."""
        return (source, id_) in self._own

    def depths(self) -> dict[str, int]:
        """Deliveries by queue: what is ready on the server (a second old) and what is here, and each wait."""
        kept = {name: queue.ready + len(queue.held) for name, queue in self._queues.items()}
        return kept | {f"wait {delay_ms}ms": count for delay_ms, count in self._waiting.items()}

    async def prune(self) -> None:
        """The outcomes are bounded as they come."""

    async def _publish(self, event: Event, *, exchange: str, routing_key: str = "", **counts: int) -> None:
        properties, body = to_message(event, **counts)
        try:
            await self._open_channel().publish(properties, body, exchange=exchange, routing_key=routing_key)
        except (ServerUnavailable, ServerRefused) as error:
            raise BrokerUnavailable(str(error)) from error

    async def _wait(self, delay_s: float) -> str:
        """The exchange of a wait."""
        try:
            return await self._waits.of(self._open_channel(), delay_s)
        except (ServerUnavailable, ServerRefused) as error:
            raise BrokerUnavailable(str(error)) from error

    def _open_channel(self) -> Channel:
        if self._publisher is None:
            raise BrokerUnavailable(f"no connection to {self._server.place}")
        return self._publisher

    def _holds(self, delivery: Delivery) -> bool:
        """Whether the delivery is still ours to settle, and not forgotten with its channel."""
        return delivery.tag in self._queues[delivery.queue].held

    def _settle(self, delivery: Delivery) -> None:
        channel, tag = self._queues[delivery.queue].held.pop(delivery.tag, (None, 0))
        if channel:
            channel.acknowledge(tag)

    def _remember(self, event: Event) -> None:
        job = (event.get("jobsource") or "", event.get("jobid") or "")
        if event.get("outcome") and all(job):
            _keep(self._outcomes, job, event)

    async def _publish_on(self, connection: AmqpConnection) -> None:
        channel = await connection.channel()
        await declare(channel, self._names, self._triggers)
        self._waits.forget()
        self._publisher = channel
        self._publishing.set()
        try:
            log.warning("the publishing channel was closed: %s", await channel.closed)
        finally:
            self._publisher = None
        await connection.close()

    async def _consume_on(self, connection: AmqpConnection) -> None:
        self._consuming.set()
        await asyncio.gather(self._count(connection), *(self._consume(connection, name) for name in self._queues))

    async def _consume(self, connection: AmqpConnection, name: str) -> None:
        """Consume one queue for as long as the connection lasts; another queue's trouble is not this one's."""
        queue = self._queues[name]
        its_trigger = [each for each in self._triggers if each.name == name.removesuffix(DLQ)]
        while True:
            channel = await connection.channel()
            try:
                await declare(channel, self._names, its_trigger)  # with its bindings, should somebody have deleted it
                on_message = partial(self._on_message, channel, name)
                await channel.consume(self._names.queue(name), on_message, prefetch=queue.prefetch)
                log.warning("the consumer of %s was closed: %s", name, await channel.closed)
            finally:
                self._forget(queue, channel)
            await asyncio.sleep(CONSUME_AGAIN_S)

    async def _count(self, connection: AmqpConnection) -> None:
        """Ask for the depths that others want to know, again and again."""
        channel = await connection.channel()
        while True:
            shared = False
            for name, queue in self._queues.items():
                queue.ready, consumers = await _looked_at(channel, self._names.queue(name))
                shared |= consumers > 1
            waits = self._waits.declared
            self._waiting = {each: (await _looked_at(channel, self._waits.name(each)))[0] for each in waits}
            self._shared = shared
            if shared:
                self._own.clear()
            self._backlog = sum(self.depths().values())
            await asyncio.sleep(DEPTHS_INTERVAL_S)

    def _on_message(self, channel: Channel, name: str, message: Message) -> None:
        queue, tag = self._queues[name], next(self._tags)
        queue.held[tag] = (channel, message.tag)
        event, problem = message.read(name)
        if problem:
            reason = Result(NO_RESPONSE, error=problem)
            trigger = name.removesuffix(DLQ)
            event = dead_letter(event, reason, destination=f"amqp:{name}", trigger=trigger, attempts=1)
        delivery = Delivery(tag, name, message.attempt, event, message.waited_s)
        if event.type == UNREADABLE and not name.endswith(DLQ):
            task = asyncio.get_running_loop().create_task(self._put_side_route(delivery))
            self._side_routes.add(task)
            task.add_done_callback(self._side_routes.discard)
            return
        queue.waiting.append(delivery)
        self._wake(name)

    async def _put_side_route(self, delivery: Delivery) -> None:
        """A message that is no event goes to the dead letters: no function could do anything with it.

        As often as it takes: what is consumed may be held on one connection for as long as the other cannot publish.
        """
        log.warning("a message in %s is no event: dead letter", delivery.queue)
        while self._holds(delivery):  # where it is forgotten with its channel, it comes again
            try:
                await self.dead_letter(delivery, delivery.event)
            except Exception as error:
                log.error("the dead letter of %s cannot be put: %r", delivery.queue, error)
                await asyncio.sleep(SIDE_ROUTE_AGAIN_S)

    def _forget(self, queue: _ConsumedQueue, channel: Channel) -> None:
        """RabbitMQ delivers again what was not acknowledged on a channel that is gone."""
        for tag in [tag for tag, (on, _) in queue.held.items() if on is channel]:
            del queue.held[tag]
        queue.waiting = deque(each for each in queue.waiting if each.tag in queue.held)


def _ended(died: Callable[[str], None], link: "asyncio.Task[None]") -> None:
    """A link stays until it is cancelled."""
    if not link.cancelled():
        died(f"the connection to RabbitMQ is not kept up any more: {link.exception()!r}")


def prefetch(trigger: Trigger) -> int:
    """How many messages are fetched: as many again as are worked on, and twice that while replies are being confirmed.

    But not of slow functions, so that no message lies here for anything like RabbitMQ's consumer_timeout, 1,800 s.
    """
    times = 4 if 4 * trigger.delivery.timeout_s <= AT_HAND_S else 2
    return times * trigger.parallelism


async def _looked_at(channel: Channel, queue: str) -> tuple[int, int]:
    """How many messages it has that nobody took, and how many consumers."""
    found = await channel.call("queue_declare", queue=queue, passive=True)
    return int(found.message_count), int(found.consumer_count)


def _keep(among: OrderedDict[tuple[str, str], T], job: tuple[str, str], what: T) -> None:
    """The last OUTCOMES of them."""
    among[job] = what
    among.move_to_end(job)
    if len(among) > OUTCOMES:
        among.popitem(last=False)
