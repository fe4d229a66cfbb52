"""Tells the API how a job ended: each last event becomes a signed callback. It waits on I/O, so it is a coroutine
in the server's loop."""

import logging
import time
from dataclasses import dataclass, field

from events.http import Event
from events.problem import NotAnEvent
from functions.net.caller import Caller
from functions.net.guard import Guard
from functions.net.rate import Rate
from functions.net.signature import Signer, split_secrets
from functions.notifier.circuits import CircuitLimits, Circuits, Peers
from functions.notifier.delivery import CallbackDelivery
from functions.notifier.destination import Destinations
from functions.notifier.endpoint_state import EndpointStates
from functions.notifier.handshake import Handshake
from functions.notifier.metrics import MEDIA_TYPE, exposition
from functions.notifier.rotation import CurrentDestinations, text_of
from functions.runtime.adapter import Response, async_http_function, system_clock
from functions.runtime.settings import from_environment
from functions.storage.rate_limits import RateLimits
from functions.storage.store import Store

log = logging.getLogger("errands.notifier")


@dataclass(frozen=True)
class Settings:
    """The function's environment."""

    store_url: str
    callback_secrets: str = field(default="", repr=False)
    callback_secrets_file: str | None = None
    callback_profile: str = "standard"
    callback_url: str | None = None
    callback_rate: str | None = None
    callback_endpoints: str | None = field(default=None, repr=False)
    callback_endpoints_file: str | None = None
    allowed_origins: str = ""
    allowed_networks: str = ""
    handshake_origin: str | None = None
    connect_timeout_s: float = 5.0
    timeout_s: float = 15.0
    response_limit_bytes: int = 65_536
    retry_after_limit_s: float = 600.0
    calls_limit: int = 20
    failures_limit: int = 5

    def __post_init__(self) -> None:
        self.destinations(), self.limits(), self.handshake(), Guard.parse(self.allowed_networks), Store(self.store_url)
        for name in ("connect_timeout_s", "timeout_s", "response_limit_bytes", "retry_after_limit_s"):
            if getattr(self, name) <= 0:
                raise ValueError(f"{name.upper()} must be greater than 0, got {getattr(self, name)}")

    def destinations(self) -> Destinations:
        """As the Secret's files are now; raises ValueError that names the setting."""
        secrets = text_of(self.callback_secrets_file, self.callback_secrets) or ""
        signer = Signer.parse(self.callback_profile, split_secrets(secrets), setting="CALLBACK_SECRETS")
        endpoints = text_of(self.callback_endpoints_file, self.callback_endpoints)
        rate = Rate.parse(self.callback_rate, setting="CALLBACK_RATE") if self.callback_rate else None
        return Destinations.parse(self.callback_url, signer, self.allowed_origins, endpoints, rate)

    def limits(self) -> CircuitLimits:
        """As `destinations`."""
        return CircuitLimits(calls_limit=self.calls_limit, failures_limit=self.failures_limit)

    def handshake(self) -> Handshake | None:
        """As `destinations`."""
        return Handshake(self.handshake_origin) if self.handshake_origin else None


settings = from_environment(Settings)
store = Store(settings.store_url)
destinations = CurrentDestinations(
    settings.destinations, settings.callback_secrets_file, settings.callback_endpoints_file
)
peers = Peers(Circuits(settings.limits()), Circuits(settings.limits()))
delivery = CallbackDelivery(
    Caller(Guard.parse(settings.allowed_networks), settings.connect_timeout_s, settings.response_limit_bytes),
    peers,
    EndpointStates(store, adopt=peers.adopt),
    store,
    RateLimits(store, system_clock),
    settings.handshake(),
    settings.timeout_s,
    settings.retry_after_limit_s,
    time.time,
)


async def notify(event: Event) -> Response:
    """One last event in, its callbacks out."""
    targets = destinations.now().of(event)
    if not targets:
        log.warning("nowhere to go: no callbackurl, no CALLBACK_URL", extra={"event": event.id, "type": event.type})
    await delivery.deliver(event, targets)
    return Response(202)


def require_last(event: Event) -> None:
    """Only an event that ends a job is for the API."""
    if event.get("outcome") not in ("completed", "failed", "deadlettered"):
        raise NotAnEvent(f"outcome must be completed, failed or deadlettered, got {event.get('outcome')!r}")


def show_circuits() -> Response:
    """The circuits of this process, for who asks for /metrics."""
    return Response(200, {"content-type": MEDIA_TYPE}, exposition(peers).encode())


handle = async_http_function(notify, accepts=require_last, pages={"/metrics": show_circuits})
