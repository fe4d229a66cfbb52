"""The waits of a retry: how long one is, and the queue of RabbitMQ in which a message spends it.

There is a queue for each length of wait, whose messages then go back to where they came from. As quorum queues with
at-least-once dead-lettering they survive a restart of the server and of who waits, and lose nothing on the way.
"""

import math
from typing import TYPE_CHECKING, Any, Final, Literal

if TYPE_CHECKING:  # with pika, which the embedded broker need not wait for
    from functions.amqp.channel import Channel

QUORUM: Final = {"x-queue-type": "quorum"}


class Waits:
    """The waits NAME.MILLISECONDS, each declared when it is first needed.

    A message goes back to the queue `back_to`. Without one it goes to the queue that is its routing key: it is then
    published to the exchange of the wait's name.
    """

    def __init__(self, name: str, *, back_to: str | None = None) -> None:
        self._name = name
        self._back_to = back_to
        self._declared: set[int] = set()

    @property
    def declared(self) -> tuple[int, ...]:
        """The waits that there are, in milliseconds."""
        return tuple(self._declared)

    def name(self, delay_ms: int) -> str:
        """The queue of a wait."""
        return f"{self._name}.{delay_ms}"

    def forget(self) -> None:
        """Have each wait declared again: the server of a new connection may have been set up anew."""
        self._declared.clear()

    async def of(self, channel: "Channel", delay_s: float) -> str:
        """The name of the wait of this length, which has been declared when this returns."""
        delay_ms = wait_ms(delay_s)
        if delay_ms not in self._declared:
            await declare_wait(channel, self.name(delay_ms), delay_ms, back_to=self._back_to)
            self._declared.add(delay_ms)
        return self.name(delay_ms)


async def declare_wait(channel: "Channel", name: str, delay_ms: int, *, back_to: str | None) -> None:
    """Declare the queue of a wait and, where messages go back by their routing key, its exchange."""
    arguments: dict[str, Any] = {
        **QUORUM,
        "x-message-ttl": delay_ms,
        "x-dead-letter-exchange": "",  # the default exchange: to the queue that the routing key names
        "x-dead-letter-strategy": "at-least-once",
        "x-overflow": "reject-publish",  # which at-least-once asks for
    }
    if back_to is not None:
        arguments["x-dead-letter-routing-key"] = back_to
    await channel.call("queue_declare", queue=name, durable=True, arguments=arguments)
    if back_to is None:
        await channel.call("exchange_declare", exchange=name, exchange_type="fanout", durable=True)
        await channel.call("queue_bind", queue=name, exchange=name, routing_key="", arguments={})


def wait_ms(delay_s: float) -> int:
    """A wait in whole milliseconds, rounded up to two digits: a thousand linear retries make some 200 queues."""
    exact = max(1, round(delay_s * 1000))
    step: int = 10 ** max(0, len(str(exact)) - 2)
    return (exact + step - 1) // step * step


def coarse_s(delay_s: float) -> float:
    """A wait in whole seconds, rounded up to one digit: waits of any length up to an hour make some thirty queues."""
    exact = max(1, math.ceil(delay_s))
    step: int = 10 ** (len(str(exact)) - 1)
    return float((exact + step - 1) // step * step)


def backoff_s(policy: Literal["linear", "exponential"], delay_s: float, retry: int) -> float:
    """The wait before retry 1, 2, ... (eventing-rabbitmq: linear delay * k, exponential delay * 2^k)."""
    return delay_s * (retry if policy == "linear" else 2**retry)
