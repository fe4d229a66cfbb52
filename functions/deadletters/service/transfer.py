"""What an operator carries from one installation to another."""

from events.http import Event, check
from events.problem import NotAnEvent
from functions.deadletters.service import commands, results, showing
from functions.deadletters.service.operation import Operation
from functions.deadletters.service.results import Done
from functions.deadletters.store import dead_letters
from functions.storage.database import Transaction


class Transfer(Operation):
    """The commands of export and import."""

    def export(self, command: commands.Export) -> results.Records:
        self.operator.require("unmask" if command.unmasked else "data")
        self._may_find(command.matching)
        with self._writing() as transaction:
            found = self._numbers(transaction, command.matching, after=command.after, limit=command.limit)
            records = tuple(self._record(transaction, each, unmasked=command.unmasked) for each in found)
            if command.unmasked and found:
                self._note(transaction, "exported unmasked", detail={"dead_letters": found})
        return results.Records(records=records, next_after=found[-1] if len(found) == command.limit else None)

    def _record(self, transaction: Transaction, number: int, *, unmasked: bool) -> results.Record:
        if unmasked:
            return dead_letters.record(transaction, number, showing.whole)
        seen = self.visibility
        return seen.record(dead_letters.record(transaction, number, seen.event))

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


def _refusal(came: results.Record) -> str:
    """Why a line of an export cannot be a dead letter here; empty when it can."""
    if came.masked:
        return "it was exported masked"
    try:
        check(Event(came.attributes, came.data_base64))
    except NotAnEvent as error:
        return str(error)
    return ""
