"""What an operator may see of a dead letter: each way by which a field of an event reaches somebody ends here.

The rights: `see` shows which events are dead letters, and their errors without the values that these quote; `data` also
the data, without what the rules and the contract hide; `unmask` everything. README.md has the ways as a table.
"""

from dataclasses import dataclass
from typing import Any, Final

from msgspec import structs

from events.http import Event
from events.problem import FieldError, JobFailed
from functions.deadletters.service import showing
from functions.deadletters.service.results import Action, DeadLetter, Group, Record, Run, ShownEvent
from functions.runtime import masking
from functions.runtime.failure_reports import FailureReport
from functions.runtime.masking import MASK, Rules

OF_A_FUNCTION: Final = ("not taken", "not told")  # whose reason is a text that a function, or the broker, said
LOWER: Final = str.maketrans("ABCDEFGHIJKLMNOPQRSTUVWXYZ", "abcdefghijklmnopqrstuvwxyz")
ATTRIBUTES: Final = {"event_id": "id", "event_source": "source", "subject": "subject"}


@dataclass(frozen=True)
class Visibility:
    """What holds for one operator, by their rights."""

    rules: Rules
    rights: frozenset[str]

    @property
    def of_data(self) -> bool:
        """Whether data is shown at all."""
        return "data" in self.rights

    @property
    def of_everything(self) -> bool:
        """Whether nothing is hidden from a text that was kept, or that is looked for."""
        return "unmask" in self.rights

    def event(self, event: Event, *others: Event) -> ShownEvent:
        """The event, with what the marks of its type and of the others' hide: no edit of the type shows anything."""
        if not self.of_data:
            return showing.without_data(event, self.rules)
        return showing.masked(event, self.rules, [each.type for each in others])

    def finds(self, event: Event, text: str) -> bool:
        """Whether the data, the id or the subject that is shown holds a text, whatever the case of A to Z."""
        seen = self.event(event)
        named = (seen.attributes.get(name, "") for name in ("id", "subject") if name not in seen.masked)
        if any(_plain_case(text) in _plain_case(each) for each in named):
            return True
        shown = seen.data or ""
        return any(_plain_case(form) in _plain_case(shown) for form in masking.json_forms(text))

    def text(self, said: str) -> str:
        """What a function, or the broker, said of an event."""
        if self.of_everything:
            return said
        return masking.without_addresses(said) if self.of_data else masking.without_values(said)

    def dead_letter(self, shown: DeadLetter) -> DeadLetter:
        """One dead letter in a line."""
        changes: dict[str, Any] = {"error": self.text(shown.error), "destination": self._address(shown.destination)}
        if not self.of_data:
            changes["subject"] = None
        return structs.replace(shown, **changes | self._hidden_attributes(shown))

    def group(self, group: Group) -> Group:
        """One group."""
        return structs.replace(group, error=self.text(group.error), destination=self._address(group.destination))

    def action(self, action: Action) -> Action:
        """One line of the audit trail, or of a history."""
        detail = dict(action.detail)
        if not self.of_data:
            detail.pop("diff", None)
        for name in ("error", "reason") if action.verb in OF_A_FUNCTION else ("error",):
            if isinstance(said := detail.get(name), str):
                detail[name] = self.text(said)
        return structs.replace(action, detail=detail)

    def run(self, run: Run) -> Run:
        """One replay."""
        refusals = {number: self.text(why) for number, why in run.refusals.items()}
        return structs.replace(run, refusals=refusals)

    def record(self, record: Record) -> Record:
        """One dead letter of an export, whose event is shown already."""
        return structs.replace(record, error=self.text(record.error), destination=self._address(record.destination))

    def failure_report(self, report: FailureReport, event: Event, original: Event) -> FailureReport | None:
        """What the function said itself, without the values that are hidden in its event."""
        if not self.of_data:
            return None
        if self.of_everything:
            return report
        hidden = self._hidden_values(event, original)
        return structs.replace(
            report,
            response=masking.without_addresses(masking.without(report.response, hidden)),
            log=tuple(masking.without_addresses(masking.without("\n".join(report.log), hidden)).split("\n")),
        )

    def refusal(self, error: JobFailed, event: Event, original: Event) -> JobFailed:
        """Why an edit is not taken, which may quote what it was not to show."""
        if self.of_everything:
            return error
        hidden = self._hidden_values(event, original)
        errors = tuple(
            FieldError(pointer=each.pointer, detail=masking.without(each.detail, hidden)) for each in error.errors
        )
        return JobFailed(error.kind, masking.without(error.detail, hidden), errors)

    def _hidden_values(self, event: Event, original: Event) -> frozenset[str]:
        types = (event.type, original.type)
        return self.rules.hidden_values(event, types) | self.rules.hidden_values(original, types)

    def _address(self, address: str) -> str:
        return address if self.of_everything else masking.without_query(address)

    def _hidden_attributes(self, shown: DeadLetter) -> dict[str, Any]:
        if self.of_everything:
            return {}
        return {
            field: MASK
            for field, name in ATTRIBUTES.items()
            if name in self.rules.attributes
            and getattr(shown, field) is not None
            and (self.of_data or field != "subject")
        }


def _plain_case(text: str) -> str:
    """A to Z in lower case, as SQL's LIKE compares."""
    return text.translate(LOWER)
