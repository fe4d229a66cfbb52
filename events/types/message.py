"""The contract of the message function: notifications to people."""

from typing import Annotated, Any, Literal

from msgspec import Meta, field

from events.problem import Problem
from events.types.base import (
    PERSONAL,
    DeadLetter,
    Email,
    FileName,
    Input,
    LongText,
    Name,
    PersonName,
    Request,
    Result,
    refuse_repeated,
)

RECIPIENTS_LIMIT = 50


class Mailbox(Request, frozen=True, kw_only=True):
    """An address with the name of whom it belongs to."""

    email: Email
    name: PersonName | None = None


class Attachment(Request, frozen=True, kw_only=True):
    """A file sent along: inline, or from the store (the `key` of an earlier job's artefact).

    One with a `content_id` is shown within the HTML, which names it as `cid:` and the content_id.
    """

    name: FileName
    source: Input
    media_type: Annotated[str, Meta(pattern=r"^[a-z0-9.+-]+/[a-z0-9.+-]+$(?!\n)", description="such as image/png")] = (
        "application/octet-stream"
    )
    content_id: (
        Annotated[
            str,
            Meta(
                pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}(@[A-Za-z0-9][A-Za-z0-9.-]{0,99})?$(?!\n)",
                examples=["logo", "logo@shop.example"],
            ),
        ]
        | None
    ) = None


Recipients = Annotated[tuple[Email | Mailbox, ...], Meta(max_length=RECIPIENTS_LIMIT)]


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
    """Send one e-mail to all of `to`, `cc` and `bcc`, or one notification to a configured `target` (chat, push).

    `html` is the alternative to `text`. With `fill`, subject, text and html are Jinja2 templates.
    """

    to: Recipients = ()
    cc: Recipients = ()
    bcc: Annotated[Recipients, Meta(description="those whom no other recipient sees")] = ()
    target: Annotated[Name, Meta(description="a name of the installation's TARGETS")] | None = None
    subject: Annotated[
        str, Meta(min_length=1, max_length=500, pattern=r"^[^\r\n\x00]*$(?!\n)", description="one line", extra=PERSONAL)
    ]
    text: Annotated[LongText, Meta(extra=PERSONAL)]
    html: Annotated[LongText, Meta(extra=PERSONAL)] | None = None
    sender: Email | Mailbox | None = None
    reply_to: Email | Mailbox | None = None
    headers: Annotated[
        dict[str, Annotated[str, Meta(min_length=1, max_length=2_000)]],
        Meta(
            max_length=20,
            description="further headers, of those that functions/message/README.md lists: List-..., X-..., References",
            examples=[{"List-Unsubscribe": "<https://shop.example/unsubscribe/1042>"}],
            extra=PERSONAL,
        ),
    ] = field(default_factory=dict)
    attachments: Annotated[tuple[Attachment, ...], Meta(max_length=10)] = ()
    calendar: MessageCalendar | None = None
    fill: MessageFill | None = None

    def __post_init__(self) -> None:
        recipients = len(self.to) + len(self.cc) + len(self.bcc)
        if bool(recipients) == (self.target is not None):
            raise ValueError("exactly one of to and target is expected; cc and bcc count as to")
        if recipients > RECIPIENTS_LIMIT:
            raise ValueError(f"at most {RECIPIENTS_LIMIT} recipients are expected in to, cc and bcc, got {recipients}")
        refuse_repeated([each.content_id for each in self.attachments if each.content_id], "content_id of attachments")
        of_mail = {"to", "cc", "bcc", "sender", "reply_to", "headers", "attachments", "calendar"}
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
