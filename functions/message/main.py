"""Sends a job's e-mail or notification, once; smtplib and Apprise block, so it has a thread (threads.py)."""

from collections.abc import Callable
from dataclasses import dataclass, field

from events.http import Event, rfc3339
from events.job import job_key
from events.types import MessageCompleted, MessageRequested
from functions.message.delivery import MailDelivery
from functions.message.email_message import choose_sender, compose, read_sender
from functions.message.enclosures import Enclosures
from functions.message.progress import StoredProgress
from functions.message.relay import Relay
from functions.message.target import Targets
from functions.message.templates import Templating
from functions.net.guard import Guard
from functions.net.rate import Rate
from functions.runtime.adapter import function, system_clock
from functions.runtime.settings import from_environment
from functions.sandbox.sandbox import Sandbox
from functions.storage.ledger import ReplyLedger
from functions.storage.rate_limits import RateLimits
from functions.storage.store import Store


@dataclass(frozen=True)
class Settings:
    """The function's environment."""

    smtp_host: str
    sender: str
    store_url: str
    smtp_port: int = 587
    smtp_security: str = "starttls"
    smtp_username: str | None = None
    smtp_password: str | None = field(default=None, repr=False)
    smtp_rate: str | None = None
    allowed_senders: str = ""
    targets: str | None = field(default=None, repr=False)
    allowed_networks: str = ""
    timeout_s: float = 20.0
    fetch_timeout_s: float = 20.0
    claim_lease_s: float = 45.0
    attachments_limit_bytes: int = 10_000_000
    template_at_once: int = 2
    template_memory_limit_bytes: int = 128 << 20
    sandbox_walls: str = "wanted"

    def __post_init__(self) -> None:
        read_sender(self.sender), self.relay(), Guard.parse(self.allowed_networks), Targets.parse(self.targets)
        Store(self.store_url), self.rate()
        for name in ("template_at_once", "template_memory_limit_bytes"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name.upper()} must be at least 1, got {getattr(self, name)}")
        if self.claim_lease_s <= self.timeout_s:
            given = f"{self.claim_lease_s} and {self.timeout_s}"
            raise ValueError(f"CLAIM_LEASE_S must be greater than TIMEOUT_S, got {given}")

    def relay(self) -> Relay:
        """The mail server; raises ValueError for settings that do not go together."""
        account = self.smtp_username, self.smtp_password
        return Relay(self.smtp_host, self.smtp_port, self.smtp_security, *account, self.timeout_s)

    def rate(self) -> Rate | None:
        """How many e-mails the mail server is given; as `relay`."""
        return Rate.parse(self.smtp_rate, setting="SMTP_RATE") if self.smtp_rate else None


settings = from_environment(Settings)
sandbox = Sandbox(preload=("functions.message.filling",), walls=settings.sandbox_walls)
templating = Templating(
    sandbox=sandbox, at_once=settings.template_at_once, memory_bytes=settings.template_memory_limit_bytes
)
targets = Targets.parse(settings.targets)
relay, default_sender, guard = settings.relay(), read_sender(settings.sender), Guard.parse(settings.allowed_networks)
store = Store(settings.store_url)
ledger = ReplyLedger(store)
rate, rate_limits = settings.rate(), RateLimits(store, system_clock)
delivery = MailDelivery(store, ledger, settings.claim_lease_s)
enclosures = Enclosures(store, guard, settings.attachments_limit_bytes, settings.fetch_timeout_s)


@function(MessageRequested, ledger=ledger)
def handle(job: MessageRequested, event: Event) -> MessageCompleted:
    """One request in, one e-mail or one notification out."""
    if rate is not None and job.target is None:
        rate_limits.require(f"the mail server {relay.host}:{relay.port}", rate)
    job = templating.filled(job)
    send = mailing(job, event) if job.target is None else notifying(job, event, job.target)
    return delivery.send_once(event, send, now=system_clock())


def mailing(job: MessageRequested, event: Event) -> Callable[[], MessageCompleted]:
    """What sends the job's e-mail; the request's time is its Date."""
    sender = choose_sender(job.sender, default=default_sender, allowed=settings.allowed_senders.split(","))
    sent_at = rfc3339(event.get("time") or system_clock().isoformat())
    mail = compose(job, enclosures.of(job), sender=sender, key=job_key(event), sent_at=sent_at)
    return lambda: relay.send(mail, StoredProgress(store, event))


def notifying(job: MessageRequested, event: Event, target: str) -> Callable[[], MessageCompleted]:
    """What notifies the job's target."""
    targets.require(target)
    return lambda: targets.send(target, subject=job.subject, text=job.text, message_id=job_key(event))
