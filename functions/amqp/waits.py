"""The waits of a retry: how long one is, and the queue of RabbitMQ in which a message spends it."""

from typing import Literal


def backoff_s(policy: Literal["linear", "exponential"], delay_s: float, retry: int) -> float:
    """The wait before retry 1, 2, ... (eventing-rabbitmq: linear delay * k, exponential delay * 2^k)."""
    return delay_s * (retry if policy == "linear" else 2**retry)
