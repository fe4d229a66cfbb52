"""`errands up`: the broker, the ingress, the dispatchers and the functions of one machine, in one process."""

import asyncio
import contextlib
import logging
import os
import random
import secrets
import socket
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Final
from urllib.parse import urlsplit

from events.http import Event
from events.problem import TryAgain
from functions.gateway.outside import CallbackOrigins, Own
from functions.runtime import failure_reports
from functions.runtime.guesses import Guesses
from functions.runtime.port import HttpServer
from functions.runtime.proxies import TrustedProxies
from functions.runtime.running import Running, announced
from knative.local import mail_catcher, sources
from knative.local.background import Background
from knative.local.broker.broker import DLQ, Broker, BrokerAway, BrokerUnusable, Delivery
from knative.local.broker.dispatch import Dispatcher, Http, SinkDispatcher, Tools
from knative.local.broker.embedded import EmbeddedBroker
from knative.local.broker.outcomes import Outcomes
from knative.local.broker.recorded import RecordedJobs
from knative.local.data_folder import locked
from knative.local.exceptions import CannotStart
from knative.local.http import console
from knative.local.http.gate import ConsoleGate
from knative.local.http.ingress import LOOPBACK, Handler, Ingress
from knative.local.metrics import Metrics
from knative.local.notes import Notes
from knative.local.ping import Pinger
from knative.local.process.environment import (
    DEAD_LETTERS,
    GATEWAY,
    Machine,
    callback_origins,
    environment,
    make_secrets,
)
from knative.local.process.fork_server import ForkServer, reap_strays
from knative.local.process.processes import Pool, PoolStopping, StartFailed
from knative.local.process.reload import watch
from knative.local.queues.queues import WorkQueues, amqp_variables
from knative.manifests.manifests import Manifests, Service, load
from knative.manifests.queues import WorkQueue, load_work_queues

if TYPE_CHECKING:
    from functions.amqp.server import AmqpServer

log = logging.getLogger("errands.runner")

PRUNE_INTERVAL_S: Final = 60.0
AWAY_S: Final = 2.0  # between two tries to reach a broker that is not up yet
ALONE_PROCESSES: Final = 2  # for events whose process ended beside others, each alone in one
ALONE_IDLE_S: Final = 5.0


@dataclass(frozen=True, kw_only=True)
class Options:
    """What `errands up` was asked for. `max_processes` caps the processes of a CPU-bound function on this machine."""

    manifests: tuple[Path, ...]
    data: Path
    host: str = "127.0.0.1"
    port: int = 8080
    token: str | None = None
    trusted_proxies: TrustedProxies = field(default_factory=TrustedProxies)
    public_url: str | None = None
    settings: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    backlog_limit: int = 1_000_000
    max_processes: int = field(default_factory=lambda: os.cpu_count() or 1)
    reload: bool = False
    catch_mail: bool = False  # with a token, too
    lint: bool = False  # before it reloads manifests, as they were linted before the start
    rabbitmq: "AmqpServer | None" = None
    work_queues: Path | None = None  # the folder of the work queues' manifests


def work_named(name: str, folder: Path | None) -> WorkQueue:
    """One work queue of a folder; raises CannotStart when it has no such work queue, with those that it has."""
    work_queues = load_work_queues(folder) if folder else ()
    for work_queue in work_queues:
        if work_queue.name == name:
            return work_queue
    raise CannotStart(
        f"there is no work queue {name!r}; expected one of {', '.join(each.name for each in work_queues) or 'none'}"
    )


def check(options: Options) -> tuple[Manifests, tuple[WorkQueue, ...]]:
    """What is declared, once all of it can be run as far as can be seen; raises CannotStart and ManifestError."""
    manifests = load(*options.manifests)
    work_queues = load_work_queues(options.work_queues) if options.work_queues else ()
    services = [*manifests.services.values(), *(work_queue.service for work_queue in work_queues)]
    _check_settings(options.settings, [each.name for each in services])
    wrong = sources.faults(services, options.settings)
    if wrong:
        raise CannotStart("\n".join(wrong))
    return manifests, work_queues


@asynccontextmanager
async def running(
    options: Options, fork_server: ForkServer | None = None, background: Background | None = None
) -> AsyncIterator[str]:
    """Everything up, as a context; yields the URL of the ingress; drains on the way out. Raises CannotStart.

    Where it cannot go on, `background` says so.
    """
    background = background or Background()
    if options.host not in LOOPBACK and not options.token:
        reach = f"{options.host} can be reached from other machines"
        raise CannotStart(f"{reach}: give --token-file FILE, or bind 127.0.0.1")
    manifests, work_queues = check(options)
    async with contextlib.AsyncExitStack() as stack:
        stack.enter_context(locked(options.data))
        if fork_server:
            await stack.enter_async_context(fork_server.tended())
            stack.enter_context(background.keep("the reaping of strays", reap_strays))
        runner = _Runner(options, manifests, work_queues, fork_server, background)
        url = await stack.enter_async_context(runner.up())
        yield url


class _Runner:
    def __init__(
        self,
        options: Options,
        manifests: Manifests,
        work_queues: tuple[WorkQueue, ...],
        fork_server: ForkServer | None,
        background: Background,
    ) -> None:
        self._options = options
        self._secret = secrets.token_urlsafe(32)  # of this start, for functions alone
        self._invoker_secret = secrets.token_urlsafe(32)  # and for who calls them
        self._background = background
        self._fork_server = fork_server
        self._manifests = manifests
        self._work_queues = WorkQueues(work_queues, manifests, options.rabbitmq, options.max_processes)
        self._metrics = Metrics()
        self._outcomes = Outcomes()
        self._dispatchers: dict[str, Dispatcher] = {}
        self._pools: dict[str, Pool] = {}
        self._alone: dict[str, Pool] = {}  # of functions that work on several events at once

    @asynccontextmanager
    async def up(self) -> AsyncIterator[str]:
        """Start from the inside out, so that what is accepted can be delivered; stop in the opposite order."""
        async with contextlib.AsyncExitStack() as stack:
            listening = self._bind(stack, self._options.host, self._options.port)
            inner = self._bind(stack, LOOPBACK[0], 0) if self._has_gateway else listening
            broker = self._broker()
            url = self._url(listening)
            running = Running(self._url(inner), self._secret, url)
            machine = self._machine(running, listening, await self._mail_port(stack))
            ingress = self._ingress(broker, self._own(listening), machine)
            server = self._server(stack, ingress, inner)
            stack.enter_context(announced(self._options.data, running))
            ingress.called_back = CallbackOrigins(partial(callback_origins, self._manifests, machine))
            self._make_pools(machine, listening)
            stack.push_async_callback(self._close_pools)
            http = self._http = Http(self._invoker_secret)
            stack.callback(http.close)
            await server.start()  # so that who asks meanwhile is told to come again
            if self._has_gateway:
                await self._open_front_door()  # what comes from now on is recorded, and waits for the broker
            await self._start(broker)
            self._outcomes.asked(await broker.asked())
            ingress.open = True
            stack.push_async_callback(broker.stop)
            self._metrics.watch(broker.depths, self._processes)
            # on RabbitMQ each delay has a queue of its own, which is declared: there retries keep to it
            chance = (lambda: 0.0) if self._options.rabbitmq else random.random
            notes = Notes(self._pools[GATEWAY], http) if self._has_gateway else None
            told = None if notes is None else notes.tell
            self._make_dispatchers(
                Tools(broker, self._manifests, http, self._metrics, self._outcomes, self._failure_report, chance, told)
            )
            if notes is not None:
                stack.enter_context(self._background.keep("the notes of jobs", notes.run))
            stack.push_async_callback(self._drain)
            keep = self._background.keep
            stack.enter_context(keep("the forgetting of old outcomes", lambda: self._prune(broker)))
            stack.enter_context(keep("the clock", Pinger(self._manifests, self._pools, broker, http).run))
            if self._options.reload:
                stack.enter_context(keep("the reloading", lambda: watch(self._manifests, self._pools)))
            stack.callback(server.stop)
            working = await self._work_queues.work(stack, machine, _report)
            for scaler in (*self._work_queues.scalers(self._pools, broker), *working):
                stack.enter_context(keep("a scaler of a work queue", scaler.run))
            ingress.ready = True
            yield url

    async def _start(self, broker: Broker) -> None:
        """Open the broker, and wait for one that is not up yet, as after a boot."""
        while True:
            try:
                await broker.start(self._wake, self._background.give_up)
                return await self._work_queues.declare()
            except BrokerAway as error:
                log.warning("waiting for the broker, asked again in %g s: %s", AWAY_S, error)
                await asyncio.sleep(AWAY_S)
            except BrokerUnusable as error:
                raise CannotStart(str(error)) from error

    def _failure_report(self, event: Event, service: str, content: bytes) -> None:
        """Leave what a function said of its failure where the dead-letter sink looks for it."""
        from functions.storage.store import Store  # with obstore, 5 MB, and for a failure alone

        try:
            Store((self._options.data.resolve() / "store").as_uri()).write(failure_reports.key(event, service), content)
        except TryAgain as error:
            log.warning("the failure report of a failure cannot be kept: %s", error)

    def _broker(self) -> Broker:
        options = self._options
        if options.rabbitmq:
            from knative.local.broker.rabbitmq import RabbitBroker  # pika is a large import

            return RabbitBroker(
                options.rabbitmq, self._manifests, data=options.data, backlog_limit=options.backlog_limit
            )
        queues = [name for each in self._manifests.triggers for name in (each.name, each.name + DLQ)]
        return EmbeddedBroker(options.data / "journal.db", queues, backlog_limit=options.backlog_limit)

    def _ingress(self, broker: Broker, own: Own, machine: Machine) -> Ingress:
        guesses = Guesses()
        return Ingress(
            broker=broker,
            manifests=self._manifests,
            metrics=self._metrics,
            outcomes=self._outcomes,
            recorded=RecordedJobs(self._options.data / "store"),
            trouble=lambda: self._background.trouble or broker.trouble,
            artifacts=self._options.data / "store",
            token=self._options.token,
            secret=self._secret,
            own=own,
            console=self._console(machine, guesses),
            proxies=self._options.trusted_proxies,
            guesses=guesses,
            sinks=self._work_queues.sinks | ({DEAD_LETTERS} & self._manifests.services.keys()),
            to_sink=self._to_sink,
            inside_only=self._has_gateway,
        )

    def _console(self, machine: Machine, guesses: Guesses) -> Handler | None:
        service = self._manifests.services.get(console.SERVICE)
        if service is None:
            return None
        gate = ConsoleGate(partial(environment, service, self._manifests, machine))
        return console.ConsoleProxy(
            self._pools, self._invoker_secret, gate=gate, proxies=self._options.trusted_proxies, guesses=guesses
        ).handle

    @property
    def _has_gateway(self) -> bool:
        """Whether a gateway has the runner's port; without one it is the ingress' own."""
        return GATEWAY in self._manifests.services

    async def _open_front_door(self) -> None:
        try:
            async with self._pools[GATEWAY].lease():
                return
        except StartFailed as error:
            raise CannotStart(f"the gateway does not start: {error}") from error

    def _bind(self, stack: contextlib.AsyncExitStack, host: str, port: int) -> socket.socket:
        """Take the port before anything starts, so that a port in use is the first thing said."""
        try:
            listening = _listen(host, port)
        except OSError as error:
            raise CannotStart(f"port {port} on {host} cannot be used: {error.strerror}") from error
        stack.callback(listening.close)
        return listening

    def _own(self, listening: socket.socket) -> Own:
        """Where events come in: no callback may lead there."""
        given = [self._options.host, urlsplit(self._options.public_url or "").hostname or ""]
        return Own(listening.getsockname()[1], frozenset(each.lower() for each in given if each))

    def _server(self, stack: contextlib.AsyncExitStack, ingress: Ingress, listening: socket.socket) -> HttpServer:
        server = HttpServer(ingress, listening, self._options.trusted_proxies.is_of_many)
        stack.push_async_callback(server.close)
        return server

    @staticmethod
    def _url(listening: socket.socket) -> str:
        host, port = listening.getsockname()[:2]
        called = "127.0.0.1" if host in ("0.0.0.0", "::") else host  # noqa: S104  # compared, not bound
        return f"http://[{called}]:{port}/" if ":" in called else f"http://{called}:{port}/"

    async def _mail_port(self, stack: contextlib.AsyncExitStack) -> int | None:
        """Where e-mails are caught, if they are."""
        options = self._options
        if not mail_catcher.catches(options.settings, options.token, asked=options.catch_mail):
            return None
        return await stack.enter_async_context(mail_catcher.catching(options.data.resolve() / "mail"))

    def _machine(self, running: Running, listening: socket.socket, mail_port: int | None) -> Machine:
        return Machine(
            data=self._options.data.resolve(),
            ingress_url=running.url,
            ingress_secret=self._secret,
            invoker_secret=self._invoker_secret,
            public_url=self._options.public_url or running.front_door,
            front_door=(self._options.host, listening.getsockname()[1]),
            gateway_url=running.front_door,
            token=self._options.token,
            trusted_proxies=str(self._options.trusted_proxies),
            settings=self._options.settings,
            work_queue=amqp_variables(self._options.rabbitmq),
            mail_port=mail_port,
        )

    def _make_pools(self, machine: Machine, listening: socket.socket) -> None:
        make_secrets(machine)
        for service in (
            *self._manifests.services.values(),
            *(work_queue.service for work_queue in self._work_queues.embedded),
        ):
            if service.name == GATEWAY:  # one process has the ledger's file and all streams
                self._pools[GATEWAY] = self._pool(service, machine, 1, listening)
                continue
            self._pools[service.name] = self._pool(service, machine, self._max_scale(service))
            if service.concurrency > 1:
                single = replace(service, concurrency=1, min_scale=0, idle_s=ALONE_IDLE_S)
                self._alone[service.name] = self._pool(single, machine, ALONE_PROCESSES)

    def _pool(self, service: Service, machine: Machine, max_scale: int, listening: socket.socket | None = None) -> Pool:
        return Pool(
            service,
            environment=environment(service, self._manifests, machine),
            root=service.root,
            max_scale=max_scale,
            report=_report,
            fork_server=self._fork_server,
            listening=listening,
        )

    def _max_scale(self, service: Service) -> int:
        """CPU-bound functions (one event at a time) get no more processes than there are processors."""
        return min(service.max_scale, self._options.max_processes) if service.concurrency == 1 else service.max_scale

    def _make_dispatchers(self, tools: Tools) -> None:
        for trigger in map(self._work_queues.served, self._manifests.triggers):
            function, sink = trigger.subscriber, trigger.delivery.dead_letter_sink
            for each in (
                Dispatcher(trigger.name, trigger, self._pools[function], tools, alone=self._alone.get(function)),
                SinkDispatcher(trigger.name + DLQ, trigger, self._pools[sink], tools, alone=self._alone.get(sink)),
            ):
                self._dispatchers[each.queue] = each
                each.wake()
        for pool in self._pools.values():
            pool.keep_minimum()

    def _processes(self) -> Mapping[str, int]:
        alone = {name: pool.count for name, pool in self._alone.items()}
        counts = {name: pool.count + alone.get(name, 0) for name, pool in self._pools.items()}
        return {**counts, **self._work_queues.counts()}

    async def _to_sink(self, name: str, event: Event) -> bool:
        """Bring a work queue's dead letter to its sink; whether that has taken it."""
        pool = self._pools[name]
        try:
            async with pool.lease() as process:
                delivery = Delivery(0, name, 1, event)
                result = await self._http.post(process.url, delivery, timeout_s=pool.service.timeout_s)
        except (StartFailed, PoolStopping):
            return False
        return not result.failed

    def _wake(self, queue: str) -> None:
        if queue in self._dispatchers:
            self._dispatchers[queue].wake()

    async def _drain(self) -> None:
        """Finish what functions work on; what waits for one is safe in the broker."""
        for pool in (*self._pools.values(), *self._alone.values()):
            pool.stop_leasing()
        await asyncio.gather(*(each.drain() for each in self._dispatchers.values()))

    async def _close_pools(self) -> None:
        await asyncio.gather(*(pool.close() for pool in (*self._pools.values(), *self._alone.values())))

    async def _prune(self, broker: Broker) -> None:
        while True:
            await asyncio.sleep(PRUNE_INTERVAL_S)
            await broker.prune()


def _listen(host: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    return socket.create_server((host, port), family=family, backlog=1024)


def _check_settings(settings: Mapping[str, Mapping[str, str]], functions: Sequence[str]) -> None:
    for function in settings:
        if function not in functions:
            known = ", ".join(functions)
            raise CannotStart(f"--set {function}.…: there is no function {function!r}; expected one of {known}")


def _report(level: str, function: str, text: str) -> None:
    """What a function's process printed, or what befell it, as log lines of that function."""
    logger = logging.getLogger(f"function.{function}")
    if level == "output":
        logger.info(text, extra={"output": True})
    else:
        logger.log(logging.getLevelNamesMapping()[level.upper()], "%s %s", function, text)
