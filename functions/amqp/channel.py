"""One channel of a connection: declarations, confirmed publishing, consuming and acknowledging."""

import asyncio
import logging
from collections.abc import Callable
from itertools import takewhile
from typing import TYPE_CHECKING, Any, Final

from pika.channel import Channel as PikaChannel
from pika.exceptions import AMQPError
from pika.spec import Basic, BasicProperties

from functions.amqp.errors import ServerRefused, ServerUnavailable, Unroutable, words
from functions.amqp.futures import fail, resolve
from functions.amqp.message import Message
from functions.amqp.server import CONNECT_TIMEOUT_S

if TYPE_CHECKING:
    from functions.amqp.connection import AmqpConnection

log = logging.getLogger("errands.amqp")

CONFIRM_TIMEOUT_S: Final = 5.0


class Channel:
    """One channel: declarations, confirmed publishing, consuming. Any error of the server closes it for good."""

    def __init__(self, connection: "AmqpConnection", channel: PikaChannel) -> None:
        self._connection = connection
        self._channel = channel
        self._calls: set[asyncio.Future[Any]] = set()
        self._unconfirmed: dict[int, tuple[asyncio.Future[None], float]] = {}  # in their order, with when each is late
        self._confirms_watched: asyncio.TimerHandle | None = None
        self._published = 0
        self._unsettled: dict[int, None] = {}  # the tags of messages, in their order
        self._acknowledged: set[int] = set()  # those of them of which the server is not told yet
        self.closed: asyncio.Future[Exception] = asyncio.get_running_loop().create_future()
        channel.add_on_close_callback(self._on_close)
        channel.add_on_return_callback(self._on_return)
        channel.add_on_cancel_callback(lambda _frame: self._cancelled())

    @property
    def open(self) -> bool:
        """Whether anything can still be asked of the channel."""
        return self._channel.is_open

    async def call(self, method: str, **arguments: Any) -> Any:
        """Call one of pika's channel methods (`queue_declare`, `exchange_bind`, ...); returns the server's answer."""
        answered: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        self._calls.add(answered)
        answered.add_done_callback(self._calls.discard)
        try:
            getattr(self._channel, method)(**arguments, callback=lambda frame: resolve(answered, frame.method))
            return await asyncio.wait_for(answered, CONNECT_TIMEOUT_S)
        except AMQPError as error:
            raise ServerUnavailable(words(error)) from error
        except TimeoutError as error:
            raise ServerUnavailable(f"{method} was not answered within {CONNECT_TIMEOUT_S:g} s") from error

    async def publish(
        self, properties: BasicProperties, body: bytes, *, exchange: str = "", routing_key: str = ""
    ) -> None:
        """Return once the message is safe in every queue that it goes to; raises ServerUnavailable, Unroutable.

        After ServerUnavailable the message may be there all the same, so what is published twice must be harmless.
        """
        if self._connection.blocked:
            raise ServerUnavailable(self._connection.blocked)
        number = self._published + 1
        properties.correlation_id = str(number)  # tells which one a basic.return is about
        try:
            self._channel.basic_publish(exchange, routing_key, body, properties, mandatory=True)
        except AMQPError as error:
            raise ServerUnavailable(words(error)) from error
        loop = asyncio.get_running_loop()
        confirmed: asyncio.Future[None] = loop.create_future()
        late_s = loop.time() + CONFIRM_TIMEOUT_S
        self._published, self._unconfirmed[number] = number, (confirmed, late_s)
        if self._confirms_watched is None:
            self._confirms_watched = loop.call_at(late_s, self._fail_late)
        await confirmed

    async def consume(self, queue: str, on_message: Callable[[Message], None], *, prefetch: int) -> str:
        """Have at most `prefetch` unacknowledged messages of the queue brought to `on_message`; the consumer's tag."""

        def deliver(_channel: object, method: Basic.Deliver, properties: BasicProperties, body: bytes) -> None:
            tag = method.delivery_tag or 0
            self._unsettled[tag] = None
            on_message(Message(tag, bool(method.redelivered), properties, body))

        await self.call("basic_qos", prefetch_count=prefetch)
        return str((await self.call("basic_consume", queue=queue, on_message_callback=deliver)).consumer_tag)

    def acknowledge(self, tag: int) -> bool:
        """Say that the message is done with; False when the channel is gone: the server delivers it again.

        The server is told at the end of this turn of the loop, of all in a row at once: fewer frames under load, none
        of which says more than was said here.
        """
        if self._channel.is_open and tag in self._unsettled:
            if not self._acknowledged:
                self._connection.before_sending(self._send_acknowledgements)
            self._acknowledged.add(tag)
        return self._channel.is_open

    def reject(self, tag: int, *, requeue: bool) -> None:
        """Give the message back, or have the queue's own dead-lettering take it."""
        if self._channel.is_open:
            self._unsettled.pop(tag, None)
            self._acknowledged.discard(tag)
            self._channel.basic_nack(tag, requeue=requeue)

    async def close(self) -> None:
        """Close the channel; what was not acknowledged on it is delivered again."""
        if self._channel.is_open:
            self._send_acknowledgements()
            self._channel.close()
            await asyncio.wait((self.closed,), timeout=CONNECT_TIMEOUT_S)

    def on_confirm(self, frame: Any) -> None:
        """Take the server's word on one published message, or on all up to it."""
        method = frame.method
        if not method.multiple:
            self._confirm(method.delivery_tag, method)
            return
        for tag in tuple(takewhile(lambda each: each <= method.delivery_tag, self._unconfirmed)):
            self._confirm(tag, method)

    def _send_acknowledgements(self) -> None:
        """Acknowledge all up to the first that is not done at once, and each that is done beyond it."""
        done, self._acknowledged = self._acknowledged, set()
        if not self._channel.is_open or not done:
            return
        row = tuple(takewhile(done.__contains__, self._unsettled))
        if row:
            self._channel.basic_ack(row[-1], multiple=len(row) > 1)
        for tag in sorted(done.difference(row)):
            self._channel.basic_ack(tag)
        for tag in done:
            self._unsettled.pop(tag)

    def _fail_late(self) -> None:
        """Fail the publishes whose confirm is late; one timer serves all, at the oldest's time."""
        loop, self._confirms_watched = asyncio.get_running_loop(), None
        while self._unconfirmed:
            number, (confirmed, late_s) = next(iter(self._unconfirmed.items()))
            if late_s > loop.time():
                self._confirms_watched = loop.call_at(late_s, self._fail_late)
                return
            del self._unconfirmed[number]
            fail(confirmed, ServerUnavailable(f"no confirm came within {CONFIRM_TIMEOUT_S:g} s"))

    def _confirm(self, tag: int, method: object) -> None:
        confirmed, _ = self._unconfirmed.pop(tag, (None, 0.0))
        if confirmed is None or confirmed.done():
            return
        if isinstance(method, Basic.Nack):
            confirmed.set_exception(ServerUnavailable("RabbitMQ could not keep the message"))
        else:
            confirmed.set_result(None)

    def _on_return(self, _channel: object, method: Basic.Return, properties: BasicProperties, _body: bytes) -> None:
        """Comes before the confirm of the same message."""
        confirmed, _ = self._unconfirmed.pop(int(properties.correlation_id or 0), (None, 0.0))
        if confirmed and not confirmed.done():
            place = f"exchange {method.exchange!r} with routing key {method.routing_key!r}"
            confirmed.set_exception(Unroutable(f"no queue takes what is published to {place}"))

    def _cancelled(self) -> None:
        log.warning("RabbitMQ ended a consumer: its queue was deleted or moved")
        self._channel.close()

    def _on_close(self, _channel: object, reason: Exception) -> None:
        # 403 access refused, 404 not found, 406 precondition failed: these do not pass by themselves
        final = getattr(reason, "reply_code", 0) in (403, 404, 406)
        error = ServerRefused(words(reason)) if final else ServerUnavailable(words(reason))
        for each in (*self._calls, *(confirmed for confirmed, _ in self._unconfirmed.values())):
            if not each.done():
                each.set_exception(error)
                each.exception()  # whoever asked may have gone
        self._unconfirmed.clear()
        if self._confirms_watched is not None:
            self._confirms_watched.cancel()
        resolve(self.closed, error)
