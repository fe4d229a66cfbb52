"""What an answer comes to, and what a dead letter says of it."""

import base64
import json

import pytest

from events.http import Event
from functions.runtime.outcome import FAILURE_REPORT_BYTES, NO_RESPONSE, Result, dead_letter, judge

REPLY = {"specversion": "1.0", "id": "1", "source": "/x", "type": "dev.errands.x.completed.v1"}
RETRIED = (404, 408, 409, 429, 500, 503)


@pytest.mark.parametrize("status", [200, 202, 204])
def test_2xx_without_an_event_is_success_without_a_reply(status: int) -> None:
    assert judge(status, {"content-type": "text/html"}, b"thanks") == Result(status)


@pytest.mark.parametrize("status", [100, 301, 400, 410, *RETRIED])
def test_any_other_response_is_a_failure_and_some_are_worth_another_attempt(status: int) -> None:
    result = judge(status, {}, b"why")

    assert (result.failed, result.retriable, result.error) == (True, status in RETRIED, b"why")


def test_what_a_function_says_of_its_503_and_its_500_is_heard() -> None:
    waits = judge(503, {"errands-not-now": "1", "retry-after": "77"}, b"paused")
    waits_at_once = judge(503, {"errands-not-now": "1", "retry-after": "9" * 5_000}, b"paused")
    ends = judge(500, {"errands-final": "1"}, b"refused")

    assert (waits.failed, waits.retriable, waits.not_now_s) == (True, True, 77)
    assert waits_at_once.not_now_s == 0
    assert judge(503, {"retry-after": "77"}, b"down").not_now_s is None
    assert (ends.failed, ends.retriable, ends.not_now_s) == (True, False, None)


def test_a_failure_without_a_body_says_so() -> None:
    assert judge(503, {}, b"").error == b"no body"


def test_an_event_in_either_mode_is_the_reply() -> None:
    structured = judge(200, {"content-type": "application/cloudevents+json; charset=utf-8"}, json.dumps(REPLY).encode())
    in_headers = judge(200, {f"ce-{name}": value for name, value in REPLY.items()}, b"")

    assert structured.reply is not None
    assert in_headers.reply is not None
    assert dict(structured.reply.attributes) == dict(in_headers.reply.attributes) == REPLY


def test_a_reply_that_breaks_its_format_is_a_failure_that_no_retry_mends() -> None:
    result = judge(200, {"content-type": "application/cloudevents+json"}, b"{")

    assert (result.failed, result.retriable, result.reply) == (True, False, None)
    assert (result.error or b"").startswith(b"the reply is not an event: ")


def test_of_a_long_response_the_dead_letter_has_the_beginning_and_the_end() -> None:
    result = Result(500, error=b"begin" + bytes(5_000) + b"end")

    assert len(result.failure_report) == FAILURE_REPORT_BYTES
    assert (result.failure_report[:5], result.failure_report[-3:]) == (b"begin", b"end")
    assert Result(500, error=bytes(FAILURE_REPORT_BYTES)).failure_report == bytes(FAILURE_REPORT_BYTES)


def test_a_dead_letter_is_the_event_with_what_became_of_it() -> None:
    event = Event({**REPLY, "subject": "s"}, b"data")

    made = dead_letter(event, Result(NO_RESPONSE, error=b"no answer"), destination="http://x", trigger="t", attempts=4)

    assert made.data == b"data"
    assert dict(made.attributes) == {
        **event.attributes,
        "knativeerrordest": "http://x",
        "knativeerrorcode": "-1",
        "knativeerrordata": base64.b64encode(b"no answer").decode(),
        "knativeerrortrigger": "t",
        "knativeerrorattempts": "4",
    }
