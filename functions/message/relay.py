"""Hands an e-mail to the mail server over SMTP (RFC 5321), and says for certain, where that can be said, if it took it.

    JobFailed       refused for good (5xx); nothing was sent
    NotNow          4yz (a rate, greylisting), no connection, no TLS; nothing was sent
    TryAgain        no login; nothing was sent
    MaybeSent       the connection ended between the message and the server's answer to it

smtplib blocks: the function is served by threads. A login that fails is the operator's to mend, so it is tried again
and ends as a dead letter to replay, never as the caller's failure.

A recipient refused with 4xx stops the whole message before its text is sent. Sending to the others at once
would mean that each retry sends to them again. But a server that takes no more recipients at once gets the message in
parts, as RFC 5321 4.5.3.1.10 has it, and who has it already is noted after each of them.
"""

import logging
import re
import smtplib
import ssl
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Final

from events.problem import JobFailed, NotNow, TryAgain
from events.types import MessageCompleted
from functions.message.access_token import TokenCommand
from functions.message.email_message import Mail
from functions.message.kept_connections import KeptConnections
from functions.message.progress import MailRecipients, SendProgress

log = logging.getLogger("errands.message")

SECURITIES: Final = ("starttls", "tls", "none")
AUTHENTICATION: Final = frozenset({530, 534, 535, 538})  # RFC 4954 6: 5xx, but the operator's fault
TAKEN: Final = frozenset({250, 251, 252})
SHOWN_CHARACTERS: Final = 300


CLOSING: Final = 421  # RFC 5321 3.8: the server ends the connection, most often one that it finds used enough


class MaybeSent(TryAgain):
    """The server may have accepted the message: its answer never came."""


class Closing(NotNow):
    """The server ends the connection before it took this message."""


@dataclass(frozen=True)
class Relay:
    """The mail server. `timeout_s` covers one message in all, though a host with several addresses may take it once
    each to connect; certificates are verified, by SSL_CERT_FILE where the server has a private authority. A
    connection stays open for `idle_s` after a message."""

    host: str
    port: int
    security: str
    username: str | None
    password: str | None = field(repr=False)
    timeout_s: float
    token_command: TokenCommand | None = None
    idle_s: float = 0.0

    def __post_init__(self) -> None:
        if self.security not in SECURITIES:
            raise ValueError(f"SMTP_SECURITY must be one of {', '.join(SECURITIES)}, got {self.security!r}")
        if self.token_command and (self.password or not self.username):
            raise ValueError("SMTP_TOKEN_COMMAND goes with SMTP_USERNAME, and with no SMTP_PASSWORD")
        if bool(self.username) != bool(self.password or self.token_command):
            raise ValueError("SMTP_USERNAME and SMTP_PASSWORD belong together, got one of them")
        if not f"{self.username}{self.password}".isascii():
            raise ValueError("SMTP_USERNAME and SMTP_PASSWORD must be ASCII: smtplib sends nothing else")
        if self.username and self.security == "none":
            secret = "SMTP_TOKEN_COMMAND" if self.token_command else "SMTP_PASSWORD"
            raise ValueError(f"SMTP_SECURITY must be starttls or tls where {secret} is set, got none")

    def send(self, mail: Mail, progress: SendProgress) -> MessageCompleted:
        """Send to all recipients that the server takes; it refuses some of them at most."""
        kept = self._kept.take()
        if kept is not None:
            with suppress(Closing):  # of this message it took nothing, so another connection is tried at once
                return self._send(kept, mail, progress)
        return self._send(None, mail, progress)

    @cached_property
    def _kept(self) -> "KeptConnections[_Client]":
        return KeptConnections(self.idle_s)

    def _send(self, kept: "_Client | None", mail: Mail, progress: SendProgress) -> MessageCompleted:
        done = progress.read()
        with self._session(kept, mail.return_path.domain) as client:
            while done.left(mail.recipients):
                done = _sent_to_more(client, mail, done)
                if done.left(mail.recipients):
                    _note(progress, done)
        accepted = tuple(asked for each, asked in mail.recipients.items() if each not in done.refused)
        refused = tuple(asked for each, asked in mail.recipients.items() if each in done.refused)
        return MessageCompleted(message_id=mail.message_id, accepted=accepted, refused=refused)

    @contextmanager
    def _session(self, kept: "_Client | None", domain: str) -> "Iterator[_Client]":
        """A connection for one message: the one that was kept, or a new one; kept after it unless something broke."""
        try:
            client = kept or self._connect(domain)
            try:
                client.hurry_until(time.monotonic() + self.timeout_s)
                if kept is None:
                    self._begin(client)
                yield client
            except BaseException:
                client.close()
                raise
            self._kept.keep(client)
        except smtplib.SMTPAuthenticationError as error:
            words = _words(error.smtp_code, error.smtp_error)
            secret = "a token of SMTP_TOKEN_COMMAND" if self.token_command else "SMTP_PASSWORD"
            raise TryAgain(f"the mail server does not take SMTP_USERNAME with {secret}: {words}") from error
        except OSError as error:  # smtplib's exceptions and TLS trouble among them
            raise NotNow(f"the mail server {self.host}:{self.port} cannot be used: {error}") from error

    def _begin(self, client: "_Client") -> None:
        """Greet the server, and log in."""
        if self.security == "starttls":
            client.starttls(context=ssl.create_default_context())
        client.ehlo_or_helo_if_needed()
        if self.username and self.token_command:
            self._show_token(client, self.username, self.token_command)
        elif self.username and self.password:
            client.login(self.username, self.password)

    def _show_token(self, client: "_Client", username: str, command: TokenCommand) -> None:
        """AUTH XOAUTH2 (https://developers.google.com/workspace/gmail/imap/xoauth2-protocol); a refusal comes as a
        challenge first, which an empty answer ends.
        """
        shown = f"user={username}\x01auth=Bearer {command.token()}\x01\x01"
        try:
            client.auth("XOAUTH2", lambda challenge=None: shown if challenge is None else "")
        except smtplib.SMTPAuthenticationError:
            command.forget()
            raise

    def _connect(self, domain: str) -> "_Client":
        # the sender's domain as our name: smtplib would ask the DNS for the machine's, which can take seconds
        options: dict[str, Any] = {"local_hostname": domain, "timeout": self.timeout_s}
        end_s = time.monotonic() + self.timeout_s
        if self.security == "tls":
            return _TlsClient(end_s, self.host, self.port, context=ssl.create_default_context(), **options)
        return _Client(end_s, self.host, self.port, **options)


class _Client(smtplib.SMTP):
    """Cuts every wait to the time left: smtplib's own timeout begins anew with each command."""

    def __init__(self, end_s: float, *args: Any, **options: Any) -> None:
        self._end_s = end_s
        super().__init__(*args, **options)

    def hurry_until(self, end_s: float) -> None:
        """Be done with the next message then."""
        self._end_s = end_s

    def send(self, s: Any) -> None:
        self._hurry()
        super().send(s)

    def getreply(self) -> tuple[int, bytes]:
        self._hurry()
        return super().getreply()

    def _hurry(self) -> None:
        left_s = self._end_s - time.monotonic()
        if left_s <= 0:
            raise TimeoutError("the time for one message is over")
        if self.sock:
            self.sock.settimeout(left_s)


class _TlsClient(_Client, smtplib.SMTP_SSL):
    """SMTP with TLS from the first byte."""


def _sent_to_more(client: smtplib.SMTP, mail: Mail, done: MailRecipients) -> MailRecipients:
    """One part: to those who are left, as many as the server takes at once.

    What refuses the whole message for good refuses these alone, where others have it.
    """
    try:
        taken, refused = _envelope(client, mail, done)
        if taken:
            _hand_over(client, mail)
    except JobFailed as failed:
        if not done.taken:
            raise
        left = dict.fromkeys(done.left(mail.recipients), failed.detail)
        return MailRecipients(taken=done.taken, refused={**done.refused, **left})
    return MailRecipients(taken=(*done.taken, *taken), refused={**done.refused, **refused})


def _envelope(client: smtplib.SMTP, mail: Mail, done: MailRecipients) -> tuple[list[str], dict[str, str]]:
    """The recipients that the server takes at once, and those that it refuses for good."""
    code, words = client.mail(mail.return_path.addr_spec, _mail_options(client, mail))
    _require(code, words, "the server refused the message", taken=code in TAKEN)
    taken: list[str] = []
    refused: dict[str, str] = {}
    for spec in done.left(mail.recipients):
        code, words = client.rcpt(spec)
        if taken and _is_too_many(code, words):
            return taken, refused
        if _is_final(code):
            refused[spec] = _words(code, words)
            log.warning("recipient refused: %s", refused[spec], extra={"message_id": mail.message_id})
        else:
            _require(code, words, f"the server does not take {mail.recipients[spec]} now", taken=code in TAKEN)
            taken.append(spec)
    if not taken and not done.taken:
        reasons = dict.fromkeys((*done.refused.values(), *refused.values()))
        raise JobFailed("refused", f"the server refused every recipient: {'; '.join(reasons)}")
    return taken, refused


def _note(progress: SendProgress, done: MailRecipients) -> None:
    """Those who have it must be known before the others get it; where they cannot be, it is as after a crash."""
    try:
        progress.note(done)
    except TryAgain as error:
        raise MaybeSent(f"who has the message already cannot be noted: {error}") from error


def _is_too_many(code: int, words: bytes) -> bool:
    """Whether the server takes no more recipients now, and not this one recipient (RFC 5321 4.5.3.1.10, RFC 3463 3.6).

    552 was the code in RFC 821; without the enhanced code it is mostly a full mailbox's.
    """
    enhanced = re.match(rb"[45]\.(\d{1,3}\.\d{1,3})\b", words)
    return (code == 452 and enhanced is None) or (code in (452, 552) and enhanced is not None and enhanced[1] == b"5.3")


def _mail_options(client: smtplib.SMTP, mail: Mail) -> list[str]:
    options = [f"SIZE={len(mail.content)}"] if client.has_extn("size") else []  # RFC 1870
    if mail.needs_smtputf8:
        if not client.has_extn("smtputf8"):
            raise JobFailed("refused", "an address before its @ is not ASCII, and the mail server offers no SMTPUTF8")
        options += ["SMTPUTF8", "BODY=8BITMIME"]  # RFC 6531 3.1, 3.6
    return options


def _hand_over(client: smtplib.SMTP, mail: Mail) -> None:
    try:
        code, words = client.data(mail.content)
    except smtplib.SMTPDataError as error:
        return _require(error.smtp_code, error.smtp_error, "the server refused the message", taken=False)
    except OSError as error:
        raise MaybeSent(f"the mail server did not say whether it took the message: {error}") from error
    return _require(code, words, "the server refused the message", taken=code == 250)


def _require(code: int, words: bytes | str, complaint: str, *, taken: bool) -> None:
    if taken:
        return
    if _is_final(code):
        raise JobFailed("refused", f"{complaint}: {_words(code, words)}")
    kind = TryAgain if code in AUTHENTICATION else Closing if code == CLOSING else NotNow
    raise kind(f"{complaint}: {_words(code, words)}")


def _is_final(code: int) -> bool:
    return 500 <= code < 600 and code not in AUTHENTICATION


def _words(code: int, words: bytes | str) -> str:
    text = words if isinstance(words, str) else words.decode(errors="replace")
    return f"{code} {' '.join(text.split())}"[:SHOWN_CHARACTERS]
