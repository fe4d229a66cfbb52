"""What is answered to an operator's command: the same on the command line, the pages and the HTTP API.

Times are RFC 3339 in UTC.
"""

from typing import Annotated, Any, Literal

from msgspec import Meta, Struct

from functions.runtime.failure_reports import FailureReport

DeadLetterId = Annotated[int, Meta(ge=1, le=2**62)]
GroupId = Annotated[int, Meta(ge=1, le=2**62)]
Line = Annotated[str, Meta(max_length=200)]
Paragraph = Annotated[str, Meta(max_length=10_000)]
Moment = Annotated[str, Meta(pattern=r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$(?!\n)")]
State = Literal["open", "quarantined", "replayed", "completed", "failed", "discarded"]
UNRESOLVED: tuple[State, ...] = ("open", "quarantined")
Kind = Literal["job", "callback"]
"""Whether an event was to have work done, or to tell an API how its job ended."""


class CommandResult(Struct, frozen=True, kw_only=True):
    """Base of what is answered."""


class DeadLetter(CommandResult, frozen=True, kw_only=True):
    """One undelivered event in a line. `code` is the last HTTP status, -1 without an answer, 0 when none was told.

    `replays` counts how often it was replayed, `setbacks` how often it came back after that.
    """

    id: int
    state: State
    kind: Kind
    job: str
    type: str
    code: int
    trigger: str
    destination: str
    error: str
    attempts: int | None
    first_seen: str
    last_seen: str
    times: int
    replays: int
    setbacks: int
    group: int
    event_id: str
    event_source: str
    subject: str | None
    size_bytes: int
    edited: bool


class Action(CommandResult, frozen=True, kw_only=True):
    """One line of the audit trail; the broker's own (`arrived`) among them."""

    id: int
    at: str
    actor: str
    verb: str
    dead_letter: int | None = None
    group: int | None = None
    replay: int | None = None
    detail: dict[str, Any] = {}


class ShownEvent(CommandResult, frozen=True, kw_only=True):
    """An event as it may be shown to the one who asks; `data` is text, `data_base64` what is none.

    `masked` names what was hidden, as JSON Pointers into the data and names of attributes.
    """

    attributes: dict[str, str]
    data: str | None = None
    data_base64: bytes | None = None
    masked: tuple[str, ...] = ()


class Detail(CommandResult, frozen=True, kw_only=True):
    """All of one dead letter. `body` is what a replay sends; without the right `data` it holds no data.

    `diff` (unified) is from what came to what a replay sends; `curl` sends it by hand, and is absent where something
    was masked. `related` are the other dead letters of the job.
    """

    dead_letter: DeadLetter
    explanation: str
    body: ShownEvent
    failure_report: FailureReport | None
    diff: str
    curl: str | None
    history: tuple[Action, ...]
    related: tuple[DeadLetter, ...]


class DeadLetterPage(CommandResult, frozen=True, kw_only=True):
    """Some dead letters, the newest first; `next_before` asks for those after; `total` is None where it would cost
    much.
    """

    dead_letters: tuple[DeadLetter, ...]
    next_before: int | None = None
    total: int | None = None


class Group(CommandResult, frozen=True, kw_only=True):
    """Dead letters of one kind with one cause: `open` of them wait. `came_back_at`: it was resolved, and is here
    again.
    """

    id: int
    state: Literal["open", "acknowledged", "resolved"]
    kind: Kind
    job: str
    type: str
    code: int
    explanation: str
    trigger: str
    destination: str
    error: str
    open: int
    total: int
    first_seen: str
    last_seen: str
    note: str
    owner: str
    came_back_at: str | None


class Groups(CommandResult, frozen=True, kw_only=True):
    """The groups, the one with the most open dead letters first."""

    groups: tuple[Group, ...]


class GroupDetail(CommandResult, frozen=True, kw_only=True):
    """A group and what was done to it."""

    group: Group
    history: tuple[Action, ...]


class Done(CommandResult, frozen=True, kw_only=True):
    """The dead letters that it was done to, and why it was not done to others."""

    dead_letters: tuple[int, ...] = ()
    passed: dict[str, str] = {}


class Run(CommandResult, frozen=True, kw_only=True):
    """A replay: how far it is. `id` 0 is a dry run, which sent nothing and lists `would_send` (its first 1,000).

    `sending` are those of which it is not known whether the broker took them: it was interrupted just then. They are
    not sent again by themselves. Of those that were `sent`, `completed` and `failed` tell how their jobs ended since,
    `returned` are back as dead letters, `discarded` were closed by hand, and of `awaited` no end is known yet.
    """

    id: int
    state: Literal["running", "cancelled", "stopped", "done"]
    actor: str
    at: str
    reason: str
    as_new: bool
    trigger_only: bool
    rate_per_s: float
    total: int
    waiting: int = 0
    sending: int = 0
    sent: int = 0
    refused: int = 0
    passed: int = 0
    returned: int = 0
    completed: int = 0
    failed: int = 0
    discarded: int = 0
    awaited: int = 0
    would_send: tuple[int, ...] = ()
    refusals: dict[str, str] = {}


class Runs(CommandResult, frozen=True, kw_only=True):
    """The replays, the newest first."""

    runs: tuple[Run, ...]


class Record(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A dead letter as a line of an export: all that it takes to have the same dead letter elsewhere."""

    attributes: dict[str, str]
    data_base64: bytes
    code: Annotated[int, Meta(ge=-(2**31), lt=2**31)]
    destination: Annotated[str, Meta(max_length=4_096)] = ""
    trigger: Annotated[str, Meta(max_length=4_096)] = ""
    error: Annotated[str, Meta(max_length=10_000)] = ""
    attempts: Annotated[int, Meta(ge=-(2**31), lt=2**31)] | None = None
    first_seen: Moment | None = None
    last_seen: Moment | None = None
    times: Annotated[int, Meta(ge=1)] = 1
    state: State = "open"
    masked: tuple[str, ...] = ()


class Records(CommandResult, frozen=True, kw_only=True):
    """Some dead letters whole, the oldest first; `next_after` asks for more."""

    records: tuple[Record, ...]
    next_after: int | None = None


class Arrivals(CommandResult, frozen=True, kw_only=True):
    """Dead letters that came, the oldest first; `cursor` asks for what comes next."""

    dead_letters: tuple[DeadLetter, ...]
    cursor: int


class Trail(CommandResult, frozen=True, kw_only=True):
    """The audit trail, the newest first."""

    actions: tuple[Action, ...]
    next_before: int | None = None


class Permissions(CommandResult, frozen=True, kw_only=True):
    """Who is asking, and what they may do."""

    name: str
    rights: tuple[str, ...]
    read_only: bool
