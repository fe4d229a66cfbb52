"""Named sets of an output's fields, from the function's configuration: `{"thumbnail": {"width_px": 200, ...}}`.

A field that the job gives counts over the preset's. Where presets alone are allowed, an output has a name
and a preset and nothing else: whoever may send jobs cannot make the function draw what nobody foresaw.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import msgspec

from events.problem import FieldError, JobFailed, decode
from events.types import ImageOutput
from functions.image.task import Output

Fields = dict[str, Any]


@dataclass(frozen=True)
class Presets:
    """The presets by name; `only` refuses outputs of any other kind."""

    named: Mapping[str, Fields] = field(default_factory=dict)
    only: bool = False

    @classmethod
    def parse(cls, text: str, *, only: bool) -> "Presets":
        """From a JSON object; raise ValueError that names the preset and the field that are wrong."""
        try:
            named = msgspec.json.decode(text or "{}", type=dict[str, Fields])
        except msgspec.DecodeError as error:
            raise ValueError(f"PRESETS must be a JSON object of objects: {error}") from error
        for name, fields in named.items():
            try:
                _checked({"name": "preset", **fields}, f"PRESETS#/{name}")
            except JobFailed as failed:
                raise ValueError(failed.detail) from failed
            if {"name", "preset"} & fields.keys():
                raise ValueError(f"PRESETS#/{name}: a preset has no name and no preset of its own")
        return cls(named, only)

    def outputs(self, asked: tuple[ImageOutput, ...]) -> tuple[Output, ...]:
        """The outputs with their presets' fields and the defaults; raise JobFailed that names each bad field."""
        return tuple(self._output(each, f"#/outputs/{index}") for index, each in enumerate(asked))

    def _output(self, asked: ImageOutput, at: str) -> Output:
        given: Fields = msgspec.to_builtins(asked)
        preset = given.pop("preset", None)
        if preset is None and self.only:
            raise _refused(at, "preset", f"is required; expected one of: {self._names()}")
        if preset is None:
            return msgspec.convert(given, Output)
        if preset not in self.named:
            raise _refused(at, "preset", f"expected one of: {self._names()}, got {preset!r}")
        if self.only and (others := sorted(given.keys() - {"name"})):
            raise _refused(at, others[0], f"presets alone are allowed: an output has a name and a preset, got {others}")
        return _checked({**self.named[preset], **given}, at)

    def _names(self) -> str:
        return ", ".join(sorted(self.named)) or "none is configured"


def _checked(fields: Fields, at: str) -> Output:
    """As the contract checks an output that is written out in full."""
    return msgspec.convert(msgspec.to_builtins(decode(msgspec.json.encode(fields), ImageOutput, at=at)), Output)


def _refused(at: str, name: str, detail: str) -> JobFailed:
    return JobFailed("invalid-data", f"{at}/{name}: {detail}", (FieldError(pointer=f"{at}/{name}", detail=detail),))
