"""Hands an event over to the work queue: published with confirms, so the broker forgets it only once a queue has it."""

from dataclasses import dataclass
from pathlib import Path

from events.http import Event
from events.problem import TryAgain
from functions.amqp.errors import ServerRefused, ServerUnavailable
from functions.amqp.server import AmqpServer
from functions.enqueue.publisher import Publisher
from functions.runtime.adapter import Response, async_http_function
from functions.runtime.settings import from_environment


@dataclass(frozen=True)
class Settings:
    """The function's environment."""

    amqp_url: str
    work_exchange: str
    amqp_login: str | None = None
    amqp_ca_file: str | None = None

    @property
    def server(self) -> AmqpServer:
        """The RabbitMQ server; raises ValueError with what is wrong of the URL."""
        credentials, ca_file = (Path(each) if each else None for each in (self.amqp_login, self.amqp_ca_file))
        return AmqpServer(url=self.amqp_url, credentials=credentials, ca_file=ca_file)

    def __post_init__(self) -> None:
        _ = self.server


settings = from_environment(Settings)
publisher = Publisher(settings.server, settings.work_exchange)


async def enqueue(event: Event) -> Response:
    """One event in, the same event in a queue; published twice it is done once, by its job's ledger."""
    try:
        await publisher.publish(event)
    except (ServerUnavailable, ServerRefused) as error:
        raise TryAgain(f"the work queue does not take {event.type}: {error}") from error
    return Response(202)


handle = async_http_function(enqueue)
