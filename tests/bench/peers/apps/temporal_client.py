"""Hands a job to Temporal: returns when its server has started the workflow."""

import asyncio
import os
import threading
from collections.abc import Callable
from functools import cache

from temporal_app import QUEUE, Job
from temporalio.client import Client


@cache
def loop() -> asyncio.AbstractEventLoop:
    """One for all threads, in a thread of its own."""
    made = asyncio.new_event_loop()
    threading.Thread(target=made.run_forever, daemon=True).start()
    return made


@cache
def client() -> Client:
    """One for all threads, as its documentation recommends."""
    return asyncio.run_coroutine_threadsafe(Client.connect(os.environ["BENCH_TEMPORAL"]), loop()).result()


def connect() -> Callable[[str, str], None]:
    """The thread waits for its own job's acceptance."""
    shared = client()

    def hand_over(kind: str, id_: str) -> None:
        start = shared.start_workflow(Job.run, args=[kind, id_], id=id_, task_queue=QUEUE)
        asyncio.run_coroutine_threadsafe(start, loop()).result()

    return hand_over
