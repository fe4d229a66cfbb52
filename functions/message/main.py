"""Sends a job's e-mail through the mail server, once; smtplib blocks, so functions-framework's threads serve it."""

import time
from dataclasses import dataclass, field

from events.function import function, system_clock
from events.http import Event, rfc3339
from events.types import MessageCompleted, MessageRequested
from functions.addresses import Guard
from functions.message.delivery import Delivery
from functions.message.email_message import choose_sender, compose, read_sender
from functions.message.relay import Relay
from functions.settings import from_environment
from functions.source import load
from functions.store import ReplyLedger, Store, job_key


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
    allowed_senders: str = ""
    allowed_networks: str = ""
    timeout_s: float = 20.0
    fetch_timeout_s: float = 20.0
    claim_lease_s: float = 45.0
    attachments_limit_bytes: int = 10_000_000

    def __post_init__(self) -> None:
        read_sender(self.sender), self.relay(), Guard.parse(self.allowed_networks)
        if self.claim_lease_s <= self.timeout_s:
            given = f"{self.claim_lease_s} and {self.timeout_s}"
            raise ValueError(f"CLAIM_LEASE_S must be greater than TIMEOUT_S, got {given}")

    def relay(self) -> Relay:
        """The mail server; raises ValueError for settings that do not go together."""
        account = self.smtp_username, self.smtp_password
        return Relay(self.smtp_host, self.smtp_port, self.smtp_security, *account, self.timeout_s)


settings = from_environment(Settings)
relay, default_sender, guard = settings.relay(), read_sender(settings.sender), Guard.parse(settings.allowed_networks)
store = Store(settings.store_url)
ledger = ReplyLedger(store)
delivery = Delivery(store, ledger, settings.claim_lease_s)


@function(MessageRequested, ledger=ledger)
def handle(job: MessageRequested, event: Event) -> MessageCompleted:
    """One request in, one e-mail out; the request's time is its Date."""
    sender = choose_sender(job.sender, default=default_sender, allowed=settings.allowed_senders.split(","))
    sent_at = rfc3339(event.get("time") or system_clock().isoformat())
    mail = compose(job, attached(job), sender=sender, key=job_key(event), sent_at=sent_at)
    return delivery.send_once(event, lambda: relay.send(mail), now=system_clock())


def attached(job: MessageRequested) -> tuple[bytes, ...]:
    """The attachments' bytes, within the limits of size and time together."""
    contents, left_bytes, end_s = [], settings.attachments_limit_bytes, time.monotonic() + settings.fetch_timeout_s
    for each in job.attachments:
        left_s = max(0.001, end_s - time.monotonic())
        content = load(each.source, store=store, guard=guard, limit_bytes=left_bytes, timeout_s=left_s)
        contents.append(content)
        left_bytes -= len(content)
    return tuple(contents)
