"""What a runner has bound in a RabbitMQ server, remembered in its data folder.

AMQP lists no bindings, and takes one away only by its arguments. So they are written down before they are made, and
what a Trigger had at an earlier start and has no more is known, also of a Trigger that is gone.
"""

import json
import logging
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

log = logging.getLogger("errands.rabbitmq")

FILE: Final = "bindings.json"
FILE_MODE: Final = 0o600


@dataclass(frozen=True, order=True, slots=True)
class Binding:
    """From an exchange to a queue, with the headers that an event must have."""

    exchange: str
    queue: str
    headers: tuple[tuple[str, str], ...]

    @classmethod
    def of(cls, exchange: str, queue: str, headers: dict[str, str]) -> "Binding":
        """With the headers in one order, so that equal ones are equal."""
        return cls(exchange, queue, tuple(sorted(headers.items())))

    @property
    def arguments(self) -> dict[str, str]:
        """As AMQP wants them."""
        return dict(self.headers)


class Bindings:
    """Those of one server, in a file for all of them."""

    def __init__(self, data: Path, place: str) -> None:
        self._file = data / FILE
        self._place = place

    def known(self) -> frozenset[Binding]:
        """What may be bound there; nothing where the file says nothing."""
        try:
            return frozenset(Binding.of(*each) for each in self._all().get(self._place, ()))
        except (TypeError, ValueError, AttributeError) as error:
            log.warning("%s cannot be read, so no stale binding is known: %s", self._file, error)
            return frozenset()

    @property
    def is_new(self) -> bool:
        """Whether this folder knows nothing of that server: what others have bound there cannot be known."""
        try:
            return self._place not in self._all()
        except ValueError:
            return True

    def keep(self, bindings: frozenset[Binding]) -> None:
        """Remember these and no others, before they are made or after the others are gone."""
        listed = [[each.exchange, each.queue, each.arguments] for each in sorted(bindings)]
        made = self._file.with_suffix(".new")
        try:
            everywhere = self._all()
        except ValueError:
            everywhere = {}
        with os.fdopen(os.open(made, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, FILE_MODE), "w") as stream:
            json.dump({**everywhere, self._place: listed}, stream, indent=1)
        made.replace(self._file)

    def _all(self) -> dict[str, Any]:
        try:
            found = json.loads(self._file.read_bytes())
        except FileNotFoundError:
            return {}
        if not isinstance(found, dict):
            raise ValueError("a JSON object is expected")
        return found
