"""What an operator does with dead letters: each word checked against their rights, done, and noted in the history.

The command line, the HTTP API and the page all come through here.
"""

import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from types import MappingProxyType
from typing import Any, Final

import msgspec

from events.http import Event, check
from events.problem import NotAnEvent
from functions.deadletters.service import commands, contract, masking
from functions.deadletters.service.codes import explain
from functions.deadletters.service.commands import Body, Command, DeadLetter, Done, Filter, Response, Run, Selection
from functions.deadletters.service.masking import Rules
from functions.deadletters.service.operators import READING, RIGHTS, Operator
from functions.deadletters.store import dead_letters, groups, history, replays, selection
from functions.deadletters.store.dead_letter import storable, timestamp
from functions.deadletters.store.dead_letters import Stored
from functions.runtime.adapter import system_clock
from functions.runtime.failure_reports import FailureReport
from functions.storage.database import Database, Transaction

WATCH_EVERY_S: Final = 0.25
BATCH: Final = 500


class NotFound(LookupError):
    """There is no such dead letter, group or replay; the message names it."""


@dataclass(frozen=True, kw_only=True)
class Console:
    """The dead letters, and what holds for everybody who deals with them. `launch` has a replay sent by somebody."""

    database: Database
    rules: Rules
    sink_url: str
    launch: Callable[[int], None] = lambda replay: None
    clock: Callable[[], datetime] = system_clock
    read_only: bool = False

    def operator_session(self, operator: Operator) -> "OperatorSession":
        """The console for one operator."""
        rights = operator.rights & READING if self.read_only else operator.rights
        return OperatorSession(self, Operator(name=operator.name, rights=rights))


@dataclass(frozen=True)
class OperatorSession:
    """An operator at the console: a method for each command. They raise Forbidden, NotFound, JobFailed, Unavailable."""

    console: Console
    operator: Operator

    def ask(self, command: Command) -> Response:
        """Do what a word says."""
        name = NAMES[type(command)]
        response: Response = getattr(self, METHODS.get(name, name))(command)
        return response

    # --- to see

    def whoami(self, _command: commands.WhoAmI) -> commands.Permissions:
        held = tuple(right for right in RIGHTS if right in self.operator.rights)
        return commands.Permissions(name=self.operator.name, rights=held, read_only=self.console.read_only)

    def list(self, command: commands.List) -> commands.Page:
        self._may_find(command.matching)
        with self._reading() as transaction:
            where = (self.console.database, transaction, command.matching)
            found = selection.page(*where, before=command.before, limit=command.limit + 1, now=self.console.clock())
            # a text is looked for in every body: as far as the page needs, and no further
            total = None if command.matching.text else selection.count(*where, now=self.console.clock())
        more = found[command.limit - 1].id if len(found) > command.limit else None
        return commands.Page(dead_letters=found[: command.limit], next_before=more, total=total)

    def groups(self, command: commands.ListGroups) -> commands.Groups:
        self.operator.require("see")
        with self._reading() as transaction:
            return commands.Groups(groups=groups.listed(transaction, command.state, command.limit))

    def group(self, command: commands.ShowGroup) -> commands.GroupDetail:
        self.operator.require("see")
        with self._reading() as transaction:
            return self._group(transaction, command.group)

    def show(self, command: commands.Show) -> commands.Detail:
        self.operator.require("see")
        with self._reading() as transaction:
            return self._detail(transaction, command.dead_letter, self._shown)

    def unmask(self, command: commands.Unmask) -> commands.Detail:
        self.operator.require("unmask")
        with self._writing() as transaction:
            self._note(transaction, "unmasked", dead_letter=self._dead_letter(transaction, command.dead_letter).id)
            return self._detail(transaction, command.dead_letter, masking.whole)

    def watch(self, command: commands.Watch) -> commands.Arrivals:
        self.operator.require("see")
        end_s = time.monotonic() + command.wait_s
        cursor, waiting = command.cursor, threading.Event()
        while True:
            with self._reading() as transaction:
                arrivals = selection.arrivals(transaction, cursor)
                if arrivals.dead_letters or time.monotonic() >= end_s:
                    return arrivals
            cursor = arrivals.cursor
            waiting.wait(min(WATCH_EVERY_S, max(0.0, end_s - time.monotonic())))

    def audit(self, command: commands.Audit) -> commands.Trail:
        self.operator.require("see")
        with self._reading() as transaction:
            actions = history.everything(transaction, before=command.before, limit=command.limit)
        more = actions[-1].id if len(actions) == command.limit else None
        return commands.Trail(actions=actions, next_before=more)

    # --- to mend

    def edit(self, command: commands.Edit) -> commands.Detail:
        self.operator.require("edit")
        self.operator.require("data")
        with self._writing() as transaction:
            self._dead_letter(transaction, command.dead_letter)
            stored = self._stored(transaction, command.dead_letter)
            before = stored.original if command.revert else stored.event
            changed = _edited(before, command)
            contract.require(changed)
            same = changed == stored.original
            dead_letters.edit(transaction, command.dead_letter, None if same else changed)
            difference = contract.diff(self._shown(stored.event), self._shown(changed))
            self._note(transaction, "edited", dead_letter=command.dead_letter, detail={"diff": difference[:4_000]})
            return self._detail(transaction, command.dead_letter, self._shown)

    def discard(self, command: commands.Discard) -> Done:
        self.operator.require("discard")
        return self._each(
            command.selection,
            "discarded",
            lambda transaction, dead_letter: dead_letters.discard(transaction, dead_letter, now=self.console.clock()),
            otherwise="it is not open",
            detail={"reason": command.reason},
        )

    def undo(self, command: commands.Undo) -> Done:
        self.operator.require("discard")
        after = timestamp(self.console.clock() - history.UNDO_WINDOW)
        return self._each(
            command.selection,
            "taken back",
            lambda transaction, dead_letter: dead_letters.reopen(
                transaction, dead_letter, among=("discarded",), closed_after=after
            ),
            otherwise="it was not discarded within the last 24 hours",
        )

    def acknowledge(self, command: commands.Acknowledge) -> commands.GroupDetail:
        return self._change(command.group, "state", "acknowledged", verb="acknowledged")

    def resolve(self, command: commands.Resolve) -> commands.GroupDetail:
        return self._change(command.group, "state", "resolved", verb="resolved")

    def reopen(self, command: commands.Reopen) -> commands.GroupDetail:
        return self._change(command.group, "state", "open", verb="reopened")

    def note(self, command: commands.Note) -> commands.GroupDetail:
        return self._change(command.group, "note", storable(command.text), verb="noted")

    def owner(self, command: commands.Owner) -> commands.GroupDetail:
        return self._change(command.group, "owner", storable(command.name), verb="owned")

    # --- to send again

    def replay(self, command: commands.Replay) -> Run:
        self.operator.require("replay")
        if command.selection.matching:
            self._may_find(command.selection.matching)
        now = self.console.clock()
        with self._reading() as transaction:
            for each in command.selection.dead_letters:
                self._dead_letter(transaction, each)
            if command.dry_run:
                return replays.rehearse(transaction, self.console.database, command, self.operator.name, now=now)
        with self._writing() as transaction:
            replay = replays.create(transaction, self.console.database, command, self.operator.name, now=now)
            run = self._run(transaction, replay)
            self._note(transaction, "replay ordered", replay=replay, detail={"total": run.total})
        self.console.launch(replay)
        return run

    def progress(self, command: commands.Progress) -> Run:
        self.operator.require("see")
        with self._reading() as transaction:
            return self._run(transaction, command.replay)

    def replays(self, command: commands.Replays) -> commands.Runs:
        self.operator.require("see")
        with self._reading() as transaction:
            return commands.Runs(runs=replays.latest(transaction, command.limit))

    def cancel(self, command: commands.Cancel) -> Run:
        self.operator.require("replay")
        with self._writing() as transaction:
            if replays.end(transaction, command.replay, "cancelled", f"by {self.operator.name}"):
                self._note(transaction, "replay cancelled", replay=command.replay)
            return self._run(transaction, command.replay)

    def resume(self, command: commands.Resume) -> Run:
        self.operator.require("replay")
        with self._writing() as transaction:
            if replays.resume(transaction, command.replay):
                self._note(transaction, "replay resumed", replay=command.replay)
            run = self._run(transaction, command.replay)
        if run.state == "running":
            self.console.launch(command.replay)
        return run

    # --- to carry elsewhere

    def export(self, command: commands.Export) -> commands.Records:
        self.operator.require("unmask" if command.unmasked else "data")
        self._may_find(command.matching)
        now = self.console.clock()
        with self._writing() as transaction:
            where = (self.console.database, transaction, command.matching)
            found = selection.numbers(*where, after=command.after, limit=command.limit, now=now)
            shown = masking.whole if command.unmasked else self._shown
            records = tuple(dead_letters.record(transaction, each, shown) for each in found)
            if command.unmasked and found:
                self._note(transaction, "exported unmasked", detail={"dead_letters": found})
        return commands.Records(records=records, next_after=found[-1] if len(found) == command.limit else None)

    def take_in(self, command: commands.Import) -> Done:
        self.operator.require("edit")
        kept, passed = [], {}
        with self._writing() as transaction:
            for number, each in enumerate(command.records):
                refusal = _refusal(each)
                dead_letter = None if refusal else dead_letters.take_in(transaction, each, now=self.console.clock())
                if dead_letter is None:
                    passed[str(number)] = refusal or "the same dead letter is here"
                    continue
                kept.append(dead_letter)
                self._note(transaction, "imported", dead_letter=dead_letter)
        return Done(dead_letters=tuple(kept), passed=passed)

    # --- what the words share

    def _reading(self) -> Any:
        return self.console.database.transaction(writes=False)

    def _writing(self) -> Any:
        return self.console.database.transaction()

    def _note(self, transaction: Transaction, verb: str, **about: Any) -> None:
        history.record(transaction, verb, self.operator.name, now=self.console.clock(), **about)

    def _may_find(self, matching: Filter) -> None:
        """Who may not see data may not guess at it either."""
        self.operator.require("see")
        if matching.text is not None:
            self.operator.require("data")

    def _shown(self, event: Event) -> Body:
        if "data" not in self.operator.rights:
            return masking.without_data(event)
        return self.console.rules.body(event)

    def _dead_letter(self, transaction: Transaction, id_: int) -> DeadLetter:
        dead_letter = dead_letters.find(transaction, id_)
        if dead_letter is None:
            raise NotFound(f"there is no dead letter {id_}")
        return dead_letter

    def _stored(self, transaction: Transaction, id_: int) -> Stored:
        stored = dead_letters.stored(transaction, id_)
        if stored is None:
            raise NotFound(f"there is no dead letter {id_}")
        return stored

    def _detail(self, transaction: Transaction, id_: int, shown: Callable[[Event], Body]) -> commands.Detail:
        dead_letter, stored = self._dead_letter(transaction, id_), self._stored(transaction, id_)
        body = shown(stored.event)
        failure_report = stored.failure_report if "data" in self.operator.rights else None
        return commands.Detail(
            dead_letter=dead_letter,
            explanation=explain(dead_letter.code),
            body=body,
            failure_report=msgspec.json.decode(failure_report, type=FailureReport) if failure_report else None,
            diff=contract.diff(shown(stored.original), body) if dead_letter.edited else "",
            curl=None if body.masked else contract.curl(stored.event, self.console.sink_url, id_),
            history=history.of_dead_letter(transaction, id_),
            related=dead_letters.related(transaction, id_),
        )

    def _group(self, transaction: Transaction, id_: int) -> commands.GroupDetail:
        group = groups.find(transaction, id_)
        if group is None:
            raise NotFound(f"there is no group {id_}")
        return commands.GroupDetail(group=group, history=history.of_group(transaction, id_))

    def _run(self, transaction: Transaction, id_: int) -> Run:
        run = replays.find(transaction, id_)
        if run is None:
            raise NotFound(f"there is no replay {id_}")
        return run

    def _change(self, group: int, column: str, value: str, *, verb: str) -> commands.GroupDetail:
        self.operator.require("edit")
        with self._writing() as transaction:
            if not groups.change(transaction, group, column, value):
                raise NotFound(f"there is no group {group}")
            detail = {} if column == "state" else {column: value}
            self._note(transaction, verb, group=group, detail=detail)
            return self._group(transaction, group)

    def _each(
        self,
        chosen: Selection,
        verb: str,
        act: Callable[[Transaction, int], bool],
        *,
        otherwise: str,
        detail: dict[str, object] | None = None,
    ) -> Done:
        """Do it to each dead letter, in transactions of a bounded size, so that the sink need not wait for long."""
        done, passed = [], {}
        for batch in self._batches(chosen):
            with self._writing() as transaction:
                for dead_letter in batch:
                    if act(transaction, dead_letter):
                        self._note(transaction, verb, dead_letter=dead_letter, detail=detail)
                        done.append(dead_letter)
                    else:
                        known = dead_letters.find(transaction, dead_letter) is not None
                        passed[str(dead_letter)] = otherwise if known else f"there is no dead letter {dead_letter}"
        return Done(dead_letters=tuple(done), passed=passed)

    def _batches(self, chosen: Selection) -> Iterator[Sequence[int]]:
        if chosen.matching is None:
            numbers = sorted(set(chosen.dead_letters))
            yield from (numbers[start : start + BATCH] for start in range(0, len(numbers), BATCH))
            return
        self._may_find(chosen.matching)
        now, after = self.console.clock(), 0
        while True:
            with self._reading() as transaction:
                where = (self.console.database, transaction, chosen.matching)
                batch = selection.numbers(*where, after=after, limit=BATCH, now=now)
            if not batch:
                return
            yield batch
            after = batch[-1]


def _refusal(came: commands.Record) -> str:
    """Why a line of an export cannot be a dead letter here; empty when it can."""
    if came.masked:
        return "it was exported masked"
    try:
        check(Event(came.attributes, came.data_base64))
    except NotAnEvent as error:
        return str(error)
    return ""


def _edited(before: Event, command: commands.Edit) -> Event:
    """The event with the changes; what was masked when it was edited is as it was."""
    data = before.data
    if command.data is not None:
        data = masking.restore(command.data.encode(), before.data)
    elif command.data_base64 is not None:
        data = command.data_base64
    attributes = dict(before.attributes)
    for name, value in command.attributes.items():
        if value is None:
            attributes.pop(name, None)
        else:
            attributes[name] = value
    return Event(MappingProxyType(attributes), data)


# By the name that is said; those that change nothing may come by GET.
COMMANDS: Final[Mapping[str, type[Command]]] = {
    "whoami": commands.WhoAmI,
    "list": commands.List,
    "groups": commands.ListGroups,
    "group": commands.ShowGroup,
    "show": commands.Show,
    "watch": commands.Watch,
    "audit": commands.Audit,
    "progress": commands.Progress,
    "replays": commands.Replays,
    "unmask": commands.Unmask,
    "edit": commands.Edit,
    "discard": commands.Discard,
    "undo": commands.Undo,
    "acknowledge": commands.Acknowledge,
    "resolve": commands.Resolve,
    "reopen": commands.Reopen,
    "note": commands.Note,
    "owner": commands.Owner,
    "replay": commands.Replay,
    "cancel": commands.Cancel,
    "resume": commands.Resume,
    "export": commands.Export,
    "import": commands.Import,
}
READ_COMMANDS: Final = frozenset({"whoami", "list", "groups", "group", "show", "watch", "audit", "progress", "replays"})
METHODS: Final = {"import": "take_in"}  # those that Python does not let be called as the word is
NAMES: Final = {struct: name for name, struct in COMMANDS.items()}
