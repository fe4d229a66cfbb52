"""What an operator changes: a dead letter's event, whether it waits, and what is said of a group."""

from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType
from typing import Final

from events.http import Event, timestamp
from events.problem import JobFailed
from functions.deadletters.service import commands, contract, results, showing
from functions.deadletters.service.commands import Selection
from functions.deadletters.service.finding import FindingOperations
from functions.deadletters.service.operation import NotFound
from functions.deadletters.service.results import Done
from functions.deadletters.store import dead_letters, groups, history
from functions.deadletters.store.dead_letter import storable
from functions.storage.database import Transaction

NAMED: Final = 20  # dead letters, in a line about many


class Changes(FindingOperations):
    """The commands that change dead letters and groups."""

    def edit(self, command: commands.Edit) -> results.Detail:
        self.operator.require("edit")
        self.operator.require("data")
        with self._writing() as transaction:
            stored = self._stored(transaction, command.dead_letter)
            before = stored.original if command.revert else stored.event
            changed = _edited(before, command)
            try:
                contract.require(changed)
            except JobFailed as error:
                raise self.visibility.refusal(error, changed, stored.original) from None
            same, shown = changed == stored.original, self.visibility.event
            dead_letters.edit(transaction, command.dead_letter, None if same else changed)
            difference = contract.diff(
                shown(stored.event, stored.original, changed), shown(changed, stored.original, stored.event)
            )
            self._note(transaction, "edited", dead_letter=command.dead_letter, detail={"diff": difference[:4_000]})
            return self._detail(transaction, command.dead_letter)

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

    def acknowledge(self, command: commands.Acknowledge) -> results.GroupDetail:
        return self._change(command.group, "state", "acknowledged", verb="acknowledged")

    def resolve(self, command: commands.Resolve) -> results.GroupDetail:
        return self._change(command.group, "state", "resolved", verb="resolved")

    def reopen(self, command: commands.Reopen) -> results.GroupDetail:
        return self._change(command.group, "state", "open", verb="reopened")

    def note(self, command: commands.Note) -> results.GroupDetail:
        return self._change(command.group, "note", storable(command.text), verb="noted")

    def owner(self, command: commands.Owner) -> results.GroupDetail:
        return self._change(command.group, "owner", storable(command.name), verb="owned")

    def _change(self, group: int, column: str, value: str, *, verb: str) -> results.GroupDetail:
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
                changed = [each for each in batch if act(transaction, each)]
                self._note_each(transaction, verb, changed, detail or {})
                done += changed
                for dead_letter in sorted(set(batch) - set(changed)):
                    known = dead_letters.find(transaction, dead_letter) is not None
                    passed[str(dead_letter)] = otherwise if known else f"there is no dead letter {dead_letter}"
        return Done(dead_letters=tuple(done), passed=passed)

    def _note_each(
        self, transaction: Transaction, verb: str, changed: Sequence[int], detail: Mapping[str, object]
    ) -> None:
        """In the history of each, and in one line of the audit trail."""
        if len(changed) == 1:
            self._note(transaction, verb, dead_letter=changed[0], detail=detail)
        elif changed:
            now, actor = self.console.clock(), self.operator.name
            history.record_each(transaction, verb, actor, changed, now=now, detail=detail)
            which = ", ".join(map(str, changed[:NAMED])) + (", ..." if len(changed) > NAMED else "")
            self._note(transaction, verb, detail={**detail, "total": len(changed), "dead_letters": which})


def _edited(before: Event, command: commands.Edit) -> Event:
    """The event with the changes; what was masked when it was edited is as it was."""
    data = before.data
    if command.data is not None:
        data = showing.restore(command.data.encode(), before.data)
    elif command.data_base64 is not None:
        data = command.data_base64
    attributes = dict(before.attributes)
    for name, value in command.attributes.items():
        if value is None:
            attributes.pop(name, None)
        else:
            attributes[name] = value
    return Event(MappingProxyType(attributes), data)
