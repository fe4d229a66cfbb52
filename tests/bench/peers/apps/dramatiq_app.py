"""Dramatiq as its documentation has it on RabbitMQ; `confirm_delivery`, because an accepted job may not be lost."""

import os

import dramatiq
from dramatiq.brokers.rabbitmq import RabbitmqBroker
from job import carry_out

dramatiq.set_broker(RabbitmqBroker(url=os.environ["BENCH_AMQP_URL"], confirm_delivery=True))


@dramatiq.actor
def job(kind: str, id_: str) -> None:
    """The job and its callback."""
    carry_out(kind, id_)
