"""Hands a job to Celery: returns when RabbitMQ has confirmed it."""

from collections.abc import Callable

from celery_app import job


def connect() -> Callable[[str, str], None]:
    """Celery keeps its own pool of connections."""
    return lambda kind, id_: job.apply_async((kind, id_)) and None
