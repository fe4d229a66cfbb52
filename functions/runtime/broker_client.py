"""Posts events to the broker's ingress over connections that are kept: many at once where that is the runner's."""

from collections.abc import Mapping, Sequence
from typing import Final

import msgspec

from events.http import Event, binary
from events.problem import sentence
from functions.net.client import Connections
from functions.net.exchange import Broken, ServerResponse, TooLong
from functions.net.url import parsed
from functions.runtime.packed import PACKED, packed

PACKED_COUNT: Final = 128  # events of one request
TIMEOUT_S: Final = 15.0
REFUSED: Final = (400, 413, 422)  # for what the event is: the same again would be refused again
REASON_CHARACTERS: Final = 500


class BrokerRefuses(Exception):
    """The broker does not take the event, whenever it is sent: the message is its reason."""


class BrokerAway(Exception):
    """The broker takes nothing now."""


Taken = BrokerRefuses | BrokerAway | None  # what came of an event: None where the broker has it


class BrokerClient:
    """Works in one loop."""

    def __init__(self, sink: str, token: str = "", *, is_runner: bool = False) -> None:
        self._url = parsed(sink)
        self._own = {"authorization": f"Bearer {token}"} if token else {}
        self._connections = Connections()
        self.at_once = PACKED_COUNT if is_runner else 1

    async def post(self, events: Sequence[Event]) -> list[Taken]:
        """What came of each of the events, of which there are at most `at_once`."""
        try:
            if self.at_once == 1:
                (event,) = events
                headers, body = binary(event)
                response = await self._post(headers, body)
                return [_taken(response.status, response.body)]
            response = await self._post({"content-type": PACKED}, packed(events))
            if response.status != 200:
                return [_taken(response.status, response.body)] * len(events)
            return [_taken(each.status, each.detail.encode()) for each in _RESULTS.decode(response.body)]
        except (Broken, TooLong, msgspec.DecodeError) as error:
            return [BrokerAway(f"the broker does not answer: {error}")] * len(events)

    async def _post(self, headers: Mapping[str, str], body: bytes) -> ServerResponse:
        sent = {**headers, **self._own}
        return await self._connections.request("POST", self._url, sent, body, timeout_s=TIMEOUT_S, again=True)

    def close(self) -> None:
        """Close the connections."""
        self._connections.close()


class _Result(msgspec.Struct):
    status: int
    detail: str = ""


_RESULTS: Final = msgspec.json.Decoder(list[_Result])


def _taken(status: int, body: bytes) -> Taken:
    if status < 300:
        return None
    said = f"the broker answered {status}: {sentence(body)[:REASON_CHARACTERS]}"
    return BrokerRefuses(said) if status in REFUSED else BrokerAway(said)
