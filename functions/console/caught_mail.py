"""The e-mails that `errands up` catches where no mail server is set: a folder with a file each, as a mailbox has them.

Above the headers of the e-mail itself stand two that the catcher writes, as a mail server does on delivery: Return-Path
and X-Original-To, which also names whom the e-mail hides (bcc).
"""

import re
import secrets
from base64 import b64encode
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from email import message_from_bytes, policy
from email.message import EmailMessage, MIMEPart
from pathlib import Path
from typing import Final

from events.http import timestamp

KEPT: Final = 500  # the newest
ENDING: Final = ".eml"
STAGED: Final = ".new"
_ID = re.compile(r"[0-9]{8}T[0-9]{12}-[0-9a-f]{8}")
# what a page shows of a picture in the HTML; an SVG in an <img> runs nothing
PICTURES: Final = ("image/png", "image/jpeg", "image/gif", "image/webp", "image/avif", "image/svg+xml")
_CID = re.compile(r"cid:([A-Za-z0-9._%@-]+)")


@dataclass(frozen=True, kw_only=True)
class CaughtMail:
    """One e-mail, and to whom it went."""

    id: str
    at: str
    message: EmailMessage
    source: bytes

    @property
    def recipients(self) -> str:
        """Everybody, those whom the e-mail hides too."""
        return self.header("X-Original-To")

    @property
    def headers(self) -> list[tuple[str, str]]:
        """As a person reads them."""
        return [(name, str(value)) for name, value in self.message.items()]

    @property
    def text(self) -> str:
        """The plain text, if it has one."""
        return self._body("plain")

    @property
    def html(self) -> str:
        """The HTML, if it has any, with the pictures that it brings in their places."""
        pictures = {
            str(part["Content-ID"]).strip("<> \t"): part
            for part in self.message.walk()
            if part["Content-ID"] and part.get_content_type() in PICTURES
        }
        return _CID.sub(lambda found: _inline(pictures, found), self._body("html"))

    @property
    def parts(self) -> Sequence[EmailMessage]:
        """What it holds beside its texts: attachments, pictures, an invitation."""
        texts = [self.message.get_body(("plain",)), self.message.get_body(("html",))]
        leaves = (each for each in self.message.walk() if not each.is_multipart())
        return [each for each in leaves if not any(each is text for text in texts)]

    def header(self, name: str) -> str:
        """One header as a person reads it, or nothing."""
        return str(self.message.get(name, ""))

    def _body(self, kind: str) -> str:
        part = self.message.get_body((kind,))
        return "" if part is None else content_text(part)


def keep(folder: Path, sender: str | None, recipients: Sequence[str], content: bytes, *, now: datetime) -> str:
    """Write an e-mail that was caught, whole or not at all; its id. The oldest beyond `KEPT` go."""
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    id_ = f"{now.astimezone(UTC):%Y%m%dT%H%M%S%f}-{secrets.token_hex(4)}"
    head = f"Return-Path: <{sender or ''}>\r\nX-Original-To: {', '.join(recipients)}\r\n"
    staged = folder / f"{id_}{STAGED}"
    staged.write_bytes(head.encode() + content)
    staged.rename(folder / f"{id_}{ENDING}")
    for old in _files(folder)[KEPT:]:
        old.unlink(missing_ok=True)
    return id_


def listed(folder: Path, limit: int) -> Iterator[CaughtMail]:
    """The newest first."""
    for file in _files(folder)[:limit]:
        mail = read(folder, file.name.removesuffix(ENDING))
        if mail is not None:
            yield mail


def read(folder: Path, id_: str) -> CaughtMail | None:
    """One of them; None for an id that none has."""
    if not _ID.fullmatch(id_):
        return None
    try:
        source = (folder / f"{id_}{ENDING}").read_bytes()
    except FileNotFoundError:
        return None
    at = datetime.strptime(id_.partition("-")[0], "%Y%m%dT%H%M%S%f").replace(tzinfo=UTC)
    message = message_from_bytes(source, policy=policy.default)
    return CaughtMail(id=id_, at=timestamp(at), message=message, source=source)


def content_text(part: MIMEPart) -> str:
    """The text of a part, also where it says a charset that nobody knows."""
    content = part.get_payload(decode=True)
    if not isinstance(content, bytes):
        return ""
    try:
        return content.decode(part.get_content_charset("utf-8"), errors="replace")
    except LookupError:
        return content.decode(errors="replace")


def _inline(pictures: dict[str, EmailMessage], found: "re.Match[str]") -> str:
    part = pictures.get(found[1])
    content = part.get_payload(decode=True) if part is not None else None
    if part is None or not isinstance(content, bytes):
        return found[0]
    return f"data:{part.get_content_type()};base64,{b64encode(content).decode()}"


def _files(folder: Path) -> list[Path]:
    return sorted(folder.glob(f"*{ENDING}"), reverse=True)
