"""What the runner asks of a broker, whichever keeps the events: the embedded one or a RabbitMQ server.

A queue is named by its Trigger; the queue of its dead letters is that name with `.dlq`.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, Protocol

from events.http import Event

DLQ: Final = ".dlq"


class BrokerUnavailable(Exception):
    """The event cannot be kept now; the sender is told to try again after `retry_after_s`."""

    def __init__(self, reason: str, retry_after_s: float = 5.0) -> None:
        super().__init__(reason)
        self.retry_after_s = retry_after_s


class BrokerUnusable(Exception):
    """The broker cannot be opened; the message is for the person who started it."""


class BrokerAway(BrokerUnusable):
    """Nobody answers there yet, as after a boot; it is asked again."""


@dataclass(frozen=True, slots=True)
class Delivery:
    """One event in one queue; `attempt` counts from 1, `tag` is the broker's own.

    `waited_s` is how long it was put back in all without an attempt.
    """

    tag: int
    queue: str
    attempt: int
    event: Event
    waited_s: float = 0.0


class Broker(Protocol):
    """Keeps events until every queue that they were routed to is done with them."""

    async def start(self, wake: Callable[[str], None], died: Callable[[str], None] = ...) -> None:
        """Open the store; `wake(queue)` is called whenever a queue may have something to take.

        `died` is called with a sentence where the broker cannot go on at all. Raises BrokerUnusable.
        """

    @property
    def trouble(self) -> str | None:
        """Why nothing can be kept at present, in one sentence; None while all is well."""

    async def publish(self, event: Event, queues: Sequence[str]) -> None:
        """Return once the event is safe in each of the queues; raise BrokerUnavailable otherwise.

        Raises NotAnEvent where this broker can never keep it.
        """

    def take(self, queue: str) -> Delivery | None:
        """The next delivery of a queue, or None; it stays the queue's until it is settled by one of these three."""

    async def acknowledge(self, delivery: Delivery, reply: Event | None, reply_queues: Sequence[str]) -> None:
        """Done: keep the reply in its queues and forget the delivery, in this order or at once."""

    async def retry(self, delivery: Delivery, *, delay_s: float, charged: bool = True) -> None:
        """Deliver again after `delay_s`, with the attempt counted where it is charged, and else the wait; both survive
        a restart."""

    async def dead_letter(self, delivery: Delivery, dead_letter: Event) -> None:
        """Move the delivery to the queue of its Trigger's dead letters, as `dead_letter`."""

    async def outcome(self, source: str, id_: str) -> Event | None:
        """The last event of a job that is still remembered."""

    async def asked(self) -> Mapping[tuple[str, str], bytes]:
        """The fingerprints of the newest jobs that still wait, as far as this can be looked up: by source and id."""

    def knows(self, source: str, id_: str, /) -> bool:
        """Whether the end of a job that has no outcome here can come through here alone."""

    def depths(self) -> dict[str, int]:
        """How many deliveries each queue holds, those in flight among them."""

    async def prune(self) -> None:
        """Forget outcomes that are older than their retention."""

    async def stop(self) -> None:
        """Close the store; what is unsettled is delivered again after the next start."""
