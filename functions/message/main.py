"""Sends a job's e-mail or notification, once; smtplib and Apprise block, so it has a thread (threads.py)."""

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from email.headerregistry import Address

from events.http import Event, rfc3339
from events.job import job_key
from events.types import MessageCompleted, MessageRequested
from functions.message.access_token import TokenCommand
from functions.message.delivery import MailDelivery
from functions.message.dkim_signature import DkimKey
from functions.message.email_message import choose_sender, compose, read_address, read_sender
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
    smtp_token_command: str | None = None
    smtp_token_life_s: float = 300.0
    smtp_idle_s: float = 5.0
    return_path: str | None = None
    dkim_domain: str | None = None
    dkim_selector: str | None = None
    dkim_private_key: str | None = field(default=None, repr=False)
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
        Store(self.store_url), self.rate(), self.dkim_key(), self.bounces()
        for name in ("template_at_once", "template_memory_limit_bytes"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name.upper()} must be at least 1, got {getattr(self, name)}")
        if self.claim_lease_s <= self.timeout_s:
            given = f"{self.claim_lease_s} and {self.timeout_s}"
            raise ValueError(f"CLAIM_LEASE_S must be greater than TIMEOUT_S, got {given}")

    def relay(self) -> Relay:
        """The mail server; raises ValueError for settings that do not go together."""
        account = self.smtp_username, self.smtp_password
        command = TokenCommand(self.smtp_token_command, self.smtp_token_life_s) if self.smtp_token_command else None
        return Relay(
            *(self.smtp_host, self.smtp_port, self.smtp_security, *account, self.timeout_s),
            token_command=command,
            idle_s=self.smtp_idle_s,
        )

    def dkim_key(self) -> DkimKey | None:
        """What e-mails are signed with; raises ValueError for settings that do not go together."""
        if bool(self.dkim_selector) != bool(self.dkim_private_key):
            raise ValueError("DKIM_SELECTOR and DKIM_PRIVATE_KEY belong together, got one of them")
        if not (self.dkim_selector and self.dkim_private_key):
            return None
        domain = self.dkim_domain or read_sender(self.sender).domain
        return DkimKey(domain=domain, selector=self.dkim_selector, private_key=self.dkim_private_key)

    def bounces(self) -> Address | None:
        """Where what cannot be delivered comes back to, if not to the sender."""
        return read_address(self.return_path, "RETURN_PATH") if self.return_path else None

    def rate(self) -> Rate | None:
        """How many e-mails the mail server is given; as `relay`."""
        return Rate.parse(self.smtp_rate, setting="SMTP_RATE") if self.smtp_rate else None


settings = from_environment(Settings)
sandbox = Sandbox(preload=("functions.message.filling",), walls=settings.sandbox_walls)
templating = Templating(
    sandbox=sandbox, at_once=settings.template_at_once, memory_bytes=settings.template_memory_limit_bytes
)
targets = Targets.parse(settings.targets)
dkim_key, return_path = settings.dkim_key(), settings.bounces()
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
    mail = compose(
        *(job, enclosures.of(job)), sender=sender, key=job_key(event), sent_at=sent_at, return_path=return_path
    )
    if dkim_key and dkim_key.signs_for(sender.domain):
        mail = replace(mail, content=dkim_key.signature(mail.content) + mail.content)
    return lambda: relay.send(mail, StoredProgress(store, event))


def notifying(job: MessageRequested, event: Event, target: str) -> Callable[[], MessageCompleted]:
    """What notifies the job's target."""
    targets.require(target)
    return lambda: targets.send(target, subject=job.subject, text=job.text, message_id=job_key(event))
