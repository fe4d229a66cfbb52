"""Where the callbacks of an event go.

The job's own `callbackurl`, where its origin is allowed, else CALLBACK_URL; and then every further endpoint of
CALLBACK_ENDPOINTS whose filter takes the event. A job's URL of an endpoint's origin (of the first such, where it is not
CALLBACK_URL's) is signed as that endpoint's callbacks are, and stands in for it: no API gets what another one's secret
has signed, and none hears twice.

A URL is read once, for the check and for the call (functions/net/url.py), so the two cannot disagree about the host.
"""

import logging
from dataclasses import dataclass, replace
from typing import Literal

import msgspec

from events.http import Event
from events.problem import JobFailed
from functions.net.origins import allows, configured, named, short
from functions.net.rate import Rate
from functions.net.signature import Profile, Signer
from functions.net.url import Url

log = logging.getLogger("errands.notifier")


class Endpoint(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One item of CALLBACK_ENDPOINTS; an empty filter takes every job or outcome."""

    url: str
    secrets: tuple[str, ...]
    profile: Profile = "standard"
    rate: str | None = None
    jobs: tuple[str, ...] = ()
    outcomes: tuple[Literal["completed", "failed", "deadlettered"], ...] = ()

    def takes(self, event: Event) -> bool:
        """Whether the filter lets the event through."""
        job = (event.type.split(".")[-3:-2] or [""])[0]  # dev.errands.<job>.<phase>.v1
        return (not self.jobs or job in self.jobs) and (not self.outcomes or event.get("outcome") in self.outcomes)


@dataclass(frozen=True)
class Target:
    """One callback to make; `rate` is how many its origin gets, and an endpoint that has one of its own."""

    url: Url
    signer: Signer
    rate: Rate | None = None


@dataclass(frozen=True)
class Destinations:
    """The default, the origins that a job may name, and the further endpoints with their targets."""

    default: Url | None
    signer: Signer
    origins: frozenset[str] = frozenset()
    endpoints: tuple[tuple[Endpoint, Target], ...] = ()
    rate: Rate | None = None

    @classmethod
    def parse(
        cls, default: str | None, signer: Signer, origins: str, endpoints: str | None, rate: Rate | None = None
    ) -> "Destinations":
        """From CALLBACK_URL, ALLOWED_ORIGINS (`https://api.example,...`) and CALLBACK_ENDPOINTS (JSON).

        Raises ValueError that names the setting.
        """
        url = configured(default, "CALLBACK_URL") if default else None
        further = _endpoints(endpoints, rate) if endpoints else ()
        known = [each.origin for each in (url, *(target.url for _, target in further)) if each is not None]
        return cls(url, signer, named(origins) | frozenset(known), further, rate)

    def of(self, event: Event) -> tuple[Target, ...]:
        """The callbacks of this event, maybe none; raise JobFailed when its URL is refused and there is no default."""
        own = self._own(event)
        further = [target for endpoint, target in self.endpoints if endpoint.takes(event)]
        if own is None:
            return tuple(further)
        # the signer tells whom it stands in for: another endpoint of that origin is one in its own right
        return (own, *(each for each in further if each.signer is not own.signer and each.url != own.url))

    def _own(self, event: Event) -> Target | None:
        asked = event.get("callbackurl")
        reason = None if asked is None else _refusal(asked, self.origins)
        if asked is not None and reason is None:
            url = short(asked)
            return self._target(url)
        if reason is not None and self.default is None:
            raise JobFailed("callback-refused", f"callbackurl {reason}, and there is no CALLBACK_URL to call instead")
        if reason is not None:
            log.warning("callbackurl %s: CALLBACK_URL is called instead", reason, extra={"event": event.id})
        return None if self.default is None else Target(self.default, self.signer, self.rate)

    def _target(self, url: Url) -> Target:
        """A job's own, with what its origin has."""
        if self.default is None or url.origin != self.default.origin:
            for _, each in self.endpoints:
                if each.url.origin == url.origin:
                    return replace(each, url=url)
        return Target(url, self.signer, self.rate)


def allowed_origins(origins: str, endpoints: str | None) -> frozenset[str]:
    """The origins that a `callbackurl` may name where there is no CALLBACK_URL; raise ValueError as `parse` does."""
    further = _endpoints(endpoints) if endpoints else ()
    return named(origins) | {target.url.origin for _, target in further}


def _refusal(text: str, origins: frozenset[str]) -> str | None:
    try:
        url = short(text)
    except ValueError as error:
        return str(error)
    return None if allows(origins, url) else f"{url.shown} is not of an allowed origin (ALLOWED_ORIGINS)"


def _endpoints(text: str, rate: Rate | None = None) -> tuple[tuple[Endpoint, Target], ...]:
    try:
        found = msgspec.json.decode(text, type=tuple[Endpoint, ...])
    except msgspec.DecodeError as error:  # its message has the place, and of values only a name that is not known
        raise ValueError(f"CALLBACK_ENDPOINTS must be a JSON list of endpoints: {error}") from None
    return tuple((each, _target(each, rate, f"CALLBACK_ENDPOINTS $[{number}]")) for number, each in enumerate(found))


def _target(endpoint: Endpoint, rate: Rate | None, setting: str) -> Target:
    signer = Signer.parse(endpoint.profile, endpoint.secrets, setting=setting)
    own = Rate.parse(endpoint.rate, setting=f"{setting}: rate") if endpoint.rate else rate
    return Target(configured(endpoint.url, f"{setting}: url"), signer, own)
