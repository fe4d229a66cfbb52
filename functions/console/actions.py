"""The forms with which an operator deals with dead letters. Each shows what it is about to do, does it, and goes on."""

from typing import Any, Final

import flask
from msgspec import structs

from events.problem import JobFailed
from functions.console import dead_letters, forms, pages, rendering
from functions.console.dead_letters import NUMBER
from functions.console.pages import PageResponse, operator_session, problems
from functions.deadletters.service import commands, results
from functions.deadletters.service.commands import Filter, Selection
from functions.deadletters.service.contract import pretty
from functions.deadletters.service.results import Done, Run
from functions.deadletters.store import replays

LISTED: Final = 20  # dead letters of a selection that a form names
UNDONE_AT_ONCE: Final = 200  # more do not fit into a cookie; the list of discarded dead letters takes them back as well
OPTIONS: Final = ("as_new", "trigger_only", "rate_per_s", "stop_after")

blueprint = pages.blueprint("actions")


@blueprint.get(f"/letters/<{NUMBER}:number>/edit")
def edit_form(number: int) -> PageResponse:
    """The dead letter's attributes and data, to be changed."""
    operator_session().operator.require("edit")
    return _edit_page(operator_session().show(commands.Show(dead_letter=number)))


@blueprint.post(f"/letters/<{NUMBER}:number>/edit")
def edit(number: int) -> PageResponse:
    """Change what a replay sends; what the contract does not take comes back with the errors beside the fields."""
    shown, given = operator_session().show(commands.Show(dead_letter=number)), flask.request.form
    try:
        change = forms.edit(number, shown.body, given)
        if change == commands.Edit(dead_letter=number):
            return pages.after(_dead_letter_url(number), "Nothing was changed.")
        operator_session().edit(change)
    except JobFailed as error:
        return _edit_page(shown, error)
    text = "The dead letter is as it came again." if change.revert else "Changed. A replay sends it as it is now."
    return pages.after(_dead_letter_url(number), text)


@blueprint.get("/replay")
def replay_form() -> PageResponse:
    """What would be sent again, and how."""
    operator_session().operator.require("replay")
    return _action_page("replay", forms.selection(flask.request.args))


@blueprint.post("/replay")
def replay() -> PageResponse:
    """Send dead letters again, or say what that would send."""
    given = flask.request.form
    chosen, dry_run = forms.selection(given), bool(given.get("dry_run"))
    try:
        options: dict[str, Any] = forms.values(commands.Replay, given, OPTIONS)
        run = operator_session().replay(commands.Replay(selection=chosen, dry_run=dry_run, **options))
    except JobFailed as error:
        return _action_page("replay", chosen, error=error)
    if dry_run:
        return _action_page("replay", chosen, rehearsed=run)
    return pages.after(flask.url_for("dead_letters.run", number=run.id))


@blueprint.post(f"/replays/<{NUMBER}:number>/cancel")
def cancel(number: int) -> PageResponse:
    """End a replay."""
    operator_session().cancel(commands.Cancel(replay=number))
    return pages.after(flask.url_for("dead_letters.run", number=number))


@blueprint.post(f"/replays/<{NUMBER}:number>/resume")
def resume(number: int) -> PageResponse:
    """Go on with a replay."""
    operator_session().resume(commands.Resume(replay=number))
    return pages.after(flask.url_for("dead_letters.run", number=number))


@blueprint.get("/discard")
def discard_form() -> PageResponse:
    """What would be closed without a replay."""
    operator_session().operator.require("discard")
    return _action_page("discard", forms.selection(flask.request.args))


@blueprint.post("/discard")
def discard() -> PageResponse:
    """Close dead letters without a replay; the next page offers to take it back."""
    given = flask.request.form
    chosen = forms.selection(given)
    try:
        if not given.get("reason", "").strip():
            raise JobFailed("invalid-form", "a reason is expected", forms.missing("reason"))
        reason: dict[str, Any] = forms.values(commands.Discard, given, ("reason",))
        done = operator_session().discard(commands.Discard(selection=chosen, **reason))
    except JobFailed as error:
        return _action_page("discard", chosen, error=error)
    undo = done.dead_letters if len(done.dead_letters) <= UNDONE_AT_ONCE else ()
    return _done(chosen, done, "discarded", undo=undo)


@blueprint.get("/undo")
def undo_form() -> PageResponse:
    """Which discarded dead letters would wait again."""
    operator_session().operator.require("discard")
    return _action_page("undo", forms.selection(flask.request.args))


@blueprint.post("/undo")
def undo() -> PageResponse:
    """Take a discard back."""
    chosen = forms.selection(flask.request.form)
    return _done(chosen, operator_session().undo(commands.Undo(selection=chosen)), "taken back")


@blueprint.post(f"/groups/<{NUMBER}:number>")
def group(number: int) -> PageResponse:
    """Change a group's state, note or owner."""
    given = flask.request.form
    try:
        match given.get("command"):
            case "acknowledge":
                operator_session().acknowledge(commands.Acknowledge(group=number))
            case "resolve":
                operator_session().resolve(commands.Resolve(group=number))
            case "reopen":
                operator_session().reopen(commands.Reopen(group=number))
            case "note":
                _note(number)
            case other:
                raise JobFailed("invalid-form", f"a command for a group is expected, got {str(other)[:40]!r}")
    except JobFailed as error:
        return dead_letters.group_page(number, error)
    return pages.after(flask.url_for("dead_letters.group", number=number))


def _note(number: int) -> None:
    """The note and the owner stand in one form; what is as it was is not noted again."""
    now = operator_session().group(commands.ShowGroup(group=number)).group
    owner: dict[str, Any] = {"name": ""} | forms.values(commands.Owner, flask.request.form, ("name",))
    note: dict[str, Any] = {"text": ""} | forms.values(commands.Note, flask.request.form, ("text",))
    if owner["name"] != now.owner:
        operator_session().owner(commands.Owner(group=number, **owner))
    if note["text"].replace("\r\n", "\n") != now.note:
        operator_session().note(commands.Note(group=number, text=note["text"].replace("\r\n", "\n")))


def _edit_page(shown: results.Detail, error: JobFailed | None = None) -> PageResponse:
    """The form, as it was sent where it was not taken."""
    given, body = flask.request.form, shown.body
    attributes = tuple(body.attributes.items())
    text = pretty(body.data) if body.data and forms.editable(body) else ""
    if error and error.kind != "changed-meanwhile":
        attributes = tuple(zip(given.getlist("name"), given.getlist("value"), strict=False))
        text = given.get("data", text).replace("\r\n", "\n")
    return pages.page(
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


def _action_page(
    verb: str, chosen: Selection, *, error: JobFailed | None = None, rehearsed: Run | None = None
) -> PageResponse:
    found, total = _found(chosen, verb)
    return pages.page(
        "action.html",
        status=422 if error else 200,
        verb=verb,
        chosen=chosen,
        matching=structs.asdict(chosen.matching) if chosen.matching else {},
        found=found,
        total=total,
        given=flask.request.form,
        errors=problems(error),
        rehearsed=rehearsed,
        defaults=commands.Replay(selection=chosen),
    )


def _found(chosen: Selection, verb: str) -> tuple[list[results.DeadLetter], int | None]:
    """The first dead letters of a selection, and how many they are; None where to count them would cost much."""
    if chosen.matching:
        matching = replays.meant(chosen.matching) if verb == "replay" else chosen.matching
        page = operator_session().list(commands.List(matching=matching, limit=LISTED))
        return list(page.dead_letters), page.total
    shown = [
        operator_session().show(commands.Show(dead_letter=each)).dead_letter for each in chosen.dead_letters[:LISTED]
    ]
    return shown, len(set(chosen.dead_letters))


def _dead_letter_url(number: int) -> str:
    return flask.url_for("dead_letters.dead_letter", number=number)


def _done(chosen: Selection, done: Done, verb: str, **more: Any) -> PageResponse:
    """Back to the dead letter, or to the list, with what was done and what was not."""
    one = chosen.dead_letters[0] if len(chosen.dead_letters) == 1 else None
    matching = chosen.matching or Filter()
    url = _dead_letter_url(one) if one else flask.url_for("dead_letters.listing", group=matching.group)
    noun = "dead letter" if len(done.dead_letters) == 1 else "dead letters"
    passed = [f"{dead_letter}: {why}" for dead_letter, why in list(done.passed.items())[:LISTED]]
    text = f"{rendering.count(len(done.dead_letters))} {noun} {verb}."
    return pages.after(url, text, passed=passed, passed_count=len(done.passed), **more)
