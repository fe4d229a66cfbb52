"""What the page's forms and queries say, as commands: each field that cannot be taken is named, not only the first."""

import hashlib
import re
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Final, TypeVar
from urllib.parse import unquote

import msgspec

from events.problem import FieldError, JobFailed
from functions.console import places
from functions.deadletters.service.commands import Command, Edit, Filter, Selection
from functions.deadletters.service.contract import pretty
from functions.deadletters.service.results import DeadLetterId, ShownEvent

if TYPE_CHECKING:
    from werkzeug.datastructures import MultiDict

W = TypeVar("W", bound=Command)

EDITABLE_CHARACTERS: Final = 1_000_000
FORM_LIMIT_BYTES: Final = 4 * EDITABLE_CHARACTERS  # a form-encoded body is up to three times its text
WANTED: Final = {"`int`": "a whole number", "`float`": "a number", "`str`": "text", "`bool`": "true or false"}
UNCHANGED: Final = "somebody changed this dead letter meanwhile; what you see now is the dead letter as it is"


class WrongValue(msgspec.Struct, frozen=True):
    """One value of an event's data that the contract does not take."""

    pointer: str
    detail: str
    line: int


class WrongEdit(msgspec.Struct, frozen=True, kw_only=True):
    """Why an edit was not taken: for values of the data, for an attribute, or, without either, for the whole."""

    values: tuple[WrongValue, ...] = ()
    attribute: str = ""
    detail: str = ""


def values(command: type[Command], given: Mapping[str, str], names: Iterable[str] = ()) -> dict[str, object]:
    """The fields of a command that were filled in (of `names`, if there are any); raise JobFailed with each bad one."""
    found: dict[str, object] = {}
    wrong: list[FieldError] = []
    for each in msgspec.structs.fields(command):
        text = given.get(each.name, "").strip()
        if not text or (names and each.name not in names):
            continue
        try:
            found[each.name] = msgspec.convert(text, each.type, strict=False)
        except msgspec.ValidationError as error:
            wrong.append(FieldError(pointer=f"#/{each.name}", detail=f"{_plainly(error)}, got {text[:80]!r}"))
    if wrong:
        raise JobFailed("invalid-form", "; ".join(f"{each.pointer[2:]}: {each.detail}" for each in wrong), tuple(wrong))
    return found


def read(command: type[W], given: Mapping[str, str]) -> W:
    """The command whose fields were filled in."""
    return command(**values(command, given))


def selection(given: "MultiDict[str, str]") -> Selection:
    """The dead letters that were chosen, or, only where `all` says so, all that match."""
    if given.get("all"):
        return Selection(matching=read(Filter, given))
    chosen = [*given.getlist("dead_letter"), *given.getlist("letter")]  # `letter`: for one release, in addresses
    if not chosen:
        raise JobFailed("nothing-chosen", "no dead letter was chosen: mark the dead letters in the list first")
    try:
        return Selection(dead_letters=msgspec.convert(chosen, tuple[DeadLetterId, ...], strict=False))
    except msgspec.ValidationError as error:
        raise JobFailed("invalid-form", f"dead letter: {_plainly(error)}") from error


def edit(dead_letter: int, shown: ShownEvent, given: "MultiDict[str, str]") -> Edit:
    """What was changed of the dead letter that was shown; raise JobFailed when it is another by now."""
    if given.get("revert"):
        return Edit(dead_letter=dead_letter, revert=True)
    if given.get("fingerprint") != fingerprint(shown):
        raise JobFailed("changed-meanwhile", UNCHANGED)
    return Edit(dead_letter=dead_letter, data=_data(shown, given.get("data")), attributes=_attributes(shown, given))


def fingerprint(shown: ShownEvent) -> str:
    """The same as long as what was shown is."""
    return hashlib.sha256(msgspec.json.encode(shown)).hexdigest()


def editable(shown: ShownEvent) -> bool:
    """Whether the data is short enough for a form; longer data goes through the command line."""
    return shown.data is None or len(shown.data) <= EDITABLE_CHARACTERS


def missing(name: str) -> tuple[FieldError, ...]:
    """What is wrong with a form in which a field was left empty."""
    return (FieldError(pointer=f"#/{name}", detail="is required"),)


def pointers(error: JobFailed) -> dict[str, list[str]]:
    """What is wrong by the field's name (`code`, `events/0/start`; the whole is empty)."""
    found: dict[str, list[str]] = {}
    for each in error.errors:
        found.setdefault(each.pointer.removeprefix("#").removeprefix("/"), []).append(each.detail)
    return found


def wrong_edit(error: JobFailed, names: Iterable[str], text: str) -> WrongEdit:
    """An edit that was not taken: what is wrong with which attribute, and with which line of the data."""
    if not error.errors:
        # the rule's sentence names its attribute (events/http.py)
        name = next((each for each in re.findall("[a-z0-9]+", error.detail) if each in set(names)), "")
        return WrongEdit(attribute=name, detail=error.detail)
    where, found = places.lines(text), []
    for each in error.errors:
        path = unquote(each.pointer.removeprefix("#"))
        found.append(WrongValue(path, each.detail, places.line_of(where, path, each.detail, text)))
    return WrongEdit(values=tuple(found))


def _data(shown: ShownEvent, text: str | None) -> str | None:
    """A form sends line ends as CRLF; what reads the same is not changed, down to its white space."""
    if text is None or not editable(shown):
        return None
    text = text.replace("\r\n", "\n")
    if shown.data is None:  # it could not be shown: only what somebody wrote replaces it
        return text or None
    return None if text == pretty(shown.data).replace("\r\n", "\n") else text


def _attributes(shown: ShownEvent, given: "MultiDict[str, str]") -> dict[str, str | None]:
    changed: dict[str, str | None] = {}
    for name, value in zip(given.getlist("name"), given.getlist("value"), strict=False):
        key, text = name.strip(), value.strip()
        if key and text != _in_a_line(shown.attributes.get(key, "")):
            changed[key] = text or None
    return changed


def _in_a_line(value: str) -> str:
    """As an input of a form holds it."""
    return value.replace("\r", "").replace("\n", "").strip()


def _plainly(error: msgspec.ValidationError) -> str:
    text = str(error).split(" - at `$")[0]
    for name, plain in WANTED.items():
        text = text.replace(name, plain)
    return text
