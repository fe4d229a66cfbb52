"""Chat and push services by a name of the configuration, through Apprise (its URLs: https://github.com/caronc/apprise).

A job names a target, and never sees the URL behind it, which holds the service's token. Apprise tells no more than
whether a service took a notification, and writes URLs into its log, which is therefore switched off.

Sent once, as far as a service lets: it has no transaction with us, and knows no id by which it could drop a second
one. A notification that the service took without an answer in time is sent again.
"""

import logging
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

import msgspec

from events.problem import FieldError, JobFailed, TryAgain
from events.types import MessageCompleted

if TYPE_CHECKING:
    import apprise

RETRY_S: Final = 30.0


@dataclass(frozen=True)
class Targets:
    """The services' URLs by name."""

    urls: dict[str, str] = field(repr=False)

    @classmethod
    def parse(cls, text: str | None) -> "Targets":
        """From TARGETS (`{"ops": "slack://..."}`); ValueError names the target that is wrong, and shows no URL."""
        try:
            urls = msgspec.json.decode(text, type=dict[str, str]) if text else {}
        except msgspec.DecodeError as error:
            raise ValueError(f"TARGETS must be a JSON object of names and Apprise URLs: {error}") from None
        for name, url in urls.items():
            if _service(url) is None:
                raise ValueError(f"TARGETS: {name!r} must be a URL that Apprise knows, such as slack://...")
        return cls(urls)

    def require(self, name: str) -> None:
        """Raise JobFailed when there is no such target."""
        if name not in self.urls:
            detail = f"target must be one of {', '.join(sorted(self.urls)) or 'none configured'}, got {name}"
            raise JobFailed("unknown-target", detail, (FieldError(pointer="#/target", detail=detail),))

    def send(self, name: str, *, subject: str, text: str, message_id: str) -> MessageCompleted:
        """Notify; raise TryAgain when the service did not take it."""
        service = _service(self.urls[name])
        if service is None or not service.notify(title=subject, body=text, body_format="text"):
            raise TryAgain(f"the service behind target {name} did not take the notification", retry_after_s=RETRY_S)
        return MessageCompleted(message_id=message_id, accepted=(name,))


def _service(url: str) -> "apprise.Apprise | None":
    import apprise  # slow to import, and for installations that have targets

    logging.getLogger("apprise").disabled = True
    service = apprise.Apprise()
    return service if service.add(url) else None
