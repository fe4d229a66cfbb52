"""Delivers each queue's events to its function and settles them by the answer, as the manifests declare.

Where eventing-rabbitmq loses an event this does not, and warns: it dead-letters a 4xx at once instead of taking it as
success (Knative data-plane specification), moves a dead letter into its queue before the cause is forgotten, and
keeps a dead letter whose sink is down.

A process that ends takes all its events along, and one of them may be why. So a delivery whose process ended beside
others is put back without being charged an attempt, and from then on has a process of its own for as long as it is
worked on: what ends that one as well is charged to it alone. Retries are spread over a tenth of their declared delay,
so that what failed together does not come back together; never sooner than declared.

An attempt that the function says was not made (`errands-not-now`, functions/runtime/adapter.py) is none: the delivery
is put back, for as long as the function says and for longer the longer it has waited, and holds no worker. Beyond the
Trigger's longest wait (`errands.dev/longest-wait`) it is an attempt as any other.
"""

import asyncio
import dataclasses
import errno
import logging
import time
from collections import OrderedDict
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from typing import Final, Protocol

from events.http import BODY_LIMIT_BYTES, Event, binary
from functions.net.client import Connections
from functions.net.exchange import Broken, Late, NotConnected, TooLong
from functions.net.url import parsed
from functions.runtime import failure_reports
from functions.runtime.adapter import ATTEMPT_HEADER
from functions.runtime.asgi import INVOKER_HEADER
from functions.runtime.logs import about
from functions.runtime.outcome import NO_RESPONSE, RETRIED_4XX, Result, dead_letter, judge, put_off_s
from knative.local.broker.broker import Broker, BrokerUnavailable, Delivery
from knative.local.broker.outcomes import Outcomes
from knative.local.metrics import Metrics
from knative.local.process.processes import Pool, PoolStopping, Process, StartFailed
from knative.manifests.manifests import Manifests, Trigger

log = logging.getLogger("errands.dispatch")

SINK_RETRY_FIRST_S: Final = 1.0
SINK_RETRY_LAST_S: Final = 60.0
SETTLING_LIMIT: Final = 256  # deliveries of a queue whose answer is not yet in the broker
BROKER_RETRY_S: Final = 1.0
PUT_BACK_S: Final = 1.0
END_S: Final = 0.3  # from the end of a process' connections to its own
SPREAD: Final = 0.1  # of a declared delay
SUSPECTS_LIMIT: Final = 10_000
PASSING: Final = (OSError, MemoryError)  # no descriptor, no memory, no disk: this machine's trouble, and no attempt
EXHAUSTED: Final = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM, errno.EADDRNOTAVAIL})


class EndedTogether(Exception):
    """The process ended as it worked on this event and on others."""


Settle = Callable[[], Awaitable[None]]


class Note(Protocol):
    """Hears of an attempt that failed (knative/local/notes.py)."""

    def __call__(
        self, delivery: Delivery, function: str, result: Result, *, charged: bool, next_s: float | None
    ) -> None: ...


@dataclass(frozen=True, slots=True)
class Tools:
    """What every dispatcher works with."""

    broker: Broker
    manifests: Manifests
    http: "Http"
    metrics: Metrics
    outcomes: Outcomes
    failure_report: Callable[[Event, str, bytes], None] = lambda event, service, content: None
    chance: Callable[[], float] = lambda: 0.0  # from 0 to 1: how far a retry is put off within its spread
    note: Note | None = None  # told of each attempt that failed


class Dispatcher:
    """Takes one queue's events, `parallelism` at a time, and no more than its function can work on.

    Once it has answered, the next event is given to it; what the answer means for the broker is seen to meanwhile.
    """

    def __init__(self, queue: str, trigger: Trigger, pool: Pool, tools: Tools, *, alone: Pool | None = None) -> None:
        """`alone` has a process for each event; without it the pool's own processes work on one event at a time."""
        self.queue = queue
        self._trigger = trigger
        self._pool = pool
        self._alone = alone or pool
        self._suspects: OrderedDict[tuple[str, str], None] = OrderedDict()
        self._tools = tools
        self._broker = tools.broker
        self._metrics = tools.metrics
        self._parallelism = min(trigger.parallelism, pool.capacity)
        self._tasks: set[asyncio.Task[None]] = set()
        self._working = 0
        self._open = True

    def wake(self) -> None:
        """Take what the queue has, as far as there are free workers."""
        while self._open and self._working < self._parallelism and len(self._tasks) - self._working < SETTLING_LIMIT:
            delivery = self._broker.take(self.queue)
            if delivery is None:
                return
            self._working += 1
            task = asyncio.get_running_loop().create_task(self._work(delivery))
            self._tasks.add(task)
            task.add_done_callback(self._done)

    async def drain(self) -> None:
        """Take nothing more, and finish what is in flight; what cannot be settled stays in the broker."""
        self._open = False
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def _done(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and task.exception():
            log.error("the dispatcher of %s has a bug", self.queue, exc_info=task.exception())
        self.wake()

    async def _work(self, delivery: Delivery) -> None:
        """One attempt and what follows from it: however it fails, the delivery is settled or put back."""
        try:
            settle: Settle = partial(self._settle, delivery, await self._attempt(delivery))
        except PoolStopping:
            return  # it is still in the broker
        except PASSING as error:
            log.error("%s cannot be tried now: %s", delivery.event.id, error)
            settle = partial(self._broker.retry, delivery, delay_s=PUT_BACK_S, charged=False)
        except EndedTogether:
            log.warning("%s is tried again by itself: its process ended beside others", delivery.event.id)
            settle = partial(self._broker.retry, delivery, delay_s=0.0, charged=False)
        except Exception as error:
            with about(delivery.event):
                log.exception("the attempt on %s ended in a bug", delivery.event.id)
            settle = partial(self._settle, delivery, _bug(error))
        finally:
            self._working -= 1
            self.wake()
        await self._until_settled(delivery, settle)

    async def _until_settled(self, delivery: Delivery, settle: Settle) -> None:
        """Again and again, however long the broker or this machine is in trouble; what is a bug, as a failure."""
        while True:
            try:
                return await settle()
            except (BrokerUnavailable, *PASSING) as error:
                log.error("cannot settle %s: %s", delivery.event.id, error)
            except Exception as error:
                with about(delivery.event):
                    log.exception("settling %s ended in a bug", delivery.event.id)
                settle = partial(self._settle, delivery, _bug(error))
            if not self._open:
                return None
            await asyncio.sleep(BROKER_RETRY_S)

    async def _attempt(self, delivery: Delivery) -> Result:
        job = delivery.event.source, delivery.event.id
        try:
            async with (self._alone if job in self._suspects else self._pool).lease() as process:
                started_s = time.monotonic()
                result = await self._tools.http.post(process.url, delivery, timeout_s=self._trigger.delivery.timeout_s)
                result = dataclasses.replace(result, log=process.tail) if result.failed else result
                self._metrics.delivered(self.queue, result.code, time.monotonic() - started_s)
                if result.hung_up and await _ended_beside_others(process):
                    self._suspect(job)
                    raise EndedTogether
        except StartFailed as error:
            _raise_if_exhausted(error)
            reason = f"{self._pool.service.name} does not start: {error}"
            result = Result(NO_RESPONSE, error=reason.encode(), retriable=True)
            self._metrics.delivered(self.queue, result.code, 0.0)
        return result

    def _suspect(self, job: tuple[str, str]) -> None:
        self._suspects[job] = None
        if len(self._suspects) > SUSPECTS_LIMIT:
            self._suspects.popitem(last=False)

    async def _settle(self, delivery: Delivery, result: Result) -> None:
        if not result.failed:
            await self._acknowledge(delivery, result.reply)
        elif result.not_now_s is not None and delivery.waited_s < self._trigger.longest_wait_s:
            await self._put_back(delivery, result, result.not_now_s)
        elif result.retriable and delivery.attempt <= self._trigger.delivery.retry:
            delay_s = self._trigger.delivery.backoff_s(delivery.attempt) * (1 + SPREAD * self._tools.chance())
            _warn(f"try again in {delay_s:.3g} s", delivery, result)
            self._metrics.retried(self.queue)
            await self._broker.retry(delivery, delay_s=delay_s)
            self._note(delivery, result, charged=True, next_s=delay_s)
        else:
            _warn("dead letter", delivery, result)
            self._metrics.dead_lettered(self.queue)
            self._note(delivery, result, charged=True, next_s=None)
            await self._leave_failure_report(delivery.event, result)
            made = dead_letter(
                delivery.event,
                result,
                destination=f"http://{self._pool.service.name}.svc.cluster.local",
                trigger=self._trigger.name,
                attempts=delivery.attempt,
            )
            await self._broker.dead_letter(delivery, made)

    async def _put_back(self, delivery: Delivery, result: Result, asked_s: float) -> None:
        """For later, without an attempt."""
        delay_s = put_off_s(asked_s, delivery.waited_s, self._tools.chance())
        with about(delivery.event):
            log.info("%s: not now, again in %.3g s: %s", delivery.event.id, delay_s, result.sentence)
        await self._broker.retry(delivery, delay_s=delay_s, charged=False)
        self._note(delivery, result, charged=False, next_s=delay_s)

    def _note(self, delivery: Delivery, result: Result, *, charged: bool, next_s: float | None) -> None:
        if self._tools.note is not None:
            self._tools.note(delivery, self._pool.service.name, result, charged=charged, next_s=next_s)

    async def _acknowledge(self, delivery: Delivery, reply: Event | None) -> None:
        wanted = self._tools.manifests.wanted_by(reply.attributes) if reply else ()
        if reply and not wanted:
            log.warning("no Trigger wants the reply %s to %s: it is dropped", reply.type, delivery.event.id)
        await self._broker.acknowledge(delivery, reply, [trigger.name for trigger in wanted])
        self._suspects.pop((delivery.event.source, delivery.event.id), None)
        if reply:
            self._tools.outcomes.announce(reply)

    async def _leave_failure_report(self, event: Event, result: Result) -> None:
        """A dead letter without one is as good as ever, so nothing fails for its sake."""
        try:
            await asyncio.to_thread(self._write_failure_report, event, result)
        except Exception as error:  # of a store that is made for it, anything
            log.warning("the failure report of %s cannot be kept: %r", event.id, error)

    def _write_failure_report(self, event: Event, result: Result) -> None:
        """The whole answer, and what the process logged of the event; all that it did where it did not answer."""
        said = [line for line in tuple(result.log) if result.code == NO_RESPONSE or event.id in line]
        content = failure_reports.encode(
            status=max(result.code, 0), response=result.error or b"", lines=said, now=datetime.now(UTC)
        )
        self._tools.failure_report(event, self._pool.service.name, content)


class SinkDispatcher(Dispatcher):
    """Brings one Trigger's dead letters to its sink, again and again until the sink takes them."""

    async def _settle(self, delivery: Delivery, result: Result) -> None:
        if not result.failed:
            await self._broker.acknowledge(delivery, None, ())
            return
        delay_s = min(SINK_RETRY_FIRST_S * 2 ** min(delivery.attempt - 1, 10), SINK_RETRY_LAST_S)
        _warn(f"the dead-letter sink does not take it: kept, again in {delay_s:g} s", delivery, result)
        await self._broker.retry(delivery, delay_s=delay_s)


class Http:
    """Posts events to functions, over connections that are kept open."""

    def __init__(self, secret: str = "") -> None:
        self._connections = Connections()
        self._own = {INVOKER_HEADER: secret} if secret else {}

    def close(self) -> None:
        """Close every connection."""
        self._connections.close()

    async def post(self, url: str, delivery: Delivery, *, timeout_s: float) -> Result:
        """One attempt; never raises for what the function does, but OSError where this machine is out of resources."""
        headers, body = binary(delivery.event)
        headers |= {ATTEMPT_HEADER: str(delivery.attempt), **self._own}
        headers |= {name: headers["ce-" + name] for name in ("traceparent", "tracestate") if "ce-" + name in headers}
        try:
            response = await self._connections.request("POST", parsed(url), headers, body, timeout_s=timeout_s)
        except (Late, NotConnected):
            return Result(NO_RESPONSE, error=f"no answer within {timeout_s:g} s".encode(), retriable=True)
        except Broken as error:
            _raise_if_exhausted(error)
            reason = f"the function's process did not answer: {error}"
            return Result(NO_RESPONSE, error=reason.encode(), retriable=True, hung_up=True)
        except TooLong as error:
            return Result(error.status, error=f"the answer is over {BODY_LIMIT_BYTES} bytes".encode())
        return judge(response.status, response.headers, response.body)


async def _ended_beside_others(process: Process) -> bool:
    """Whether the process has ended, or does so at once, and worked on other events as well when it did.

    Who sees it first notes how many there were; they leave it one after the other.
    """
    in_flight = process.busy
    try:
        await asyncio.wait_for(process.child.wait(), END_S)
    except TimeoutError:
        return False  # it lives, and has hung up
    process.last_events = max(process.last_events, in_flight)
    return process.last_events > 1


def _raise_if_exhausted(error: Exception) -> None:
    """Raise its cause where that is this machine's trouble, and nothing that the function did."""
    if isinstance(error.__cause__, OSError) and error.__cause__.errno in EXHAUSTED:
        raise error.__cause__ from None


def _bug(error: Exception) -> Result:
    """A failure of ours, tried again as one of the function's and kept as a dead letter in the end."""
    return Result(NO_RESPONSE, error=f"the runner failed on it: {error!r}".encode(errors="replace"), retriable=True)


def _warn(what: str, delivery: Delivery, result: Result) -> None:
    event = {"event": delivery.event.id, "type": delivery.event.type, "trigger": delivery.queue}
    fields = {**event, "attempt": delivery.attempt, "status": result.code}
    with about(delivery.event):
        log.warning("%s: %s", what, result.sentence, extra=fields)
    if 300 <= result.code < 500 and result.code not in RETRIED_4XX:
        log.warning("a %d answer is taken as success by the RabbitMQ broker: there the event is lost", result.code)
