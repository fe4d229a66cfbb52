"""Dead letters, groups and replays as a terminal shows them: nothing in them can command it."""

import json
from collections.abc import Callable, Iterable, Iterator
from textwrap import indent
from typing import Any, Final

import msgspec
import typer

from functions.deadletters.service.contract import pretty
from functions.deadletters.service.log_lines import readable
from functions.deadletters.service.results import (
    Action,
    CommandResult,
    DeadLetter,
    Detail,
    Done,
    Group,
    GroupDetail,
    Record,
    Run,
    ShownEvent,
)

ERROR_CHARACTERS: Final = 150


def plain(text: str) -> str:
    """Text from an event, without what a terminal would take as a command."""
    return "".join(char if char.isprintable() or char in "\n\t" else "�" for char in text)


def moment(text: str) -> str:
    """A time to the second."""
    return text[:19]


def dead_letter_lines(dead_letter: DeadLetter) -> Iterator[str]:
    """One dead letter in a list."""
    where = dead_letter.trigger or dead_letter.destination
    seen, state = moment(dead_letter.last_seen), "" if dead_letter.state == "open" else f"  {dead_letter.state}"
    yield plain(f"{dead_letter.id:>6}  {seen}  {dead_letter.code:>4}  {where:<20} {dead_letter.event_id}{state}")
    yield plain(f"        {' '.join(dead_letter.error[:ERROR_CHARACTERS].split())}")


def subject(of: DeadLetter | Group) -> str:
    """What was not delivered: a job, or the callback that tells an API of its end."""
    return f"callbacks of {of.job}" if of.kind == "callback" else of.job


def group_lines(group: Group) -> Iterator[str]:
    """One group in a list."""
    kept = f"{group.open:,} of {subject(group)}, code {group.code}, since {moment(group.first_seen)}"
    about = [f"[{group.state}]" * (group.state != "open"), f"owner {group.owner}" * bool(group.owner)]
    about.append(f"is back since {moment(group.came_back_at or '')}" * bool(group.came_back_at))
    yield plain(f"{group.id:>6}  {kept}  {' '.join(each for each in about if each)}".rstrip())
    yield plain(f"        {' '.join(group.error[:ERROR_CHARACTERS].split())}")
    if group.note:
        yield plain(f"        note: {' '.join(group.note.split())}")


def group_detail(detail: GroupDetail) -> Iterator[str]:
    """One group and what was done to it."""
    yield from group_lines(detail.group)
    yield f"        {detail.group.explanation}"
    yield from (action_line(each) for each in detail.history)


def dead_letter_detail(detail: Detail) -> Iterator[str]:
    """One dead letter whole, every line of it plain."""
    dead_letter = detail.dead_letter
    for name in dead_letter.__struct_fields__:
        value = getattr(dead_letter, name)
        if value not in (None, ""):
            yield plain(f"{name + ':':<14}{value}")
    yield f"{'means:':<14}{detail.explanation}"
    yield ""
    yield from body_lines(detail.body)
    if detail.diff:
        yield "\nchanged before its next replay:"
        yield plain(detail.diff)
    if detail.failure_report:
        yield f"\nthe function said ({moment(detail.failure_report.at)}):"
        yield plain(pretty(detail.failure_report.response))
        yield from (plain(indent(readable(line), "  ")) for line in detail.failure_report.log)
    yield "\nhistory:"
    yield from (action_line(each) for each in detail.history)
    if detail.related:
        yield "\nother dead letters of the job:"
        yield from (line for each in detail.related for line in dead_letter_lines(each))
    if detail.curl:
        yield "\nby hand:"
        yield plain(detail.curl)
    yield f"\nerrands dead replay {dead_letter.id}"


def body_lines(body: ShownEvent) -> Iterator[str]:
    """An event."""
    yield from (plain(f"{name + ':':<17} {value}") for name, value in body.attributes.items())
    yield ""
    if body.data is not None:
        yield plain(pretty(body.data))
    elif body.data_base64 is not None:
        yield f"({len(body.data_base64)} bytes that are no text: errands dead show --raw)"
    if body.masked:
        shown = ", ".join("the data" if each == "#" else each for each in body.masked)
        yield plain(f"masked: {shown}")


def action_line(action: Action) -> str:
    """One line of the history."""
    about = [f"{name} {getattr(action, name)}" for name in ("dead_letter", "group", "replay") if getattr(action, name)]
    said = "; ".join(f"{name}: {_brief(value)}" for name, value in action.detail.items() if value not in (None, ""))
    return plain(f"  {moment(action.at)}  {action.actor}: {action.verb} ({', '.join(about)})  {said}".rstrip())


def run_line(run: Run) -> str:
    """How far a replay is, in one line."""
    counts = [f"{run.sent:,} of {run.total:,} sent"]
    for name in ("completed", "failed", "returned", "awaited", "discarded", "refused", "passed", "sending"):
        if getattr(run, name):
            counts.append(f"{getattr(run, name):,} {name}")
    why = f" ({run.reason})" if run.reason else ""
    return plain(f"replay {run.id}: {', '.join(counts)}; {run.state}{why}")


def rehearsal_line(run: Run) -> str:
    """What a replay would send."""
    shown = ", ".join(map(str, run.would_send[:20])) + (", ..." if run.total > 20 else "")
    return f"{run.total:,} would be sent, {run.passed:,} passed over: {shown}"


def done_lines(done: Done, verb: str) -> Iterator[str]:
    """What was done, and what was not."""
    for each in done.dead_letters:
        yield f"dead letter {each} {verb}"
    for which, why in done.passed.items():
        yield plain(f"dead letter {which} is passed over: {why}")


def _brief(value: Any) -> str:
    text = " ".join(str(value).split())
    return text if len(text) <= 200 else text[:200] + "..."


def show_as(record: CommandResult | Record, lines: Callable[[Any], str | Iterable[str]], *, as_json: bool) -> None:
    """Print a record: as a line of JSON for programs, else as `lines` has it for people."""
    said = json_line(record) if as_json else lines(record)
    show([said] if isinstance(said, str) else said)


def json_line(response: CommandResult | Record) -> str:
    """As JSON in ASCII, so that no terminal takes a part of it as a command."""
    return json.dumps(msgspec.to_builtins(response)).replace("\x7f", "\\u007f")


def show(lines: Iterable[str]) -> None:
    """Print lines."""
    for line in lines:
        typer.echo(line)
