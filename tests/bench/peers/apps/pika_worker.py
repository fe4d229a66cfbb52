"""A bare consumer as pika's documentation has it: one message at a time done, called back, then acknowledged."""

import json
import os

import pika
from job import carry_out

QUEUE = "bench"


def on_message(channel, method, properties, body) -> None:  # type: ignore[no-untyped-def]
    """A job; what it raises ends the process, and the message comes again."""
    order = json.loads(body)
    carry_out(order["kind"], order["id"])
    channel.basic_ack(method.delivery_tag)


def main() -> None:
    """Consume until the end."""
    channel = pika.BlockingConnection(pika.URLParameters(os.environ["BENCH_AMQP_URL"])).channel()
    channel.queue_declare(QUEUE, durable=True)
    channel.basic_qos(prefetch_count=4)
    channel.basic_consume(QUEUE, on_message)
    channel.start_consuming()


if __name__ == "__main__":
    main()
