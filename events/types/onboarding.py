"""The contract of the flow `onboarding`, an example (functions/flows/examples/onboarding.py)."""

from events.problem import Problem
from events.types.base import DeadLetter, Email, Request, Result


class OnboardingRequested(Request, frozen=True, kw_only=True):
    """Somebody has signed up."""

    email: Email


class OnboardingCompleted(Result, frozen=True, kw_only=True):
    """The account that was made, and whether it was used within two days."""

    account: str
    active: bool


class OnboardingFailed(Problem, frozen=True, kw_only=True):
    """A step cannot be done; what was done is undone."""


class OnboardingDeadlettered(DeadLetter, frozen=True, kw_only=True):
    """The request is kept as a dead letter."""
