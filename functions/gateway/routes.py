"""Which requests are wanted here, as the manifests say: by which Triggers, and until when one may take.

What a Trigger filters by is compared as the RabbitMQ broker does: exactly, every attribute.
"""

from collections.abc import Mapping
from functools import cached_property
from typing import Any, Final

import msgspec

from events.http import Event
from events.job import is_request

REQUESTED: Final = ".requested."


class Route(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A Trigger. A job of it is overdue `deadline_s` after it was sent: by then it has ended, or is a dead letter."""

    name: str
    filter: Mapping[str, str]
    deadline_s: float
    begins_flow: bool = False

    def takes(self, attributes: Mapping[str, str]) -> bool:
        """Whether an event of these attributes is for it."""
        return all(attributes.get(name) == value for name, value in self.filter.items())


class Declared(msgspec.Struct, frozen=True, kw_only=True):
    """What the gateway is told of the manifests; `schemas` are those of requests of functions of other projects."""

    routes: tuple[Route, ...] = ()
    schemas: Mapping[str, Mapping[str, Any]] = {}


class Routes:
    """Answers for one declaration."""

    def __init__(self, declared: Declared) -> None:
        self._declared = declared
        self.schemas = declared.schemas

    @classmethod
    def parse(cls, text: str) -> "Routes":
        """From the JSON of GATEWAY_ROUTES; raise ValueError that names it."""
        try:
            return cls(msgspec.json.decode(text, type=Declared))
        except msgspec.DecodeError as error:
            raise ValueError(f"GATEWAY_ROUTES must be the JSON that the manifests give: {error}") from error

    @cached_property
    def known_types(self) -> tuple[str, ...]:
        """The types of requests that some Trigger names."""
        named = {each.filter["type"] for each in self._declared.routes if "type" in each.filter}
        return tuple(sorted(each for each in named if REQUESTED in each))

    def deadline_s(self, request: Event) -> float | None:
        """How long after it was sent the request is overdue; None where nobody wants it."""
        of_type = self._by_type.get(request.type, self._of_any_type)
        deadlines = [each.deadline_s for each in of_type if each.takes(request.attributes)]
        return max(deadlines, default=None) if is_request(request) else None

    @cached_property
    def longest_s(self) -> float:
        """How long any job may take."""
        return max((each.deadline_s for each in self._declared.routes), default=0.0)

    def begins_flow(self, request: Event) -> bool:
        """Whether the request's job is a flow: no reply in the store ends one, but a signal to it does."""
        of_type = self._by_type.get(request.type, self._of_any_type)
        return any(each.begins_flow for each in of_type if each.takes(request.attributes))

    @cached_property
    def _of_any_type(self) -> tuple[Route, ...]:
        return tuple(each for each in self._declared.routes if "type" not in each.filter)

    @cached_property
    def _by_type(self) -> Mapping[str, tuple[Route, ...]]:
        return {
            type_: tuple(each for each in self._declared.routes if each.filter.get("type", type_) == type_)
            for type_ in self.known_types
        }
