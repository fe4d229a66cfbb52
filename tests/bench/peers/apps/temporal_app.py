"""A Temporal workflow of one activity, and its worker, as the samples of its Python SDK have it."""

import asyncio
import os
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

from temporalio import activity, workflow
from temporalio.client import Client
from temporalio.worker import Worker

with workflow.unsafe.imports_passed_through():
    from job import carry_out

QUEUE = "bench"
THREADS = 8


@activity.defn
def perform(kind: str, id_: str) -> None:
    """The job and its callback."""
    carry_out(kind, id_)


@workflow.defn
class Job:
    """One activity."""

    @workflow.run
    async def run(self, kind: str, id_: str) -> None:
        """Until it is done."""
        await workflow.execute_activity(perform, args=[kind, id_], start_to_close_timeout=timedelta(seconds=30))


async def main() -> None:
    """Work until the end."""
    client = await Client.connect(os.environ["BENCH_TEMPORAL"])
    with ThreadPoolExecutor(THREADS) as pool:
        worker = Worker(
            client,
            task_queue=QUEUE,
            workflows=[Job],
            activities=[perform],
            activity_executor=pool,
            max_concurrent_activities=THREADS,
        )
        await worker.run()


if __name__ == "__main__":
    asyncio.run(main())
