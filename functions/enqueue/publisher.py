"""Publishes events to the work queue's exchange over one connection, which is made anew when it is gone."""

import asyncio
from typing import Final

from events.http import Event
from functions.amqp.channel import Channel
from functions.amqp.connection import AmqpConnection, connect
from functions.amqp.message import to_message
from functions.amqp.server import AmqpServer

NAME: Final = "enqueue"


class Publisher:
    """One exchange of one server, to which the work queues' queues are bound.

    The routing key is the event's type, and of an event that ends a job its outcome: callbacks are made of any type.
    """

    def __init__(self, server: AmqpServer, exchange: str) -> None:
        self._server = server
        self._exchange = exchange
        self._connection: AmqpConnection | None = None
        self._channel: Channel | None = None
        self._connecting: asyncio.Lock | None = None  # made on the loop that serves

    async def publish(self, event: Event) -> None:
        """Return when the event is safe in the work queue's queue; raise ServerUnavailable or ServerRefused."""
        channel = await self._open()
        properties, body = to_message(event)
        await channel.publish(properties, body, exchange=self._exchange, routing_key=event.get("outcome") or event.type)

    async def _open(self) -> Channel:
        self._connecting = self._connecting or asyncio.Lock()
        async with self._connecting:
            if self._connection is None or self._connection.closed.done():
                self._connection, self._channel = await connect(self._server, name=NAME), None
            if self._channel is None or not self._channel.open:
                self._channel = await self._connection.channel()
        return self._channel
