"""A connection to a RabbitMQ server, which comes back when it is lost.

The client is pika on asyncio; tests/bench/README.md says what others would cost.
"""

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any, Final

import pika
from pika.adapters.utils.connection_workflow import AMQPConnectorException
from pika.channel import Channel as PikaChannel
from pika.exceptions import AMQPError

from functions.amqp.adapter import GatheringConnection, read_all_messages
from functions.amqp.channel import Channel
from functions.amqp.errors import ServerRefused, ServerUnavailable, words
from functions.amqp.futures import fail, resolve
from functions.amqp.server import CONNECT_TIMEOUT_S, AmqpServer

log = logging.getLogger("errands.amqp")

RECONNECT_FIRST_S: Final = 0.2
RECONNECT_LAST_S: Final = 15.0


class AmqpConnection:
    """One open connection. `closed` resolves with the reason when it is gone; it does not come back by itself."""

    def __init__(self, connection: GatheringConnection, closed: "asyncio.Future[str]") -> None:
        self._connection = connection
        self.closed = closed
        self.blocked: str | None = None  # the server's reason while an alarm keeps it from taking messages
        connection.add_on_connection_blocked_callback(self._on_blocked)
        connection.add_on_connection_unblocked_callback(self._on_unblocked)

    async def channel(self) -> Channel:
        """A new channel with publisher confirms."""
        opened: asyncio.Future[PikaChannel] = asyncio.get_running_loop().create_future()
        try:
            self._connection.channel(on_open_callback=lambda channel: resolve(opened, channel))
        except AMQPError as error:
            raise ServerUnavailable(words(error)) from error
        await asyncio.wait((opened, self.closed), timeout=CONNECT_TIMEOUT_S, return_when=asyncio.FIRST_COMPLETED)
        if not opened.done():
            raise ServerUnavailable("the connection went away")
        channel = Channel(self, opened.result())
        await channel.call("confirm_delivery", ack_nack_callback=channel.on_confirm)
        return channel

    async def close(self) -> None:
        """Send what is buffered and close; the server delivers again what was not acknowledged."""
        if self._connection.is_open:
            self._connection.send_gathered()
            self._connection.close()
        await asyncio.wait((self.closed,), timeout=CONNECT_TIMEOUT_S)

    def before_sending(self, say: Callable[[], None]) -> None:
        """Have `say` called at the end of this turn of the loop; what it says is sent with the rest of it."""
        self._connection.before_sending(say)

    def _on_blocked(self, _connection: object, frame: Any) -> None:
        self.blocked = f"RabbitMQ takes no messages now: {frame.method.reason}"
        log.warning("%s", self.blocked)

    def _on_unblocked(self, _connection: object, _frame: object) -> None:
        self.blocked = None
        log.info("RabbitMQ takes messages again")


async def connect(server: AmqpServer, *, name: str = "errands") -> AmqpConnection:
    """Open a connection; raises ServerRefused, ServerUnavailable, and ValueError for files that cannot be used.

    `name` is shown beside the connection to who administers the server.
    """
    logging.getLogger("pika").setLevel(logging.CRITICAL)  # it tells of each lost connection with a stack; we, once
    read_all_messages()
    loop = asyncio.get_running_loop()
    opened: asyncio.Future[GatheringConnection] = loop.create_future()
    closed: asyncio.Future[str] = loop.create_future()
    GatheringConnection(
        server.parameters(name),
        on_open_callback=lambda connection: resolve(opened, connection),
        on_open_error_callback=lambda _connection, error: fail(opened, error),
        on_close_callback=lambda _connection, reason: resolve(closed, words(reason)),
        custom_ioloop=loop,
    )
    try:
        return AmqpConnection(await opened, closed)
    except (pika.exceptions.ProbableAuthenticationError, pika.exceptions.ProbableAccessDeniedError) as error:
        raise ServerRefused(f"{server.place} does not let this user in: {words(error)}") from error
    except (AMQPError, AMQPConnectorException, OSError) as error:
        raise ServerUnavailable(f"no RabbitMQ answers at {server.place}: {words(error)}") from error


@asynccontextmanager
async def connected(server: AmqpServer, *, name: str = "errands") -> AsyncIterator[AmqpConnection]:
    """A connection as a context; raises as `connect` does."""
    connection = await connect(server, name=name)
    try:
        yield connection
    finally:
        await connection.close()


async def stay_connected(
    server: AmqpServer, serve: Callable[[AmqpConnection], Awaitable[None]], *, name: str = "errands"
) -> None:
    """Connect, call `serve` with the connection, and again whenever it is lost, with growing waits, until cancelled.

    `serve` sets up channels and consumers and may return at once or stay; it is cancelled when the connection goes.
    """
    delay_s = RECONNECT_FIRST_S
    while True:
        try:
            connection = await connect(server, name=name)
            try:
                await _serve(connection, serve)
                delay_s = RECONNECT_FIRST_S
                reason = connection.closed.result()
            finally:
                await connection.close()
        except (ServerUnavailable, ServerRefused, ValueError) as error:
            reason = str(error)
        log.warning("%s; again in %g s", reason, delay_s)
        await asyncio.sleep(delay_s)
        delay_s = min(delay_s * 2, RECONNECT_LAST_S)


async def _serve(connection: AmqpConnection, serve: Callable[[AmqpConnection], Awaitable[None]]) -> None:
    work = asyncio.ensure_future(serve(connection))
    try:
        await asyncio.wait((work, connection.closed), return_when=asyncio.FIRST_COMPLETED)
        if work.done():
            work.result()
            await connection.closed
    finally:
        work.cancel()
