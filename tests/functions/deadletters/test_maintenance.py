"""What the console does each minute, and what a monitor is told; on both databases."""

import json
from datetime import timedelta
from pathlib import Path

import pytest
import yaml
from prometheus_client.parser import text_string_to_metric_families

from events.problem import decode
from events.types import MessageRequested
from functions.deadletters.replay.sending import BrokerIngress
from functions.deadletters.replay.workers import Workers
from functions.deadletters.service import alerts, commands, maintenance, metrics
from functions.deadletters.service.alerts import Recipients
from functions.deadletters.service.commands import Filter
from functions.deadletters.service.maintenance import Maintenance, settle_by_ledger
from functions.deadletters.store import dead_letters
from functions.deadletters.store.dead_letters import SETBACK_LIMIT
from functions.runtime.adapter import reply_event
from functions.storage.ledger import ReplyLedger
from functions.storage.store import Store
from tests.functions.deadletters.test_dead_letters import at_console, dead, encoded
from tests.functions.deadletters.test_replay import Ingress, ingress
from tests.support.database_servers import database_url, postgresql_server
from tests.support.dead_letter_store import NOW, DeadLetterStore
from tests.support.local_runner import ROOT, until

__all__ = ["database_url", "ingress", "postgresql_server"]  # fixtures

LATER = NOW + timedelta(hours=1)
RULES = ROOT / "functions/deadletters/examples/prometheus-rules.yaml"


@pytest.fixture
def store(database_url: str) -> DeadLetterStore:
    return DeadLetterStore(database_url)


# --- metrics


def test_a_monitor_sees_each_trigger_and_the_age_of_its_oldest_dead_letter(store: DeadLetterStore) -> None:
    store.keep(dead(id="1"), now=NOW - timedelta(hours=2))
    store.keep(dead(id="2"))
    store.keep(dead("image", knativeerrortrigger='a"b\n'))
    with store.database.transaction() as transaction:
        dead_letters.discard(transaction, 3, now=NOW)

    families = text_string_to_metric_families(metrics.render(store.database, now=NOW).decode())

    samples = {(each.name, *sorted(each.labels.values())): each.value for family in families for each in family.samples}
    assert samples["errands_dead_letters", "ics", "ics", "open"] == 2
    assert samples["errands_dead_letter_oldest_age_seconds", "ics"] == 7_200
    assert samples["errands_dead_letters", 'a"b\n', "discarded", "image"] == 1
    assert samples["errands_dead_letter_notices_unsent",] == 3


def test_the_example_rules_ask_for_metrics_that_there_are(store: DeadLetterStore) -> None:
    store.keep(dead())
    there = metrics.render(store.database, now=NOW).decode()
    groups = yaml.safe_load(RULES.read_text())["groups"]

    for each in groups[0]["rules"]:
        name = next(
            command for command in each["expr"].replace("(", " ").replace("{", " ").split() if "errands_" in command
        )
        assert f"# TYPE {name} gauge" in there, each["alert"]


# --- alerts


def test_people_are_told_when_a_group_starts_and_when_it_has_grown_tenfold(store: DeadLetterStore) -> None:
    to, told = Recipients(email="ops@shop.example", page_url="https://errands.example/dead"), list[int]()
    for number in range(12):
        store.keep(dead(id=str(number), knativeerrordata=encoded('{"detail": "the disk is full"}')))
        told.append(alerts.send(store.database, to, now=NOW + timedelta(minutes=number)))

    mails = [each for each in store.unsent() if each.type == "dev.errands.message.requested.v1"]
    assert told == [1] + [0] * 8 + [1] + [0] * 2
    first, second = (decode(each.data, MessageRequested) for each in mails)
    assert (first.to, first.subject, second.subject) == (("ops@shop.example",), "1 dead letters", "10 dead letters")
    assert second.text == (
        "10 dead letters of ics, code 503, since 2026-11-22T09:30Z: the disk is full\nhttps://errands.example/dead"
    )


def test_a_group_that_ended_is_told_of_again_when_it_starts_again(store: DeadLetterStore) -> None:
    to = Recipients(email="ops@shop.example")
    told = []
    for number in range(2):
        store.keep(dead(id=str(number)))
        told.append(alerts.send(store.database, to, now=NOW))
        at_console(store).discard(
            commands.Discard(selection=commands.Selection(matching=commands.Filter()), reason="x")
        )
        told.append(alerts.send(store.database, to, now=NOW))

    assert told == [1, 0, 1, 0]


def test_a_webhook_that_fails_is_told_the_next_time(store: DeadLetterStore, caplog: pytest.LogCaptureFixture) -> None:
    from tests.support.example_webhook import listening

    store.keep(dead())
    with listening() as hook:
        hook.status = 500
        refused = alerts.send(store.database, Recipients(webhook_url=hook.url), now=NOW)
        hook.status = 200
        taken = alerts.send(store.database, Recipients(webhook_url=hook.url), now=NOW)

    assert (refused, taken) == (0, 1)
    assert json.loads(hook.posted[-1])["text"].startswith("1 dead letters of ics, code 503")
    assert hook.url not in caplog.text


# --- replays


def workers(store: DeadLetterStore, ingress: Ingress) -> Workers:
    return Workers(store.database, BrokerIngress(ingress.url))


@pytest.mark.slow
def test_dead_letters_without_a_response_are_replayed_by_themselves_where_that_is_asked_for(
    store: DeadLetterStore, ingress: Ingress
) -> None:
    for number in range(5):
        store.keep(dead(id=str(number), knativeerrorcode="-1"))
    store.keep(dead(id="500", knativeerrorcode="500"))

    maintenance.keep(store.database, workers(store, ingress), Maintenance(), now=NOW)
    nothing = list(ingress.ids)
    maintenance.keep(store.database, workers(store, ingress), Maintenance(unanswered_limit=3), now=NOW)
    until(lambda: len(ingress.ids) == 3, what="three replays")

    assert nothing == []
    assert ingress.ids == ["0", "1", "2"]
    until(lambda: at_console(store).replays(commands.Replays()).runs[0].state == "done", what="the end")
    assert at_console(store).replays(commands.Replays()).runs[0].actor == "automatic"


@pytest.mark.slow
def test_what_comes_back_without_a_response_is_not_replayed_for_ever(store: DeadLetterStore, ingress: Ingress) -> None:
    for _ in range(SETBACK_LIMIT + 2):
        store.keep(dead(knativeerrorcode="-1"))
        maintenance.keep(store.database, workers(store, ingress), Maintenance(unanswered_limit=10), now=NOW)
        until(
            lambda: all(run.state == "done" for run in at_console(store).replays(commands.Replays()).runs),
            what="its end",
        )

    assert len(ingress.ids) == SETBACK_LIMIT
    assert [each.state for each in store.list()] == ["quarantined"]


def test_an_interrupted_replay_goes_on(store: DeadLetterStore, ingress: Ingress) -> None:
    store.keep(dead())
    ordered = at_console(store).replay(commands.Replay(selection=commands.Selection(dead_letters=(1,))))

    maintenance.keep(store.database, workers(store, ingress), Maintenance(), now=NOW)

    until(lambda: at_console(store).progress(commands.Progress(replay=ordered.id)).state == "done", what="its end")
    assert len(ingress.ids) == 1


# --- jobs that ended meanwhile


@pytest.mark.parametrize("outcome", ["completed", "failed"])
def test_a_job_that_ended_after_its_dead_letter_closes_it_without_an_event(
    store: DeadLetterStore, tmp_path: Path, outcome: str
) -> None:
    """The API sent it again: the reply ledger tells, so that no job which goes well costs an event more."""
    store.keep(dead())
    store.keep(dead(id="another"))
    results = Store(tmp_path.as_uri())
    ReplyLedger(results).record(dead(), reply_event(dead(), f"dev.errands.ics.{outcome}.v1", Filter(), now=LATER))

    first, second = (settle_by_ledger(store.database, tmp_path.as_uri(), now=LATER) for _ in range(2))

    assert (first, second) == (1, 0)
    assert [each.state for each in store.list()] == ["open", outcome]


def test_a_job_that_had_ended_before_its_dead_letter_came_leaves_it_open(
    store: DeadLetterStore, tmp_path: Path
) -> None:
    before = reply_event(dead(), "dev.errands.ics.completed.v1", Filter(), now=NOW - timedelta(days=1))
    ReplyLedger(Store(tmp_path.as_uri())).record(dead(), before)
    store.keep(dead())

    assert settle_by_ledger(store.database, tmp_path.as_uri(), now=LATER) == 0
    assert [each.state for each in store.list()] == ["open"]


def test_a_store_that_is_away_costs_the_maintenance_nothing_else(store: DeadLetterStore, tmp_path: Path) -> None:
    store.keep(dead())
    (tmp_path / "file").write_text("no folder")

    settled = settle_by_ledger(store.database, (tmp_path / "file").as_uri(), now=LATER)

    assert (settled, [each.state for each in store.list()]) == (0, ["open"])
