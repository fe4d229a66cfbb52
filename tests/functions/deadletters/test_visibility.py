"""Every way by which a field of an event reaches somebody, walked with each set of rights."""

import base64
import json
import logging
import re
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Final

import msgspec
import pytest

from events.http import Event
from events.problem import JobFailed
from functions.deadletters.service import alerts, commands
from functions.deadletters.service.alerts import Recipients
from functions.deadletters.service.commands import Filter, Selection
from functions.deadletters.service.operations import OperatorSession
from functions.deadletters.service.operators import Forbidden
from functions.deadletters.store import dead_letters
from functions.runtime import masking
from functions.runtime.failure_reports import FailureReport
from tests.functions.deadletters.test_dead_letters import at_console, dead
from tests.support.dead_letter_store import NOW, DeadLetterStore
from tests.support.local_runner import ROOT

PLAIN, PERSONAL, SECRET, SUBJECT = "quarterly figures", "later.private@client.example", "s3cr3t-4711", "order-of-lee"
SIGNED = "signature-0815"
NEEDED: Final = {PLAIN: "data", SUBJECT: "data", PERSONAL: "unmask", SECRET: "unmask", SIGNED: "unmask"}
QUOTING = f"the server does not take {PERSONAL.upper()}: got '{PLAIN}', token \"{SECRET}\", https://x.example/?{SIGNED}"
RIGHTS: Final = (("see",), ("see", "replay", "discard"), ("see", "data"), ("see", "data", "edit", "replay", "discard"))

Way = Callable[[OperatorSession], object]
ONE = Selection(dead_letters=(1,))

WAYS: Mapping[str, Way] = {
    "a list": lambda at: at.list(commands.List(matching=Filter(state="all"))),
    "a dead letter, its difference and its history": lambda at: at.show(commands.Show(dead_letter=1)),
    "a dead letter unmasked": lambda at: at.unmask(commands.Unmask(dead_letter=1)),
    "the groups": lambda at: at.groups(commands.ListGroups(state="all")),
    "a group and its history": lambda at: at.group(commands.ShowGroup(group=1)),
    "the audit trail": lambda at: at.audit(commands.Audit()),
    "arrivals": lambda at: at.watch(commands.Watch(cursor=0)),
    "an edit": lambda at: at.edit(commands.Edit(dead_letter=1, attributes={"type": "com.example.another"})),
    "an edit that is refused": lambda at: at.edit(
        commands.Edit(dead_letter=1, attributes={"type": "dev.errands.ics.requested.v1"})
    ),
    "a replay": lambda at: at.replay(commands.Replay(selection=ONE, dry_run=True)),
    "the replays": lambda at: at.replays(commands.Replays()),
    "an export": lambda at: at.export(commands.Export()),
    "an export unmasked": lambda at: at.export(commands.Export(unmasked=True)),
}
SEARCHES: Mapping[str, Callable[[OperatorSession, Filter], bool]] = {
    "a search": lambda at, by: bool(at.list(commands.List(matching=by)).dead_letters),
    "a search in an export": lambda at, by: bool(at.export(commands.Export(matching=by)).records),
    "a search for a replay": lambda at, by: bool(
        at.replay(commands.Replay(selection=Selection(matching=by), dry_run=True)).total
    ),
    "a search for a discard": lambda at, by: bool(
        at.discard(commands.Discard(selection=Selection(matching=by), reason="x")).dead_letters
    ),
}


@pytest.fixture
def store(tmp_path: Path) -> DeadLetterStore:
    """One dead letter, whose error and whose function quote its data, and whose type was changed by an editor."""
    store = DeadLetterStore(f"sqlite:///{tmp_path}/dead_letters.db")
    store.keep(event())
    report = msgspec.json.encode(FailureReport(at="2026-11-22T09:30:00Z", response=QUOTING, log=(QUOTING, PERSONAL)))
    with store.database.transaction() as transaction:
        dead_letters.add_failure_report(transaction, 1, report)
    changed = commands.Edit(dead_letter=1, attributes={"type": "com.example.other"})
    at_console(store, "see", "data", "edit").edit(changed)
    return store


def event() -> Event:
    data = {"to": [PERSONAL], "comment": PLAIN, "token": SECRET, "link": f"https://x/?{SIGNED}"}
    said = base64.b64encode(QUOTING.encode()).decode()
    came = dead("message", subject=SUBJECT, knativeerrordata=said, knativeerrordest=f"https://x.example/?{SIGNED}")
    return Event(came.attributes, json.dumps(data).encode())


@pytest.mark.parametrize("rights", RIGHTS, ids=",".join)
@pytest.mark.parametrize("way", WAYS)
def test_by_no_way_a_field_reaches_who_lacks_its_right(
    store: DeadLetterStore, way: str, rights: tuple[str, ...]
) -> None:
    shown = reached(WAYS[way], at_console(store, *rights))

    found = {value for value in NEEDED if value.lower() in shown.lower()}
    assert found <= {value for value, right in NEEDED.items() if right in rights}


def test_who_may_unmask_sees_everything(store: DeadLetterStore) -> None:
    shown = reached(WAYS["a dead letter unmasked"], at_console(store, "see", "data", "unmask"))

    assert [value for value in NEEDED if value not in shown] == []


@pytest.mark.parametrize("rights", [*RIGHTS, ("see", "data", "unmask", "replay", "discard")], ids=",".join)
@pytest.mark.parametrize("search", SEARCHES)
@pytest.mark.parametrize("value", [PLAIN, PLAIN.upper(), PERSONAL, PERSONAL[:3], SECRET[:4], SIGNED])
def test_a_search_finds_only_what_it_would_show(
    store: DeadLetterStore, value: str, search: str, rights: tuple[str, ...]
) -> None:
    found = False
    with suppress(Forbidden):
        found = SEARCHES[search](at_console(store, *rights), Filter(text=value, state="unresolved"))

    needed = {"data", *("discard" for _ in "1" if "discard" in search), *("replay" for _ in "1" if "replay" in search)}
    needed |= {"unmask"} if value.lower() != PLAIN else set()
    assert found == (needed <= set(rights))


def test_a_search_goes_past_what_only_the_hidden_part_holds(store: DeadLetterStore) -> None:
    for number in range(30):
        hidden = json.dumps({"to": ["wanted@client.example"], "comment": "wanted" if number % 10 == 0 else "other"})
        store.keep(Event(dead("message", id=str(number)).attributes, hidden.encode()))
    reader, found, before = at_console(store, "see", "data"), list[str](), None
    while True:
        page = reader.list(commands.List(matching=Filter(text="wanted"), limit=2, before=before))
        found += [each.event_id for each in page.dead_letters]
        before = page.next_before
        if before is None:
            break

    assert found == ["20", "10", "0"]


def test_what_is_told_to_nobody_in_particular_holds_nothing_hidden(
    store: DeadLetterStore, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    alerted: list[str] = []

    def post(url: str, said: str) -> bool:
        alerted.append(said)
        return True

    monkeypatch.setattr(alerts, "_post", post)
    with caplog.at_level(logging.DEBUG):
        alerts.send(store.database, Recipients(webhook_url="https://chat.example/"), now=NOW)
    [notice] = store.unsent()

    assert len(alerted) == 1
    told = alerted[0] + notice.data.decode() + caplog.text
    assert [value for value, right in NEEDED.items() if right == "unmask" and value.lower() in told.lower()] == []
    assert PLAIN not in alerted[0]


@pytest.mark.parametrize(
    "value", ["Li", "Lee Ö'Neil", "4711", PERSONAL, 'a longer value, with "quotes" and\nlines ' * 3]
)
def test_an_error_is_kept_without_a_hidden_value_in_any_case_as_json_or_cut(value: str) -> None:
    forms = [value, value.upper(), value.lower(), json.dumps(value)[1:-1], json.dumps(value, ensure_ascii=False)[1:-1]]
    forms += [value[:length] for length in range(16, len(value))]

    shown = {masking.without(f"got {form!s}: no", [value]) for form in forms}

    assert shown == {f"got {masking.MASK}: no"}


def test_a_hidden_value_is_not_found_within_another_word() -> None:
    assert masking.without("a list of Lilies, 47112 of them", ["Li", "4711"]) == "a list of Lilies, 47112 of them"


def test_a_rule_for_an_attribute_holds_in_every_line(tmp_path: Path) -> None:
    store = DeadLetterStore(f"sqlite:///{tmp_path}/another.db")
    store.keep(event())
    reader = at_console(store, "see", "data", "edit", masked="@subject, @source")

    shown = "".join(reached(way, reader) for way in WAYS.values())

    assert SUBJECT not in shown
    assert '"source":"https' not in shown
    assert '"event_source":"https' not in shown


def test_the_readme_names_each_way() -> None:
    text = (ROOT / "functions/deadletters/README.md").read_text()

    table = text.split("## Who sees what")[1].split("\n## ")[0]
    named = re.findall(r"^\| ([^|]+?) +\|", table, re.MULTILINE)[2:]
    assert sorted(named) == sorted([*WAYS, *SEARCHES, "an alert, the event for the API", "a log"])


def reached(way: Way, at: OperatorSession) -> str:
    """All that an operator is answered, also by a refusal."""
    try:
        return msgspec.json.encode(way(at)).decode()
    except JobFailed as error:
        return msgspec.json.encode(error.problem).decode()
    except Forbidden as error:
        return str(error)
