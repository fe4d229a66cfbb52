"""What tests/functions/sandbox/test_sandbox.py has a fork server make ready: each chore leaves its name."""

KNOWN: list[str] = []


def known(argument: None) -> list[str]:
    return KNOWN


def first() -> None:
    KNOWN.append("first")


def failing() -> None:
    raise ValueError("a chore that fails")


def last() -> None:
    KNOWN.append("last")


WARM_UP = (first, failing, last)
