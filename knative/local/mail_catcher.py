"""The mail server of a machine that has none: it takes every e-mail, sends none on, and keeps it for the console.

Without it a first e-mail job would wait for a server that is not there. It listens on the loopback alone.
"""

import asyncio
import logging
import socket
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, cast

from functions.console import caught_mail

if TYPE_CHECKING:
    from aiosmtpd.smtp import SMTP, Envelope, Session

log = logging.getLogger("errands.mail")

MESSAGE_LIMIT_BYTES: Final = 50_000_000
ANSWER: Final = "250 2.6.0 caught by errands up, and sent to nobody"


def catches(settings: Mapping[str, Mapping[str, str]], token: str | None, *, asked: bool = False) -> bool:
    """Whether e-mails are caught: no mail server is set, and it is asked or its own users alone reach the machine."""
    return (asked or token is None) and not any("SMTP_HOST" in each for each in settings.values())


@asynccontextmanager
async def catching(folder: Path) -> AsyncIterator[int]:
    """Catch e-mails into the folder; yields the port."""
    loop = asyncio.get_running_loop()
    listening = socket.create_server(("127.0.0.1", 0))
    server = await loop.create_server(lambda: _protocol(folder), sock=listening)
    try:
        yield listening.getsockname()[1]
    finally:
        server.close()


def _protocol(folder: Path) -> "SMTP":
    from aiosmtpd.smtp import SMTP  # for a machine that sends e-mails, with its first one

    return SMTP(_Handler(folder), data_size_limit=MESSAGE_LIMIT_BYTES, enable_SMTPUTF8=True, hostname="localhost")


class _Handler:
    """Called by aiosmtpd."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    async def handle_DATA(self, _server: "SMTP", _session: "Session", envelope: "Envelope") -> str:  # noqa: N802  # as aiosmtpd calls it
        """The whole e-mail is there."""
        content = cast(Any, envelope.original_content) or b""
        now = datetime.now(UTC)
        try:
            await asyncio.to_thread(
                caught_mail.keep, self._folder, envelope.mail_from, envelope.rcpt_tos, content, now=now
            )
        except OSError as error:
            log.error("an e-mail cannot be kept: %s", error)
            return "452 4.3.1 it cannot be kept"
        return ANSWER
