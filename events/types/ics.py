"""What an ics job may ask for: events, to-dos and free/busy times in the terms of RFC 5545, 5546 and 7986.

Times are texts: `2026-12-01` is a day, `2026-12-01T14:00:00` a local time of `timezone` (floating without one), and
`2026-12-01T13:00:00Z` is UTC. All times of one item are of one kind.
"""

from typing import Annotated, Literal

from msgspec import Meta

from events.problem import Problem
from events.types.base import (
    PERSONAL,
    Artifact,
    DeadLetter,
    Email,
    FileName,
    LongText,
    PersonName,
    Request,
    Result,
    Text,
)

Moment = Annotated[str, Meta(max_length=40, examples=["2026-12-01T14:00:00", "2026-12-01"])]
Zone = Annotated[str, Meta(max_length=64, examples=["Europe/Berlin"])]
Uri = Annotated[str, Meta(max_length=2_048)]
Sequence = Annotated[int, Meta(ge=0, le=2_147_483_647)]
Emails = Annotated[tuple[Email, ...], Meta(max_length=100)]
MediaType = Annotated[str, Meta(pattern=r"^[a-z0-9.+-]+/[a-z0-9.+-]+$(?!\n)", max_length=127)]
InlineBytes = Annotated[bytes, Meta(max_length=1_048_576)]
Color = Annotated[str, Meta(pattern=r"^[a-z]{3,20}$(?!\n)", description="a CSS3 colour name (RFC 7986 5.9)")]
WeekDay = Literal["MO", "TU", "WE", "TH", "FR", "SA", "SU"]


class Person(Request, frozen=True, kw_only=True):
    """Who organizes; `sent_by` acts for them."""

    email: Email
    name: PersonName | None = None
    sent_by: Email | None = None


class Attendee(Person, frozen=True, kw_only=True):
    """Who is invited; `completed` and `in-process` are for to-dos only."""

    role: Literal["chair", "required", "optional", "none"] = "required"
    status: Literal["needs-action", "accepted", "declined", "tentative", "delegated", "completed", "in-process"] = (
        "needs-action"
    )
    rsvp: bool = True
    type: Literal["individual", "group", "resource", "room", "unknown"] = "individual"
    delegated_to: Emails = ()
    delegated_from: Emails = ()
    member_of: Emails = ()


class Alarm(Request, frozen=True, kw_only=True):
    """A reminder: 15 minutes before the start, or as one of `minutes_before`, `minutes_after` and `at` (UTC) says."""

    action: Literal["display", "audio", "email"] = "display"
    minutes_before: Annotated[int, Meta(ge=0, le=527_040)] | None = None
    minutes_after: Annotated[int, Meta(ge=0, le=527_040)] | None = None
    related: Annotated[Literal["start", "end"], Meta(description="what the minutes count from")] = "start"
    at: Moment | None = None
    repeat: Annotated[int, Meta(ge=0, le=100, description="how often it sounds again")] = 0
    repeat_minutes: Annotated[int, Meta(ge=1, le=10_080)] = 5
    text: Text | None = None
    subject: Annotated[Text | None, Meta(description="of an e-mail; default: the summary")] = None
    to: Annotated[Emails, Meta(description="who gets the e-mail")] = ()
    sound_url: Uri | None = None


class Geo(Request, frozen=True, kw_only=True):
    """A place in decimal degrees (WGS 84)."""

    latitude: Annotated[float, Meta(ge=-90, le=90)]
    longitude: Annotated[float, Meta(ge=-180, le=180)]


class Conference(Request, frozen=True, kw_only=True):
    """Where to meet online, or which number to call (RFC 7986 5.11)."""

    url: Uri
    label: Text | None = None
    features: Annotated[
        tuple[Literal["audio", "chat", "feed", "moderator", "phone", "screen", "video"], ...], Meta(max_length=7)
    ] = ()


class CalendarAttachment(Request, frozen=True, kw_only=True):
    """A file of an event: exactly one of a `url` and `data_base64` inline."""

    url: Uri | None = None
    data_base64: InlineBytes | None = None
    media_type: MediaType | None = None
    name: FileName | None = None

    def __post_init__(self) -> None:
        if (self.url is None) == (self.data_base64 is None):
            raise ValueError("exactly one of url, data_base64 is expected")


class CalendarImage(CalendarAttachment, frozen=True, kw_only=True):
    """A picture of an event or a feed (RFC 7986 5.10)."""

    display: Literal["badge", "graphic", "fullsize", "thumbnail"] | None = None


class Recurrence(Request, frozen=True, kw_only=True):
    """The parts of an RRULE (RFC 5545 3.3.10). Nothing smaller than days: Outlook and Google take none."""

    frequency: Literal["daily", "weekly", "monthly", "yearly"]
    interval: Annotated[int, Meta(ge=1, le=1_000)] = 1
    count: Annotated[int, Meta(ge=1, le=10_000)] | None = None
    until: Annotated[Moment | None, Meta(description="the last moment; a local time of the zone, or UTC")] = None
    by_month: Annotated[tuple[Annotated[int, Meta(ge=1, le=12)], ...], Meta(max_length=12)] = ()
    by_month_day: Annotated[tuple[Annotated[int, Meta(ge=-31, le=31)], ...], Meta(max_length=62)] = ()
    by_year_day: Annotated[tuple[Annotated[int, Meta(ge=-366, le=366)], ...], Meta(max_length=366)] = ()
    by_week_number: Annotated[tuple[Annotated[int, Meta(ge=-53, le=53)], ...], Meta(max_length=106)] = ()
    by_day: Annotated[
        tuple[Annotated[str, Meta(pattern=r"^([+-]?[1-9][0-9]?)?(MO|TU|WE|TH|FR|SA|SU)$(?!\n)")], ...],
        Meta(max_length=100, examples=[["MO", "-1FR"]]),
    ] = ()
    by_set_position: Annotated[tuple[Annotated[int, Meta(ge=-366, le=366)], ...], Meta(max_length=100)] = ()
    week_start: WeekDay = "MO"


class Override(Request, frozen=True, kw_only=True):
    """One instance of a series, changed. What is absent is as in the series; `start` alone moves it."""

    recurrence_id: Annotated[Moment, Meta(description="when the instance would have started")]
    start: Moment | None = None
    end: Moment | None = None
    summary: Text | None = None
    description: LongText | None = None
    location: Text | None = None
    url: Uri | None = None
    status: Literal["confirmed", "tentative", "cancelled"] | None = None
    transparency: Literal["opaque", "transparent"] | None = None
    attendees: Annotated[tuple[Attendee, ...], Meta(max_length=1_000)] | None = None
    alarms: Annotated[tuple[Alarm, ...], Meta(max_length=10)] | None = None
    sequence: Sequence | None = None


class Previous(Request, frozen=True, kw_only=True):
    """What was sent last, for an update: its sequence, and what a change of makes a new one (RFC 5546 2.1.4)."""

    sequence: Sequence = 0
    start: Moment | None = None
    end: Moment | None = None
    due: Moment | None = None
    timezone: Zone | None = None
    recurrence: Recurrence | None = None
    rrule: Text | None = None
    rdates: tuple[Moment, ...] = ()
    exdates: tuple[Moment, ...] = ()
    status: Text | None = None


class CalendarItem(Request, frozen=True, kw_only=True):
    """What events and to-dos have in common."""

    summary: Text
    timezone: Zone | None = None
    uid: Text | None = None
    key: Annotated[Text | None, Meta(description="your own name for it; the same key of one source is one uid")] = None
    sequence: Sequence | None = None
    previous: Previous | None = None
    recurrence: Recurrence | None = None
    rrule: Annotated[Text | None, Meta(description="the recurrence as text: FREQ=WEEKLY;COUNT=10")] = None
    rdates: Annotated[tuple[Moment, ...], Meta(max_length=1_000)] = ()
    exdates: Annotated[tuple[Moment, ...], Meta(max_length=1_000)] = ()
    recurrence_id: Annotated[
        Moment | None, Meta(description="this is one instance of a series sent before, the one that would start then")
    ] = None
    description: LongText | None = None
    comment: LongText | None = None
    location: Text | None = None
    geo: Geo | None = None
    url: Uri | None = None
    conferences: Annotated[tuple[Conference, ...], Meta(max_length=20)] = ()
    categories: Annotated[tuple[Text, ...], Meta(max_length=50)] = ()
    priority: Annotated[int, Meta(ge=0, le=9, description="1 is the highest, 0 none")] | None = None
    classification: Literal["public", "private", "confidential"] | None = None
    color: Color | None = None
    organizer: Person | None = None
    attendees: Annotated[tuple[Attendee, ...], Meta(max_length=1_000)] = ()
    alarms: Annotated[tuple[Alarm, ...], Meta(max_length=10)] = ()
    attachments: Annotated[tuple[CalendarAttachment, ...], Meta(max_length=20)] = ()
    images: Annotated[tuple[CalendarImage, ...], Meta(max_length=10)] = ()

    def __post_init__(self) -> None:
        for one, other in (("recurrence", "rrule"), ("uid", "key")):
            if getattr(self, one) is not None and getattr(self, other) is not None:
                raise ValueError(f"one of {one} and {other} is expected, got both")


class CalendarEntry(CalendarItem, frozen=True, kw_only=True):
    """One event, or one series of events with its `overrides`. `end` is the first moment that is no part of it."""

    start: Moment
    end: Moment | None = None
    status: Literal["confirmed", "tentative", "cancelled"] | None = None
    transparency: Literal["opaque", "transparent"] | None = None
    overrides: Annotated[tuple[Override, ...], Meta(max_length=1_000)] = ()


class Todo(CalendarItem, frozen=True, kw_only=True):
    """Something to do, by `due`; `completed` is a UTC time."""

    start: Moment | None = None
    due: Moment | None = None
    completed: Moment | None = None
    percent_complete: Annotated[int, Meta(ge=0, le=100)] | None = None
    status: Literal["needs-action", "in-process", "completed", "cancelled"] | None = None


class BusyPeriod(Request, frozen=True, kw_only=True):
    """A time that is taken, or free."""

    start: Moment
    end: Moment
    type: Literal["busy", "free", "busy-unavailable", "busy-tentative"] = "busy"


class FreeBusy(Request, frozen=True, kw_only=True):
    """When somebody is busy between `start` and `end`, or the question when. Written as UTC (RFC 5545 3.6.4)."""

    start: Moment
    end: Moment
    timezone: Zone | None = None
    uid: Text | None = None
    key: Text | None = None
    periods: Annotated[tuple[BusyPeriod, ...], Meta(max_length=10_000)] = ()
    organizer: Person | None = None
    attendees: Annotated[tuple[Attendee, ...], Meta(max_length=1_000)] = ()
    url: Uri | None = None
    comment: LongText | None = None

    def __post_init__(self) -> None:
        if self.uid is not None and self.key is not None:
            raise ValueError("one of uid and key is expected, got both")


class Feed(Request, frozen=True, kw_only=True):
    """What a calendar that people subscribe to says of itself (RFC 7986), in the X- forms of the clients too."""

    name: Text
    description: LongText | None = None
    uid: Text | None = None
    url: Annotated[Uri | None, Meta(description="a page about it")] = None
    source_url: Annotated[Uri | None, Meta(description="where the feed itself is fetched from")] = None
    refresh_minutes: Annotated[int, Meta(ge=5, le=525_600)] | None = None
    timezone: Zone | None = None
    color: Color | None = None
    categories: Annotated[tuple[Text, ...], Meta(max_length=50)] = ()
    images: Annotated[tuple[CalendarImage, ...], Meta(max_length=10)] = ()


class EmailPart(Request, frozen=True, kw_only=True):
    """The invitation as a part of an e-mail: `text` (default: what, when and where), `html`, and the calendar."""

    text: Annotated[LongText, Meta(extra=PERSONAL)] | None = None
    html: Annotated[LongText, Meta(extra=PERSONAL)] | None = None


class IcsRequested(Request, frozen=True, kw_only=True):
    """Make one calendar file (RFC 5545) of events, to-dos or free/busy times; with `separate` one for each of them."""

    events: Annotated[tuple[CalendarEntry, ...], Meta(min_length=1, max_length=10_000)] = ()
    name: FileName = "invite.ics"
    method: Annotated[
        Literal["publish", "request", "cancel", "reply", "counter", "none"],
        Meta(description="RFC 5546; `none`: a file that is no message"),
    ] = "publish"
    todos: Annotated[tuple[Todo, ...], Meta(min_length=1, max_length=10_000)] = ()
    free_busy: Annotated[tuple[FreeBusy, ...], Meta(min_length=1, max_length=100)] = ()
    sequence: Sequence | None = None
    separate: bool = False
    feed: Feed | None = None
    email_part: EmailPart | None = None

    def __post_init__(self) -> None:
        if not (self.events or self.todos or self.free_busy):
            raise ValueError("at least one of events, todos, free_busy is expected, got none")
        if self.separate and max(len(self.events), len(self.todos), len(self.free_busy)) > SEPARATE_LIMIT:
            raise ValueError(f"separate expects at most {SEPARATE_LIMIT} of a kind")


SEPARATE_LIMIT = 100  # each file is an artefact of its own


class IcsCompleted(Result, frozen=True, kw_only=True):
    """The calendar file; `content` is the file itself when there is one and it is at most 64 KiB.

    `uids` and `sequences` are in the order of events, todos, free_busy. `email_part` is a MIME entity
    multipart/alternative (also an artefact of its own), inline under the same condition. `warnings` names, by their
    pointers, the first 100 fields that Outlook, Google or Apple are known to refuse, skip or show otherwise.
    """

    artifacts: tuple[Artifact, ...]
    uids: tuple[str, ...]
    sequences: tuple[int, ...] = ()
    content: str | None = None
    email_part: str | None = None
    warnings: tuple[str, ...] = ()


class IcsFailed(Problem, frozen=True, kw_only=True):
    """The calendar file cannot be made as asked."""


class IcsDeadlettered(DeadLetter, frozen=True, kw_only=True):
    """The job is kept as a dead letter."""
