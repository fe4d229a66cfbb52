"""The contract: one frozen struct per event type; lengths in the unit that the field's name ends with.

A class name gives its event type: `ImageRequested` is `dev.errands.image.requested.v1`. Requests refuse unknown
fields, so that a misspelt option fails the job instead of being ignored; readers of the other types accept them.
Adding an optional field keeps the version; any other change is a new class with a new version.
"""

import re
from typing import Annotated, Any, Literal

from msgspec import Meta, Struct

from events.problem import Problem

# `$` alone would let a final line feed pass.
Name = Annotated[str, Meta(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,99}$(?!\n)", description="a file name, no path")]
Text = Annotated[str, Meta(min_length=1, max_length=1_000)]
LongText = Annotated[str, Meta(max_length=100_000)]
Email = Annotated[str, Meta(max_length=254, pattern=r"^[^@\s<>,;:\"]+@[^@\s<>,;:\"]+$(?!\n)")]
Sha256 = Annotated[str, Meta(pattern=r"^[0-9a-f]{64}$(?!\n)", description="lower-case hexadecimal")]
SidePx = Annotated[int, Meta(ge=1, le=16_384)]


class Request(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """Base of what a caller sends."""


class Result(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Base of what Errands answers."""


class Input(Request, frozen=True, kw_only=True):
    """Bytes to work on: exactly one of a `url`, a `key` in the store, or `data_base64` inline."""

    url: Annotated[str, Meta(max_length=8_192)] | None = None
    key: Annotated[str, Meta(max_length=1_024)] | None = None
    data_base64: bytes | None = None
    sha256: Sha256 | None = None

    def __post_init__(self) -> None:
        given = [name for name in ("url", "key", "data_base64") if getattr(self, name) is not None]
        if len(given) != 1:
            raise ValueError(f"exactly one of url, key, data_base64 is expected, got {' and '.join(given) or 'none'}")


class Artifact(Result, frozen=True, kw_only=True):
    """A stored result. `key` names it in the store, for a later job; `url` is where the API fetches it.

    `expires_at` (RFC 3339) is when `url` stops working; absent when it does not expire.
    """

    name: str
    media_type: str
    size_bytes: int
    sha256: str
    key: str
    url: str
    expires_at: str | None = None


class DeadLetter(Result, frozen=True, kw_only=True):
    """A job that was tried, could not be delivered, and is kept for a person to mend and replay.

    `code` is the last HTTP status, or -1 when no answer came; `attempts` is absent where the broker does not say.
    """

    letter: str
    code: int
    destination: str
    error: str | None = None
    attempts: int | None = None


# --- ics: calendar files


class Person(Request, frozen=True, kw_only=True):
    """Who organizes."""

    email: Email
    name: Text | None = None


class Attendee(Person, frozen=True, kw_only=True):
    """Who is invited."""

    role: Literal["chair", "required", "optional", "none"] = "required"
    status: Literal["needs-action", "accepted", "declined", "tentative"] = "needs-action"
    rsvp: bool = True


class Alarm(Request, frozen=True, kw_only=True):
    """A reminder shown before the start."""

    minutes_before: Annotated[int, Meta(ge=0, le=40_320)] = 15
    text: Text | None = None


class CalendarEntry(Request, frozen=True, kw_only=True):
    """One event. `start` and `end` are dates (all day) or local times of `timezone`; a `Z` suffix means UTC."""

    summary: Text
    start: Annotated[str, Meta(max_length=40, examples=["2026-12-01T14:00:00", "2026-12-01"])]
    end: Annotated[str, Meta(max_length=40)] | None = None
    timezone: Annotated[str, Meta(max_length=64, examples=["Europe/Berlin"])] | None = None
    uid: Text | None = None
    description: LongText | None = None
    location: Text | None = None
    url: Annotated[str, Meta(max_length=2_048)] | None = None
    organizer: Person | None = None
    attendees: Annotated[tuple[Attendee, ...], Meta(max_length=1_000)] = ()
    alarms: Annotated[tuple[Alarm, ...], Meta(max_length=10)] = ()


class IcsRequested(Request, frozen=True, kw_only=True):
    """Make one calendar file (RFC 5545) of one or more events."""

    events: Annotated[tuple[CalendarEntry, ...], Meta(min_length=1, max_length=10_000)]
    name: Name = "invite.ics"
    method: Literal["publish", "request", "cancel"] = "publish"
    sequence: Annotated[int, Meta(ge=0, le=2_147_483_647)] = 0


class IcsCompleted(Result, frozen=True, kw_only=True):
    """The calendar file; `content` is the file itself when it is at most 64 KiB."""

    artifacts: tuple[Artifact, ...]
    uids: tuple[str, ...]
    content: str | None = None


class IcsFailed(Problem, frozen=True, kw_only=True):
    """The calendar file cannot be made as asked."""


class IcsDeadlettered(DeadLetter, frozen=True, kw_only=True):
    """The job is kept as a dead letter."""


# --- image: resize and convert


class ImageOutput(Request, frozen=True, kw_only=True):
    """One picture to make. Without a side the source's size is kept; the picture is never enlarged.

    `fit` keeps the picture whole inside the box; `fill` covers the box and crops the middle, and needs both sides.
    """

    name: Name
    format: Literal["jpeg", "png", "webp", "avif"] = "jpeg"
    width_px: SidePx | None = None
    height_px: SidePx | None = None
    mode: Literal["fit", "fill"] = "fit"
    quality: Annotated[int, Meta(ge=1, le=100)] = 80

    def __post_init__(self) -> None:
        if self.mode == "fill" and None in (self.width_px, self.height_px):
            raise ValueError("mode fill expects both width_px and height_px")


class ImageRequested(Request, frozen=True, kw_only=True):
    """Decode one picture once and make every output of it."""

    source: Input
    outputs: Annotated[tuple[ImageOutput, ...], Meta(min_length=1, max_length=32)]

    def __post_init__(self) -> None:
        _refuse_repeated([each.name for each in self.outputs], "outputs")


class ImageArtifact(Artifact, frozen=True, kw_only=True):
    """A stored picture."""

    width_px: int
    height_px: int


class ImageSource(Result, frozen=True, kw_only=True):
    """What the source turned out to be, after EXIF rotation."""

    format: str
    width_px: int
    height_px: int
    size_bytes: int


class ImageCompleted(Result, frozen=True, kw_only=True):
    """The pictures, in the order of the request's outputs."""

    source: ImageSource
    artifacts: tuple[ImageArtifact, ...]


class ImageFailed(Problem, frozen=True, kw_only=True):
    """The picture is refused, corrupt or over a limit."""


class ImageDeadlettered(DeadLetter, frozen=True, kw_only=True):
    """The job is kept as a dead letter."""


# --- report: documents from data


class ReportOutput(Request, frozen=True, kw_only=True):
    """One document to make from the template's single run."""

    name: Name
    format: Literal["pdf", "html"] = "pdf"


class ReportRequested(Request, frozen=True, kw_only=True):
    """Render a built-in template with data; the template's README states the data it takes."""

    template: Annotated[str, Meta(pattern=r"^[a-z][a-z0-9-]{0,49}$(?!\n)", examples=["invoice", "table"])]
    data: dict[str, Any]
    outputs: Annotated[tuple[ReportOutput, ...], Meta(min_length=1, max_length=8)] = (ReportOutput(name="report.pdf"),)

    def __post_init__(self) -> None:
        _refuse_repeated([each.name for each in self.outputs], "outputs")


class ReportCompleted(Result, frozen=True, kw_only=True):
    """The documents, in the order of the request's outputs; `pages` counts the PDF's, 0 without one."""

    artifacts: tuple[Artifact, ...]
    pages: int
    render_s: float


class ReportFailed(Problem, frozen=True, kw_only=True):
    """The data does not fit the template, or a limit was reached."""


class ReportDeadlettered(DeadLetter, frozen=True, kw_only=True):
    """The job is kept as a dead letter."""


# --- message: notifications to people


class Attachment(Request, frozen=True, kw_only=True):
    """A file sent along: inline, or from the store (the `key` of an earlier job's artefact)."""

    name: Name
    source: Input
    media_type: Annotated[str, Meta(pattern=r"^[a-z0-9.+-]+/[a-z0-9.+-]+$(?!\n)")] = "application/octet-stream"


class MessageRequested(Request, frozen=True, kw_only=True):
    """Send one e-mail to all of `to`; `html` is the alternative to `text`."""

    to: Annotated[tuple[Email, ...], Meta(min_length=1, max_length=50)]
    subject: Annotated[str, Meta(min_length=1, max_length=500, pattern=r"^[^\r\n\x00]*$(?!\n)")]
    text: LongText
    html: LongText | None = None
    sender: Email | None = None
    reply_to: Email | None = None
    attachments: Annotated[tuple[Attachment, ...], Meta(max_length=10)] = ()


class MessageCompleted(Result, frozen=True, kw_only=True):
    """The server accepted the message; `refused` names the recipients it did not take."""

    message_id: str
    accepted: tuple[str, ...]
    refused: tuple[str, ...] = ()


class MessageFailed(Problem, frozen=True, kw_only=True):
    """The server refused the message for good, or it may not be sent."""


class MessageDeadlettered(DeadLetter, frozen=True, kw_only=True):
    """The job is kept as a dead letter."""


def _refuse_repeated(names: list[str], field: str) -> None:
    repeated = sorted({name for name in names if names.count(name) > 1})
    if repeated:
        raise ValueError(f"{field} must have different names, got {', '.join(repeated)} twice")


PHASES = ("Requested", "Completed", "Failed", "Deadlettered")


def event_type(struct: type[Struct]) -> str:
    """The CloudEvents `type` of a struct: `ImageRequested` is `dev.errands.image.requested.v1`.

    A class name may end with a version: `ImageRequestedV2`. Raises ValueError for any other name.
    """
    parts = re.fullmatch(rf"([A-Z][A-Za-z0-9]*?)({'|'.join(PHASES)})(?:V([0-9]+))?", struct.__name__)
    if parts is None:
        raise ValueError(f"an event class is named <Job><{'|'.join(PHASES)}>[V<n>], got {struct.__name__}")
    job, phase, version = parts.groups()
    return f"dev.errands.{job.lower()}.{phase.lower()}.v{version or 1}"


def sibling_type(type_: str, phase: str) -> str:
    """The type of the same job in another phase: (`...image.requested.v1`, `failed`) is `...image.failed.v1`."""
    stem, _, version = type_.rpartition(".")
    return f"{stem.rpartition('.')[0]}.{phase}.{version}"


REGISTRY: dict[str, type[Struct]] = {
    event_type(each): each
    for each in list(globals().values())
    if isinstance(each, type) and issubclass(each, Struct) and each.__name__.endswith(PHASES)
}
