"""How a job that cannot go on is described, and the exceptions that carry the description.

Every exception of the contract is here::

    ValueError
    ├── NotAnEvent      the request is no CloudEvent; kept as a dead letter
    └── JobFailed       the job can never be done; the API hears at once
    Exception
    └── TryAgain        a dependency is down; the broker delivers again later
        └── NotNow      what is asked for takes nothing now: to wait for it is no attempt

Anything else that a handler raises is a bug: answered 500, retried, then dead-lettered.
"""

import re
from collections.abc import Iterator, Sequence
from itertools import islice
from types import UnionType
from typing import Annotated, Any, Literal, TypeVar, Union, get_args, get_origin
from urllib.parse import quote

import msgspec

T = TypeVar("T")

SHOWN_CHARACTERS = 80
_OF_A_PATTERN = " matching regex "
_NO_CHOICE = "Invalid enum value"
_NAMED = re.compile(r"`([a-z]+(?: \| [a-z]+)*)`")  # the kinds of values in msgspec's messages
_OF_A_KIND = re.compile(r", got (?:an? [a-z ]+|true or false|null)$")
_WORDS = {
    "array": "an array",
    "bool": "true or false",
    "bytes": "a text in base64",
    "date": "a date",
    "datetime": "a time",
    "float": "a number",
    "int": "an integer",
    "object": "an object",
    "str": "a text",
}
SHOWN_ERRORS = 100  # a body of 10 MiB can hold a million bad fields; the failed event has to pass the broker


class FieldError(msgspec.Struct, frozen=True, kw_only=True):
    """One bad field; `pointer` is a JSON Pointer in URI fragment form (RFC 6901 section 6)."""

    pointer: str
    detail: str


class Problem(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Problem details (RFC 9457) of a failed job; `type` is a URI that names the kind of problem."""

    type: str
    title: str
    detail: str
    errors: tuple[FieldError, ...] = ()


class NotAnEvent(ValueError):
    """The request is not a CloudEvent of a known type; the message says which rule it breaks."""


class JobFailed(ValueError):
    """The job can never be done as asked: bad data, a refused source, a corrupt file, expired.

    `kind` is a short slug (`invalid-data`, `source-refused`); it becomes the problem's `type`.
    """

    def __init__(self, kind: str, detail: str, errors: tuple[FieldError, ...] = ()) -> None:
        super().__init__(detail)
        self.kind = kind
        self.detail = detail
        self.errors = errors

    @property
    def problem(self) -> Problem:
        """The problem details that the failed event carries."""
        return Problem(
            type=f"https://errands.dev/problems/{self.kind}",
            title=self.kind.replace("-", " ").capitalize(),
            detail=self.detail,
            errors=self.errors,
        )


class TryAgain(Exception):
    """A dependency is down; `retry_after_s` is a hint for the answer's Retry-After header."""

    def __init__(self, detail: str, retry_after_s: float = 5.0) -> None:
        super().__init__(detail)
        self.retry_after_s = retry_after_s


class NotNow(TryAgain):
    """The attempt was not made, or came to nobody: a pause, a rate, a server that is down. It is no attempt."""


def sentence(body: bytes) -> str:
    """What an answer's body says to a person: of problem details their sentence, otherwise its text."""
    try:
        return str(msgspec.json.decode(body, type=dict[str, Any])["detail"])
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError, KeyError):
        return body.decode(errors="replace")


def decode(data: bytes, type_: type[T], at: str = "#") -> T:
    """Return `data` (JSON) as `type_`; raise JobFailed that names every bad field (the first 100), not only one.

    `at` is the pointer of `data` itself, where it is a part of the event's data.
    """
    try:
        value = msgspec.json.decode(data, type=type_)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise JobFailed("invalid-data", *_explain(data, type_, error, at)) from error
    flaws = getattr(value, "flaws", None)  # what a type says of its fields together, as events/types/graph.py
    if flaws is not None and (found := tuple(islice(flaws(), SHOWN_ERRORS + 1))):
        inner = [FieldError(pointer=at + each.pointer.removeprefix("#"), detail=each.detail) for each in found]
        raise JobFailed("invalid-data", *_told(inner))
    return value


def wide_integers(value: Any, at: str = "#") -> Iterator[FieldError]:
    """The integers that have more than 64 bits, which no message between processes holds."""
    if isinstance(value, dict):
        for name, each in value.items():
            yield from wide_integers(each, f"{at}/{pointer_part(str(name))}")
    elif isinstance(value, list | tuple):
        for index, each in enumerate(value):
            yield from wide_integers(each, f"{at}/{index}")
    elif isinstance(value, int) and not -(2**63) <= value < 2**64:
        yield FieldError(pointer=at, detail=f"an integer must have at most 64 bits{_shown(value)}; send a text")


def too_wide(job: msgspec.Struct) -> JobFailed:
    """What becomes of a job whose integers do not go into a message: it names them."""
    errors = tuple(islice(wide_integers(msgspec.to_builtins(job)), SHOWN_ERRORS))
    listed = "; ".join(f"{each.pointer}: {each.detail}" for each in errors[:3])
    return JobFailed("invalid-data", listed or "an integer must have at most 64 bits", errors)


def _explain(data: bytes, type_: type[Any], error: Exception, at: str) -> tuple[str, tuple[FieldError, ...]]:
    try:
        value = msgspec.json.decode(data)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as malformed:
        return f"data must be JSON: {malformed}", (FieldError(pointer=at, detail=str(malformed)),)
    found = tuple(islice(_field_errors(value, type_, at), SHOWN_ERRORS + 1))
    return _told(found or (FieldError(pointer=at, detail=str(error)),))


def _told(found: Sequence[FieldError]) -> tuple[str, tuple[FieldError, ...]]:
    errors = tuple(found[:SHOWN_ERRORS])
    count = f"over {SHOWN_ERRORS}" if len(found) > SHOWN_ERRORS else len(errors)
    noun = "field breaks" if len(errors) == 1 else "fields break"
    listed = "; ".join(f"{each.pointer}: {each.detail}" for each in errors[:3])
    return f"{count} {noun} the contract: {listed}", errors


def _field_errors(value: Any, type_: Any, pointer: str) -> Iterator[FieldError]:
    """Walk to the leaves that are wrong: msgspec itself stops at the first."""
    try:
        msgspec.convert(value, type_)
        return
    except (msgspec.ValidationError, RecursionError) as error:
        message = _readable(str(error).split(" - at `$")[0], type_)
    inner = _inner_errors(value, _shape(type_), pointer)
    shown = "" if _is_secret(type_) else _shown(value)
    if shown:
        message = _OF_A_KIND.sub("", message)
    yield next(inner, FieldError(pointer=pointer, detail=message + shown))
    yield from inner


def _inner_errors(value: Any, shape: Any, pointer: str) -> Iterator[FieldError]:
    if isinstance(shape, type) and issubclass(shape, msgspec.Struct) and isinstance(value, dict):
        yield from _struct_errors(value, shape, pointer)
    elif get_origin(shape) is tuple and isinstance(value, list):
        for index, item in enumerate(value):
            yield from _field_errors(item, get_args(shape)[0], f"{pointer}/{index}")


def _struct_errors(value: dict[str, Any], struct: type[msgspec.Struct], pointer: str) -> Iterator[FieldError]:
    known = {field.encode_name: field for field in msgspec.structs.fields(struct)}
    for name, field in known.items():
        if name in value:
            yield from _field_errors(value[name], field.type, f"{pointer}/{name}")
        elif field.required:
            yield FieldError(pointer=f"{pointer}/{name}", detail="is required")
    for name in value if struct.__struct_config__.forbid_unknown_fields else ():
        if name in known:
            continue
        shown = name if len(name) <= SHOWN_CHARACTERS else name[:SHOWN_CHARACTERS] + "..."
        yield FieldError(
            pointer=f"{pointer}/{pointer_part(shown)}", detail=f"is unknown; expected one of: {', '.join(known)}"
        )


def pointer_part(name: str) -> str:
    """As a part of a pointer (RFC 6901, sections 3 and 6)."""
    return quote(name.replace("~", "~0").replace("/", "~1"), safe="~!$&'()*+,;=:@")


def _shape(type_: Any) -> Any:
    """`type_` without its constraints and without `None`: what its parts are to be checked against."""
    if get_origin(type_) is Annotated:
        return _shape(get_args(type_)[0])
    if get_origin(type_) in (Union, UnionType):
        members = [each for each in get_args(type_) if each is not type(None)]
        return _shape(members[0]) if len(members) == 1 else type_
    return type_


def _readable(message: str, type_: Any) -> str:
    """msgspec's message in JSON's words, and with what a pattern or an enumeration stands for."""
    if message.startswith(_NO_CHOICE) and (choices := _choices(type_)):
        return f"Expected one of {', '.join(map(str, choices))}"
    said = message
    if _OF_A_PATTERN in message:
        said = f"{message.partition(_OF_A_PATTERN)[0]}: {next(_meanings(type_), 'of another form')}"
    return in_words(said)


def in_words(message: str) -> str:
    """A message of msgspec with JSON's words for the kinds of values: an array, a text."""
    return _NAMED.sub(_in_words, message)


def _in_words(named: re.Match[str]) -> str:
    """`int | str | null` is an integer, a text or null."""
    kinds = [_WORDS.get(each, each) for each in named[1].split(" | ")]
    return " or ".join([", ".join(kinds[:-1]), kinds[-1]] if len(kinds) > 1 else kinds)


def _choices(type_: Any) -> tuple[Any, ...]:
    """What a field of one of several values may be; nothing for any other."""
    shape = _shape(type_)
    if get_origin(shape) in (Union, UnionType):  # of a Literal and null: each by itself
        return tuple(choice for member in get_args(shape) for choice in _choices(member))
    return get_args(shape) if get_origin(shape) is Literal else ()


def _meanings(type_: Any) -> Iterator[str]:
    """What the type says of its texts that have a pattern: a description, or examples."""
    for each in getattr(type_, "__metadata__", ()):
        if isinstance(each, msgspec.Meta) and each.pattern and (each.description or each.examples):
            yield each.description or f"such as {', '.join(map(str, each.examples or ()))}"
    for member in (*_members(type_), *_members(getattr(type_, "__origin__", None))):
        yield from _meanings(member)


def _is_secret(type_: Any) -> bool:
    """Whether the field is marked so (events/types/base.py)."""
    marks = [each.extra or {} for each in getattr(type_, "__metadata__", ()) if isinstance(each, msgspec.Meta)]
    return any("secret" in each for each in marks) or any(map(_is_secret, _members(type_)))


def _members(type_: Any) -> tuple[Any, ...]:
    return get_args(type_) if get_origin(type_) in (Union, UnionType) else ()


def _shown(value: Any) -> str:
    """What was sent, cut short; containers are not shown, since their bad parts are named by themselves."""
    if isinstance(value, dict | list):
        return ""
    text = msgspec.json.encode(value).decode()
    return f", got {text if len(text) <= SHOWN_CHARACTERS else text[:SHOWN_CHARACTERS] + '...'}"
