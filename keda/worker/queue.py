"""One work queue, as its manifest's environment declares it, and the names of its queues.

The variables are those of the container in `keda/NAME.yaml`; none of the policy has a default in Python. A message that
waits for another attempt waits in RabbitMQ: in a quorum queue for each length of wait, from which it goes back to the
work queue's queue (at-least-once dead-lettering, so a restart of the server loses none).
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from functions.amqp.connection import HEARTBEAT_S, Channel, Server

POLICIES: Final = ("linear", "exponential")


@dataclass(frozen=True)
class WorkQueue:
    """The worker's environment: variables are the names in capitals.

    `lane_prefetch` is how many messages are here at once: 0 is as many as are worked on, so that none waits behind a
    long job while another worker is free. `lane_idle_s` is after how long without a message the worker ends by itself,
    as the worker of a ScaledJob does; 0 is never. `lane_stop_s` is how long a stop waits for what is being worked on.
    """

    amqp_url: str
    k_sink: str
    work_queue: str
    work_dead_letter_sink: str
    work_retry: int
    work_backoff_policy: str
    work_backoff_delay_s: float
    work_timeout_s: float
    work_stop_s: float
    work_concurrency: int = 1
    work_prefetch: int = 0
    work_batch_limit: int = 1
    work_idle_s: float = 0.0
    amqp_login: str | None = None
    amqp_ca_file: str | None = None
    amqp_heartbeat_s: int = HEARTBEAT_S
    errands_token: str | None = None
    log_level: str = "INFO"

    def __post_init__(self) -> None:
        if self.work_backoff_policy not in POLICIES:
            raise ValueError(f"WORK_BACKOFF_POLICY must be {' or '.join(POLICIES)}, got {self.work_backoff_policy!r}")
        for name in ("work_concurrency", "work_batch_limit", "work_timeout_s", "work_backoff_delay_s"):
            if getattr(self, name) <= 0:
                raise ValueError(f"{name.upper()} must be over 0, got {getattr(self, name)}")
        for name in ("work_retry", "work_prefetch", "work_idle_s", "work_stop_s"):
            if getattr(self, name) < 0:
                raise ValueError(f"{name.upper()} must be at least 0, got {getattr(self, name)}")
        if self.work_prefetch and self.work_prefetch < self.work_concurrency:
            raise ValueError("WORK_PREFETCH must be 0 or at least WORK_CONCURRENCY, or some of it is never used")
        _ = self.server  # raises ValueError with what is wrong of the URL

    @property
    def server(self) -> Server:
        """The RabbitMQ server."""
        files = (Path(each) if each else None for each in (self.amqp_login, self.amqp_ca_file))
        credentials, ca_file = files
        heartbeat_s = self.amqp_heartbeat_s
        return Server(url=self.amqp_url, credentials=credentials, ca_file=ca_file, heartbeat_s=heartbeat_s)

    @property
    def prefetch(self) -> int:
        """How many messages are here at once, at most."""
        return self.work_prefetch or self.work_concurrency * self.work_batch_limit

    def backoff_s(self, retry: int) -> float:
        """The wait before retry 1, 2, ...; after the last it grows no more (as eventing-rabbitmq counts)."""
        counted = max(1, min(retry, self.work_retry))
        factor = counted if self.work_backoff_policy == "linear" else 2**counted
        return self.work_backoff_delay_s * factor


async def declare_wait(channel: Channel, queue: str, delay_ms: int) -> str:
    """See that there is the queue in which a message waits for so long before it goes back to `queue`; its name."""
    name = f"{queue}.wait.{delay_ms}"
    arguments: dict[str, Any] = {
        "x-queue-type": "quorum",
        "x-message-ttl": delay_ms,
        "x-dead-letter-exchange": "",
        "x-dead-letter-routing-key": queue,
        "x-dead-letter-strategy": "at-least-once",
        "x-overflow": "reject-publish",  # which at-least-once asks for
    }
    await channel.call("queue_declare", queue=name, durable=True, arguments=arguments)
    return name
