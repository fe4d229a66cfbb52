"""Hands an event to the broker, or to the one function that failed; in binary mode, as the broker itself delivers.

Not in structured mode: sdk-go, which Knative's ingress reads with, decodes percent signs in its attributes once too
often. Both addresses are the installation's own (K_SINK, and a Service of the cluster).
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import quote, urlsplit

from events.http import STRUCTURED, Event, binary, read
from events.problem import NotAnEvent, sentence
from functions.runtime.broker_client import REASON_CHARACTERS, REFUSED

if TYPE_CHECKING:
    import httpx

TIMEOUT_S: Final = 10.0
FUNCTION_TIMEOUT_S: Final = 610.0  # Knative's longest timeoutSeconds, and what the way takes
CLUSTER: Final = (".svc.cluster.local", ".svc")


class NotTaken(Exception):
    """The event was not taken; the message says why, and by whom."""


class Refused(NotTaken):
    """It was not, for what it is: the same again would not be either."""


@dataclass(frozen=True)
class BrokerIngress:
    """The ingress, and the functions behind it. From `outside` it takes no event that says of itself to be replayed."""

    url: str
    token: str = ""
    outside: bool = False
    timeout_s: float = TIMEOUT_S

    def send(self, event: Event) -> None:
        """Hand the event to every Trigger that wants it; raise NotTaken."""
        self._expect(self._post(self.url, event, self.timeout_s), 202)

    def send_to(self, event: Event, *, trigger: str, destination: str) -> None:
        """Hand the event to one Trigger's function only; raise NotTaken.

        The local runner has an address for each Trigger, and retries there as declared. Knative has none: the function
        is called once, and its reply handed to the broker, as the dispatcher does it.
        """
        if trigger:
            url = f"{self.url.rstrip('/')}/triggers/{quote(trigger, safe='')}"
            return self._expect(self._post(url, event, self.timeout_s), 202)
        if not _of_cluster(destination):
            raise NotTaken(f"the dead letter tells no Trigger, and {destination!r} is no Service of this cluster")
        response = self._post(destination, event, FUNCTION_TIMEOUT_S, token="")
        if not 200 <= response.status_code < 300:
            self._expect(response, 200)
        if "ce-specversion" in response.headers or response.headers.get("content-type", "").startswith(STRUCTURED):
            self._hand_on(response)
        return None

    def _hand_on(self, response: "httpx.Response") -> None:
        try:
            self.send(read(dict(response.headers), response.content))
        except NotAnEvent as error:
            raise NotTaken(f"the reply of {response.url} is not an event: {error}") from error

    def _post(self, url: str, event: Event, timeout_s: float, *, token: str | None = None) -> "httpx.Response":
        import httpx  # a large import, which who sends nothing need not wait for

        from functions.net.configured import client

        token = self.token if token is None else token
        headers, body = binary(event)
        if token:
            headers["authorization"] = f"Bearer {token}"
        try:
            return client().post(url, content=body, headers=headers, timeout=timeout_s)
        except (httpx.HTTPError, httpx.InvalidURL, ValueError) as error:
            raise NotTaken(f"{url} cannot be reached: {error or type(error).__name__}") from error

    def _expect(self, response: Any, status: int) -> None:
        if response.status_code != status:
            said = sentence(response.content)[:REASON_CHARACTERS]
            kind = Refused if response.status_code in REFUSED else NotTaken
            raise kind(f"{response.url} answered {response.status_code}: {said}")


def _of_cluster(destination: str) -> bool:
    try:
        return (urlsplit(destination).hostname or "").endswith(CLUSTER)
    except ValueError:  # no address: the attribute may hold anything
        return False
