"""The access token of a mail server that takes no password (XOAUTH2): what a command of the installation prints."""

import shlex
import subprocess
import threading
import time
from dataclasses import dataclass, field
from typing import Final

from events.problem import TryAgain

COMMAND_TIMEOUT_S: Final = 10.0
SHOWN_CHARACTERS: Final = 200


@dataclass
class TokenCommand:
    """Runs the command where no token is at hand that is younger than `life_s`, or the server refused the last one."""

    command: str
    life_s: float
    _token: str | None = field(default=None, init=False, repr=False)
    _made_at_s: float = field(default=0.0, init=False, repr=False)
    _lock: threading.Lock = field(default_factory=threading.Lock, init=False, repr=False)

    def __post_init__(self) -> None:
        """Raise ValueError for what is no command."""
        try:
            words = shlex.split(self.command)
        except ValueError as error:
            raise ValueError(f"SMTP_TOKEN_COMMAND must be a command: {error}") from error
        if not words:
            raise ValueError("SMTP_TOKEN_COMMAND must be a command, got an empty one")

    def token(self) -> str:
        """A token; raise TryAgain where the command gives none."""
        with self._lock:
            if self._token is None or time.monotonic() - self._made_at_s > self.life_s:
                self._token, self._made_at_s = self._printed(), time.monotonic()
            return self._token

    def forget(self) -> None:
        """The server refused it."""
        with self._lock:
            self._token = None

    def _printed(self) -> str:
        try:
            done = subprocess.run(  # the installation's own command, without a shell
                shlex.split(self.command), capture_output=True, timeout=COMMAND_TIMEOUT_S, check=False, text=True
            )
        except (OSError, subprocess.TimeoutExpired, UnicodeDecodeError) as error:
            raise TryAgain(f"SMTP_TOKEN_COMMAND cannot be run: {type(error).__name__}") from error
        token = done.stdout.strip()
        if done.returncode != 0 or not (token.isascii() and token.isprintable() and token and " " not in token):
            said = done.stderr.strip().partition("\n")[0][:SHOWN_CHARACTERS]
            raise TryAgain(f"SMTP_TOKEN_COMMAND gives no token: exit code {done.returncode}, {said!r}")
        return token
