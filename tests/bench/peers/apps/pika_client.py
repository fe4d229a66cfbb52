"""Hands a job to the bare consumer: a persistent message, confirmed by RabbitMQ."""

import json
import os
from collections.abc import Callable

import pika
from pika_worker import QUEUE


def connect() -> Callable[[str, str], None]:
    """A connection of one thread."""
    channel = pika.BlockingConnection(pika.URLParameters(os.environ["BENCH_AMQP_URL"])).channel()
    channel.queue_declare(QUEUE, durable=True)
    channel.confirm_delivery()
    properties = pika.BasicProperties(delivery_mode=2)

    def hand_over(kind: str, id_: str) -> None:
        body = json.dumps({"kind": kind, "id": id_}).encode()
        channel.basic_publish("", QUEUE, body, properties, mandatory=True)

    return hand_over
