"""What an operator can ask for, and what is answered: the same on the command line, the page and the HTTP API.

Each word is a struct, named as it is said; `WORDS` has them by name. Times are RFC 3339 in UTC.
"""

from typing import Annotated, Any, Final, Literal

from msgspec import Meta, Struct

from functions.runtime.failure_reports import FailureReport

DeadLetterId = Annotated[int, Meta(ge=1, le=2**62)]
GroupId = Annotated[int, Meta(ge=1, le=2**62)]
Line = Annotated[str, Meta(max_length=200)]
Paragraph = Annotated[str, Meta(max_length=10_000)]
Moment = Annotated[str, Meta(pattern=r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$(?!\n)")]
State = Literal["open", "quarantined", "replayed", "completed", "failed", "discarded"]
UNRESOLVED: tuple[State, ...] = ("open", "quarantined")
STATES: tuple[State, ...] = ("open", "quarantined", "replayed", "completed", "failed", "discarded")
BODY_LIMIT_BYTES: Final = 32 * 1024 * 1024  # of a word as JSON: an import of one dead letter of 10 MiB, in base64


class Command(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """Base of what is asked."""


class Response(Struct, frozen=True, kw_only=True):
    """Base of what is answered."""


# --- what is answered


class DeadLetter(Response, frozen=True, kw_only=True):
    """One undelivered event in a line. `code` is the last HTTP status, -1 without an answer, 0 when none was told.

    `replays` counts how often it was replayed, `setbacks` how often it came back after that.
    """

    id: int
    state: State
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


class Action(Response, frozen=True, kw_only=True):
    """One line of the audit trail; the broker's own (`arrived`) among them."""

    id: int
    at: str
    actor: str
    verb: str
    dead_letter: int | None = None
    group: int | None = None
    replay: int | None = None
    detail: dict[str, Any] = {}


class Body(Response, frozen=True, kw_only=True):
    """An event as it may be shown to the one who asks; `data` is text, `data_base64` what is none.

    `masked` names what was hidden, as JSON Pointers into the data and names of attributes.
    """

    attributes: dict[str, str]
    data: str | None = None
    data_base64: bytes | None = None
    masked: tuple[str, ...] = ()


class Detail(Response, frozen=True, kw_only=True):
    """All of one dead letter. `body` is what a replay sends; without the right `data` it holds no data.

    `diff` (unified) is from what came to what a replay sends; `curl` sends it by hand, and is absent where something
    was masked. `related` are the other dead letters of the job.
    """

    dead_letter: DeadLetter
    explanation: str
    body: Body
    failure_report: FailureReport | None
    diff: str
    curl: str | None
    history: tuple[Action, ...]
    related: tuple[DeadLetter, ...]


class Page(Response, frozen=True, kw_only=True):
    """Some dead letters, the newest first; `next_before` asks for those after; `total` is None where it would cost
    much.
    """

    dead_letters: tuple[DeadLetter, ...]
    next_before: int | None = None
    total: int | None = None


class Group(Response, frozen=True, kw_only=True):
    """Dead letters of one kind with one cause: `open` of them wait. `came_back_at`: it was resolved, and is here
    again.
    """

    id: int
    state: Literal["open", "acknowledged", "resolved"]
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


class Groups(Response, frozen=True, kw_only=True):
    """The groups, the one with the most open dead letters first."""

    groups: tuple[Group, ...]


class GroupDetail(Response, frozen=True, kw_only=True):
    """A group and what was done to it."""

    group: Group
    history: tuple[Action, ...]


class Done(Response, frozen=True, kw_only=True):
    """The dead letters that it was done to, and why it was not done to others."""

    dead_letters: tuple[int, ...] = ()
    passed: dict[str, str] = {}


class Run(Response, frozen=True, kw_only=True):
    """A replay: how far it is. `id` 0 is a dry run, which sent nothing and lists `would_send` (its first 1,000).

    `sending` are those of which it is not known whether the broker took them: it was interrupted just then. They are
    not sent again by themselves.
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
    would_send: tuple[int, ...] = ()
    refusals: dict[str, str] = {}


class Runs(Response, frozen=True, kw_only=True):
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


class Records(Response, frozen=True, kw_only=True):
    """Some dead letters whole, the oldest first; `next_after` asks for more."""

    records: tuple[Record, ...]
    next_after: int | None = None


class Arrivals(Response, frozen=True, kw_only=True):
    """Dead letters that came, the oldest first; `cursor` asks for what comes next."""

    dead_letters: tuple[DeadLetter, ...]
    cursor: int


class Trail(Response, frozen=True, kw_only=True):
    """The audit trail, the newest first."""

    actions: tuple[Action, ...]
    next_before: int | None = None


class Permissions(Response, frozen=True, kw_only=True):
    """Who is asking, and what they may do."""

    name: str
    rights: tuple[str, ...]
    read_only: bool


# --- what is asked


class Filter(Command, frozen=True, kw_only=True):
    """Which dead letters: those that fit everything given. `state` may be `all` or `unresolved` (open or quarantined).

    `text` is looked for in the data, whatever the case of A to Z; ages are of when a dead letter first came.
    """

    job: Line | None = None
    type: Annotated[str, Meta(max_length=4_096)] | None = None
    code: int | None = None
    destination: Annotated[str, Meta(max_length=4_096)] | None = None
    trigger: Line | None = None
    text: Annotated[str, Meta(min_length=1, max_length=200)] | None = None
    older_than_s: Annotated[float, Meta(ge=0, le=1e9)] | None = None
    newer_than_s: Annotated[float, Meta(ge=0, le=1e9)] | None = None
    state: Literal[State, "all", "unresolved"] = "unresolved"
    group: GroupId | None = None


class Selection(Command, frozen=True, kw_only=True):
    """Dead letters by number, or all that match."""

    dead_letters: Annotated[tuple[DeadLetterId, ...], Meta(max_length=100_000)] = ()
    matching: Filter | None = None

    def __post_init__(self) -> None:
        if bool(self.dead_letters) == (self.matching is not None):
            raise ValueError("exactly one of dead letters and matching is expected")


class List(Command, frozen=True, kw_only=True):
    """The dead letters, the newest first."""

    matching: Filter = Filter()
    before: DeadLetterId | None = None
    limit: Annotated[int, Meta(ge=1, le=1_000)] = 100


class ListGroups(Command, frozen=True, kw_only=True):
    """The groups that have dead letters waiting, or of a state, or all."""

    state: Literal["waiting", "open", "acknowledged", "resolved", "all"] = "waiting"
    limit: Annotated[int, Meta(ge=1, le=1_000)] = 100


class ShowGroup(Command, frozen=True, kw_only=True):
    """One group."""

    group: GroupId


class Show(Command, frozen=True, kw_only=True):
    """One dead letter."""

    dead_letter: DeadLetterId


class Unmask(Command, frozen=True, kw_only=True):
    """One dead letter with nothing hidden, which is a right of its own and is noted."""

    dead_letter: DeadLetterId


class Edit(Command, frozen=True, kw_only=True):
    """Change what a replay sends; an attribute set to null goes. `revert` first takes back what was changed before.

    `data` is JSON text, `data_base64` other content.
    """

    dead_letter: DeadLetterId
    data: str | None = None
    data_base64: bytes | None = None
    attributes: dict[str, str | None] = {}
    revert: bool = False


class Replay(Command, frozen=True, kw_only=True):
    """Send dead letters again: with their ids (consumers then know them again), or `as_new` jobs; to all Triggers or,
    with `trigger_only`, to the one function that failed. It stops after `stop_after` failures.
    """

    selection: Selection
    dry_run: bool = False
    as_new: bool = False
    trigger_only: bool = False
    rate_per_s: Annotated[float, Meta(gt=0, le=1_000)] = 50.0
    stop_after: Annotated[int, Meta(ge=1, le=1_000_000)] = 10


class Progress(Command, frozen=True, kw_only=True):
    """How far one replay is."""

    replay: DeadLetterId


class Replays(Command, frozen=True, kw_only=True):
    """The latest replays."""

    limit: Annotated[int, Meta(ge=1, le=1_000)] = 20


class Cancel(Command, frozen=True, kw_only=True):
    """End a replay that runs."""

    replay: DeadLetterId


class Resume(Command, frozen=True, kw_only=True):
    """Go on with a replay that was cancelled, stopped or interrupted."""

    replay: DeadLetterId


class Discard(Command, frozen=True, kw_only=True):
    """Close dead letters without a replay; undone for a day."""

    selection: Selection
    reason: Annotated[str, Meta(min_length=1, max_length=10_000)]


class Undo(Command, frozen=True, kw_only=True):
    """Take a discard back."""

    selection: Selection


class Export(Command, frozen=True, kw_only=True):
    """Dead letters whole. Without `unmasked`, a right of its own, what is secret is masked, and no import takes it."""

    matching: Filter = Filter(state="all")
    unmasked: bool = False
    after: int = 0
    limit: Annotated[int, Meta(ge=1, le=1_000)] = 100


class Import(Command, frozen=True, kw_only=True):
    """Keep dead letters of an export; one that is here already stays as it is."""

    records: Annotated[tuple[Record, ...], Meta(max_length=1_000)]


class Watch(Command, frozen=True, kw_only=True):
    """Wait up to `wait_s` for dead letters to come; without a cursor, what comes from now on."""

    cursor: int | None = None
    wait_s: Annotated[float, Meta(ge=0, le=30)] = 0.0


class Acknowledge(Command, frozen=True, kw_only=True):
    """Somebody looks after the group."""

    group: GroupId


class Resolve(Command, frozen=True, kw_only=True):
    """The group's cause is mended; it says so when it comes back."""

    group: GroupId


class Reopen(Command, frozen=True, kw_only=True):
    """The group is open again."""

    group: GroupId


class Note(Command, frozen=True, kw_only=True):
    """What there is to know of a group; empty takes it away."""

    group: GroupId
    text: Paragraph


class Owner(Command, frozen=True, kw_only=True):
    """Who looks after a group; empty is nobody."""

    group: GroupId
    name: Line


class Audit(Command, frozen=True, kw_only=True):
    """What people did, the newest first."""

    before: int | None = None
    limit: Annotated[int, Meta(ge=1, le=1_000)] = 100


class WhoAmI(Command, frozen=True, kw_only=True):
    """Who is asking."""
