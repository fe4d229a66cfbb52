"""The same words over HTTP, for a command line that is not beside the letters."""

import ssl
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, get_type_hints

import msgspec

from events.problem import JobFailed, Problem
from functions.deadletters.service.commands import Answer, Watch, Word
from functions.deadletters.service.operations import METHODS, NAMES, NotFound, Seat
from functions.deadletters.service.operators import Forbidden
from functions.storage.database import Unavailable

if TYPE_CHECKING:
    import httpx

TIMEOUT_S: Final = 60.0
SAID_CHARACTERS: Final = 500


@dataclass(frozen=True)
class Remote:
    """The desk at a URL (`https://errands.example/dead`), as one operator."""

    url: str
    token: str

    def ask(self, word: Word) -> Answer:
        """Do what a word says there; raises what a `Seat` raises, and Forbidden also when nobody knows who asks."""
        import httpx

        name = NAMES[type(word)]
        headers = {"content-type": "application/json"} | (
            {"authorization": f"Bearer {self.token}"} if self.token else {}
        )
        wait_s = TIMEOUT_S + (word.wait_s if isinstance(word, Watch) else 0)
        try:
            url = f"{self.url.rstrip('/')}/api/{name}"
            answer = httpx.post(url, content=msgspec.json.encode(word), headers=headers, timeout=wait_s)
        except (httpx.HTTPError, httpx.InvalidURL, ssl.SSLError, ValueError) as error:
            raise Unavailable(f"{self.url} cannot be reached: {error}") from error
        if answer.status_code != 200:
            raise _refusal(answer, self.url)
        try:
            expected: type[Answer] = get_type_hints(getattr(Seat, METHODS.get(name, name)))["return"]
            return msgspec.json.decode(answer.content, type=expected)
        except msgspec.DecodeError as error:
            raise Unavailable(f"{self.url} is no desk of dead letters: {error}") from error


def _refusal(answer: "httpx.Response", url: str) -> Exception:
    try:
        told = msgspec.json.decode(answer.content, type=Problem)
    except msgspec.DecodeError:
        return Unavailable(f"{url} answered {answer.status_code}: {answer.text[:SAID_CHARACTERS]}")
    if answer.status_code in (401, 403):
        return Forbidden(told.detail)
    if answer.status_code == 404:
        return NotFound(told.detail)
    if answer.status_code == 422:
        return JobFailed(told.type.rpartition("/")[2], told.detail, told.errors)
    return Unavailable(f"{url}: {told.detail}")
