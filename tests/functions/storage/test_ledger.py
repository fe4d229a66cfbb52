"""One id, several contents: what is the same job, what is refused, and what is done anew."""

import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from events.http import Event, read, structured
from events.job import job_key
from events.problem import JobFailed
from events.types import IcsCompleted
from functions.runtime.adapter import reply_event
from functions.storage.ledger import ReplyLedger
from functions.storage.store import Store
from tests.support.function_client import FunctionClient
from tests.support.local_runner import ROOT

NOW = datetime(2026, 11, 22, 9, 30, tzinfo=UTC)
STRUCTURED = {"content-type": "application/cloudevents+json"}
SAMPLE: dict[str, Any] = json.loads((ROOT / "events/samples/dev.errands.ics.requested.v1.json").read_text())
GOOD = SAMPLE["data"]
OTHER = {**GOOD, "name": "other.ics"}
BAD = {**GOOD, "events": []} if "events" in GOOD else {}
WORSE = {**BAD, "name": "worse.ics"}

Send = Callable[..., Event]


@pytest.fixture
def send(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Send:
    """Delivers the sample's job with some data, and gives the reply."""
    monkeypatch.setenv("STORE_URL", tmp_path.as_uri())
    client = FunctionClient(ROOT / "functions/ics/main.py")

    def deliver(data: Any, **attributes: str) -> Event:
        body = json.dumps({**SAMPLE, **attributes, "data": data})
        answer = client.post("/", content=body, headers=STRUCTURED)
        assert answer.status_code == 200, answer.text
        return read(dict(answer.headers), answer.content)

    return deliver


def kind(reply: Event) -> str:
    return str(json.loads(reply.data).get("type", "")).rpartition("/")[2] or str(reply.get("outcome"))


def test_the_same_data_is_the_same_outcome_however_it_is_written(send: Send) -> None:
    first = send(GOOD)

    assert kind(first) == "completed"
    assert send(dict(reversed(GOOD.items()))) == first


def test_other_data_under_the_id_of_a_done_job_is_refused_and_the_job_stays_as_it_was(send: Send) -> None:
    first = send(GOOD)
    refused = [send(OTHER), send(OTHER), send(BAD)]

    assert [kind(each) for each in refused] == ["same-id-other-data"] * 3
    assert f"the job {SAMPLE['id']} of {SAMPLE['source']} is done with other data" in refused[0].data.decode()
    assert refused[0].id == refused[1].id
    assert len({first.id, refused[0].id, refused[2].id}) == 3
    assert send(GOOD) == first


def test_a_job_that_failed_on_its_data_is_done_when_it_is_mended_and_has_a_callback_of_its_own(send: Send) -> None:
    failed = [send(BAD), send(WORSE)]
    mended = send(GOOD)

    assert [each.get("outcome") for each in (*failed, mended)] == ["failed", "failed", "completed"]
    assert len({each.id for each in (*failed, mended)}) == 3
    assert [send(GOOD), send(BAD), send(WORSE)] == [mended, *failed]
    assert kind(send(OTHER)) == "same-id-other-data"


def test_a_job_that_expired_is_done_when_it_is_sent_again_with_another_time(send: Send) -> None:
    long_ago, later = "2020-01-01T00:00:00Z", f"{datetime.now(UTC) + timedelta(hours=1):%Y-%m-%dT%H:%M:%SZ}"
    expired = send(GOOD, expirytime=long_ago)
    again = send(GOOD, expirytime=long_ago)
    done = send(GOOD, expirytime=later)

    assert (kind(expired), again, kind(done)) == ("expired", expired, "completed")
    assert done.id != expired.id
    assert send(GOOD, expirytime=f"{datetime.now(UTC) + timedelta(hours=2):%Y-%m-%dT%H:%M:%SZ}") == done


def test_nothing_of_what_is_remembered_is_sent(send: Send) -> None:
    assert all("requesthash" not in reply.attributes for reply in (send(BAD), send(BAD), send(GOOD), send(GOOD)))


def cause(data: bytes) -> Event:
    attributes = {"specversion": "1.0", "id": "1", "source": "/tests", "type": "dev.errands.ics.requested.v1"}
    return Event(attributes, data)


def failed(job: Event) -> Event:
    return reply_event(job, "dev.errands.ics.failed.v1", JobFailed("invalid-data", "wrong").problem, now=NOW)


def completed(job: Event) -> Event:
    payload = IcsCompleted(artifacts=(), uids=())
    return reply_event(job, "dev.errands.ics.completed.v1", payload, now=NOW)


def test_what_an_older_version_recorded_answers_any_data() -> None:
    store, job = Store("memory:///"), cause(b"1")
    store.create(f"ledger/{job_key(job)}/reply-{job.type}.json", structured(completed(job)))

    assert ReplyLedger(store).recall(cause(b"2")) == completed(job)


def test_of_two_deliveries_of_mended_data_the_first_to_finish_counts() -> None:
    ledger = ReplyLedger(Store("memory:///"))
    ledger.record(cause(b"bad"), failed(cause(b"bad")))

    first = ledger.record(cause(b"good"), completed(cause(b"good")).with_attributes(time="2026-11-22T00:00:01Z"))
    second = ledger.record(cause(b"good"), completed(cause(b"good")).with_attributes(time="2026-11-22T00:00:02Z"))
    late = ledger.record(cause(b"other"), completed(cause(b"other")))

    assert first == second == ledger.recall(cause(b"good"))
    assert kind(late) == "same-id-other-data"


@pytest.mark.slow
@given(st.lists(st.tuples(st.sampled_from([b"1", b"2", b"3", b"[", b""]), st.booleans()), max_size=12))
def test_whatever_comes_in_any_order_each_data_has_one_reply_and_a_done_job_is_never_done_again(
    deliveries: list[tuple[bytes, bool]],
) -> None:
    ledger, replies, done = ReplyLedger(Store("memory:///")), dict[bytes, Event](), False
    for data, succeeds in deliveries:
        job = cause(data)
        recalled = ledger.recall(job)
        if recalled is None:
            assert not done
            assert data not in replies
            recalled = ledger.record(job, (completed if succeeds else failed)(job))
            replies[data], done = recalled, succeeds
        assert recalled == replies[data] if data in replies else kind(recalled) == "same-id-other-data"
    assert len({each.id for each in replies.values()}) == len(replies)
