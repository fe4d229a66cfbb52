"""The front door: an API's requests come to a port of its own, the broker's events to the function's.

So whoever may send requests can send nothing else: on a cluster the two ports have policies of their own, on one
machine the function's takes nothing without the runner's secret.
"""

import secrets
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from urllib.parse import unquote, urlsplit

from events.http import Event
from events.problem import NotAnEvent, NotNow, decode
from functions.gateway.admission import Admission
from functions.gateway.behind import Behind
from functions.gateway.callers import Callers
from functions.gateway.disk import Disk
from functions.gateway.files import Files
from functions.gateway.gateway import Gateway
from functions.gateway.http import LOOPBACK, FrontDoor
from functions.gateway.ledger.schema import open_ledger
from functions.gateway.links import Links
from functions.gateway.outside import CallbackOrigins, Own
from functions.gateway.replies import Replies
from functions.gateway.routes import Routes
from functions.gateway.ruling import declared_limits
from functions.gateway.tickets import Tickets
from functions.gateway.tracing.tracing import Receiver
from functions.net.origins import named, origins_of
from functions.runtime.adapter import Response, async_http_function
from functions.runtime.broker_client import BrokerClient
from functions.runtime.notes import NOTED, JobNote
from functions.runtime.port import HttpServer
from functions.runtime.proxies import TrustedProxies, networks
from functions.runtime.settings import from_environment
from functions.storage.database import StorageUnavailable

PING_TYPE = "dev.knative.sources.ping"
DAY_S = 24 * 3600


@dataclass(frozen=True)
class Settings:
    """The function's environment; K_SINK is the broker's ingress, K_SINK_TOKEN what it may ask for.

    GATEWAY_ROUTES is what the manifests declare (routes.py), GATEWAY_TOKENS who may ask for what (callers.py); without
    any, whoever reaches the gateway may, and it serves loopback only. GATEWAY_SOCKET is the number of a descriptor on
    which it listens in place of its port. GATEWAY_CALLBACK_ORIGINS are the origins that the notifier calls, beside
    those of the file GATEWAY_CALLBACK_ENDPOINTS; where they are not told, any may be named. STORE_URL is the object
    store. GATEWAY_DEAD_LETTER_SINK takes jobs that are lost. Ended ones are kept for GATEWAY_RETENTION_DAYS (0: for
    ever). GATEWAY_LIMITS is JSON of limits by name (ruling.py). GATEWAY_TRUSTED_PROXIES are addresses and networks of
    proxies. GATEWAY_BEHIND is, on one machine, the runner's own address. OTEL_... are those of OpenTelemetry: with an
    endpoint, traces of jobs are sent there.
    """

    ledger_url: str
    k_sink: str
    gateway_routes: str
    k_sink_token: str = field(default="", repr=False)
    gateway_tokens: str = field(default="", repr=False)
    gateway_ticket_secret: str = field(default="", repr=False)
    gateway_notes_token: str = field(default="", repr=False)
    gateway_public_url: str = ""
    gateway_behind: str = ""
    gateway_trusted_proxies: str = ""
    gateway_callback_origins: str | None = None
    gateway_callback_endpoints: str | None = None
    gateway_dead_letter_sink: str = ""
    gateway_retention_days: int = 30
    gateway_limits: str = ""
    store_url: str = ""
    gateway_host: str = "0.0.0.0"  # noqa: S104  # in a container
    gateway_port: int = 8081
    gateway_socket: int | None = None
    otel_exporter_otlp_endpoint: str = ""
    otel_exporter_otlp_headers: str = field(default="", repr=False)
    otel_service_name: str = "errands"
    otel_bsp_schedule_delay: int = 5000

    def callers(self) -> Callers:
        """Who may ask; raises ValueError that names the setting."""
        anybody = "local" if self.gateway_host in LOOPBACK else None
        callers = Callers.parse(self.gateway_tokens, anybody=anybody)
        if not callers.by_digest and callers.anybody is None:
            raise ValueError(f"GATEWAY_TOKENS is required where GATEWAY_HOST is not loopback, got {self.gateway_host}")
        return callers

    def proxies(self) -> TrustedProxies:
        """Whose word is taken of who asks; raises ValueError that names the setting."""
        try:
            return TrustedProxies(networks(each for each in self.gateway_trusted_proxies.split(",") if each))
        except ValueError as error:
            raise ValueError(f"GATEWAY_TRUSTED_PROXIES must be addresses or networks: {error}") from error

    def sink(self) -> BrokerClient | None:
        """Where dead letters go."""
        url = self.gateway_dead_letter_sink
        return BrokerClient(url, self.k_sink_token) if url else None

    def own(self) -> Own:
        """Where APIs come in: no callback may lead there."""
        given = (self.gateway_host, urlsplit(self.gateway_public_url).hostname)
        return Own(self.gateway_port, frozenset(each.lower() for each in given if each))

    def callback_origins(self) -> frozenset[str] | None:
        """The origins that are called back, as the files are now; None for any. Raises ValueError, OSError."""
        if self.gateway_callback_origins is None:
            return None
        file = Path(self.gateway_callback_endpoints or "")
        return named(self.gateway_callback_origins) | (origins_of(file.read_text()) if file.is_file() else frozenset())

    def store(self) -> Path | None:
        """The folder of the object store, where it is one."""
        parts = urlsplit(self.store_url)
        return Path(unquote(parts.path)) if parts.scheme == "file" else None

    def traced(self) -> Receiver | None:
        """Where traces are sent; raises ValueError that names the setting."""
        if not self.otel_exporter_otlp_endpoint:
            return None
        return Receiver.parse(
            self.otel_exporter_otlp_endpoint,
            self.otel_exporter_otlp_headers,
            self.otel_service_name,
            self.otel_bsp_schedule_delay,
        )

    def __post_init__(self) -> None:
        self.callers(), self.proxies(), self.traced(), open_ledger(self.ledger_url)
        declared_limits(self.gateway_limits, Routes.parse(self.gateway_routes))


settings = from_environment(Settings)
routes = Routes.parse(settings.gateway_routes)
client = BrokerClient(settings.k_sink, settings.k_sink_token, is_runner=bool(settings.gateway_behind))
admission = Admission(routes, own=settings.own(), called=CallbackOrigins(settings.callback_origins))
files = (
    Files(
        settings.store_url,
        settings.store(),
        kept_s=settings.gateway_retention_days * DAY_S,
        strays_kept_s=settings.gateway_retention_days * DAY_S + routes.longest_s + DAY_S,
    )
    if settings.store_url
    else None
)
gateway = Gateway(
    open_ledger(settings.ledger_url),
    admission,
    routes,
    client,
    Disk(settings.ledger_url),
    sink=settings.sink(),
    replies=Replies(settings.store_url) if settings.store_url else None,
    kept=timedelta(days=settings.gateway_retention_days),
    files=files,
    traced=settings.traced(),
    limits=declared_limits(settings.gateway_limits, routes),
)
front_door = FrontDoor(
    gateway,
    settings.callers(),
    Tickets(settings.gateway_ticket_secret or secrets.token_hex(32)),
    public_url=settings.gateway_public_url,
    store=settings.store(),
    behind=Behind(settings.gateway_behind, settings.k_sink_token) if settings.gateway_behind else None,
    proxies=settings.proxies(),
    files=files,
    links=Links(settings.store_url) if settings.store_url else None,
    notes_token=settings.gateway_notes_token,
)


async def take(event: Event) -> Response:
    """An event of the broker's, or what a function notes of a job, recorded."""
    try:
        if event.type == NOTED:
            await gateway.noted(event, decode(event.data, JobNote))
        elif event.get("outcome"):
            await gateway.ended(event)
    except StorageUnavailable as error:
        raise NotNow(str(error)) from error
    return Response(202)


def require_known(event: Event) -> None:
    """Outcomes of jobs, notes on them, and pings."""
    outcome = event.get("outcome") in ("completed", "failed", "deadlettered")
    if not outcome and event.type not in (NOTED, PING_TYPE):
        raise NotAnEvent(f"an outcome is expected, got type {event.type[:100]!r}")


@asynccontextmanager
async def beside() -> AsyncIterator[None]:
    """The port for APIs, and what is due."""
    server = HttpServer(front_door, _listening(), settings.proxies().is_of_many)
    async with gateway.working():
        await server.start()
        try:
            yield
        finally:
            gateway.waiters.close()
            server.stop()
            await server.close()


def _listening() -> socket.socket:
    if settings.gateway_socket is not None:
        return socket.socket(fileno=settings.gateway_socket)
    return socket.create_server((settings.gateway_host, settings.gateway_port), backlog=1024)


handle = async_http_function(take, accepts=require_known, beside=beside)
