"""Hides what is secret or personal in an event, and in what is said of it: by the contract's own marks, and by rules.

A rule is the name of a field, wherever it stands (`password`: in any case, with or without `-` and `_`), a JSON Pointer
from the data's root in which `*` is any one part (`/customer/*/phone`), or `@` and the name of an attribute. Fields
that `events/types/__init__.py` marks as personal are hidden without a rule. The query of an address goes too: it may
sign.
"""

import json
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import chain, groupby, islice, takewhile
from types import UnionType
from typing import Annotated, Any, Final, Union, get_args, get_origin

import msgspec

from events.http import Event
from events.types import REGISTRY

MASK: Final = "[masked]"
PERSONAL: Final = "personal"  # the mark in `Meta(extra=...)` of a field
ALWAYS: Final = (
    *("password", "passwd", "secret", "token", "authorization", "api_key", "access_token", "refresh_token"),
    *("private_key", "client_secret", "credit_card", "card_number", "cvc", "iban", "ssn"),
)

VALUES: Final = 300  # of one event that are looked for in a text
VALUE_CHARACTERS: Final = 2
CUT_CHARACTERS: Final = 16  # of a longer value the beginning is looked for: an error quotes no more of it
EMAIL: Final = re.compile(r"[^\s<>\"'(),:;@]{1,64}@[^\s<>\"'(),:;@]{1,255}")
WEB: Final = re.compile(r"https?://[^\s<>\"']{1,2000}")
QUOTED: Final = re.compile(r"(?<![^\W_])'[^'\n]{0,2000}'(?!\w)|\"[^\"\n]{0,2000}\"|`[^`\n]{0,2000}`")

Path = tuple[str, ...]
Patterns = Mapping[int, tuple[Path, ...]]


@dataclass(frozen=True, slots=True)
class MaskedEvent:
    """An event without what is hidden in it; no `data` where that cannot be read. `names` are of what is hidden."""

    attributes: dict[str, str]
    data: str | None
    names: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class Rules:
    """What is hidden in every event, besides the contract's marks."""

    names: frozenset[str]
    paths: frozenset[Path] = frozenset()
    attributes: frozenset[str] = frozenset()

    def masked(self, event: Event, types: Iterable[str] = ()) -> MaskedEvent:
        """The event with what these rules and the marks of its type, and of these, name hidden.

        What cannot be read is hidden whole.
        """
        attributes, masked = {}, []
        for name, value in event.attributes.items():
            attributes[name] = MASK if name in self.attributes else without_query(value)
            if attributes[name] != value:
                masked.append(name)
        if not event.data:
            return MaskedEvent(attributes, "", tuple(masked))
        try:
            value = msgspec.json.decode(event.data)
            hidden = self._hide(value, (), self._patterns(event, types), masked)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            return MaskedEvent(attributes, None, (*masked, "#"))
        unchanged = hidden == value
        data = event.data.decode() if unchanged else msgspec.json.encode(hidden).decode()
        return MaskedEvent(attributes, data, tuple(masked))

    def hidden_values(self, event: Event, types: Iterable[str] = ()) -> frozenset[str]:
        """The texts and numbers that are hidden in an event; none of data that cannot be read."""
        try:
            value = msgspec.json.decode(event.data or b"null")
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            return frozenset()
        found = list[Any](event.attributes[name] for name in self.attributes if name in event.attributes)
        self._hide(value, (), self._patterns(event, types), [], found.append)
        return frozenset(islice(chain.from_iterable(map(_leaves, found)), VALUES))

    def told(self, text: str, event: Event) -> str:
        """What is said of an event, without what is hidden in it, and without any address."""
        return without_addresses(without(text, self.hidden_values(event) if text else ()))

    def _patterns(self, event: Event, types: Iterable[str]) -> Patterns:
        """The paths that are hidden, by their length, since an event may have a million values to compare with them."""
        paths = sorted(self.paths.union(*map(marked, (event.type, *types))), key=len)
        return {length: tuple(each) for length, each in groupby(paths, key=len)}

    def _hide(
        self,
        value: Any,
        path: Path,
        patterns: Patterns,
        masked: list[str],
        hidden: Callable[[Any], None] = lambda value: None,
    ) -> Any:
        if path and (_plain(path[-1]) in self.names or _matches(path, patterns)):
            masked.append(pointer(path))
            hidden(value)
            return MASK
        if isinstance(value, dict):
            return {name: self._hide(each, (*path, name), patterns, masked, hidden) for name, each in value.items()}
        if isinstance(value, list):
            return [self._hide(each, (*path, str(at)), patterns, masked, hidden) for at, each in enumerate(value)]
        shown = without_query(value) if isinstance(value, str) else value
        if shown != value:
            masked.append(pointer(path))
            hidden(value)
        return shown


def rules(text: str) -> Rules:
    """The rules of a setting, separated by commas, beside those that always hold."""
    given = [each.strip() for each in text.split(",") if each.strip()]
    return Rules(
        names=frozenset(_plain(each) for each in (*ALWAYS, *(each for each in given if each[0] not in "/@"))),
        paths=frozenset(tuple(each[1:].split("/")) for each in given if each[0] == "/"),
        attributes=frozenset(each[1:] for each in given if each[0] == "@"),
    )


def without(text: str, values: Iterable[str]) -> str:
    """A text without these values, in any case, as JSON may write them, or cut where they are long."""
    for value in sorted(values, key=len, reverse=True):
        text = _without_forms(text, json_forms(value))
    return text


def without_addresses(text: str) -> str:
    """A text without addresses of e-mail, and without what may sign an address of the web."""
    if "@" not in text and "://" not in text:  # as most lines of a log
        return text
    return EMAIL.sub(MASK, WEB.sub(lambda found: without_query(found[0]), text))


def without_values(text: str) -> str:
    """A text without the values that it quotes: what is wrong, and not with what."""
    return QUOTED.sub(f"'{MASK}'", without_addresses(text))


def json_forms(text: str) -> tuple[str, ...]:
    """A text as it is, and as JSON may write it."""
    return tuple(dict.fromkeys((text, json.dumps(text)[1:-1], json.dumps(text, ensure_ascii=False)[1:-1])))


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


def _matches(path: Path, patterns: Patterns) -> bool:
    """Whether a pattern fits the path; most often there is none of its length."""
    fitting = patterns.get(len(path), ())
    return any(all(want in ("*", part) for want, part in zip(each, path, strict=True)) for each in fitting)


@lru_cache(maxsize=4_096)
def _plain(name: str) -> str:
    return re.sub("[-_ ]", "", name).lower()


def _without_forms(text: str, forms: Sequence[str]) -> str:
    """Each place where one of the forms begins is hidden, as far as any of them goes on there."""
    begins = "|".join({re.escape(form[:CUT_CHARACTERS]) for form in forms})
    parts, at = list[str](), 0
    for found in re.finditer(begins, text, re.IGNORECASE):
        whole = all(len(form) <= CUT_CHARACTERS for form in forms)
        if found.start() < at or _in_a_word(text, found, whole=whole):
            continue
        end = max(found.end(), *(found.start() + _alike(text, found.start(), form) for form in forms))
        parts += [text[at : found.start()], MASK]
        at = end
    return "".join([*parts, text[at:]])


def _alike(text: str, start: int, form: str) -> int:
    """How many characters of the text are the form's, in any case."""
    pairs = zip(text[start : start + len(form)], form, strict=False)
    return sum(1 for _ in takewhile(lambda pair: _same(*pair), pairs))


def _same(one: str, other: str) -> bool:
    return one == other or one.lower() == other.lower()


def _in_a_word(text: str, found: "re.Match[str]", *, whole: bool) -> bool:
    """Whether it is a part of a longer word only, as `an` is of `want`."""
    before, after = text[: found.start()][-1:], text[found.end() :][:1]
    return (found[0][0].isalnum() and before.isalnum()) or (whole and found[0][-1].isalnum() and after.isalnum())


def _leaves(value: Any) -> Iterator[str]:
    """The texts and numbers in a value that are long enough to be told from others."""
    if isinstance(value, dict | list):
        for each in value.values() if isinstance(value, dict) else value:
            yield from _leaves(each)
    elif isinstance(value, str | int | float) and not isinstance(value, bool) and len(str(value)) >= VALUE_CHARACTERS:
        yield str(value)


def without_query(value: str) -> str:
    """An address without what may sign it, or name a user."""
    if not value.startswith(("http://", "https://")):
        return value
    shown = re.sub(r"\?.+", f"?{MASK}", value, count=1, flags=re.DOTALL)
    return re.sub(r"^(https?://)[^/?#]*@", rf"\1{MASK}@", shown)


CONTRACT: Final = rules("")  # what is hidden without a setting
