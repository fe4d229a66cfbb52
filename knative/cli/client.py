"""Sends an event to the ingress that the command line names, and waits for the job's outcome."""

import time
from collections.abc import Callable
from typing import Any, Final

import httpx
import msgspec

from events.http import Event, binary, read
from events.problem import sentence
from functions.net.configured import client
from knative.cli.front_door import FrontDoor, Refused, Unreachable, befell, stream_path

POST_TIMEOUT_S: Final = 10.0
POLL_S: Final = 20.0
SHOWN_CHARACTERS: Final = 2_000  # a sentence with all known types fits; a page of a wrong server is cut
RECONNECT_S: Final = 0.5


class _Taken(msgspec.Struct):
    """What a gateway says of a job that it has taken."""

    stream: str = ""


class NotAccepted(Exception):
    """The broker did not take the event; the message is its reason."""


class NoOutcome(Exception):
    """The job's outcome is not known; the message says why."""


def post(event: Event, sink: str, *, token: str | None) -> str | None:
    """Hand the event over; raise NotAccepted with the reason. Of a gateway the address of the job's stream."""
    headers, body = binary(event)  # functions/deadletters/replay/sending.py says why
    try:
        sent = headers | _authorization(token)
        response = client().post(sink, content=body, headers=sent, timeout=POST_TIMEOUT_S)
    except (httpx.HTTPError, httpx.InvalidURL) as error:
        raise NotAccepted(f"the broker at {sink} cannot be reached ({error}); start it with: errands up") from error
    if response.status_code not in (200, 202):  # 200: an open job has its unique key
        raise NotAccepted(f"{sink} answered {response.status_code}: {sentence(response.content)[:SHOWN_CHARACTERS]}")
    try:
        stream = msgspec.json.decode(response.content, type=_Taken).stream
    except msgspec.DecodeError:  # of a broker's ingress, which says nothing
        return None
    return stream or None


def wait(
    event: Event,
    sink: str,
    *,
    token: str | None,
    timeout_s: float,
    stream: str | None = None,
    say: Callable[[str], None] = lambda line: None,
) -> Event:
    """The job's last event; raise NoOutcome when it has none within `timeout_s`, or nobody tells it (a cluster).

    With its `stream`, what befalls it meanwhile is said as it does.
    """
    end_s = time.monotonic() + timeout_s
    if stream:
        _follow(FrontDoor(sink.rstrip("/"), token), stream, end_s, say)
    query = {"source": event.source, "id": event.id}
    while (left_s := end_s - time.monotonic()) > 0:
        try:
            response = _asked(f"{sink.rstrip('/')}/jobs", query, token, wait_s=min(left_s, POLL_S))
        except httpx.TransportError:  # it restarts, perhaps; the job is on its disk
            time.sleep(min(left_s, RECONNECT_S))
            continue
        if response.status_code == 200:
            return read(response.headers, response.content)
        if response.status_code != 204:
            said = f"{response.status_code}: {sentence(response.content)[:SHOWN_CHARACTERS]}"
            raise NoOutcome(f"{sink} does not tell outcomes: it answered {said}")
    raise NoOutcome(f"no outcome within {timeout_s:g} s")


def _follow(door: FrontDoor, stream: str, end_s: float, say: Callable[[str], None]) -> None:
    """Say what befalls a job until its end; where that cannot be heard, its outcome is asked for all the same."""
    try:
        for name, told in door.follow(stream_path(stream), until_s=end_s):
            if name == "note":
                say(befell(told))
    except (Refused, Unreachable):
        return


def _asked(url: str, query: dict[str, str], token: str | None, *, wait_s: float) -> httpx.Response:
    waiting = {**query, "wait_s": f"{wait_s:.3f}"}
    return client().get(url, params=waiting, headers=_authorization(token), timeout=POLL_S + POST_TIMEOUT_S)


def describe(outcome: Event) -> str:
    """What came of a job, for a person: its artefacts, or why there are none."""
    data: dict[str, Any] = msgspec.json.decode(outcome.data)
    lines = [f"{outcome.attributes['outcome']} {outcome.get('jobid')}"]
    lines += [f"  {each['name']}  {each['size_bytes']} bytes  {each['url']}" for each in data.get("artifacts", ())]
    if "message_id" in data:
        lines.append(f"  {data['message_id']} accepted for {', '.join(data['accepted'])}")
    if "detail" in data:
        lines.append(f"  {data['title']}: {data['detail']}")
    lines += [f"  {each['pointer']}: {each['detail']}" for each in data.get("errors", ())]
    if "letter" in data:
        lines.append(f"  dead letter {data['letter']}, code {data['code']}: {data.get('error', 'no reason was given')}")
        lines.append(f"  mend the cause, then: errands dead replay {data['letter']}")
    return "\n".join(lines)


def _authorization(token: str | None) -> dict[str, str]:
    return {"authorization": f"Bearer {token}"} if token else {}
