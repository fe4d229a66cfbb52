"""Where a worker's results go: events over HTTP to the broker and the dead-letter sink, messages to RabbitMQ.

What cannot be posted waits in RabbitMQ as itself, as a pending reply: a message of the work queue with
`x-errands-post`, which names where it is to be posted. So a job is not done again because the broker was down, and a
dead letter is kept for as long as its sink is.
"""

import logging
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from events.http import STRUCTURED, Event, structured
from functions.amqp.channel import Channel
from functions.amqp.connection import AmqpConnection, stay_connected
from functions.amqp.errors import ServerRefused, ServerUnavailable
from functions.amqp.message import to_message
from functions.runtime.outcome import RETRIED_4XX
from keda.worker.settings import WorkerSettings

if TYPE_CHECKING:
    import httpx

log = logging.getLogger("errands.work_queue")

POST: Final = "x-errands-post"
BROKER: Final = "broker"
SINK: Final = "sink"
POST_TIMEOUT_S: Final = 30.0


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a message has come: which attempt it is, how long it has waited without one, and of a pending reply where
    it goes."""

    attempt: int
    waited_s: int = 0
    place: str | None = None

    @property
    def headers(self) -> dict[str, int | str]:
        """As `to_message` wants them."""
        headers: dict[str, int | str] = {"x_errands_attempt": self.attempt}
        if self.waited_s:
            headers["x_errands_waited"] = self.waited_s
        if self.place:
            headers["x_errands_post"] = self.place
        return headers


class NotPosted(Exception):
    """Nobody took the event; the same may be posted again."""


class PostRefused(Exception):
    """The event itself is refused; posting it again would not help."""


class ResultPublisher:
    """Takes results away over a connection of its own, since RabbitMQ under an alarm stops those that publish."""

    def __init__(self, settings: WorkerSettings) -> None:
        self._settings = settings
        self._channel: Channel | None = None
        self._waits = settings.waits
        self._places = {BROKER: settings.k_sink, SINK: settings.work_dead_letter_sink}
        self._http: httpx.AsyncClient | None = None

    async def stay_connected(self) -> None:
        """Keep the publishing connection, until cancelled."""
        await stay_connected(
            self._settings.server, self._publish_on, name=f"work queue {self._settings.work_queue}, publishing"
        )

    async def post(self, event: Event, place: str) -> None:
        """Return when the broker or the sink has taken the event; raise NotPosted or PostRefused."""
        import httpx

        if self._http is None:  # imported late: a flood may never need it
            token = self._settings.k_sink_token
            headers = {"content-type": STRUCTURED} | ({"authorization": f"Bearer {token}"} if token else {})
            self._http = httpx.AsyncClient(headers=headers, timeout=POST_TIMEOUT_S, trust_env=False)
        try:
            response = await self._http.post(self._places[place], content=structured(event))
        except (httpx.HTTPError, OSError) as error:
            raise NotPosted(f"the {place} at {self._places[place]} does not answer: {error!r}") from error
        if response.status_code >= 500 or response.status_code in RETRIED_4XX:
            raise NotPosted(f"the {place} answers {response.status_code}: {response.text[:500]}")
        if not response.is_success:
            raise PostRefused(f"the {place} answers {response.status_code}: {response.text[:500]}")

    async def later(self, event: Event, progress: Progress, *, delay_s: float) -> None:
        """Back to the work queue after a wait; raise ServerUnavailable."""
        channel = self._open_channel()
        await self._publish(channel, event, await self._wait(channel, delay_s), progress)

    async def give_back(self, event: Event, progress: Progress) -> None:
        """Back to the work queue at once as the same attempt: unlike a rejection, it is not counted as a delivery."""
        await self._publish(self._open_channel(), event, self._settings.work_queue, progress)

    async def close(self) -> None:
        """Close the HTTP connections."""
        if self._http:
            await self._http.aclose()

    async def _wait(self, channel: Channel, delay_s: float) -> str:
        try:
            return await self._waits.of(channel, delay_s)
        except ServerRefused as error:  # the channel is closed; the next one is set up anew
            raise ServerUnavailable(str(error)) from error

    async def _publish(self, channel: Channel, event: Event, queue: str, progress: Progress) -> None:
        try:
            await channel.publish(*to_message(event, **progress.headers), routing_key=queue)
        except ServerRefused as error:  # the channel is closed; the next one is set up anew
            raise ServerUnavailable(str(error)) from error

    def _open_channel(self) -> Channel:
        if self._channel is None:
            raise ServerUnavailable(f"no connection to {self._settings.server.place}")
        return self._channel

    async def _publish_on(self, connection: AmqpConnection) -> None:
        channel = await connection.channel()
        self._waits.forget()
        self._channel = channel
        try:
            log.warning("the publishing channel was closed: %s", await channel.closed)
        finally:
            self._channel = None
        await connection.close()
