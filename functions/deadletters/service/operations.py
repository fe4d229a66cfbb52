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
from functions.deadletters.service.commands import Answer, Body, Done, Filter, Letter, Run, Selection, Word
from functions.deadletters.service.masking import Rules
from functions.deadletters.service.operators import READING, RIGHTS, Operator
from functions.deadletters.store import dead_letters, groups, history, replays, selection
from functions.deadletters.store.dead_letter import storable, timestamp
from functions.deadletters.store.dead_letters import Stored
from functions.runtime.adapter import system_clock
from functions.runtime.failure_reports import Evidence
from functions.storage.database import Database, Session

WATCH_EVERY_S: Final = 0.25
BATCH: Final = 500


class NotFound(LookupError):
    """There is no such letter, group or replay; the message names it."""


@dataclass(frozen=True, kw_only=True)
class Desk:
    """The letters, and what holds for everybody who deals with them. `launch` has a replay sent by somebody."""

    database: Database
    rules: Rules
    sink_url: str
    launch: Callable[[int], None] = lambda replay: None
    clock: Callable[[], datetime] = system_clock
    read_only: bool = False

    def seat(self, operator: Operator) -> "Seat":
        """The desk for one operator."""
        rights = operator.rights & READING if self.read_only else operator.rights
        return Seat(self, Operator(name=operator.name, rights=rights))


@dataclass(frozen=True)
class Seat:
    """One operator at the desk: a method for each word. They raise Forbidden, NotFound, JobFailed and Unavailable."""

    desk: Desk
    operator: Operator

    def ask(self, word: Word) -> Answer:
        """Do what a word says."""
        name = NAMES[type(word)]
        answer: Answer = getattr(self, METHODS.get(name, name))(word)
        return answer

    # --- to see

    def whoami(self, _word: commands.WhoAmI) -> commands.Permissions:
        held = tuple(right for right in RIGHTS if right in self.operator.rights)
        return commands.Permissions(name=self.operator.name, rights=held, read_only=self.desk.read_only)

    def list(self, word: commands.List) -> commands.Page:
        self._may_find(word.matching)
        with self._reading() as session:
            where = (self.desk.database, session, word.matching)
            found = selection.page(*where, before=word.before, limit=word.limit + 1, now=self.desk.clock())
            # a text is looked for in every body: as far as the page needs, and no further
            total = None if word.matching.text else selection.count(*where, now=self.desk.clock())
        more = found[word.limit - 1].id if len(found) > word.limit else None
        return commands.Page(letters=found[: word.limit], next_before=more, total=total)

    def groups(self, word: commands.ListGroups) -> commands.Groups:
        self.operator.require("see")
        with self._reading() as session:
            return commands.Groups(groups=groups.listed(session, word.state, word.limit))

    def group(self, word: commands.ShowGroup) -> commands.GroupDetail:
        self.operator.require("see")
        with self._reading() as session:
            return self._group(session, word.group)

    def show(self, word: commands.Show) -> commands.Detail:
        self.operator.require("see")
        with self._reading() as session:
            return self._detail(session, word.letter, self._shown)

    def unmask(self, word: commands.Unmask) -> commands.Detail:
        self.operator.require("unmask")
        with self._writing() as session:
            self._note(session, "unmasked", letter=self._letter(session, word.letter).id)
            return self._detail(session, word.letter, masking.whole)

    def watch(self, word: commands.Watch) -> commands.Arrivals:
        self.operator.require("see")
        end_s = time.monotonic() + word.wait_s
        cursor, waiting = word.cursor, threading.Event()
        while True:
            with self._reading() as session:
                arrivals = selection.arrivals(session, cursor)
                if arrivals.letters or time.monotonic() >= end_s:
                    return arrivals
            cursor = arrivals.cursor
            waiting.wait(min(WATCH_EVERY_S, max(0.0, end_s - time.monotonic())))

    def audit(self, word: commands.Audit) -> commands.Trail:
        self.operator.require("see")
        with self._reading() as session:
            actions = history.everything(session, before=word.before, limit=word.limit)
        more = actions[-1].id if len(actions) == word.limit else None
        return commands.Trail(actions=actions, next_before=more)

    # --- to mend

    def edit(self, word: commands.Edit) -> commands.Detail:
        self.operator.require("edit")
        self.operator.require("data")
        with self._writing() as session:
            self._letter(session, word.letter)
            stored = self._stored(session, word.letter)
            before = stored.original if word.revert else stored.event
            changed = _edited(before, word)
            contract.require(changed)
            same = changed == stored.original
            dead_letters.edit(session, word.letter, None if same else changed)
            difference = contract.diff(self._shown(stored.event), self._shown(changed))
            self._note(session, "edited", letter=word.letter, detail={"diff": difference[:4_000]})
            return self._detail(session, word.letter, self._shown)

    def discard(self, word: commands.Discard) -> Done:
        self.operator.require("discard")
        return self._each(
            word.selection,
            "discarded",
            lambda session, letter: dead_letters.discard(session, letter, now=self.desk.clock()),
            otherwise="it is not open",
            detail={"reason": word.reason},
        )

    def undo(self, word: commands.Undo) -> Done:
        self.operator.require("discard")
        after = timestamp(self.desk.clock() - history.UNDO_WINDOW)
        return self._each(
            word.selection,
            "taken back",
            lambda session, letter: dead_letters.reopen(session, letter, among=("discarded",), closed_after=after),
            otherwise="it was not discarded within the last 24 hours",
        )

    def acknowledge(self, word: commands.Acknowledge) -> commands.GroupDetail:
        return self._change(word.group, "state", "acknowledged", verb="acknowledged")

    def resolve(self, word: commands.Resolve) -> commands.GroupDetail:
        return self._change(word.group, "state", "resolved", verb="resolved")

    def reopen(self, word: commands.Reopen) -> commands.GroupDetail:
        return self._change(word.group, "state", "open", verb="reopened")

    def note(self, word: commands.Note) -> commands.GroupDetail:
        return self._change(word.group, "note", storable(word.text), verb="noted")

    def owner(self, word: commands.Owner) -> commands.GroupDetail:
        return self._change(word.group, "owner", storable(word.name), verb="owned")

    # --- to send again

    def replay(self, word: commands.Replay) -> Run:
        self.operator.require("replay")
        if word.selection.matching:
            self._may_find(word.selection.matching)
        now = self.desk.clock()
        with self._reading() as session:
            for each in word.selection.letters:
                self._letter(session, each)
            if word.dry_run:
                return replays.rehearse(session, self.desk.database, word, self.operator.name, now=now)
        with self._writing() as session:
            replay = replays.create(session, self.desk.database, word, self.operator.name, now=now)
            run = self._run(session, replay)
            self._note(session, "replay ordered", replay=replay, detail={"total": run.total})
        self.desk.launch(replay)
        return run

    def progress(self, word: commands.Progress) -> Run:
        self.operator.require("see")
        with self._reading() as session:
            return self._run(session, word.replay)

    def replays(self, word: commands.Replays) -> commands.Runs:
        self.operator.require("see")
        with self._reading() as session:
            return commands.Runs(runs=replays.latest(session, word.limit))

    def cancel(self, word: commands.Cancel) -> Run:
        self.operator.require("replay")
        with self._writing() as session:
            if replays.end(session, word.replay, "cancelled", f"by {self.operator.name}"):
                self._note(session, "replay cancelled", replay=word.replay)
            return self._run(session, word.replay)

    def resume(self, word: commands.Resume) -> Run:
        self.operator.require("replay")
        with self._writing() as session:
            if replays.resume(session, word.replay):
                self._note(session, "replay resumed", replay=word.replay)
            run = self._run(session, word.replay)
        if run.state == "running":
            self.desk.launch(word.replay)
        return run

    # --- to carry elsewhere

    def export(self, word: commands.Export) -> commands.Records:
        self.operator.require("unmask" if word.unmasked else "data")
        self._may_find(word.matching)
        now = self.desk.clock()
        with self._writing() as session:
            where = (self.desk.database, session, word.matching)
            found = selection.numbers(*where, after=word.after, limit=word.limit, now=now)
            shown = masking.whole if word.unmasked else self._shown
            records = tuple(dead_letters.record(session, each, shown) for each in found)
            if word.unmasked and found:
                self._note(session, "exported unmasked", detail={"letters": found})
        return commands.Records(records=records, next_after=found[-1] if len(found) == word.limit else None)

    def take_in(self, word: commands.Import) -> Done:
        self.operator.require("edit")
        kept, passed = [], {}
        with self._writing() as session:
            for number, each in enumerate(word.records):
                refusal = _refusal(each)
                letter = None if refusal else dead_letters.take_in(session, each, now=self.desk.clock())
                if letter is None:
                    passed[str(number)] = refusal or "the same letter is here"
                    continue
                kept.append(letter)
                self._note(session, "imported", letter=letter)
        return Done(letters=tuple(kept), passed=passed)

    # --- what the words share

    def _reading(self) -> Any:
        return self.desk.database.transaction(writes=False)

    def _writing(self) -> Any:
        return self.desk.database.transaction()

    def _note(self, session: Session, verb: str, **about: Any) -> None:
        history.record(session, verb, self.operator.name, now=self.desk.clock(), **about)

    def _may_find(self, matching: Filter) -> None:
        """Who may not see data may not guess at it either."""
        self.operator.require("see")
        if matching.text is not None:
            self.operator.require("data")

    def _shown(self, event: Event) -> Body:
        if "data" not in self.operator.rights:
            return masking.without_data(event)
        return self.desk.rules.body(event)

    def _letter(self, session: Session, id_: int) -> Letter:
        letter = dead_letters.find(session, id_)
        if letter is None:
            raise NotFound(f"there is no letter {id_}")
        return letter

    def _stored(self, session: Session, id_: int) -> Stored:
        stored = dead_letters.stored(session, id_)
        if stored is None:
            raise NotFound(f"there is no letter {id_}")
        return stored

    def _detail(self, session: Session, id_: int, shown: Callable[[Event], Body]) -> commands.Detail:
        letter, stored = self._letter(session, id_), self._stored(session, id_)
        body = shown(stored.event)
        evidence = stored.evidence if "data" in self.operator.rights else None
        return commands.Detail(
            letter=letter,
            explanation=explain(letter.code),
            body=body,
            evidence=msgspec.json.decode(evidence, type=Evidence) if evidence else None,
            diff=contract.diff(shown(stored.original), body) if letter.edited else "",
            curl=None if body.masked else contract.curl(stored.event, self.desk.sink_url, id_),
            history=history.of_letter(session, id_),
            related=dead_letters.related(session, id_),
        )

    def _group(self, session: Session, id_: int) -> commands.GroupDetail:
        group = groups.find(session, id_)
        if group is None:
            raise NotFound(f"there is no group {id_}")
        return commands.GroupDetail(group=group, history=history.of_group(session, id_))

    def _run(self, session: Session, id_: int) -> Run:
        run = replays.find(session, id_)
        if run is None:
            raise NotFound(f"there is no replay {id_}")
        return run

    def _change(self, group: int, column: str, value: str, *, verb: str) -> commands.GroupDetail:
        self.operator.require("edit")
        with self._writing() as session:
            if not groups.change(session, group, column, value):
                raise NotFound(f"there is no group {group}")
            detail = {} if column == "state" else {column: value}
            self._note(session, verb, group=group, detail=detail)
            return self._group(session, group)

    def _each(
        self,
        chosen: Selection,
        verb: str,
        act: Callable[[Session, int], bool],
        *,
        otherwise: str,
        detail: dict[str, object] | None = None,
    ) -> Done:
        """Do it to each letter, in transactions of a bounded size, so that the sink need not wait for long."""
        done, passed = [], {}
        for batch in self._batches(chosen):
            with self._writing() as session:
                for letter in batch:
                    if act(session, letter):
                        self._note(session, verb, letter=letter, detail=detail)
                        done.append(letter)
                    else:
                        known = dead_letters.find(session, letter) is not None
                        passed[str(letter)] = otherwise if known else f"there is no letter {letter}"
        return Done(letters=tuple(done), passed=passed)

    def _batches(self, chosen: Selection) -> Iterator[Sequence[int]]:
        if chosen.matching is None:
            numbers = sorted(set(chosen.letters))
            yield from (numbers[start : start + BATCH] for start in range(0, len(numbers), BATCH))
            return
        self._may_find(chosen.matching)
        now, after = self.desk.clock(), 0
        while True:
            with self._reading() as session:
                where = (self.desk.database, session, chosen.matching)
                batch = selection.numbers(*where, after=after, limit=BATCH, now=now)
            if not batch:
                return
            yield batch
            after = batch[-1]


def _refusal(came: commands.Record) -> str:
    """Why a line of an export cannot be a letter here; empty when it can."""
    if came.masked:
        return "it was exported masked"
    try:
        check(Event(came.attributes, came.data_base64))
    except NotAnEvent as error:
        return str(error)
    return ""


def _edited(before: Event, word: commands.Edit) -> Event:
    """The event with the changes; what was masked when it was edited is as it was."""
    data = before.data
    if word.data is not None:
        data = masking.restore(word.data.encode(), before.data)
    elif word.data_base64 is not None:
        data = word.data_base64
    attributes = dict(before.attributes)
    for name, value in word.attributes.items():
        if value is None:
            attributes.pop(name, None)
        else:
            attributes[name] = value
    return Event(MappingProxyType(attributes), data)


# By the name that is said; those that change nothing may come by GET.
WORDS: Final[Mapping[str, type[Word]]] = {
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
READ_WORDS: Final = frozenset({"whoami", "list", "groups", "group", "show", "watch", "audit", "progress", "replays"})
METHODS: Final = {"import": "take_in"}  # those that Python does not let be called as the word is
NAMES: Final = {struct: name for name, struct in WORDS.items()}
