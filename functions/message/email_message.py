"""Composes an e-mail (RFC 5322, MIME): the same job gives the same bytes, its Message-ID and boundaries included.

Everything that a stranger may fill in is either an address in its narrow form or a text that `header.py` encodes.

Not done: S/MIME, DKIM (the mail server's task), address literals (`user@[192.0.2.1]`), quoted local parts.
"""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from email.headerregistry import Address
from email.message import EmailMessage
from email.utils import parseaddr
from hashlib import sha256
from typing import Final
from unicodedata import category

from events.problem import FieldError, JobFailed
from events.types import Attachment, MessageRequested
from functions.message.header import POLICY, POLICY_UTF8, Field, address_field, text_field
from functions.message.invitation import invitation

LOCAL_LIMIT_BYTES: Final = 64  # RFC 5321 4.5.3.1.1
DOMAIN_LIMIT_CHARACTERS: Final = 253

_ATOM: Final = r"[A-Za-z0-9!#$%&'*+/=?^_`{|}~\u0080-\U0010ffff-]+"
_LOCAL = re.compile(rf"{_ATOM}(?:\.{_ATOM})*")  # dot-atom, RFC 5322 3.2.3 and RFC 6531 3.3
_LABEL: Final = r"[A-Za-z0-9](?:[A-Za-z0-9-]{0,61}[A-Za-z0-9])?"
_DOMAIN = re.compile(rf"{_LABEL}(?:\.{_LABEL})*")


@dataclass(frozen=True, slots=True)
class Mail:
    """An e-mail ready for the mail server; the keys of `recipients` are for the envelope, the values as asked."""

    message_id: str
    sender: Address
    recipients: Mapping[str, str]
    content: bytes
    needs_smtputf8: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Parts:
    """What of a job had to be fetched: its attachments' bytes, in order, and its calendar."""

    attachments: tuple[bytes, ...] = ()
    calendar: bytes | None = None


def compose(job: MessageRequested, parts: Parts, *, sender: Address, key: str, sent_at: datetime) -> Mail:
    """The e-mail of a job; `key` names the job; raise JobFailed for bad data."""
    asked = {read_address(text, "to").addr_spec: text for text in job.to}
    to = tuple(read_address(text, "to") for text in asked.values())
    reply_to = (read_address(job.reply_to, "reply_to"),) if job.reply_to else ()
    needs_smtputf8 = not all(each.username.isascii() for each in (sender, *to, *reply_to))
    message = EmailMessage(policy=POLICY_UTF8 if needs_smtputf8 else POLICY)
    message_id = f"<{key}@{sender.domain}>"
    message["Message-ID"], message["Date"] = Field(message_id), sent_at
    message["From"], message["To"] = address_field("From", sender), address_field("To", *to)
    if reply_to:
        message["Reply-To"] = address_field("Reply-To", *reply_to)
    message["Subject"] = text_field("Subject", _one_line(job.subject, "subject"))
    message["Auto-Submitted"] = "auto-generated"  # RFC 3834 5: no out-of-office notes in return
    _fill(message, job, parts)
    _set_boundaries(message, key)
    return Mail(message_id, sender, asked, message.as_bytes(), needs_smtputf8)


def read_address(text: str, field: str, *, name: str = "") -> Address:
    """The address in its narrow form, an international domain as `xn--`; raise JobFailed that names the field."""
    local, _, domain = text.rpartition("@")
    local_is_well = _LOCAL.fullmatch(local) and local.isprintable() and "=?" not in local  # no encoded word, RFC 2047 5
    if not (local_is_well and len(local.encode()) <= LOCAL_LIMIT_BYTES):
        raise _invalid(field, f"an address like lee@client.example is expected, got {text!r}")
    return Address(display_name=name, username=local, domain=_ascii_domain(domain, field))


def read_sender(text: str) -> Address:
    """A configured sender with or without a name: `Shop <post@shop.example>`."""
    name, address = parseaddr(text)
    return read_address(address, "SENDER", name=_one_line(name, "SENDER"))


def choose_sender(asked: str | None, *, default: Address, allowed: Iterable[str]) -> Address:
    """Whom the e-mail is from: the default, or what the job asks for where `allowed` has it as address or @domain."""
    if asked is None:
        return default
    sender = read_address(asked, "sender")
    spec = sender.addr_spec.lower()
    if spec == default.addr_spec.lower():
        return default
    if not {spec, f"@{sender.domain.lower()}"} & {each.strip().lower() for each in allowed}:
        raise JobFailed("sender-refused", f"{asked} is not among the allowed senders")
    return sender


def _ascii_domain(domain: str, field: str) -> str:
    encoded = domain if domain.isascii() else _international(domain, field)
    if not _DOMAIN.fullmatch(encoded) or len(encoded) > DOMAIN_LIMIT_CHARACTERS:
        raise _invalid(field, f"a domain like client.example is expected, got {domain!r}")
    return encoded


def _international(domain: str, field: str) -> str:
    # IDNA 2008: Python's own codec is IDNA 2003, which makes ss of ß and so sends to another domain.
    import idna  # its tables are loaded for such domains only

    try:
        return idna.encode(domain, uts46=True).decode()
    except idna.IDNAError as error:
        raise _invalid(field, f"an international domain name is expected, got {domain!r}: {error}") from error


def _one_line(text: str, field: str) -> str:
    # the policy refuses some of these itself, but as a bug of ours, not as the caller's
    unwanted = {each for each in text if category(each) in ("Cc", "Zl", "Zp")}
    if unwanted:
        raise _invalid(field, f"one line without control characters is expected, got {text!r}")
    return text


def _fill(message: EmailMessage, job: MessageRequested, parts: Parts) -> None:
    # Quoted-printable always: "=_" never occurs in it (RFC 2045 6.7), so no text can hold one of our boundaries.
    message.set_content(job.text, cte="quoted-printable")
    if job.html is not None:
        message.add_alternative(job.html, subtype="html", cte="quoted-printable")
    if job.calendar is not None and parts.calendar is not None:
        _invite(message, parts.calendar, job.calendar.method)
    for attachment, content in zip(job.attachments, parts.attachments, strict=True):
        main, _, sub = _media_type(attachment).partition("/")
        message.add_attachment(content, main, sub, filename=attachment.name)


def _invite(message: EmailMessage, calendar: bytes, method: str) -> None:
    """Add the calendar as the last, so the preferred, alternative (RFC 2046 5.1.4), as RFC 6047 2.4 has it.

    In base64, so that no mail server on the way breaks its lines anew.
    """
    try:
        content = invitation(calendar.decode(), method).encode()
    except ValueError as error:
        raise _invalid("calendar", str(error)) from error
    parameters = {"method": method, "charset": "utf-8"}
    message.add_alternative(content, maintype="text", subtype="calendar", cte="base64", params=parameters)


def _media_type(attachment: Attachment) -> str:
    # RFC 2046 5.1, 5.2.1: these two may not be base64, and a stranger's parts would become parts of our message
    if attachment.media_type.startswith(("multipart/", "message/")):
        raise _invalid("attachments", f"media_type must not be multipart or message, got {attachment.media_type}")
    return attachment.media_type


def _set_boundaries(message: EmailMessage, key: str) -> None:
    token = sha256(key.encode()).hexdigest()[:24]
    for number, part in enumerate(each for each in message.walk() if each.is_multipart()):
        part.set_boundary(f"=_{number}_{token}")


def _invalid(field: str, detail: str) -> JobFailed:
    return JobFailed("invalid-data", f"{field}: {detail}", (FieldError(pointer=f"#/{field}", detail=detail),))
