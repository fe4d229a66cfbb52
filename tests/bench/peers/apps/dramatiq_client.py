"""Hands a job to Dramatiq: returns when RabbitMQ has confirmed it."""

from collections.abc import Callable

from dramatiq_app import job


def connect() -> Callable[[str, str], None]:
    """Dramatiq keeps a connection for each thread."""

    def hand_over(kind: str, id_: str) -> None:
        job.send(kind, id_)

    return hand_over
