"""Celery as its documentation has it for jobs that may not be lost, or (BENCH_TUNED) with its fastest such settings."""

import os

from celery import Celery
from job import carry_out

app = Celery("bench", broker=os.environ["BENCH_AMQP_URL"])
app.conf.update(
    task_acks_late=True,
    task_reject_on_worker_lost=True,
    task_ignore_result=True,
    broker_transport_options={"confirm_publish": True},
    broker_connection_retry_on_startup=True,
)
if os.environ.get("BENCH_TUNED"):
    app.conf.update(worker_prefetch_multiplier=50, worker_enable_remote_control=False, broker_heartbeat=0)


@app.task(name="bench.job")
def job(kind: str, id_: str) -> None:
    """The job and its callback."""
    carry_out(kind, id_)
