"""AMQP 0-9-1 to a RabbitMQ server: where it is, a connection that comes back, confirmed publishing, events as messages.

The client is pika on asyncio. Measured on this project's 2 cores against one server (2026-11, quorum queue, 64
publishers, one confirm each): pika 34 us of processor time a publish and 31 a consumed message, aiormq 102 and 99,
aio-pika 101 and 122, amqpstorm 113 and 38.

An event travels in the form of eventing-rabbitmq (pkg/rabbit/message.go): its attributes as headers without a prefix,
`datacontenttype` as the header `content-type` and the property, its id as `message_id`, persistent. Headers that begin
with `x-` are the broker's and never become attributes.
"""

import asyncio
import hashlib
import logging
import ssl
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from itertools import takewhile
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final
from urllib.parse import unquote, urlsplit

import pika
from pika.adapters.asyncio_connection import AsyncioConnection
from pika.adapters.utils.connection_workflow import AMQPConnectorException
from pika.channel import Channel as PikaChannel
from pika.exceptions import AMQPError
from pika.spec import Basic, BasicProperties

from events.http import STRUCTURED, Event, check, read

log = logging.getLogger("errands.amqp")

HEARTBEAT_S: Final = 20
CONNECT_TIMEOUT_S: Final = 10.0
CONFIRM_TIMEOUT_S: Final = 5.0
RECONNECT_FIRST_S: Final = 0.2
RECONNECT_LAST_S: Final = 15.0
SHORT_BYTES: Final = 255  # of a property's text (AMQP 0-9-1 4.2.5.3); a header's may be as long as a frame
UNREADABLE: Final = "dev.errands.unreadable.v1"  # the type of an event that holds a message which is none
PORTS: Final = MappingProxyType({"amqp": 5672, "amqps": 5671})


class Unavailable(Exception):
    """The server did not do it, or nobody knows whether it did: the same may be asked again."""


class Unroutable(Unavailable):
    """No queue takes this message; the server has thrown it away."""


class Refused(Exception):
    """The server says no, to these credentials, this virtual host or this declaration: asking again does not help."""


@dataclass(frozen=True, kw_only=True)
class Server:
    """Where a RabbitMQ server is and how to be let in; raises ValueError with the part that is wrong.

    `url` is `amqp://` or `amqps://[user[:password]@]host[:port][/vhost]`, percent-encoded, the virtual host `/` by
    default. `credentials` is a file with `user:password`, or a folder with the files `username` and `password` (as the
    RabbitMQ operator's Secret is mounted); it is read at each connection, so a rotated password is taken up.
    """

    url: str = field(repr=False)
    credentials: Path | None = None
    ca_file: Path | None = None
    certificate_file: Path | None = None
    key_file: Path | None = None
    heartbeat_s: int = HEARTBEAT_S

    def __post_init__(self) -> None:
        parts = urlsplit(self.url)
        if parts.scheme not in PORTS or not parts.hostname:
            raise ValueError("an AMQP URL such as amqps://rabbitmq.example/vhost is expected (amqp or amqps, a host)")
        if parts.query or parts.fragment or "/" in parts.path[1:]:
            raise ValueError("an AMQP URL ends with its virtual host; a / in it is written %2F")
        if parts.scheme == "amqp" and (self.ca_file or self.certificate_file):
            raise ValueError("a certificate is of use with amqps:// only")
        _ = parts.port  # raises ValueError when it is no number

    @property
    def place(self) -> str:
        """The URL without credentials, for messages."""
        parts = urlsplit(self.url)
        port = parts.port or PORTS[parts.scheme]
        return f"{parts.scheme}://{parts.hostname}:{port}/{parts.path[1:]}"

    def parameters(self, name: str = "errands") -> pika.ConnectionParameters:
        """What pika needs; `name` is what the server's operator sees. Raises ValueError for unusable files."""
        parts = urlsplit(self.url)
        return pika.ConnectionParameters(
            host=str(parts.hostname),
            port=parts.port or PORTS[parts.scheme],
            virtual_host=unquote(parts.path[1:]) or "/",
            credentials=pika.PlainCredentials(*self._login()),
            ssl_options=self._tls(str(parts.hostname)) if parts.scheme == "amqps" else None,
            heartbeat=self.heartbeat_s,
            socket_timeout=CONNECT_TIMEOUT_S,
            stack_timeout=CONNECT_TIMEOUT_S,
            client_properties={"connection_name": name},
        )

    def _login(self) -> tuple[str, str]:
        if self.credentials is None:
            parts = urlsplit(self.url)
            return unquote(parts.username or "guest"), unquote(parts.password or "guest")
        try:
            if self.credentials.is_dir():
                user, password = ((self.credentials / each).read_text().strip() for each in ("username", "password"))
            else:
                user, _, password = self.credentials.read_text().strip().partition(":")
        except (OSError, UnicodeError) as error:
            raise ValueError(f"the credentials in {self.credentials} cannot be read: {error}") from error
        if not (user and password):
            raise ValueError(f"{self.credentials} must hold user:password, or be a folder with username and password")
        return user, password

    def _tls(self, host: str) -> pika.SSLOptions:
        try:
            context = ssl.create_default_context(cafile=self.ca_file)
            if self.certificate_file:
                context.load_cert_chain(self.certificate_file, self.key_file)
        except OSError as error:  # ssl.SSLError is one
            raise ValueError(f"the certificates cannot be used: {error}") from error
        return pika.SSLOptions(context, host)


@dataclass(frozen=True, slots=True)
class Message:
    """A consumed message; `tag` acknowledges it on its channel. `event()` raises NotAnEvent."""

    tag: int
    redelivered: bool
    properties: BasicProperties
    body: bytes

    @property
    def headers(self) -> Mapping[str, Any]:
        return self.properties.headers or {}

    def event(self) -> Event:
        """The event that it carries."""
        return to_event(self.properties, self.body)

    def unreadable(self, queue: str) -> Event:
        """One that holds this message of the queue, which is no event; the same message makes the same."""
        content = hashlib.sha256(self.body).hexdigest()
        attributes = {
            "specversion": "1.0",
            "id": str(uuid.uuid5(uuid.NAMESPACE_URL, f"{queue}:{self.properties.message_id}:{content}")),
            "source": f"urn:errands:rabbitmq:{queue}",
            "type": UNREADABLE,
            "datacontenttype": "application/octet-stream",
        }
        return Event(MappingProxyType(attributes), self.body)


class Connection:
    """One open connection. `closed` resolves with the reason when it is gone; it does not come back by itself."""

    def __init__(self, connection: "_Gathering", closed: "asyncio.Future[str]") -> None:
        self._connection = connection
        self.closed = closed
        self.blocked: str | None = None  # the server's reason while an alarm keeps it from taking messages
        connection.add_on_connection_blocked_callback(self._on_blocked)
        connection.add_on_connection_unblocked_callback(self._on_unblocked)

    async def channel(self) -> "Channel":
        """A new channel with publisher confirms."""
        opened: asyncio.Future[PikaChannel] = asyncio.get_running_loop().create_future()
        try:
            self._connection.channel(on_open_callback=lambda channel: _resolve(opened, channel))
        except AMQPError as error:
            raise Unavailable(_text(error)) from error
        await asyncio.wait((opened, self.closed), timeout=CONNECT_TIMEOUT_S, return_when=asyncio.FIRST_COMPLETED)
        if not opened.done():
            raise Unavailable("the connection went away")
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


class Channel:
    """One channel: declarations, confirmed publishing, consuming. Any error of the server closes it for good."""

    def __init__(self, connection: Connection, channel: PikaChannel) -> None:
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
        return self._channel.is_open

    async def call(self, method: str, **arguments: Any) -> Any:
        """One of pika's channel methods (`queue_declare`, `exchange_bind`, ...); returns the server's answer."""
        answered: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        self._calls.add(answered)
        answered.add_done_callback(self._calls.discard)
        try:
            getattr(self._channel, method)(**arguments, callback=lambda frame: _resolve(answered, frame.method))
            return await asyncio.wait_for(answered, CONNECT_TIMEOUT_S)
        except AMQPError as error:
            raise Unavailable(_text(error)) from error
        except TimeoutError as error:
            raise Unavailable(f"{method} was not answered within {CONNECT_TIMEOUT_S:g} s") from error

    async def publish(
        self, properties: BasicProperties, body: bytes, *, exchange: str = "", routing_key: str = ""
    ) -> None:
        """Return once the message is safe in every queue that it goes to; raise Unavailable or Unroutable otherwise.

        After Unavailable the message may be there all the same, so what is published twice must be harmless.
        """
        if self._connection.blocked:
            raise Unavailable(self._connection.blocked)
        number = self._published + 1
        properties.correlation_id = str(number)  # tells which one a basic.return is about
        try:
            self._channel.basic_publish(exchange, routing_key, body, properties, mandatory=True)
        except AMQPError as error:
            raise Unavailable(_text(error)) from error
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
        """The message is done with; False when the channel is gone: the server delivers it again.

        The server is told at the end of this turn of the loop, of all in a row at once: under load a sixth as many
        frames (2,800 for 16,600 messages), none of which says more than was said here.
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
        """The server's word on one published message, or on all up to it."""
        method = frame.method
        if not method.multiple:
            self._confirm(method.delivery_tag, method)
            return
        for tag in tuple(takewhile(lambda each: each <= method.delivery_tag, self._unconfirmed)):
            self._confirm(tag, method)

    def _send_acknowledgements(self) -> None:
        """All up to the first that is not done at once, and each that is done beyond it."""
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
        """One timer for all, at the oldest's time: one for each is three calls more a publish."""
        loop, self._confirms_watched = asyncio.get_running_loop(), None
        while self._unconfirmed:
            number, (confirmed, late_s) = next(iter(self._unconfirmed.items()))
            if late_s > loop.time():
                self._confirms_watched = loop.call_at(late_s, self._fail_late)
                return
            del self._unconfirmed[number]
            _fail(confirmed, Unavailable(f"no confirm came within {CONFIRM_TIMEOUT_S:g} s"))

    def _confirm(self, tag: int, method: object) -> None:
        confirmed, _ = self._unconfirmed.pop(tag, (None, 0.0))
        if confirmed is None or confirmed.done():
            return
        if isinstance(method, Basic.Nack):
            confirmed.set_exception(Unavailable("RabbitMQ could not keep the message"))
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
        error = Refused(_text(reason)) if final else Unavailable(_text(reason))
        for each in (*self._calls, *(confirmed for confirmed, _ in self._unconfirmed.values())):
            if not each.done():
                each.set_exception(error)
                each.exception()  # whoever asked may have gone
        self._unconfirmed.clear()
        if self._confirms_watched is not None:
            self._confirms_watched.cancel()
        _resolve(self.closed, error)


async def connect(server: Server, *, name: str = "errands") -> Connection:
    """One connection; raises Refused where the server says no, Unavailable where there is none, ValueError for files.

    `name` is shown beside the connection to who administers the server.
    """
    logging.getLogger("pika").setLevel(logging.CRITICAL)  # it tells of each lost connection with a stack; we, once
    loop = asyncio.get_running_loop()
    opened: asyncio.Future[_Gathering] = loop.create_future()
    closed: asyncio.Future[str] = loop.create_future()
    _Gathering(
        server.parameters(name),
        on_open_callback=lambda connection: _resolve(opened, connection),
        on_open_error_callback=lambda _connection, error: _fail(opened, error),
        on_close_callback=lambda _connection, reason: _resolve(closed, _text(reason)),
        custom_ioloop=loop,
    )
    try:
        return Connection(await opened, closed)
    except (pika.exceptions.ProbableAuthenticationError, pika.exceptions.ProbableAccessDeniedError) as error:
        raise Refused(f"{server.place} does not let this user in: {_text(error)}") from error
    except (AMQPError, AMQPConnectorException, OSError) as error:
        raise Unavailable(f"no RabbitMQ answers at {server.place}: {_text(error)}") from error


class _Gathering(AsyncioConnection):
    """Sends all that one turn of the loop has to say at once; pika alone sends each frame, and a message is three."""

    def __init__(self, *arguments: Any, **options: Any) -> None:
        self._gathered: list[bytes] = []
        self._before: list[Callable[[], None]] = []
        self._sending: asyncio.Handle | None = None
        super().__init__(*arguments, **options)

    def before_sending(self, say: Callable[[], None]) -> None:
        """Have it called at the end of this turn of the loop, before all is sent."""
        self._before.append(say)
        self._send_soon()

    def send_gathered(self) -> None:
        """Now."""
        before, self._before = self._before, []
        for say in before:
            say()
        if self._sending is not None:
            self._sending.cancel()
            self._sending = None
        data = b"".join(self._gathered)
        self._gathered.clear()
        if data and not self.is_closed:  # it may have been lost meanwhile
            super()._adapter_emit_data(data)  # type: ignore[misc]  # where pika has an adapter send; its stubs have not

    def _adapter_emit_data(self, data: bytes) -> None:
        self._gathered.append(data)
        self._send_soon()

    def _send_soon(self) -> None:
        if self._sending is None:
            self._sending = asyncio.get_running_loop().call_soon(self.send_gathered)


@asynccontextmanager
async def connected(server: Server, *, name: str = "errands") -> AsyncIterator[Connection]:
    """One connection as a context; raises as `connect` does."""
    connection = await connect(server, name=name)
    try:
        yield connection
    finally:
        await connection.close()


async def stay_connected(
    server: Server, serve: Callable[[Connection], Awaitable[None]], *, name: str = "errands"
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
        except (Unavailable, Refused, ValueError) as error:
            reason = str(error)
        log.warning("%s; again in %g s", reason, delay_s)
        await asyncio.sleep(delay_s)
        delay_s = min(delay_s * 2, RECONNECT_LAST_S)


async def _serve(connection: Connection, serve: Callable[[Connection], Awaitable[None]]) -> None:
    work = asyncio.ensure_future(serve(connection))
    try:
        await asyncio.wait((work, connection.closed), return_when=asyncio.FIRST_COMPLETED)
        if work.done():
            work.result()
            await connection.closed
    finally:
        work.cancel()


def to_message(event: Event, **headers: int | str) -> tuple[BasicProperties, bytes]:
    """The event as a persistent message; `headers` (`x-...`, with underscores for dashes) are the broker's own."""
    attributes = dict(event.attributes)
    media_type = attributes.pop("datacontenttype", None)
    named: dict[str, int | str] = {**attributes, **{name.replace("_", "-"): value for name, value in headers.items()}}
    if media_type:
        named["content-type"] = media_type
    properties = BasicProperties(
        headers=named,
        content_type=_short(media_type),
        message_id=_short(event.id),
        delivery_mode=pika.DeliveryMode.Persistent.value,
    )
    return properties, event.data


def _short(text: str | None) -> str | None:
    """A property's text, or None when it is too long for one; the header of the same name has it in any case."""
    return text if text and len(text.encode()) <= SHORT_BYTES else None


def to_event(properties: BasicProperties, body: bytes) -> Event:
    """The event of a message, in binary or structured mode; raises NotAnEvent with the rule that it breaks."""
    content_type = properties.content_type or ""
    if content_type.split(";")[0].strip().lower() == STRUCTURED:
        return read({"content-type": content_type}, body)
    attributes = {}
    for header, value in (properties.headers or {}).items():
        name = header.lower().removeprefix("ce-")
        if name == "content-type":
            name = "datacontenttype"
        if not name.startswith("x-") and value not in ("", None):
            attributes[name] = _canonical(value)
    if content_type:
        attributes.setdefault("datacontenttype", content_type)
    return check(Event(MappingProxyType(attributes), body))


def _canonical(value: object) -> str:
    """An AMQP header's value as an attribute's string (CloudEvents 1.0 type system)."""
    if isinstance(value, bytes):
        return value.decode(errors="replace")
    return str(value).lower() if isinstance(value, bool) else str(value)


def _resolve(future: "asyncio.Future[Any]", value: object) -> None:
    if not future.done():
        future.set_result(value)


def _fail(future: "asyncio.Future[Any]", error: object) -> None:
    if not future.done():
        future.set_exception(error if isinstance(error, Exception) else Unavailable(str(error)))


def _text(error: BaseException) -> str:
    """What happened, in words; pika's exceptions hold others, in several ways, and often no text of their own."""
    held = getattr(error, "exception", None) or next(iter(getattr(error, "exceptions", ())[-1:]), None)
    inner = held or next((each for each in error.args[:1] if isinstance(each, BaseException)), None)
    if inner is not None:
        return _text(inner)
    return str(getattr(error, "reply_text", "") or str(error) or type(error).__name__)
