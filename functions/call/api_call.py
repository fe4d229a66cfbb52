"""Asks the API to do a step, and says what its answer means.

200, 204                done; JSON is the result, nothing is null
202                     done later: the API tells the flow by the signal `complete`
422                     it cannot be done; problem details say why
429, 502, 503, 504,     not now: the API is down, or busy
no answer
anything else           tried again by the broker, at last a dead letter, which holds the flow
"""

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final

import msgspec

from events.http import Event, structured
from events.problem import JobFailed, NotNow, Problem, TryAgain, sentence
from events.types import CallCompleted
from functions.net.caller import Call, Caller, NoResponse, retry_after_s
from functions.net.exchange import ServerResponse, TooLong
from functions.net.signature import Signer
from functions.net.url import Url

CANNOT: Final = 422
LATER: Final = 202
DOWN: Final = frozenset({429, 502, 503, 504})
SHOWN_CHARACTERS: Final = 500


@dataclass(frozen=True)
class Api:
    """Where the API answers steps, and what it knows us by."""

    url: Url
    signer: Signer
    caller: Caller
    timeout_s: float

    async def do(self, event: Event, *, now: datetime) -> CallCompleted | None:
        """The step's result, None where that comes later; raise JobFailed, NotNow or TryAgain.

        The body is the request, signed as callbacks are; `webhook-id` is the same for each attempt of a step.
        """
        body = structured(event)
        call = Call("POST", self.url, self.signer.headers(event, body, now=now), body)
        try:
            response = await self.caller.call(call, timeout_s=self.timeout_s)
        except NoResponse as failure:
            raise NotNow(f"the API at {self.url.shown} {failure}") from failure
        except TooLong as error:
            raise TryAgain(f"the API at {self.url.shown} answered {error} with more than is read") from error
        except JobFailed as refused:  # its address: for whoever configures it, and no end of the step
            raise TryAgain(str(refused)) from refused
        return self._result(response, now_s=now.astimezone(UTC).timestamp())

    def _result(self, response: ServerResponse, *, now_s: float) -> CallCompleted | None:
        said = f"the API at {self.url.shown} answered {response.status}"
        if response.status == LATER:
            return None
        if 200 <= response.status < 300:
            return CallCompleted(value=self._value(response.body, said))
        if response.status == CANNOT:
            raise _failure(response.body)
        words = f"{said}: {sentence(response.body)[:SHOWN_CHARACTERS]}"
        if response.status in DOWN:
            wait_s = retry_after_s(response.headers.get("retry-after"), now_s=now_s)
            raise NotNow(words) if wait_s is None else NotNow(words, retry_after_s=wait_s)
        raise TryAgain(words)

    def _value(self, body: bytes, said: str) -> Any:
        try:
            return msgspec.json.decode(body) if body.strip() else None
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            raise TryAgain(f"{said}, and not with JSON: {error}") from error


def _failure(body: bytes) -> JobFailed:
    """The API's own problem, as far as it told one."""
    try:
        problem = msgspec.json.decode(body, type=Problem)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return JobFailed("step-refused", sentence(body)[:SHOWN_CHARACTERS] or "the API says that it cannot be done")
    return JobFailed(problem.type.rstrip("/").rpartition("/")[2] or "step-refused", problem.detail, problem.errors)
