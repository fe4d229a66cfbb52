"""Runs a function off a RabbitMQ queue: what takes minutes, or comes by the thousand, and so does not fit HTTP.

    python -m keda.worker.worker    # FUNCTION_SOURCE, FUNCTION_TARGET and the variables of keda/worker/settings.py

The function is called in this process, through the adapter that also serves it over HTTP; heartbeats go on meanwhile.
What follows from a message is safe elsewhere before the message is acknowledged: a reply is with the broker, another
attempt waits in RabbitMQ, a dead letter is with the dead-letter sink. So a worker that dies at any moment repeats,
and loses nothing; what it repeats is harmless, as each job has one reply (`functions.runtime.adapter.Ledger`).

Attempts are counted in the message: `x-errands-attempt`, and RabbitMQ's own `x-delivery-count` for workers that died
with it, so that a job which kills its worker ends as a dead letter too. An attempt that the function says was not made
(`errands-not-now`, functions/runtime/adapter.py) is none: the job waits in RabbitMQ as long as it is told, and in all
for `WORK_LONGEST_WAIT_S` (`x-errands-waited`), before attempts are counted.

SIGTERM: no more messages; what no thread has begun with goes back; what is being worked on is finished, or goes back
after `WORK_STOP_S`. A function that exceeds `WORK_TIMEOUT_S` cannot be stopped in process: its attempt is counted as
failed, what else is worked on is finished, and the process ends with code 1, to be started anew.
"""

import asyncio
import logging
import os
import random
import signal
import sys
import time
from collections.abc import Callable, Coroutine, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

from events.http import Event
from functions.amqp.channel import Channel
from functions.amqp.connection import AmqpConnection, stay_connected
from functions.amqp.errors import ServerUnavailable
from functions.amqp.message import Message
from functions.amqp.waits import coarse_s
from functions.runtime import logs as json_log
from functions.runtime.adapter import Response
from functions.runtime.logs import about
from functions.runtime.outcome import NO_RESPONSE, Result, dead_letter, judge, put_off_s
from functions.runtime.progress import tell_progress
from functions.runtime.serve import stop_with
from functions.runtime.settings import from_environment
from keda.worker.health import answering
from keda.worker.loader import load
from keda.worker.publisher import BROKER, POST, SINK, NotPosted, PostRefused, Progress, ResultPublisher
from keda.worker.settings import WorkerSettings
from keda.worker.threads import Threads

log = logging.getLogger("errands.work_queue")

CHECK_INTERVAL_S: Final = 0.2
AGAIN_S: Final = 1.0  # until what follows from a message is tried again while RabbitMQ takes nothing


@dataclass(eq=False, slots=True)
class QueuedJob:
    """One message that is here; a pending reply has a place, where it is to be posted, and is not worked on."""

    channel: Channel
    tag: int
    event: Event
    progress: Progress
    settling: bool = False

    @property
    def attempt(self) -> int:
        """From 1."""
        return self.progress.attempt


class Worker:
    """Consumes one work queue until it is told to stop, or until it has been idle for as long as it may."""

    def __init__(self, settings: WorkerSettings, work: Callable[[Sequence[QueuedJob]], Sequence[Response]]) -> None:
        self._settings = settings
        self._publisher = ResultPublisher(settings)
        self._threads = Threads(work, self._answered, count=settings.work_concurrency, limit=settings.work_batch_limit)
        self._held: dict[QueuedJob, None] = {}  # in the order of their arrival, so of their tags
        self._settling: set[asyncio.Task[None]] = set()
        self._consumer: tuple[Channel, str] | None = None
        self._stopping = asyncio.Event()
        self._busy_at_s = time.monotonic()
        self._code = 0

    def stop(self, code: int = 0) -> None:
        """Take no more; `code` is what the process ends with."""
        self._code = self._code or code
        self._stopping.set()

    async def run(self) -> int:
        """Work until stopped; returns the exit code."""
        name = f"work queue {self._settings.work_queue}, consuming"
        links = [
            asyncio.create_task(self._publisher.stay_connected()),
            asyncio.create_task(stay_connected(self._settings.server, self._consume_on, name=name)),
            asyncio.create_task(self._watch()),
        ]
        stopped = asyncio.create_task(self._stopping.wait())
        ended, _ = await asyncio.wait((stopped, *links), return_when=asyncio.FIRST_COMPLETED)
        for each in ended:
            each.result()  # a link that ends by itself has a bug
        await self._drain()
        for each in reversed(links):  # the consumer first: with its connection go the last acknowledgements
            each.cancel()
            await asyncio.gather(each, return_exceptions=True)
        await self._publisher.close()
        return self._code

    async def _consume_on(self, connection: AmqpConnection) -> None:
        channel = await connection.channel()
        tag = await channel.consume(
            self._settings.work_queue,
            lambda message: self._on_message(channel, message),
            prefetch=self._settings.prefetch,
        )
        self._consumer = (channel, tag)
        if self._stopping.is_set():
            await self._cancel_consumer()
        try:
            log.warning("the consumer was closed: %s", await channel.closed)
        finally:
            self._consumer = None
            self._threads.take_back()  # RabbitMQ delivers them again, to here or to another worker
            self._held = {job: None for job in self._held if job.channel is not channel}
        await connection.close()

    def _on_message(self, channel: Channel, message: Message) -> None:
        event, problem = message.read(self._settings.work_queue)
        attempt = message.attempt + message.deliveries
        progress = Progress(attempt, message.waited_s, message.headers.get(POST))
        job = QueuedJob(channel, message.tag, event, progress)
        self._held[job] = None
        if problem:
            self._settle(job, self._give_up(job, Result(NO_RESPONSE, error=problem)))
        elif progress.place in (BROKER, SINK):
            self._settle(job, self._post(job, progress.place))
        elif attempt > self._settings.work_retry + 1:
            reason = f"its workers ended {message.deliveries} times while they had it"
            self._settle(job, self._give_up(job, Result(NO_RESPONSE, error=reason.encode())))
        else:
            self._threads.put(job)

    def _answered(self, jobs: Sequence[QueuedJob], responses: Sequence[Response]) -> None:
        done = []
        for job, response in zip(jobs, responses, strict=True):
            if job.settling:
                continue  # it took too long, and was settled as failed
            if response.status >= 300 or response.headers:
                headers = {name.lower(): value for name, value in response.headers.items()}
                self._settle(job, self._follow(job, judge(response.status, headers, response.body)))
            elif job in self._held:  # and its channel is not gone, or RabbitMQ delivers it again
                del self._held[job]
                done.append(job)
        self._acknowledge(done)

    def _acknowledge(self, done: Sequence[QueuedJob]) -> None:
        self._busy_at_s = time.monotonic()
        for job in done:
            job.channel.acknowledge(job.tag)

    def _settle(self, job: QueuedJob, work: Coroutine[Any, Any, None]) -> None:
        job.settling = True
        running = asyncio.get_running_loop().create_task(self._until_settled(job, work))
        self._settling.add(running)
        running.add_done_callback(self._settling.discard)

    async def _until_settled(self, job: QueuedJob, work: Coroutine[Any, Any, None]) -> None:
        with about(job.event):
            await work
        self._done(job)

    def _done(self, job: QueuedJob) -> None:
        self._held.pop(job, None)
        self._busy_at_s = time.monotonic()
        job.channel.acknowledge(job.tag)

    async def _follow(self, job: QueuedJob, result: Result) -> None:
        """What an answer leads to; returns when it is safe elsewhere."""
        if result.reply is not None:
            try:
                return await self._publisher.post(result.reply, BROKER)
            except NotPosted as error:
                log.warning("the reply waits: %s", error, extra={"event": job.event.id})
                return await self._again(job, result.reply, Progress(1, place=BROKER), retry=1)
            except PostRefused as error:
                result = Result(result.code, error=str(error).encode())
        if not result.failed:
            return None
        if result.not_now_s is not None and job.progress.waited_s < self._settings.work_longest_wait_s:
            return await self._put_off(job, result, result.not_now_s)
        if result.retriable and job.attempt <= self._settings.work_retry:
            return await self._again(job, job.event, self._next(job), retry=job.attempt)
        return await self._give_up(job, result)

    async def _give_up(self, job: QueuedJob, result: Result) -> None:
        """The event as a dead letter to the sink."""
        queue = self._settings.work_queue  # it stands for the Trigger
        made = dead_letter(job.event, result, destination=f"amqp:{queue}", trigger=queue, attempts=job.attempt)
        log.error("dead letter: %s", result.sentence, extra={"event": job.event.id, "attempt": job.attempt})
        try:
            await self._publisher.post(made, SINK)
        except (NotPosted, PostRefused) as error:
            log.error("the dead letter waits: %s", error, extra={"event": job.event.id})
            await self._again(job, made, Progress(1, place=SINK), retry=1)

    async def _post(self, job: QueuedJob, place: str) -> None:
        """A pending reply: posted, or put back for the next longer wait, for as long as it takes."""
        try:
            await self._publisher.post(job.event, place)
        except (NotPosted, PostRefused) as error:
            if place == BROKER and isinstance(error, PostRefused):
                return await self._give_up(job, Result(NO_RESPONSE, error=str(error).encode()))
            log.warning("still kept: %s", error, extra={"event": job.event.id})
            await self._again(job, job.event, self._next(job), retry=job.attempt)

    async def _put_off(self, job: QueuedJob, result: Result, asked_s: float) -> None:
        """For later, without an attempt."""
        delay_s = coarse_s(put_off_s(asked_s, job.progress.waited_s, random.random()))  # noqa: S311  # no secret
        log.info("not now, again in %g s: %s", delay_s, result.sentence, extra={"event": job.event.id})
        waited_s = job.progress.waited_s + round(delay_s)
        await self._later(job, job.event, replace(job.progress, waited_s=waited_s), delay_s)

    async def _again(self, job: QueuedJob, event: Event, progress: Progress, *, retry: int) -> None:
        delay_s = self._settings.backoff_s(retry)
        log.warning("again in %g s", delay_s, extra={"event": event.id, "attempt": progress.attempt})
        await self._later(job, event, progress, delay_s)

    @staticmethod
    def _next(job: QueuedJob) -> Progress:
        return replace(job.progress, attempt=job.attempt + 1)

    async def _later(self, job: QueuedJob, event: Event, progress: Progress, delay_s: float) -> None:
        """Have RabbitMQ keep it for a while; nothing is done when it delivers the job's message again anyway."""
        while job.channel.open:
            try:
                await self._publisher.later(event, progress, delay_s=delay_s)
                return
            except ServerUnavailable as error:
                log.error("cannot put %s back: %s", event.id, error)
                await asyncio.sleep(AGAIN_S)

    async def _watch(self) -> None:
        """Time limits, and the end of a worker that has nothing to do."""
        while True:
            await asyncio.sleep(CHECK_INTERVAL_S)
            for job in self._threads.overdue(self._settings.work_timeout_s):
                if job.settling or job not in self._held:
                    continue
                error = f"no answer within {self._settings.work_timeout_s:g} s"
                self._settle(job, self._follow(job, Result(NO_RESPONSE, error=error.encode(), retriable=True)))
                self.stop(1)
            idle_s = 0.0 if self._held else time.monotonic() - self._busy_at_s
            if self._settings.work_idle_s and idle_s > self._settings.work_idle_s:
                log.info("nothing to do for %g s", self._settings.work_idle_s)
                return self.stop()

    async def _drain(self) -> None:
        await self._cancel_consumer()
        for job in self._threads.take_back():
            await self._give_back(job)
        try:
            async with asyncio.timeout(self._settings.work_stop_s):
                while self._held:
                    await asyncio.sleep(CHECK_INTERVAL_S / 10)
        except TimeoutError:
            log.warning("stopping with %d jobs unfinished: they go back to the work queue", len(self._held))
        for job in [job for job in self._held if not job.settling]:
            await self._give_back(job)

    async def _cancel_consumer(self) -> None:
        if self._consumer:
            channel, tag = self._consumer
            try:
                await channel.call("basic_cancel", consumer_tag=tag)
            except ServerUnavailable as error:
                log.warning("the consumer is gone already: %s", error)

    async def _give_back(self, job: QueuedJob) -> None:
        job.settling = True
        try:
            await self._publisher.give_back(job.event, job.progress)
            self._done(job)
        except ServerUnavailable:
            job.channel.reject(job.tag, requeue=True)
            self._held.pop(job, None)


async def serve(settings: WorkerSettings, work: Callable[[Sequence[QueuedJob]], Sequence[Response]]) -> int:
    """Work until SIGTERM or SIGINT; returns the exit code."""
    worker = Worker(settings, work)
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, worker.stop)
    async with answering(settings.host, settings.work_health_port):
        return await worker.run()


def main() -> None:
    """Load the function, then consume until SIGTERM."""
    settings = from_environment(WorkerSettings)
    json_log.configure(settings.log_level)
    if "ERRANDS_RUNNER_PID" in os.environ:
        stop_with(int(os.environ["ERRANDS_RUNNER_PID"]))
    tell_progress()
    work = load(os.environ["FUNCTION_SOURCE"], os.environ["FUNCTION_TARGET"])
    code = asyncio.run(serve(settings, work))
    logging.shutdown()
    sys.stdout.flush()
    os._exit(code)  # a function that takes too long still runs on its thread, and would keep the process


if __name__ == "__main__":
    main()
