"""The broken rules of a job, collected as they are found, so that one answer names them all."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TypeVar

from events.problem import SHOWN_ERRORS, FieldError, JobFailed

T = TypeVar("T")
V = TypeVar("V")


class RuleFindings:
    """What is wrong with a job, in the order of its fields."""

    def __init__(self) -> None:
        self.errors: list[FieldError] = []
        self.pointers: set[str] = set()

    def close(self) -> None:
        """Raise JobFailed that lists the first 100, and last how many more there are; nothing, when none is."""
        if not self.errors:
            return
        shown, more = tuple(self.errors[:SHOWN_ERRORS]), len(self.errors) - SHOWN_ERRORS
        if more > 0:
            detail = f"has more errors than listed: {more} of {len(self.errors)} are left out"
            shown += (FieldError(pointer="#", detail=detail),)
        noun = "field breaks" if len(self.errors) == 1 else "fields break"
        listed = "; ".join(f"{each.pointer}: {each.detail}" for each in self.errors[:3])
        raise JobFailed("invalid-data", f"{len(self.errors)} {noun} the rules of calendars: {listed}", shown)


@dataclass(frozen=True, slots=True)
class FieldPlace:
    """Where in the job something is found: `place / "start"` is the field of that name, as in paths."""

    pointer: str = "#"
    findings: RuleFindings = field(default_factory=RuleFindings)

    def __truediv__(self, name: str) -> "FieldPlace":
        return FieldPlace(f"{self.pointer}/{name}", self.findings)

    @property
    def found(self) -> bool:
        """Whether something is found here already."""
        return self.pointer in self.findings.pointers

    @property
    def full(self) -> bool:
        """Whether more will be counted only, so that finding out what to say of them is not worth it."""
        return len(self.findings.errors) >= SHOWN_ERRORS

    def add(self, detail: str) -> None:
        """The field is bad; the detail says what is expected and what was got."""
        self.findings.errors.append(FieldError(pointer=self.pointer, detail=detail))
        self.findings.pointers.add(self.pointer)

    def take(self, read: Callable[[V], T], value: V) -> T | None:
        """What `read` makes of the value; None, with its ValueError found, when it cannot."""
        try:
            return read(value)
        except ValueError as error:
            self.add(str(error))
            return None
