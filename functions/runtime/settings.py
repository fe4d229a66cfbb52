"""Reads a function's settings from its environment into a frozen dataclass, once, at its start.

    @dataclass(frozen=True)
    class Settings:
        store_url: str                     # STORE_URL; without a default it is required
        limit_bytes: int = 25_000_000      # LIMIT_BYTES

A missing or malformed variable stops the start with one line that names it, and never shows its value.
"""

import math
import os
import typing
from collections.abc import Mapping
from dataclasses import MISSING, Field, fields
from typing import Any, TypeVar

S = TypeVar("S")


def from_environment(settings: type[S], environment: Mapping[str, str] = os.environ) -> S:
    """Build `settings` (a dataclass of str, int, float, bool, each or None); exit and name all that is wrong."""
    values, wrong = {}, []
    hints = typing.get_type_hints(settings)
    for each in fields(settings):  # type: ignore[arg-type]  # dataclasses have no type of their own
        text = environment.get(each.name.upper(), "")
        try:
            if text or _required(each):
                values[each.name] = _value(text, hints[each.name])
        except ValueError as error:
            wrong.append(f"{each.name.upper()} {error}")
    if wrong:
        raise SystemExit("this function cannot start: " + "; ".join(wrong))
    try:
        return settings(**values)
    except ValueError as error:
        raise SystemExit(f"this function cannot start: {error}") from error


def _required(each: "Field[Any]") -> bool:
    return each.default is MISSING and each.default_factory is MISSING


def _value(text: str, hint: Any) -> Any:
    if not text:
        raise ValueError("is required and is not set")
    kinds = typing.get_args(hint) or (hint,)  # of `int | None`: both
    if bool in kinds:
        if text.lower() not in ("true", "false"):
            raise ValueError("must be true or false")
        return text.lower() == "true"
    for number in (int, float):
        if number in kinds:
            return _number(text, number)
    return text


def _number(text: str, kind: type[int] | type[float]) -> int | float:
    try:
        value = kind(text)
    except ValueError:
        value = math.nan
    if not abs(value) < math.inf:  # nan and the infinities
        raise ValueError(f"must be a number ({kind.__name__})")
    return value
