"""A work queue as the worker's environment declares it.

The variables are those of the container in `keda/base/NAME.yaml`; none of the policy has a default in Python. A message
that waits for another attempt waits in RabbitMQ (`functions.amqp.waits`), and goes back from there to the work queue.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal

from functions.amqp.server import HEARTBEAT_S, AmqpServer
from functions.amqp.waits import Waits, backoff_s

POLICIES: Final = ("linear", "exponential")


@dataclass(frozen=True)
class WorkerSettings:
    """The worker's environment: variables are the names in capitals.

    `work_prefetch` is how many messages are here at once: 0 is as many as are worked on, so that none waits behind a
    long job while another worker is free. `work_idle_s` is after how long without a message the worker ends by itself,
    as the worker of a ScaledJob does; 0 is never. `work_stop_s` is how long a stop waits for what is being worked on.
    `work_longest_wait_s` is how long a job may wait in all for what takes nothing now, before attempts are counted.
    `work_health_port` is where it is asked whether it lives; 0 is nowhere.
    """

    amqp_url: str
    k_sink: str
    work_queue: str
    work_dead_letter_sink: str
    work_retry: int
    work_backoff_policy: Literal["linear", "exponential"]
    work_backoff_delay_s: float
    work_timeout_s: float
    work_stop_s: float
    work_longest_wait_s: float = 0.0
    work_concurrency: int = 1
    work_prefetch: int = 0
    work_batch_limit: int = 1
    work_idle_s: float = 0.0
    work_health_port: int = 0
    host: str = "0.0.0.0"  # noqa: S104  # in a container
    amqp_login: str | None = None
    amqp_ca_file: str | None = None
    amqp_heartbeat_s: int = HEARTBEAT_S
    k_sink_token: str | None = None
    log_level: str = "INFO"

    def __post_init__(self) -> None:
        if self.work_backoff_policy not in POLICIES:
            raise ValueError(f"WORK_BACKOFF_POLICY must be {' or '.join(POLICIES)}, got {self.work_backoff_policy!r}")
        for name in ("work_concurrency", "work_batch_limit", "work_timeout_s", "work_backoff_delay_s"):
            if getattr(self, name) <= 0:
                raise ValueError(f"{name.upper()} must be over 0, got {getattr(self, name)}")
        for name in (
            "work_retry",
            "work_prefetch",
            "work_idle_s",
            "work_stop_s",
            "work_longest_wait_s",
            "work_health_port",
        ):
            if getattr(self, name) < 0:
                raise ValueError(f"{name.upper()} must be at least 0, got {getattr(self, name)}")
        if self.work_prefetch and self.work_prefetch < self.work_concurrency:
            raise ValueError("WORK_PREFETCH must be 0 or at least WORK_CONCURRENCY, or some of it is never used")
        _ = self.server  # raises ValueError with what is wrong of the URL

    @property
    def server(self) -> AmqpServer:
        """The RabbitMQ server."""
        files = (Path(each) if each else None for each in (self.amqp_login, self.amqp_ca_file))
        credentials, ca_file = files
        heartbeat_s = self.amqp_heartbeat_s
        return AmqpServer(url=self.amqp_url, credentials=credentials, ca_file=ca_file, heartbeat_s=heartbeat_s)

    @property
    def prefetch(self) -> int:
        """How many messages are here at once, at most."""
        return self.work_prefetch or self.work_concurrency * self.work_batch_limit

    def backoff_s(self, retry: int) -> float:
        """The wait before retry 1, 2, ...; after the last it grows no more (as eventing-rabbitmq counts)."""
        counted = max(1, min(retry, self.work_retry))
        return backoff_s(self.work_backoff_policy, self.work_backoff_delay_s, counted)

    @property
    def waits(self) -> Waits:
        """The waits of the work queue, not declared yet."""
        return Waits(f"{self.work_queue}.wait", back_to=self.work_queue)
