"""Hides what is secret or personal in an event: by the contract's own marks, and by rules of the installation.

A rule is the name of a field, wherever it stands (`password`: in any case, with or without `-` and `_`), a JSON Pointer
from the data's root in which `*` is any one part (`/customer/*/phone`), or `@` and the name of an attribute. Fields
that `events/types/__init__.py` marks as personal are hidden without a rule. The query of an address goes too: it may
sign.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from types import UnionType
from typing import Annotated, Any, Final, Union, get_args, get_origin

import msgspec

from events.http import Event
from events.types import REGISTRY
from functions.deadletters.service.commands import Body

MASK: Final = "[masked]"
PERSONAL: Final = "personal"  # the mark in `Meta(extra=...)` of a field
ALWAYS: Final = (
    *("password", "passwd", "secret", "token", "authorization", "api_key", "access_token", "refresh_token"),
    *("private_key", "client_secret", "credit_card", "card_number", "cvc", "iban", "ssn"),
)
WITHOUT_DATA: Final = ("specversion", "id", "source", "type", "time", "datacontenttype", "jobid", "jobsource")

Path = tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class Rules:
    """What is hidden in every event, besides the contract's marks."""

    names: frozenset[str]
    paths: frozenset[Path] = frozenset()
    attributes: frozenset[str] = frozenset()

    def body(self, event: Event) -> Body:
        """The event with what these rules and its type's marks name hidden. What cannot be read is hidden whole."""
        attributes, masked = {}, []
        for name, value in event.attributes.items():
            attributes[name] = MASK if name in self.attributes else _without_query(value)
            if attributes[name] != value:
                masked.append(name)
        if not event.data:
            return Body(attributes=attributes, data="", masked=tuple(masked))
        try:
            value = msgspec.json.decode(event.data)
            hidden = self._hide(value, (), marked(event.type), masked)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            return Body(attributes=attributes, masked=(*masked, "#"))
        unchanged = hidden == value
        data = event.data.decode() if unchanged else msgspec.json.encode(hidden).decode()
        return Body(attributes=attributes, data=data, masked=tuple(masked))

    def _hide(self, value: Any, path: Path, marks: frozenset[Path], masked: list[str]) -> Any:
        if path and (_plain(path[-1]) in self.names or _matches(path, self.paths | marks)):
            masked.append(pointer(path))
            return MASK
        if isinstance(value, dict):
            return {name: self._hide(each, (*path, name), marks, masked) for name, each in value.items()}
        if isinstance(value, list):
            return [self._hide(each, (*path, str(number)), marks, masked) for number, each in enumerate(value)]
        shown = _without_query(value) if isinstance(value, str) else value
        if shown != value:
            masked.append(pointer(path))
        return shown


def rules(text: str) -> Rules:
    """The rules of a setting, separated by commas, beside those that always hold."""
    given = [each.strip() for each in text.split(",") if each.strip()]
    return Rules(
        names=frozenset(_plain(each) for each in (*ALWAYS, *(each for each in given if each[0] not in "/@"))),
        paths=frozenset(tuple(each[1:].split("/")) for each in given if each[0] == "/"),
        attributes=frozenset(each[1:] for each in given if each[0] == "@"),
    )


def whole(event: Event) -> Body:
    """The event with nothing hidden."""
    try:
        return Body(attributes=dict(event.attributes), data=event.data.decode())
    except UnicodeDecodeError:
        return Body(attributes=dict(event.attributes), data_base64=event.data)


def without_data(event: Event) -> Body:
    """What somebody may see who may not see data: which event it is."""
    shown = {name: value for name, value in event.attributes.items() if name in WITHOUT_DATA}
    hidden = tuple(name for name in event.attributes if name not in shown)
    return Body(attributes=shown, masked=(*hidden, "#"))


def restore(edited: bytes, came: bytes) -> bytes:
    """Data that was edited while masked, with what was hidden put back from what came."""
    if MASK.encode() not in edited:
        return edited
    try:
        return msgspec.json.encode(_restored(msgspec.json.decode(edited), msgspec.json.decode(came)))
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return edited  # the contract's check says what is wrong with it


def _restored(edited: Any, came: Any) -> Any:
    if isinstance(edited, dict) and isinstance(came, dict):
        return {name: _restored(each, came.get(name)) for name, each in edited.items()}
    if isinstance(edited, list) and isinstance(came, list):
        came = [*came, *[None] * len(edited)]
        return [_restored(each, other) for each, other in zip(edited, came, strict=False)]
    hidden = isinstance(edited, str) and MASK in edited and came is not None
    return came if hidden and (edited == MASK or edited == _without_query(came)) else edited


def pointer(path: Path) -> str:
    """A JSON Pointer (RFC 6901)."""
    return "".join("/" + part.replace("~", "~0").replace("/", "~1") for part in path)


def marked(type_: str) -> frozenset[Path]:
    """Where an event type's data holds what the contract marks as personal."""
    struct = REGISTRY.get(type_)
    return frozenset(_marks(struct, ())) if struct else frozenset()


def _marks(type_: Any, path: Path) -> Iterator[Path]:
    origin = get_origin(type_)
    if origin is Annotated:
        inner, *metas = get_args(type_)
        if any(isinstance(meta, msgspec.Meta) and (meta.extra or {}).get(PERSONAL) for meta in metas):
            yield path
        yield from _marks(inner, path)
    elif origin in (Union, UnionType):
        for each in get_args(type_):
            yield from _marks(each, path)
    elif origin in (tuple, list):
        yield from _marks(get_args(type_)[0], (*path, "*"))
    elif isinstance(type_, type) and issubclass(type_, msgspec.Struct):
        for field in msgspec.structs.fields(type_):
            yield from _marks(field.type, (*path, field.encode_name))


def _matches(path: Path, patterns: frozenset[Path]) -> bool:
    """Whether a pattern fits the path; most often there is none of its length."""
    return any(
        len(pattern) == len(path) and all(want in ("*", part) for want, part in zip(pattern, path, strict=True))
        for pattern in patterns
    )


def _plain(name: str) -> str:
    return re.sub("[-_ ]", "", name).lower()


def _without_query(value: str) -> str:
    """An address without what may sign it, or name a user."""
    if not value.startswith(("http://", "https://")):
        return value
    shown = re.sub(r"\?.+", f"?{MASK}", value, count=1, flags=re.DOTALL)
    return re.sub(r"^(https?://)[^/?#]*@", rf"\1{MASK}@", shown)
