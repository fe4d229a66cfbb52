"""Whether a request's data is what its function takes, judged by the very structs that the function reads it with; of a
function of another project by the JSON Schema that its EventType declares.
"""

from collections.abc import Iterator, Mapping
from datetime import datetime
from functools import cache
from itertools import islice
from typing import TYPE_CHECKING, Any

import msgspec

from events.http import Event
from events.problem import SHOWN_CHARACTERS, SHOWN_ERRORS, FieldError, JobFailed, pointer_part
from events.types import REGISTRY
from functions.runtime.adapter import open_job, require_timely

if TYPE_CHECKING:
    from jsonschema.protocols import Validator


class Contract:
    """Knows every type of the registry, and those of `schemas`; data of any other is left to its function."""

    def __init__(self, schemas: Mapping[str, Mapping[str, Any]]) -> None:
        self._schemas = schemas

    def require(self, request: Event, *, now: datetime) -> None:
        """Raise JobFailed, as the function would, with each bad field."""
        struct = REGISTRY.get(request.type)
        if struct is not None:
            open_job(request, struct, now=now)
            return
        require_timely(request, now=now)
        if request.type in self._schemas:
            _require_schema(request.data, self._validator(request.type))

    @cache  # noqa: B019  # as many as there are types, for the process' life
    def _validator(self, type_: str) -> "Validator":
        from jsonschema import Draft202012Validator  # 20 MB with its parts, for who has functions of other projects

        return Draft202012Validator(dict(self._schemas[type_]))


def _require_schema(data: bytes, validator: "Validator") -> None:
    try:
        value = msgspec.json.decode(data)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        at = FieldError(pointer="#", detail=str(error))
        raise JobFailed("invalid-data", f"data must be JSON: {error}", (at,)) from error
    errors = tuple(islice(_field_errors(value, validator), SHOWN_ERRORS))
    if errors:
        listed = "; ".join(f"{each.pointer}: {each.detail}" for each in errors[:3])
        raise JobFailed("invalid-data", f"the data breaks its schema: {listed}", errors)


def _field_errors(value: Any, validator: "Validator") -> Iterator[FieldError]:
    for error in validator.iter_errors(value):
        parts = "".join(f"/{pointer_part(str(each))}" for each in error.absolute_path)
        yield FieldError(pointer=f"#{parts}", detail=error.message[: 4 * SHOWN_CHARACTERS])
