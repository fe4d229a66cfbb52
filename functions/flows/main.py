"""Flows: jobs whose work is other jobs. Each event is a step forward; between them a flow is rows and no process."""

import asyncio
from dataclasses import dataclass
from datetime import timedelta

from events.http import Event
from events.problem import NotAnEvent, TryAgain
from functions.flows.clock import Clock
from functions.flows.definitions import Definitions
from functions.flows.engine import SIGNAL, Engine
from functions.flows.schema import open_flows
from functions.flows.sending import Sender
from functions.runtime.adapter import Response, async_http_function, system_clock
from functions.runtime.settings import from_environment
from functions.storage.database import StorageUnavailable


@dataclass(frozen=True)
class Settings:
    """The function's environment. FLOWS names the modules that hold flows, with commas; K_SINK is the broker's ingress,
    K_SINK_TOKEN what it may ask for. TIME_LAPSE shortens sleeps and waits by so much, for tests.
    """

    flows_url: str
    flows: str
    k_sink: str
    k_sink_token: str = ""
    keep_days: float = 30.0
    time_lapse: float = 1.0

    def __post_init__(self) -> None:
        open_flows(self.flows_url), Definitions.load(self.flows)
        for name in ("keep_days", "time_lapse"):
            if getattr(self, name) <= 0:
                raise ValueError(f"{name.upper()} must be greater than 0, got {getattr(self, name)}")


settings = from_environment(Settings)
definitions = Definitions.load(settings.flows)
engine = Engine(open_flows(settings.flows_url), definitions, system_clock, settings.time_lapse)
sender = Sender(engine, settings.k_sink, settings.k_sink_token)
clock = Clock(engine, sender, system_clock, timedelta(days=settings.keep_days))


async def respond(event: Event) -> Response:
    """One event in; it is acknowledged when what follows from it is written, and was sent."""
    try:
        events = await asyncio.to_thread(engine.take, event)
    except StorageUnavailable as error:
        raise TryAgain(str(error)) from error
    await sender.send(events)
    clock.wake()
    return Response(202)


def require_known(event: Event) -> None:
    """A flow's request, a step's end, or a signal."""
    if event.type not in (SIGNAL, *definitions.newest) and "flow" not in event.attributes:
        raise NotAnEvent(f"a flow's request or a step's end is expected, got type {event.type[:100]!r}")


handle = async_http_function(respond, accepts=require_known, beside=clock.running)
