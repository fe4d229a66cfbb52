"""What an operator can ask for: the same on the command line, the pages and the HTTP API.

Each command is a struct, named as it is said; `COMMANDS` in operations.py has them by name. Times are RFC 3339 in UTC.
"""

from typing import Annotated, Final, Literal

from msgspec import Meta, Struct

from functions.deadletters.service.results import DeadLetterId, GroupId, Line, Paragraph, Record, State

# SQLite ends a pattern at a NUL, and would find everything; PostgreSQL takes none
WITHOUT_NUL: Final = r"^[^\x00]*\Z"
FilterText = Annotated[str, Meta(max_length=4_096, pattern=WITHOUT_NUL)]
BODY_LIMIT_BYTES: Final = 32 * 1024 * 1024  # of a command as JSON: an import of one dead letter of 10 MiB, in base64


class Command(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """Base of what is asked."""


class Filter(Command, frozen=True, kw_only=True):
    """Which dead letters: those that fit everything given. `state` may be `all` or `unresolved` (open or quarantined).

    `id` is the event's, or its job's. `text` is looked for in the data, the id and the subject, whatever the case of A
    to Z; ages are of when a dead letter first came.
    """

    job: FilterText | None = None
    type: FilterText | None = None
    code: int | None = None
    destination: FilterText | None = None
    trigger: FilterText | None = None
    text: Annotated[str, Meta(min_length=1, max_length=200, pattern=WITHOUT_NUL)] | None = None
    older_than_s: Annotated[float, Meta(ge=0, le=1e9)] | None = None
    newer_than_s: Annotated[float, Meta(ge=0, le=1e9)] | None = None
    state: Literal[State, "all", "unresolved"] = "unresolved"
    group: GroupId | None = None
    id: FilterText | None = None
    subject: FilterText | None = None
    source: FilterText | None = None


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
