"""What a Broker and its Triggers promise, on each system. A test's name is the promise in knative/README.md."""

import base64
import json
import threading

import httpx
import pytest

from events.http import STRUCTURED
from tests.conformance.sending import (
    FAILING,
    decoded,
    event,
    in_binary,
    in_structured,
    new_id,
    post,
    send,
    send_answered,
    send_binary,
    settle,
    waited,
)
from tests.conformance.subscriber import Response, Subscriber
from tests.conformance.systems import TYPE, System

pytestmark = pytest.mark.slow

RETRIED = (404, 408, 409, 429, 500, 502, 503, 504)
NOT_RETRIED = (400, 401, 403, 405, 410, 413, 415, 422, 425)


# --- the ingress


def test_an_event_in_structured_mode_arrives_in_binary_mode(system: System, worker: Subscriber) -> None:
    id_ = send(system, subject="order 7", data={"n": 1})
    attempt = worker.wait(id_)[0]

    assert {name: attempt.attribute(name) for name in ("specversion", "source", "type")} == {
        "specversion": "1.0",
        "source": "/conformance",
        "type": TYPE.format("plain"),
    }
    assert attempt.headers["content-type"] == "application/json"
    assert json.loads(attempt.body) == {"n": 1}


def test_an_event_in_binary_mode_arrives_with_its_bytes(system: System, worker: Subscriber) -> None:
    content = bytes(range(256))
    id_ = send_binary(system, content, content_type="application/octet-stream")
    attempt = worker.wait(id_)[0]

    assert (attempt.body, attempt.headers["content-type"]) == (content, "application/octet-stream")


@pytest.mark.deviates(knative="refused with 400")
def test_a_batch_is_taken_with_one_result_for_each_event(system: System) -> None:
    batch = json.dumps([event(new_id())])

    assert post(system, batch, content_type="application/cloudevents-batch+json") == 200


def test_what_is_no_event_is_refused_with_400(system: System) -> None:
    without_id = {name: value for name, value in event("x").items() if name != "id"}

    assert post(system, json.dumps(without_id)) == 400
    assert post(system, "{") == 400
    assert post(system, "hello", content_type="text/plain") == 400


def test_another_path_is_404_and_another_method_405(system: System) -> None:
    headers = {"content-type": STRUCTURED}

    assert httpx.post(system.url + "other", content=json.dumps(event("x")), headers=headers).status_code == 404
    assert httpx.put(system.url, content=json.dumps(event("x")), headers=headers).status_code == 405


@pytest.mark.deviates(knative="answered 202, and gone")
def test_an_event_that_no_trigger_wants_is_refused(system: System) -> None:
    assert 400 <= post(system, json.dumps(event(new_id(), type="dev.errands.nobody.wants.v1"))) < 500


def test_five_megabytes_of_data_arrive_whole(system: System, worker: Subscriber) -> None:
    content = b"0123456789abcdef" * (5 * 65536)
    id_ = send_binary(system, content, content_type="application/octet-stream")

    assert worker.wait(id_)[0].body == content


@pytest.mark.deviates(knative="each dispatch puts in its own")
def test_an_event_without_a_time_has_the_same_time_for_each_trigger(system: System, worker: Subscriber) -> None:
    id_ = send(system, time=None, tenant="acme")
    here, there = worker.wait(id_)[0], worker.wait(id_, service="second")[0]

    assert here.attribute("time") == there.attribute("time") is not None


@pytest.mark.deviates(knative="sdk-go decodes %XX once too often in an attribute of structured mode")
def test_a_percent_sign_in_a_structured_attribute_stays(system: System, worker: Subscriber) -> None:
    attempt = worker.wait(send(system, subject="50%25 of größe"))[0]

    assert decoded(attempt, "subject") == "50%25 of größe"


def test_a_percent_sign_and_an_umlaut_in_a_binary_attribute_stay(system: System, worker: Subscriber) -> None:
    attempt = worker.wait(send_binary(system, b"{}", **{"ce-subject": "50%25 of gr%C3%B6%C3%9Fe"}))[0]

    assert decoded(attempt, "subject") == "50% of größe"


# --- filters


def test_every_trigger_whose_attributes_all_match_gets_the_event(system: System, worker: Subscriber) -> None:
    both, one = new_id(), new_id()
    send(system, both, tenant="acme")
    send(system, one, tenant="acme2")
    worker.wait(both, service="second")
    worker.wait(both)
    worker.wait(one)
    last = send(system, tenant="acme")
    worker.wait(last, service="second")

    assert worker.attempts(one, service="second") == []


@pytest.mark.deviates(knative="an integer of structured mode is an integer in the headers, and equals no string")
def test_an_integer_extension_matches_its_text(system: System, worker: Subscriber) -> None:
    id_ = new_id()
    assert post(system, json.dumps(event(id_, type=TYPE.format("counted"), count=7))) == 202

    worker.wait(id_, timeout_s=2)


# --- answers


def test_any_2xx_is_done_at_the_first_attempt(system: System, worker: Subscriber) -> None:
    ids = send_answered(system, worker, (200, 201, 202, 204))
    for each in ids:
        worker.wait(each)
    settle(system, worker)

    assert [len(worker.attempts(each)) for each in ids] == [1] * 4
    assert not any(worker.attempts(each, service="sink") for each in ids)


@pytest.mark.deviates(knative="taken as success")
def test_a_redirect_is_a_failure_and_becomes_a_dead_letter(system: System, worker: Subscriber) -> None:
    ids = send_answered(system, worker, (301, 303, 304))
    worker.dead_letters(ids, timeout_s=2)

    assert [len(worker.attempts(each)) for each in ids] == [1] * 3


@pytest.mark.deviates(knative="acknowledged as success, without a trace")
def test_a_4xx_that_no_retry_mends_becomes_a_dead_letter_at_once(system: System, worker: Subscriber) -> None:
    ids = send_answered(system, worker, NOT_RETRIED)
    dead_letters = worker.dead_letters(ids, timeout_s=2)

    assert [len(worker.attempts(each)) for each in ids] == [1] * len(NOT_RETRIED)
    assert [each.attribute("knativeerrorcode") for each in dead_letters] == [str(each) for each in NOT_RETRIED]


def test_404_408_409_429_and_5xx_are_retried_as_declared_and_then_dead_letters(
    system: System, worker: Subscriber
) -> None:
    ids = send_answered(system, worker, RETRIED)
    dead_letters = worker.dead_letters(ids)

    assert [len(worker.attempts(each)) for each in ids] == [3] * len(RETRIED)
    assert [each.attribute("knativeerrorcode") for each in dead_letters] == [str(each) for each in RETRIED]


def test_a_retry_that_succeeds_leaves_no_dead_letter(system: System, worker: Subscriber) -> None:
    id_ = new_id()
    worker.response(id_, FAILING, Response(503), Response())
    send(system, id_)
    worker.wait(id_, 3)
    settle(system, worker)

    assert (len(worker.attempts(id_)), worker.attempts(id_, service="sink")) == (3, [])


def test_retry_0_makes_one_attempt(system: System, worker: Subscriber) -> None:
    id_ = new_id()
    worker.response(id_, FAILING)
    send(system, id_, trigger="once")
    worker.dead_letter(id_)

    assert len(worker.attempts(id_)) == 1


def test_no_response_in_time_is_retried_and_then_a_dead_letter_of_code_minus_1(
    system: System, worker: Subscriber
) -> None:
    id_, release = new_id(), threading.Event()
    worker.response(id_, Response(until=release))
    send(system, id_)
    dead_letter = worker.dead_letter(id_, timeout_s=10)
    release.set()
    first, second, _third = (each.at_s for each in worker.attempts(id_))

    assert dead_letter.attribute("knativeerrorcode") == "-1"
    assert 1.1 < second - first < 3  # the timeout of 1 s and the first wait of 0.2 s


def test_a_function_that_hangs_up_is_retried_and_then_a_dead_letter_of_code_minus_1(
    system: System, worker: Subscriber
) -> None:
    id_ = new_id()
    worker.response(id_, Response(hang_up=True))
    send(system, id_)
    dead_letter = worker.dead_letter(id_, timeout_s=20)

    assert (len(worker.attempts(id_)), dead_letter.attribute("knativeerrorcode")) == (3, "-1")


def test_linear_waits_are_the_delay_times_1_2_3(system: System, worker: Subscriber) -> None:
    id_ = new_id()
    worker.response(id_, FAILING)
    send(system, id_)
    worker.dead_letter(id_)

    assert waited(worker.attempts(id_), [0.2, 0.4])


def test_exponential_waits_are_the_delay_times_2_4_8(system: System, worker: Subscriber) -> None:
    id_ = new_id()
    worker.response(id_, FAILING)
    send(system, id_, trigger="exponential")
    worker.dead_letter(id_)

    assert waited(worker.attempts(id_), [0.4, 0.8, 1.6])


@pytest.mark.deviates(knative="the wait is inside the dispatcher's worker")
def test_an_event_that_waits_for_its_retry_does_not_hold_back_those_behind_it(
    system: System, worker: Subscriber
) -> None:
    failing, behind = new_id(), new_id()
    worker.response(failing, FAILING, Response())
    send(system, failing, trigger="serial")
    worker.wait(failing)
    send(system, behind, trigger="serial")
    arrived = worker.wait(behind)[0].at_s
    retried = worker.wait(failing, 2)[1].at_s

    assert arrived < retried


def test_with_parallelism_1_events_come_in_order(system: System, worker: Subscriber) -> None:
    ids = [send(system, trigger="serial") for _ in range(30)]
    for each in ids:
        worker.wait(each)

    assert [id_ for service, id_ in worker.sequence if service == "worker" and id_ in ids] == ids


# --- replies


def test_a_reply_in_binary_or_structured_mode_goes_to_the_triggers_that_want_it(
    system: System, worker: Subscriber
) -> None:
    replies = [event(new_id(), type=TYPE.format("reply")) for _ in range(2)]
    for reply, response in zip(replies, (in_binary(replies[0]), in_structured(replies[1])), strict=True):
        worker.response(cause := new_id(), response)
        send(system, cause)
        worker.wait(reply["id"], service="replies")


def test_a_reply_that_lacks_attributes_makes_its_cause_a_dead_letter(system: System, worker: Subscriber) -> None:
    id_ = new_id()
    worker.response(id_, Response(200, {"content-type": STRUCTURED}, b'{"specversion": "1.0", "id": "1"}'))
    send(system, id_)

    assert worker.dead_letter(id_).attribute("type") == TYPE.format("plain")


@pytest.mark.deviates(knative="the reply is dropped, its cause taken as done")
def test_a_reply_of_broken_json_makes_its_cause_a_dead_letter(system: System, worker: Subscriber) -> None:
    id_ = new_id()
    worker.response(id_, Response(200, {"content-type": STRUCTURED}, b'{"specversion": "1.0", '))
    send(system, id_)

    worker.dead_letter(id_, timeout_s=2)


@pytest.mark.deviates(knative="it gets a random id, a new one at each delivery of its cause")
def test_a_reply_without_an_id_makes_its_cause_a_dead_letter(system: System, worker: Subscriber) -> None:
    id_ = new_id()
    response = in_binary(event("", type=TYPE.format("reply")))
    headers = {name: value for name, value in response.headers.items() if name != "ce-id"}
    worker.response(id_, Response(200, headers, b"{}"))
    send(system, id_)

    worker.dead_letter(id_, timeout_s=2)


def test_an_empty_response_is_no_reply(system: System, worker: Subscriber) -> None:
    id_ = new_id()
    worker.response(id_, Response(200))
    send(system, id_)
    worker.wait(id_)
    settle(system, worker)

    assert worker.attempts(id_, service="sink") == []


# --- dead letters


def test_a_dead_letter_is_the_event_as_it_was_with_where_and_why_it_failed(system: System, worker: Subscriber) -> None:
    id_ = new_id()
    worker.response(id_, FAILING)
    send(system, id_, subject="order 7", tenant="acme2", data={"n": 1})
    dead_letter = worker.dead_letter(id_)

    assert json.loads(dead_letter.body) == {"n": 1}
    assert (dead_letter.attribute("tenant"), dead_letter.attribute("type")) == ("acme2", TYPE.format("plain"))
    assert dead_letter.attribute("knativeerrorcode") == "500"
    assert "worker" in (dead_letter.attribute("knativeerrordest") or "")


@pytest.mark.deviates(knative="never set")
def test_a_dead_letter_holds_the_failed_response_in_knativeerrordata(system: System, worker: Subscriber) -> None:
    id_ = new_id()
    worker.response(id_, FAILING)
    send(system, id_)
    data = worker.dead_letter(id_).attribute("knativeerrordata") or ""

    assert base64.b64decode(data) == b"the worker has a bug"


@pytest.mark.deviates(knative="neither")
def test_a_dead_letter_names_its_trigger_and_its_attempts(system: System, worker: Subscriber) -> None:
    id_ = new_id()
    worker.response(id_, FAILING)
    send(system, id_)
    dead_letter = worker.dead_letter(id_)

    assert (dead_letter.attribute("knativeerrortrigger"), dead_letter.attribute("knativeerrorattempts")) == (
        "plain",
        "3",
    )


@pytest.mark.deviates(knative="acknowledged and dropped after the sink's retries (issue 1385)")
def test_a_dead_letter_is_kept_until_its_sink_takes_it(system: System, worker: Subscriber) -> None:
    id_ = new_id()
    worker.response(id_, FAILING)
    worker.response(id_, Response(503), Response(400), Response(), service="sink")
    send(system, id_, trigger="once")

    worker.wait(id_, 3, service="sink", timeout_s=6)
