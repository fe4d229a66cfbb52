"""Tells the API how a job ended: each last event becomes one signed callback. It waits on I/O, so it is served by
functions-framework's ASGI side."""

import logging
from dataclasses import dataclass, field

import functions_framework.aio

from events.function import Answer, async_http_function, system_clock
from events.http import Event, structured
from events.problem import NotAnEvent
from functions.addresses import Guard
from functions.notifier.callback import headers, read_secrets
from functions.notifier.caller import Caller
from functions.notifier.destination import Destinations
from functions.settings import from_environment

log = logging.getLogger("errands.notifier")


@dataclass(frozen=True)
class Settings:
    """The function's environment."""

    callback_secrets: str = field(repr=False)
    callback_url: str | None = None
    allowed_origins: str = ""
    allowed_networks: str = ""
    connect_timeout_s: float = 5.0
    timeout_s: float = 15.0
    answer_limit_bytes: int = 65_536

    def __post_init__(self) -> None:
        read_secrets(self.callback_secrets)
        Destinations.parse(self.callback_url, self.allowed_origins)
        Guard.parse(self.allowed_networks)


settings = from_environment(Settings)
secrets = read_secrets(settings.callback_secrets)
destinations = Destinations.parse(settings.callback_url, settings.allowed_origins)
guard = Guard.parse(settings.allowed_networks)
caller = Caller(guard, settings.connect_timeout_s, settings.timeout_s, settings.answer_limit_bytes)


async def notify(event: Event) -> Answer:
    """One last event in, one callback out."""
    url = destinations.of(event)
    if url is None:
        log.warning("nowhere to go: no callbackurl, no CALLBACK_URL", extra={"event": event.id, "type": event.type})
        return Answer(202)
    body, now = structured(event), system_clock()
    await caller.call(url, body, headers(event, body, secrets=secrets, now=now), now=now)
    return Answer(202)


def require_last(event: Event) -> None:
    """Only an event that ends a job is for the API."""
    if event.get("outcome") not in ("completed", "failed", "deadlettered"):
        raise NotAnEvent(f"outcome must be completed, failed or deadlettered, got {event.get('outcome')!r}")


handle = functions_framework.aio.http(async_http_function(notify, accepts=require_last))
