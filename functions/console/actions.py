"""The forms with which an operator deals with dead letters. Each shows what it is about to do, does it, and goes on."""

from typing import Any, Final

import flask
from msgspec import structs

from events.problem import JobFailed
from functions.console import forms, rendering, views
from functions.console.request_context import PREFIX, Visit, problems
from functions.deadletters.service import commands
from functions.deadletters.service.commands import Done, Filter, Run, Selection
from functions.deadletters.service.contract import pretty
from functions.deadletters.store import replays

LISTED: Final = 20  # dead letters of a selection that a form names
UNDONE_AT_ONCE: Final = 200  # more do not fit into a cookie; the list of discarded dead letters takes them back as well
OPTIONS: Final = ("as_new", "trigger_only", "rate_per_s", "stop_after")


def edit_form(visit: Visit, dead_letter: int) -> flask.Response:
    """The letter's attributes and data, to be changed."""
    visit.operator_session.operator.require("edit")
    return _edit_page(visit, visit.operator_session.show(commands.Show(dead_letter=dead_letter)))


def edit(visit: Visit, dead_letter: int) -> flask.Response:
    """Change what a replay sends; what the contract does not take comes back with the errors beside the fields."""
    shown, given = visit.operator_session.show(commands.Show(dead_letter=dead_letter)), visit.request.form
    try:
        change = forms.edit(dead_letter, shown.body, given)
        if change == commands.Edit(dead_letter=dead_letter):
            return visit.after(f"{PREFIX}letters/{dead_letter}", "Nothing was changed.")
        visit.operator_session.edit(change)
    except JobFailed as error:
        return _edit_page(visit, shown, error)
    text = "The dead letter is as it came again." if change.revert else "Changed. A replay sends it as it is now."
    return visit.after(f"{PREFIX}letters/{dead_letter}", text)


def replay_form(visit: Visit) -> flask.Response:
    """What would be sent again, and how."""
    visit.operator_session.operator.require("replay")
    return _order_page(visit, "replay", forms.selection(visit.request.args))


def replay(visit: Visit) -> flask.Response:
    """Send dead letters again, or say what that would send."""
    given = visit.request.form
    chosen, dry_run = forms.selection(given), bool(given.get("dry_run"))
    try:
        options: dict[str, Any] = forms.values(commands.Replay, given, OPTIONS)
        run = visit.operator_session.replay(commands.Replay(selection=chosen, dry_run=dry_run, **options))
    except JobFailed as error:
        return _order_page(visit, "replay", chosen, error=error)
    if dry_run:
        return _order_page(visit, "replay", chosen, rehearsed=run)
    return visit.after(f"{PREFIX}replays/{run.id}")


def cancel(visit: Visit, replay: int) -> flask.Response:
    """End a replay."""
    visit.operator_session.cancel(commands.Cancel(replay=replay))
    return visit.after(f"{PREFIX}replays/{replay}")


def resume(visit: Visit, replay: int) -> flask.Response:
    """Go on with a replay."""
    visit.operator_session.resume(commands.Resume(replay=replay))
    return visit.after(f"{PREFIX}replays/{replay}")


def discard_form(visit: Visit) -> flask.Response:
    """What would be closed without a replay."""
    visit.operator_session.operator.require("discard")
    return _order_page(visit, "discard", forms.selection(visit.request.args))


def discard(visit: Visit) -> flask.Response:
    """Close dead letters without a replay; the next page offers to take it back."""
    given = visit.request.form
    chosen = forms.selection(given)
    try:
        if not given.get("reason", "").strip():
            raise JobFailed("invalid-form", "a reason is expected", forms.missing("reason"))
        reason: dict[str, Any] = forms.values(commands.Discard, given, ("reason",))
        done = visit.operator_session.discard(commands.Discard(selection=chosen, **reason))
    except JobFailed as error:
        return _order_page(visit, "discard", chosen, error=error)
    undo = done.dead_letters if len(done.dead_letters) <= UNDONE_AT_ONCE else ()
    return _done(visit, chosen, done, "discarded", undo=undo)


def undo_form(visit: Visit) -> flask.Response:
    """Which discarded dead letters would wait again."""
    visit.operator_session.operator.require("discard")
    return _order_page(visit, "undo", forms.selection(visit.request.args))


def undo(visit: Visit) -> flask.Response:
    """Take a discard back."""
    chosen = forms.selection(visit.request.form)
    return _done(visit, chosen, visit.operator_session.undo(commands.Undo(selection=chosen)), "taken back")


def group(visit: Visit, group: int) -> flask.Response:
    """Change a group's state, note or owner."""
    given = visit.request.form
    try:
        match given.get("command"):
            case "acknowledge":
                visit.operator_session.acknowledge(commands.Acknowledge(group=group))
            case "resolve":
                visit.operator_session.resolve(commands.Resolve(group=group))
            case "reopen":
                visit.operator_session.reopen(commands.Reopen(group=group))
            case "note":
                _note(visit, group)
            case other:
                raise JobFailed("invalid-form", f"a word for a group is expected, got {str(other)[:40]!r}")
    except JobFailed as error:
        return views.group_page(visit, group, error)
    return visit.after(f"{PREFIX}groups/{group}")


def _note(visit: Visit, group: int) -> None:
    """The note and the owner stand in one form; what is as it was is not noted again."""
    now = visit.operator_session.group(commands.ShowGroup(group=group)).group
    owner: dict[str, Any] = {"name": ""} | forms.values(commands.Owner, visit.request.form, ("name",))
    note: dict[str, Any] = {"text": ""} | forms.values(commands.Note, visit.request.form, ("text",))
    if owner["name"] != now.owner:
        visit.operator_session.owner(commands.Owner(group=group, **owner))
    if note["text"].replace("\r\n", "\n") != now.note:
        visit.operator_session.note(commands.Note(group=group, text=note["text"].replace("\r\n", "\n")))


def _edit_page(visit: Visit, shown: commands.Detail, error: JobFailed | None = None) -> flask.Response:
    """The form, as it was sent where it was not taken."""
    given, body = visit.request.form, shown.body
    attributes = tuple(body.attributes.items())
    text = pretty(body.data) if body.data and forms.editable(body) else ""
    if error and error.kind != "changed-meanwhile":
        attributes = tuple(zip(given.getlist("name"), given.getlist("value"), strict=False))
        text = given.get("data", text).replace("\r\n", "\n")
    return visit.page(
        "edit.html",
        status=422 if error else 200,
        detail=shown,
        dead_letter=shown.dead_letter,
        attributes=[each for each in attributes if any(each)],
        text=text,
        wrong=forms.wrong_edit(error, [name for name, _ in attributes], text) if error else None,
        editable=forms.editable(body),
        fingerprint=forms.fingerprint(body),
        limit_characters=forms.EDITABLE_CHARACTERS,
    )


def _order_page(
    visit: Visit,
    verb: str,
    chosen: Selection,
    *,
    error: JobFailed | None = None,
    rehearsed: Run | None = None,
) -> flask.Response:
    found, total = _found(visit, chosen, verb)
    return visit.page(
        "order.html",
        status=422 if error else 200,
        verb=verb,
        chosen=chosen,
        matching=structs.asdict(chosen.matching) if chosen.matching else {},
        found=found,
        total=total,
        given=visit.request.form,
        errors=problems(error),
        rehearsed=rehearsed,
        defaults=commands.Replay(selection=chosen),
    )


def _found(visit: Visit, chosen: Selection, verb: str) -> tuple[list[commands.DeadLetter], int | None]:
    """The first dead letters of a selection, and how many they are; None where to count them would cost much."""
    if chosen.matching:
        matching = replays.meant(chosen.matching) if verb == "replay" else chosen.matching
        page = visit.operator_session.list(commands.List(matching=matching, limit=LISTED))
        return list(page.dead_letters), page.total
    shown = [
        visit.operator_session.show(commands.Show(dead_letter=each)).dead_letter
        for each in chosen.dead_letters[:LISTED]
    ]
    return shown, len(set(chosen.dead_letters))


def _done(visit: Visit, chosen: Selection, done: Done, verb: str, **more: Any) -> flask.Response:
    """Back to the dead letter, or to the list, with what was done and what was not."""
    one = chosen.dead_letters[0] if len(chosen.dead_letters) == 1 else None
    matching = chosen.matching or Filter()
    path = f"letters/{one}" if one else f"dead letters?group={matching.group}" if matching.group else "dead_letters"
    noun = "dead letter" if len(done.dead_letters) == 1 else "dead letters"
    passed = [f"{dead_letter}: {why}" for dead_letter, why in list(done.passed.items())[:LISTED]]
    text = f"{rendering.count(len(done.dead_letters))} {noun} {verb}."
    return visit.after(PREFIX + path, text, passed=passed, passed_count=len(done.passed), **more)
