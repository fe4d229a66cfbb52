"""Composes an e-mail (RFC 5322, MIME): the same job gives the same bytes, its Message-ID and boundaries included.

Everything that a stranger may fill in is either an address in its narrow form or a text that `header.py` encodes.

Not done: S/MIME, address literals (`user@[192.0.2.1]`), quoted local parts.
"""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from email.headerregistry import Address
from email.message import EmailMessage, MIMEPart
from hashlib import sha256
from html import unescape
from typing import Any, Final

from events.problem import FieldError, JobFailed
from events.types import Attachment, Mailbox, MessageRequested
from functions.message.further_headers import further_headers
from functions.message.header import POLICY, POLICY_UTF8, Field, address_field, file_field, is_one_line, text_field
from functions.message.invitation import invitation

LOCAL_LIMIT_BYTES: Final = 64  # RFC 5321 4.5.3.1.1
DOMAIN_LIMIT_CHARACTERS: Final = 253

_ATOM: Final = r"[A-Za-z0-9!#$%&'*+/=?^_`{|}~\u0080-\U0010ffff-]+"
_LOCAL = re.compile(rf"{_ATOM}(?:\.{_ATOM})*")  # dot-atom, RFC 5322 3.2.3 and RFC 6531 3.3
_LABEL: Final = r"[A-Za-z0-9](?:[A-Za-z0-9-]{0,61}[A-Za-z0-9])?"
_DOMAIN = re.compile(rf"{_LABEL}(?:\.{_LABEL})*")
_QUOTED: Final = r'"(?P<quoted>(?:[^"\\]|\\.)*)"'
# one mailbox: what is quoted may hold anything, and what is not no mark of a list or a group (RFC 5322 3.4)
_MAILBOX = re.compile(rf"\s*(?:{_QUOTED}|(?P<name>[^\"<>@:;()]*?))\s*<(?P<address>[^<>]+)>\s*")
_NOBODY: Final = Field("undisclosed-recipients:;")  # RFC 5322 A.1.3


@dataclass(frozen=True, slots=True)
class Mail:
    """An e-mail ready for the mail server; the keys of `recipients` are for the envelope, the values as asked.

    What cannot be delivered comes back to the `return_path`.
    """

    message_id: str
    return_path: Address
    recipients: Mapping[str, str]
    content: bytes
    needs_smtputf8: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Parts:
    """What of a job had to be fetched: its attachments' bytes, in order, and its calendar."""

    attachments: tuple[bytes, ...] = ()
    calendar: bytes | None = None


def compose(
    job: MessageRequested,
    parts: Parts,
    *,
    sender: Address,
    key: str,
    sent_at: datetime,
    return_path: Address | None = None,
) -> Mail:
    """The e-mail of a job; `key` names the job; raise JobFailed for bad data."""
    people = {name: _read_all(getattr(job, field), field) for name, field in (("To", "to"), ("Cc", "cc"))}
    bcc, reply_to = _read_all(job.bcc, "bcc"), _read_all((job.reply_to,) if job.reply_to else (), "reply_to")
    everybody = (sender, *people["To"], *people["Cc"], *bcc, *reply_to)
    needs_smtputf8 = not all(each.username.isascii() for each in everybody)
    message = EmailMessage(policy=POLICY_UTF8 if needs_smtputf8 else POLICY)
    message_id = f"<{key}@{sender.domain}>"
    message["Message-ID"], message["Date"] = Field(message_id), sent_at
    message["From"] = address_field("From", sender)
    for name, addresses in (people | {"Reply-To": reply_to}).items():
        if addresses:
            message[name] = address_field(name, *addresses)
    if not (people["To"] or people["Cc"]):
        message["To"] = _NOBODY
    message["Subject"] = text_field("Subject", _one_line(job.subject, "subject"))
    message["Auto-Submitted"] = "auto-generated"  # RFC 3834 5: no out-of-office notes in return
    for name, field in further_headers(job.headers):
        message[name] = field
    _fill(message, job, parts)
    _set_boundaries(message, key)
    return Mail(message_id, return_path or sender, _envelope(job), message.as_bytes(), needs_smtputf8)


def _envelope(job: MessageRequested) -> dict[str, str]:
    """Everybody who gets it, once each, with the address as it was asked for."""
    asked = [_address_of(each) for each in (*job.to, *job.cc, *job.bcc)]
    return {read_address(each, "to").addr_spec: each for each in asked}


def _read_all(people: Iterable[str | Mailbox], field: str) -> tuple[Address, ...]:
    """Each address once, with its name."""
    read = (_read_person(each, field) for each in people)
    return tuple({each.addr_spec: each for each in read}.values())


def _read_person(person: str | Mailbox, field: str) -> Address:
    name = person.name if isinstance(person, Mailbox) else None
    return read_address(_address_of(person), field, name=_one_line(name or "", field))


def _address_of(person: str | Mailbox) -> str:
    return person.email if isinstance(person, Mailbox) else person


def read_address(text: str, field: str, *, name: str = "") -> Address:
    """The address in its narrow form, an international domain as `xn--`; raise JobFailed that names the field."""
    local, _, domain = text.rpartition("@")
    local_is_well = _LOCAL.fullmatch(local) and local.isprintable() and "=?" not in local  # no encoded word, RFC 2047 5
    if not (local_is_well and len(local.encode()) <= LOCAL_LIMIT_BYTES):
        raise _invalid(field, f"an address like lee@client.example is expected, got {text!r}")
    return Address(display_name=name, username=local, domain=_ascii_domain(domain, field))


def read_sender(text: str) -> Address:
    """A configured sender with or without a name: `Shop <post@shop.example>`, `Shop, Inc. <post@shop.example>`.

    Raises JobFailed for several addresses, a group, and whatever else is not one mailbox.
    """
    found = _MAILBOX.fullmatch(text)
    if found is None:
        return read_address(text.strip(), "SENDER")
    name = found["name"] if found["quoted"] is None else re.sub(r"\\(.)", r"\1", found["quoted"])
    return read_address(found["address"].strip(), "SENDER", name=_one_line(name, "SENDER"))


def choose_sender(asked: str | Mailbox | None, *, default: Address, allowed: Iterable[str]) -> Address:
    """Whom the e-mail is from: the default, or what the job asks for where `allowed` has it as address or @domain.

    The default's name is the default address's alone; a job may give it another.
    """
    if asked is None:
        return default
    sender = _read_person(asked, "sender")
    spec = sender.addr_spec.lower()
    if spec == default.addr_spec.lower():
        return default if not sender.display_name else sender
    if not {spec, f"@{sender.domain.lower()}"} & {each.strip().lower() for each in allowed}:
        raise JobFailed("sender-refused", f"{sender.addr_spec} is not among the allowed senders")
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
    if not is_one_line(text):
        raise _invalid(field, f"one line without control characters is expected, got {text!r}")
    return text


def _fill(message: EmailMessage, job: MessageRequested, parts: Parts) -> None:
    # Quoted-printable always: "=_" never occurs in it (RFC 2045 6.7), so no text can hold one of our boundaries.
    message.set_content(job.text, cte="quoted-printable")
    enclosed = list(zip(job.attachments, parts.attachments, strict=True))
    if job.html is not None:
        message.add_alternative(job.html, subtype="html", cte="quoted-printable")
        _illustrate(message, job.html, [each for each in enclosed if each[0].content_id])
    elif any(each.content_id for each in job.attachments):
        raise _invalid("attachments", "an html that shows it is expected beside an attachment with a content_id")
    if job.calendar is not None and parts.calendar is not None:
        _invite(message, parts.calendar, job.calendar.method)
    attached = [_part(*each) for each in enclosed if not each[0].content_id]
    if attached:
        message.make_mixed()
    for part in attached:
        message.attach(part)


def _illustrate(message: EmailMessage, html: str, pictures: list[tuple[Attachment, bytes]]) -> None:
    """Make the HTML one with the pictures that it shows (RFC 2387, RFC 2392)."""
    if not pictures:
        return
    shown = set(re.findall(r"cid:([A-Za-z0-9._-]+(?:@[A-Za-z0-9.-]+)?)", unescape(html)))
    unused = sorted({str(each.content_id) for each, _ in pictures} - shown)
    if unused:
        raise _invalid("attachments", f"the html is expected to show cid:{unused[0]}, and does not")
    related = message.get_body(("html",))
    assert isinstance(related, EmailMessage)  # noqa: S101  # it was just added
    related.make_related()
    for attachment, content in pictures:
        related.attach(_part(attachment, content))


def _part(attachment: Attachment, content: bytes) -> Any:
    main, _, sub = _media_type(attachment).partition("/")
    part = MIMEPart(policy=POLICY)
    part.set_content(content, main, sub)
    part["Content-Disposition"] = file_field("inline" if attachment.content_id else "attachment", attachment.name)
    if attachment.content_id:
        part["Content-ID"] = Field(f"<{attachment.content_id}>")
    return part


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
