"""The same commands over HTTP, for a command line that is not beside the dead letters."""

import ssl
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, get_type_hints

import msgspec

from events.problem import JobFailed, Problem
from functions.deadletters.service.commands import Command, Watch
from functions.deadletters.service.operations import METHODS, NAMES, NotFound, OperatorSession
from functions.deadletters.service.operators import Forbidden
from functions.deadletters.service.results import CommandResult
from functions.storage.database import StorageUnavailable

if TYPE_CHECKING:
    import httpx

TIMEOUT_S: Final = 60.0
SAID_CHARACTERS: Final = 500


@dataclass(frozen=True)
class Remote:
    """The console at a URL (`https://errands.example/dead`), as one operator."""

    url: str
    token: str

    def ask(self, command: Command) -> CommandResult:
        """Do what a command says there; raise what an `OperatorSession` raises, and Forbidden for an unknown token."""
        import httpx

        from functions.net.configured import client

        name = NAMES[type(command)]
        headers = {"content-type": "application/json"} | (
            {"authorization": f"Bearer {self.token}"} if self.token else {}
        )
        wait_s = TIMEOUT_S + (command.wait_s if isinstance(command, Watch) else 0)
        try:
            url = f"{self.url.rstrip('/')}/api/{name}"
            response = client().post(url, content=msgspec.json.encode(command), headers=headers, timeout=wait_s)
        except (httpx.HTTPError, httpx.InvalidURL, ssl.SSLError, ValueError) as error:
            raise StorageUnavailable(f"{self.url} cannot be reached: {error}") from error
        if response.status_code != 200:
            raise _refusal(response, self.url)
        try:
            expected: type[CommandResult] = get_type_hints(getattr(OperatorSession, METHODS.get(name, name)))["return"]
            return msgspec.json.decode(response.content, type=expected)
        except msgspec.DecodeError as error:
            raise StorageUnavailable(f"{self.url} is no console of dead letters: {error}") from error


def _refusal(response: "httpx.Response", url: str) -> Exception:
    try:
        told = msgspec.json.decode(response.content, type=Problem)
    except msgspec.DecodeError:
        return StorageUnavailable(f"{url} answered {response.status_code}: {response.text[:SAID_CHARACTERS]}")
    if response.status_code in (401, 403):
        return Forbidden(told.detail)
    if response.status_code == 404:
        return NotFound(told.detail)
    if response.status_code == 422:
        return JobFailed(told.type.rpartition("/")[2], told.detail, told.errors)
    return StorageUnavailable(f"{url}: {told.detail}")
