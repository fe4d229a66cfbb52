"""The contract of the message function: notifications to people."""

from typing import Annotated, Any, Literal

from msgspec import Meta

from events.problem import Problem
from events.types.base import PERSONAL, DeadLetter, Email, Input, LongText, Name, Request, Result


class Attachment(Request, frozen=True, kw_only=True):
    """A file sent along: inline, or from the store (the `key` of an earlier job's artefact)."""

    name: Name
    source: Input
    media_type: Annotated[str, Meta(pattern=r"^[a-z0-9.+-]+/[a-z0-9.+-]+$(?!\n)", description="such as image/png")] = (
        "application/octet-stream"
    )


class MessageCalendar(Request, frozen=True, kw_only=True):
    """An invitation: a calendar as text, or the `key` of one in the store; `method` has to be the calendar's METHOD."""

    text: Annotated[LongText, Meta(extra=PERSONAL)] | None = None
    key: Annotated[str, Meta(max_length=1_024)] | None = None
    method: Literal["PUBLISH", "REQUEST", "REPLY", "ADD", "CANCEL", "REFRESH", "COUNTER", "DECLINECOUNTER"] = "REQUEST"

    def __post_init__(self) -> None:
        if (self.text is None) == (self.key is None):
            raise ValueError("exactly one of text and key is expected")


class MessageFill(Request, frozen=True, kw_only=True):
    """What the templates are filled with; the rest is how numbers, money and times are written."""

    data: Annotated[dict[str, Any], Meta(extra=PERSONAL)]
    locale: Annotated[str, Meta(max_length=35, examples=["en", "de-CH"])] = "en"
    currency: (
        Annotated[str, Meta(pattern=r"^[A-Z]{3}$(?!\n)", description="a code of ISO 4217, such as EUR")] | None
    ) = None
    zone: Annotated[str, Meta(max_length=64, examples=["Europe/Berlin"])] = "UTC"


class MessageRequested(Request, frozen=True, kw_only=True):
    """Send one e-mail to all of `to`, or one notification to a configured `target` (chat, push).

    `html` is the alternative to `text`. With `fill`, subject, text and html are Jinja2 templates.
    """

    to: Annotated[tuple[Email, ...], Meta(max_length=50)] = ()
    target: Annotated[Name, Meta(description="a name of the installation's TARGETS")] | None = None
    subject: Annotated[
        str, Meta(min_length=1, max_length=500, pattern=r"^[^\r\n\x00]*$(?!\n)", description="one line", extra=PERSONAL)
    ]
    text: Annotated[LongText, Meta(extra=PERSONAL)]
    html: Annotated[LongText, Meta(extra=PERSONAL)] | None = None
    sender: Email | None = None
    reply_to: Email | None = None
    attachments: Annotated[tuple[Attachment, ...], Meta(max_length=10)] = ()
    calendar: MessageCalendar | None = None
    fill: MessageFill | None = None

    def __post_init__(self) -> None:
        if bool(self.to) == (self.target is not None):
            raise ValueError("exactly one of to and target is expected")
        of_mail = {"sender", "reply_to", "attachments", "calendar"}
        given = sorted(name for name in of_mail if getattr(self, name)) if self.target else ()
        if given:
            raise ValueError(f"a target takes subject and text, no {', '.join(given)}")


class MessageCompleted(Result, frozen=True, kw_only=True):
    """The server accepted the message; `refused` names the recipients it did not take.

    Of a target: `message_id` names the job, and the target is the one that accepted.
    """

    message_id: str
    accepted: tuple[str, ...]
    refused: tuple[str, ...] = ()


class MessageFailed(Problem, frozen=True, kw_only=True):
    """The server refused the message for good, or it may not be sent."""


class MessageDeadlettered(DeadLetter, frozen=True, kw_only=True):
    """The job is kept as a dead letter."""
