"""The letters' store and what operators do with it, on SQLite and on a real PostgreSQL."""

import json
import threading
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import msgspec
import pytest

from events.http import STRUCTURED, Event, read
from events.problem import JobFailed
from functions.deadletters.cli.terminal import group_lines
from functions.deadletters.service import commands, results
from functions.deadletters.service.commands import Filter, Selection
from functions.deadletters.service.operations import Console, NotFound, OperatorSession
from functions.deadletters.service.operators import RIGHTS, Forbidden, Operator, everything
from functions.deadletters.store import dead_letters, notices, retention
from functions.deadletters.store.dead_letter import original
from functions.deadletters.store.retention import Retention
from functions.deadletters.store.schema import open_dead_letters
from functions.runtime.adapter import reply_event
from functions.runtime.masking import MASK, rules
from functions.runtime.notes import erased
from functions.storage.database import Database, StorageUnavailable
from tests.conftest import sample
from tests.support.database_servers import database_url, postgresql_server
from tests.support.dead_letter_store import NOW, DeadLetterStore

__all__ = ["database_url", "postgresql_server"]  # fixtures

ADDED = {
    "knativeerrordest": "http://ics.svc.cluster.local",
    "knativeerrorcode": "503",
    "knativeerrortrigger": "ics",
    "knativeerrorattempts": "6",
}


@pytest.fixture
def store(database_url: str) -> DeadLetterStore:
    return DeadLetterStore(database_url)


@pytest.fixture
def operator_session(store: DeadLetterStore) -> OperatorSession:
    """The console for somebody with every right, at a time that stands still."""
    return at_console(store)


def at_console(
    store: DeadLetterStore, *rights: str, masked: str = "", now: datetime = NOW, read_only: bool = False
) -> OperatorSession:
    """The console for an operator with these rights; without any, with all."""
    console = Console(
        database=store.database,
        rules=rules(masked),
        sink_url="http://sink.example/",
        clock=lambda: now,
        read_only=read_only,
    )
    return console.operator_session(Operator(name="ben", rights=frozenset(rights)) if rights else everything("anna"))


def dead(job: str = "ics", **changes: str) -> Event:
    """A sample job as its dead letter comes, with these attributes changed."""
    event = read({"content-type": STRUCTURED}, json.dumps(sample(job)).encode())
    return event.with_attributes(**ADDED | changes)


def keep(database: Database, event: Event, *, now: datetime = NOW) -> int:
    """Store a dead letter as the sink does."""
    with database.transaction() as transaction:
        id_, why = dead_letters.keep(transaction, event, now=now)
        notices.write(transaction, original(event), id_, why, now=now)
        return id_


def chosen(*numbers: int) -> Selection:
    return Selection(dead_letters=numbers)


# --- to find


@pytest.mark.parametrize(
    "matching",
    [
        Filter(job="ics"),
        Filter(type="dev.errands.ics.requested.v1"),
        Filter(code=503),
        Filter(trigger="ics"),
        Filter(destination="http://ics.svc.cluster.local"),
        Filter(group=1),
        Filter(id="order-1042-invite"),
        Filter(subject="order-1042", job="ics"),
        Filter(source="https://shop.example/orders", job="ics"),
        Filter(text="Order-1042-Invite"),
        Filter(text="KICK-OFF"),
        Filter(text="Łódź office"),
        Filter(text="1. Goals; scope, budget\n2. Next"),
        Filter(older_than_s=3_000),
        Filter(older_than_s=3_000, job="ics", code=503, state="open"),
    ],
    ids=lambda each: msgspec.json.encode(each).decode(),
)
def test_dead_letters_are_found_by_each_filter_and_by_several(
    store: DeadLetterStore, operator_session: OperatorSession, matching: Filter
) -> None:
    found = store.keep(dead(), now=NOW - timedelta(hours=1))
    store.keep(dead("image", knativeerrorcode="500", knativeerrortrigger="image", knativeerrordest="http://image.svc"))

    page = operator_session.list(commands.List(matching=matching))

    assert [each.id for each in page.dead_letters] == [found]
    assert page.total in (1, None)


def test_a_callback_is_found_by_the_id_of_its_job(store: DeadLetterStore, operator_session: OperatorSession) -> None:
    callback = reply_event(dead(), "dev.errands.ics.completed.v1", commands.Filter(), now=NOW)
    store.keep(callback.with_attributes(**ADDED))

    page = operator_session.list(commands.List(matching=Filter(id="order-1042-invite")))

    assert [each.event_id for each in page.dead_letters] == [callback.id]


@pytest.mark.parametrize("matching", [Filter(subject="order-1042"), Filter(id="order-1042-invite")])
def test_what_is_masked_is_not_found_by_its_name(store: DeadLetterStore, matching: Filter) -> None:
    store.keep(dead(subject="order-1042"))
    masked = at_console(store, "see", "data", masked="@subject, @id")

    with pytest.raises(Forbidden):
        masked.list(commands.List(matching=matching))
    assert masked.list(commands.List(matching=Filter(text="order-1042"))).dead_letters == ()


@pytest.mark.parametrize("text", ["100%", "a_b", "50!", "back\\slash", 'q"uote', "Łódź", "\u202e"])
def test_a_text_is_found_as_it_is_and_nothing_like_it(
    store: DeadLetterStore, operator_session: OperatorSession, text: str
) -> None:
    for number, data in enumerate((text, "1000 axb 50? back/slash quote Lodz")):
        for ascii_only in (True, False):
            content = json.dumps({"text": data}, ensure_ascii=ascii_only).encode()
            store.keep(Event(dead(id=f"{number}{ascii_only}").attributes, content))

    found = operator_session.list(commands.List(matching=Filter(text=text))).dead_letters

    assert {each.event_id for each in found} == {"0True", "0False"}


def test_dead_letters_are_paged_from_the_newest_and_none_is_missed(
    store: DeadLetterStore, operator_session: OperatorSession
) -> None:
    kept = [store.keep(dead(id=str(number))) for number in range(25)]

    found, before, pages = list[int](), None, 0
    while True:
        page = operator_session.list(commands.List(before=before, limit=10))
        found += [each.id for each in page.dead_letters]
        before, pages = page.next_before, pages + 1
        if before is None:
            break

    assert (found, pages, page.total) == (kept[::-1], 3, 25)


def test_dead_letters_with_one_cause_are_one_group_whatever_differs_in_their_errors(
    store: DeadLetterStore, operator_session: OperatorSession
) -> None:
    for number in range(3):
        error = f'{{"detail": "cannot reach 10.0.0.{number}:5432 for \'order-{number}\' after {number}.5 s"}}'
        store.keep(dead(id=str(number), knativeerrordata=encoded(error)), now=NOW + timedelta(minutes=number))
    store.keep(dead(id="4", knativeerrordata=encoded('{"detail": "no such calendar"}')))

    first, second = operator_session.groups(commands.ListGroups()).groups

    assert (first.open, first.total, first.job, first.code) == (3, 3, "ics", 503)
    assert (first.first_seen, first.last_seen) == ("2026-11-22T09:30:00.000Z", "2026-11-22T09:32:00.000Z")
    assert first.error == "cannot reach 10.0.0.2:5432 for 'order-2' after 2.5 s"
    assert (second.open, second.error) == (1, "no such calendar")


def test_a_dead_letter_is_shown_with_all_that_is_known_of_it(
    store: DeadLetterStore, operator_session: OperatorSession
) -> None:
    number = store.keep(dead())
    other = store.keep(dead(knativeerrortrigger="audit"))
    store.keep(dead(knativeerrorcode="500"), now=NOW + timedelta(minutes=1))

    detail = operator_session.show(commands.Show(dead_letter=number))

    assert (detail.dead_letter.code, detail.dead_letter.times, detail.dead_letter.first_seen) == (
        500,
        2,
        "2026-11-22T09:30:00.000Z",
    )
    assert "bug" in detail.explanation
    assert [(each.verb, each.detail["code"]) for each in detail.history] == [("arrived", 503), ("arrived", 500)]
    assert [each.id for each in detail.related] == [other]
    assert detail.body.attributes == dict(read_sample().attributes)
    with pytest.raises(NotFound, match="there is no dead letter 99"):
        operator_session.show(commands.Show(dead_letter=99))


def test_the_command_to_send_it_by_hand_is_exact(store: DeadLetterStore) -> None:
    data = json.dumps({"it's": 'a "test" $HOME `id` %41 \\ \n'}).encode()
    event = Event({**dead(subject="100 % it's", type="com.example.any").attributes}, data)
    detail = at_console(store).show(commands.Show(dead_letter=store.keep(event)))

    assert detail.curl is not None
    shown = detail.curl.replace("curl -i http://sink.example/", "printf '%s\\n'")
    said = run_in_shell(shown)
    assert "ce-subject: 100%20%25%20it's\n" in said
    assert said.endswith(f"--data-raw\n{data.decode()}\n")


def test_a_dead_letter_that_the_console_shows_survives_every_hostile_payload(
    store: DeadLetterStore, operator_session: OperatorSession
) -> None:
    hostile = [b"<script>alert(1)</script>", b"\x1b[2J\x00\xff", b"[" * 5_000_000, b'{"a":' * 400 + b"1" + b"}" * 400]
    numbers = [store.keep(Event(dead(id=str(each[:1]), subject="\u202e").attributes, each)) for each in hostile]

    shown = [operator_session.unmask(commands.Unmask(dead_letter=each)).body for each in numbers]
    masked = [operator_session.show(commands.Show(dead_letter=each)).body for each in numbers]

    assert [body.data.encode() if body.data is not None else body.data_base64 for body in shown] == hostile
    assert [body.data for body in masked[:3]] == [None] * 3
    assert all(msgspec.json.encode(each) for each in (*shown, *masked))


# --- rights


@pytest.mark.parametrize(
    ("command", "right"),
    [
        (commands.List(), "see"),
        (commands.List(matching=Filter(text="x")), "data"),
        (commands.ListGroups(), "see"),
        (commands.Show(dead_letter=1), "see"),
        (commands.Unmask(dead_letter=1), "unmask"),
        (commands.Edit(dead_letter=1, data="{}"), "edit"),
        (commands.Discard(selection=chosen(1), reason="x"), "discard"),
        (commands.Undo(selection=chosen(1)), "discard"),
        (commands.Replay(selection=chosen(1)), "replay"),
        (commands.Cancel(replay=1), "replay"),
        (commands.Resume(replay=1), "replay"),
        (commands.Resolve(group=1), "edit"),
        (commands.Note(group=1, text="x"), "edit"),
        (commands.Export(), "data"),
        (commands.Export(unmasked=True), "unmask"),
        (commands.Import(records=()), "edit"),
        (commands.Audit(), "see"),
        (commands.Watch(), "see"),
    ],
)
def test_each_command_needs_its_right(store: DeadLetterStore, command: commands.Command, right: str) -> None:
    store.keep(dead())
    others = [each for each in RIGHTS if each != right]

    with pytest.raises(Forbidden, match=f"the right '{right}' is needed; ben has"):
        at_console(store, *others).ask(command)

    assert [each.state for each in store.list()] == ["open"]


def test_read_only_takes_away_what_changes_anything(store: DeadLetterStore) -> None:
    number = store.keep(dead())
    operator_session = at_console(store, *RIGHTS, read_only=True)

    told = operator_session.whoami(commands.WhoAmI())
    with pytest.raises(Forbidden):
        operator_session.discard(commands.Discard(selection=chosen(number), reason="x"))

    assert (told.rights, told.read_only) == (("see", "data", "unmask"), True)


def test_without_the_right_to_data_none_is_shown(store: DeadLetterStore) -> None:
    number = store.keep(dead(callbackurl="https://shop.example/?token=1"))

    detail = at_console(store, "see").show(commands.Show(dead_letter=number))

    assert (detail.body.data, detail.curl, detail.failure_report) == (None, None, None)
    assert set(detail.body.masked) == {"#", "callbackurl", "subject"}
    assert "callbackurl" not in detail.body.attributes


# --- masking


def test_what_is_secret_is_masked_by_rule_and_by_the_contract(store: DeadLetterStore) -> None:
    data = {
        "user": {"Pass-Word": "x", "name": "Bo", "phones": ["1", "2"]},
        "u": "https://bo:pw@s3.example/x?Signature=1",
    }
    event = Event(
        dead(type="com.example.any", callbackurl="https://a.example/c?k=1").attributes, json.dumps(data).encode()
    )
    operator_session = at_console(store, "see", "data", masked="/user/phones/*, @subject")
    own, contract = store.keep(event), store.keep(dead("message", id="m"))

    body = operator_session.show(commands.Show(dead_letter=own)).body
    message = operator_session.show(commands.Show(dead_letter=contract)).body

    assert json.loads(body.data or "") == {
        "user": {"Pass-Word": MASK, "name": "Bo", "phones": [MASK, MASK]},
        "u": f"https://{MASK}@s3.example/x?{MASK}",
    }
    assert (body.attributes["callbackurl"], body.attributes["subject"]) == (f"https://a.example/c?{MASK}", MASK)
    assert set(body.masked) == {"callbackurl", "subject", "/user/Pass-Word", "/user/phones/0", "/user/phones/1", "/u"}
    assert json.loads(message.data or "")["to"] == [MASK]
    assert {"/to/0", "/text", "/subject"} <= set(message.masked)


def test_to_unmask_is_noted(store: DeadLetterStore, operator_session: OperatorSession) -> None:
    number = store.keep(dead("message"))

    whole = operator_session.unmask(commands.Unmask(dead_letter=number))
    trail = operator_session.audit(commands.Audit()).actions

    assert MASK not in (whole.body.data or "")
    assert whole.body.masked == ()
    assert [(each.actor, each.verb, each.dead_letter) for each in trail] == [("anna", "unmasked", number)]


# --- to mend


def test_an_edit_is_checked_and_shown_as_a_diff_and_the_original_is_kept(
    store: DeadLetterStore, operator_session: OperatorSession
) -> None:
    number = store.keep(dead())
    data: dict[str, Any] = json.loads(read_sample().data)
    data["events"][0]["timezone"] = "Europe/Berlin"

    detail = operator_session.edit(
        commands.Edit(dead_letter=number, data=json.dumps(data), attributes={"subject": "order-7", "time": None})
    )

    assert '-      "timezone": "Europe/Warsaw"' in detail.diff
    assert '+      "timezone": "Europe/Berlin"' in detail.diff
    assert '-subject: "order-1042"' in detail.diff
    assert detail.dead_letter.edited
    assert store.list()[0].event == read_sample()
    assert [each.verb for each in detail.history] == ["arrived", "edited"]
    reverted = operator_session.edit(commands.Edit(dead_letter=number, revert=True))
    assert (reverted.diff, reverted.dead_letter.edited) == ("", False)


def test_an_edit_that_breaks_the_contract_names_each_bad_field(
    store: DeadLetterStore, operator_session: OperatorSession
) -> None:
    number = store.keep(dead("image"))
    bad = '{"source": {"url": "x"}, "outputs": [{"name": "a/b", "width_px": 0}], "colour": 1}'

    with pytest.raises(JobFailed) as failed:
        operator_session.edit(commands.Edit(dead_letter=number, data=bad))
    with pytest.raises(JobFailed, match="attribute id is required"):
        operator_session.edit(commands.Edit(dead_letter=number, attributes={"id": None}))

    assert {each.pointer for each in failed.value.errors} >= {"#/outputs/0/name", "#/outputs/0/width_px", "#/colour"}
    assert not store.list()[0].edited


def test_what_was_masked_while_it_was_edited_comes_back(store: DeadLetterStore) -> None:
    operator_session = at_console(store, "see", "data", "edit")
    number = store.keep(dead("message"))
    shown = json.loads(operator_session.show(commands.Show(dead_letter=number)).body.data or "")
    shown["sender"] = "new@shop.example"

    operator_session.edit(commands.Edit(dead_letter=number, data=json.dumps(shown)))

    whole = json.loads(at_console(store).unmask(commands.Unmask(dead_letter=number)).body.data or "")
    assert whole == json.loads(store.list()[0].event.data) | {"sender": "new@shop.example"}


def test_what_is_discarded_can_be_taken_back_for_a_day(
    store: DeadLetterStore, operator_session: OperatorSession
) -> None:
    one, two = store.keep(dead(id="1")), store.keep(dead(id="2"))

    done = operator_session.discard(commands.Discard(selection=chosen(one, two, 99), reason="a duplicate"))
    in_time = at_console(store, now=NOW + timedelta(hours=23)).undo(commands.Undo(selection=chosen(one)))
    too_late = at_console(store, now=NOW + timedelta(hours=25)).undo(commands.Undo(selection=chosen(two)))

    assert (done.dead_letters, done.passed) == ((one, two), {"99": "there is no dead letter 99"})
    assert (in_time.dead_letters, too_late.passed) == (
        (one,),
        {str(two): "it was not discarded within the last 24 hours"},
    )
    history = operator_session.show(commands.Show(dead_letter=one)).history
    assert [(each.verb, each.detail.get("reason")) for each in history[1:]] == [
        ("discarded", "a duplicate"),
        ("taken back", None),
    ]


@pytest.mark.slow
def test_all_that_match_are_discarded_and_no_other(store: DeadLetterStore, operator_session: OperatorSession) -> None:
    for number in range(1_203):
        store.keep(dead(id=str(number)))
    store.keep(dead("image"))

    done = operator_session.discard(commands.Discard(selection=Selection(matching=Filter(job="ics")), reason="x"))

    assert len(done.dead_letters) == 1_203
    assert [each.job for each in operator_session.list(commands.List()).dead_letters] == ["image"]


def test_what_is_done_to_many_is_one_line_of_the_audit_trail_and_one_of_each_history(
    store: DeadLetterStore, operator_session: OperatorSession
) -> None:
    numbers = [store.keep(dead(id=str(number))) for number in range(30)]
    operator_session.discard(commands.Discard(selection=chosen(*numbers), reason="a duplicate"))
    operator_session.undo(commands.Undo(selection=chosen(numbers[4])))

    trail = operator_session.audit(commands.Audit()).actions
    history = operator_session.show(commands.Show(dead_letter=numbers[4])).history

    assert [(each.verb, each.dead_letter) for each in trail] == [("taken back", numbers[4]), ("discarded", None)]
    assert trail[1].detail == {
        "reason": "a duplicate",
        "total": 30,
        "dead_letters": ", ".join(map(str, numbers[:20])) + ", ...",
    }
    assert [each.verb for each in history[1:]] == ["discarded", "taken back"]


@pytest.mark.parametrize(
    ("type_", "destination", "kind"),
    [
        ("dev.errands.ics.completed.v1", "http://notifier.errands.svc.cluster.local", "callback"),
        ("dev.errands.ics.deadlettered.v1", "http://notifier.default.svc.cluster.local/", "callback"),
        ("dev.errands.ics.requested.v1", "http://notifier.default.svc.cluster.local", "job"),
        ("dev.errands.ics.completed.v1", "http://archive.default.svc.cluster.local", "job"),
        ("shop.order.completed", "http://notifier.default.svc.cluster.local", "job"),
        ("dev.errands.ics.completed.v1", "", "job"),
    ],
)
def test_a_callback_that_was_not_delivered_is_headed_as_one(
    store: DeadLetterStore, operator_session: OperatorSession, type_: str, destination: str, kind: str
) -> None:
    number = store.keep(dead(type=type_, outcome="completed", knativeerrordest=destination, knativeerrorcode="503"))

    detail = operator_session.show(commands.Show(dead_letter=number))
    group = operator_session.groups(commands.ListGroups()).groups[0]

    assert (detail.dead_letter.kind, group.kind) == (kind, kind)
    assert detail.explanation == group.explanation
    assert ("its API did not take the callback" in detail.explanation) == (kind == "callback")
    assert ("callbacks of" in next(group_lines(group))) == (kind == "callback")


def test_a_resolved_group_that_comes_back_says_so(store: DeadLetterStore, operator_session: OperatorSession) -> None:
    store.keep(dead(id="1"))
    operator_session.note(commands.Note(group=1, text="the disk of db-2"))
    operator_session.owner(commands.Owner(group=1, name="Anna"))
    operator_session.acknowledge(commands.Acknowledge(group=1))
    operator_session.resolve(commands.Resolve(group=1))
    store.keep(dead(id="2"), now=NOW + timedelta(hours=1))

    detail = operator_session.group(commands.ShowGroup(group=1))

    group = detail.group
    assert (group.state, group.note, group.owner) == ("open", "the disk of db-2", "Anna")
    assert group.came_back_at == "2026-11-22T10:30:00.000Z"
    assert [each.verb for each in detail.history] == ["noted", "owned", "acknowledged", "resolved", "came back"]


# --- to carry elsewhere


def test_an_export_can_be_imported_and_gives_the_same_dead_letters(
    store: DeadLetterStore, operator_session: OperatorSession, tmp_path: Path
) -> None:
    binary = Event(dead(id="binary", datacontenttype="image/png").attributes, b"\x89PNG\x00\xff")
    for each in (dead(), dead("message", id="m", knativeerrordata=encoded("down")), binary):
        store.keep(each)
    operator_session.discard(commands.Discard(selection=chosen(2), reason="x"))
    elsewhere = DeadLetterStore(f"sqlite:///{tmp_path / 'other.db'}")
    records = operator_session.export(commands.Export(unmasked=True)).records

    done = [at_console(elsewhere).take_in(commands.Import(records=records)) for _ in range(2)]

    assert (done[0].dead_letters, len(done[1].passed)) == ((1, 2, 3), 3)
    assert [each.event for each in elsewhere.list()] == [each.event for each in store.list()]
    same = ("state", "code", "error", "first_seen", "times", "trigger", "job")
    ours, theirs = ([[getattr(each, name) for name in same] for each in box.list()] for box in (store, elsewhere))
    assert ours == theirs


def test_a_masked_export_is_passed_over_by_an_import(store: DeadLetterStore) -> None:
    store.keep(dead("message"))
    masked = at_console(store, "see", "data").export(commands.Export()).records

    done = at_console(store).take_in(commands.Import(records=masked))

    assert MASK in masked[0].data_base64.decode()
    assert done.passed == {"0": "it was exported masked"}


def test_a_line_that_is_no_event_is_passed_over_by_an_import(operator_session: OperatorSession) -> None:
    whole = {"specversion": "1.0", "id": "1", "source": "/s", "type": "t"}
    bad: tuple[dict[str, str], ...] = (whole | {"id": "\x00"}, {"id": "1"}, {})
    lines = tuple(results.Record(attributes=each, data_base64=b"", code=500) for each in (whole, *bad))

    done = operator_session.take_in(commands.Import(records=lines))

    assert (done.dead_letters, set(done.passed)) == ((1,), {"1", "2", "3"})


def test_who_watches_sees_dead_letters_as_they_come(store: DeadLetterStore, operator_session: OperatorSession) -> None:
    store.keep(dead(id="before"))
    start = operator_session.watch(commands.Watch())
    arriving = threading.Timer(0.1, lambda: store.keep(dead(id="after")))
    arriving.start()

    seen = operator_session.watch(commands.Watch(cursor=start.cursor, wait_s=10))
    none = operator_session.watch(commands.Watch(cursor=seen.cursor))

    arriving.join()
    assert (start.dead_letters, [each.event_id for each in seen.dead_letters], none.dead_letters) == ((), ["after"], ())


# --- to keep


def test_retention_takes_what_was_dealt_with_and_nothing_else(
    store: DeadLetterStore, operator_session: OperatorSession
) -> None:
    old, now = NOW - timedelta(days=100), NOW
    for name in ("open", "discarded", "just discarded", "told"):
        store.keep(dead(id=name), now=old)
    with store.database.transaction() as transaction:
        dead_letters.discard(transaction, 2, now=old)
        dead_letters.discard(transaction, 3, now=now)

    gone = retention.prune(store.database, Retention(days=90), now=now)
    left = {each.event.id for each in store.list()}
    gone_by_count = retention.prune(store.database, Retention(days=90, count=1), now=now + timedelta(days=2))
    gone_unresolved = retention.prune(store.database, Retention(days=90, unresolved_too=True), now=now)

    assert (gone, left) == (1, {"open", "just discarded", "told"})
    assert (gone_by_count, gone_unresolved) == (1, 2)
    assert store.list() == []


@pytest.mark.slow
def test_sixty_four_writers_at_once_keep_each_dead_letter_once(store: DeadLetterStore, database_url: str) -> None:
    """Half of them through connections of their own, as other processes have them."""
    boxes = [store] + [DeadLetterStore(database_url) for _ in range(32)]

    start = threading.Barrier(64)

    def write(writer: int) -> None:
        start.wait()
        for number in range(writer, 640, 64):
            boxes[writer % 33].keep(dead(id=str(number % 320), knativeerrordata=encoded(f"error {number}")))

    with ThreadPoolExecutor(64) as pool:
        list(pool.map(write, range(64)))

    assert {each.event.id: each.times for each in store.list()} == {str(number): 2 for number in range(320)}
    assert len({each.group for each in store.list()}) == 1
    assert len(store.unsent()) == 320


def test_several_that_open_a_new_database_at_once_make_one_schema(database_url: str) -> None:
    with ThreadPoolExecutor(16) as pool:
        found = list(
            pool.map(lambda _: at_console(DeadLetterStore(database_url)).list(commands.List()).total, range(16))
        )

    assert found == [0] * 16


def test_a_database_of_a_newer_version_is_refused(store: DeadLetterStore, database_url: str) -> None:
    with store.database.transaction() as transaction:
        transaction.execute("INSERT INTO dead_version VALUES (?)", 1_000)

    with pytest.raises(StorageUnavailable, match="was written by a newer Errands: schema 1000"):
        DeadLetterStore(database_url).list()


def test_a_url_of_another_kind_is_refused_without_its_password() -> None:
    with pytest.raises(ValueError, match="must start with sqlite:/// or postgresql://, got 'mysql'"):
        open_dead_letters("mysql://user:secret@host/db")


def test_a_server_that_is_down_is_said_so_without_the_password(database_url: str) -> None:
    with pytest.raises(StorageUnavailable) as error:
        DeadLetterStore("postgresql://errands:secret@127.0.0.1:1/letters").list()

    assert "postgresql://127.0.0.1/letters cannot be used" in str(error.value)
    assert "secret" not in str(error.value)


def read_sample() -> Event:
    return read({"content-type": STRUCTURED}, json.dumps(sample("ics")).encode())


def encoded(text: str) -> str:
    import base64

    return base64.b64encode(text.encode()).decode()


def run_in_shell(command: str) -> str:
    import subprocess

    return subprocess.run(["/bin/sh", "-c", command], capture_output=True, text=True, check=True).stdout


# --- to erase


def test_of_an_erased_job_nothing_is_kept_whatever_its_state_and_of_another_all(store: DeadLetterStore) -> None:
    keep(store.database, dead())
    other = keep(store.database, dead(id="other"))

    with store.database.transaction() as transaction:
        retention.erase(transaction, erased(original(dead()), now=NOW))

    tables = ("dead_letter", "dead_body", "dead_action", "dead_notice")
    with store.database.transaction(writes=False) as transaction:
        counts = [len(transaction.execute(f"SELECT 1 AS one FROM {each}")) for each in tables]  # noqa: S608  # ours
    assert [each.id for each in store.list()] == [other]
    assert counts == [1, 1, 1, 1]
