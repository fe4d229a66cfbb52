"""What is refused at the door, with its reason, and by whom it may be asked for."""

import json
from datetime import UTC, datetime
from typing import Any

import pytest

from events.http import Event, read
from events.job import OWN
from events.problem import NotAnEvent
from functions.gateway.admission import Admission
from functions.gateway.callers import ALL, Caller, Callers
from functions.gateway.ledger.job import NewJob
from functions.gateway.outside import Refusal
from functions.gateway.routes import Routes
from tests.conftest import sample
from tests.support.gateway_process import FOREIGN, ROUTES, TOKENS

NOW = datetime(2026, 12, 1, 12, tzinfo=UTC)
ANYBODY = Caller("shop", frozenset({"send"}))
ADMISSION = Admission(Routes.parse(json.dumps(ROUTES)), clock=lambda: NOW)


def event(envelope: dict[str, Any]) -> Event:
    return read({"content-type": "application/cloudevents+json"}, json.dumps(envelope).encode())


def judged(envelope: dict[str, Any], caller: Caller = ANYBODY) -> NewJob | Refusal:
    return ADMISSION.judged(event(envelope), caller)


def refused(envelope: dict[str, Any], caller: Caller = ANYBODY) -> Refusal:
    refusal = judged(envelope, caller)
    assert isinstance(refusal, Refusal)
    return refusal


@pytest.mark.parametrize("job", ["ics", "image", "message", "report"])
def test_each_sample_is_a_job_of_its_sender(job: str) -> None:
    admitted = judged(sample(job))

    assert isinstance(admitted, NewJob)
    assert (admitted.api, admitted.event.id) == ("shop", sample(job)["id"])
    assert admitted.event.get("time")


def test_an_event_without_a_time_is_given_one() -> None:
    envelope = sample("ics")
    del envelope["time"]

    admitted = judged(envelope)

    assert isinstance(admitted, NewJob)
    assert admitted.event.get("time")


def test_what_the_function_would_refuse_is_refused_with_the_path_of_each_bad_field() -> None:
    envelope = sample("image")
    envelope["data"] = {"source": {"url": 7}, "outputs": [{"nmae": "a.png"}]}

    refusal = refused(envelope)

    assert (refusal.status, refusal.kind) == (422, "invalid-data")
    assert {"#/source/url", "#/outputs/0/nmae"} <= {each.pointer for each in refusal.errors}


def test_data_that_is_no_json_and_a_job_that_is_expired_are_refused_as_the_function_would() -> None:
    text = event(sample("ics")).with_attributes(datacontenttype="application/json")
    late = {**sample("ics"), "expirytime": "2026-12-01T11:00:00Z"}

    garbled = ADMISSION.judged(Event(text.attributes, b"{"), ANYBODY)

    assert isinstance(garbled, Refusal)
    assert (garbled.status, garbled.errors[0].pointer) == (422, "#")
    assert (refused(late).status, refused(late).kind) == (422, "expired")


def test_a_request_of_another_projects_function_is_judged_by_its_json_schema() -> None:
    good = {**sample("ics"), "type": FOREIGN, "data": {"width_px": 7, "whatever": True}}
    bad = {**good, "data": {"width_px": "7"}}

    refusal = refused(bad)

    assert isinstance(judged(good), NewJob)
    assert (refusal.status, [each.pointer for each in refusal.errors]) == (422, ["#/width_px"])


def test_an_unknown_type_is_answered_with_those_that_are_known() -> None:
    refusal = refused({**sample("ics"), "type": "dev.errands.icss.requested.v1"})

    assert (refusal.status, refusal.kind) == (404, "unknown-type")
    assert "dev.errands.ics.requested.v1" in refusal.detail
    assert FOREIGN in refusal.detail


@pytest.mark.parametrize("name", sorted(OWN))
def test_nobody_outside_sends_an_attribute_that_functions_set(name: str) -> None:
    refusal = refused({**sample("ics"), name: "1"})

    assert (refusal.status, name in refusal.detail) == (403, True)


@pytest.mark.parametrize("phase", ["completed", "failed", "deadlettered"])
def test_nobody_outside_sends_what_is_no_request(phase: str) -> None:
    assert refused(sample("ics", phase)).status == 403


def test_what_is_no_event_is_refused_with_the_rule_that_it_breaks() -> None:
    refusal = ADMISSION.judged(NotAnEvent("attribute id is required"), ANYBODY)

    assert isinstance(refusal, Refusal)
    assert (refusal.status, refusal.detail) == (400, "attribute id is required")


def test_an_api_sends_only_the_types_that_its_line_names() -> None:
    pictures = Callers.parse(TOKENS).of("Bearer pictures-token-pictures")
    reader = Callers.parse(TOKENS).of("bearer reader-token-reader-token")

    assert pictures is not None
    assert reader is not None
    assert isinstance(judged(sample("image"), pictures), NewJob)
    assert refused(sample("ics"), pictures).detail == "pictures may not send type 'dev.errands.ics.requested.v1'"
    assert refused(sample("image"), reader).status == 403


def test_rights_hold_for_all_jobs_or_for_ones_own() -> None:
    callers = Callers.parse(TOKENS)
    shop, pictures = callers.of("Bearer shop-token-shop-token"), callers.of("Bearer pictures-token-pictures")

    assert shop is not None
    assert pictures is not None
    assert (shop.may("read", "pictures"), shop.may("read"), shop.may("cancel", "x")) == (True, True, True)
    assert (pictures.may("read", "pictures"), pictures.may("read", "shop"), pictures.may("read")) == (
        True,
        False,
        False,
    )
    assert callers.of("Bearer wrong") is None
    assert callers.of("Basic shop-token-shop-token") is None


@pytest.mark.parametrize(
    ("lines", "says"),
    [
        ("shop all", "line 1 of GATEWAY_TOKENS must be NAME RIGHTS SECRET, got 2 parts"),
        ("shop all short", "line 1 of GATEWAY_TOKENS: a token has at least 16 characters"),
        ("\nshop send,fly token-token-token-token", "line 2 of GATEWAY_TOKENS: rights are all or of"),
        ("shop send: token-token-token-token", "got send:"),
    ],
)
def test_a_line_that_is_wrong_is_named_without_its_secret(lines: str, says: str) -> None:
    with pytest.raises(ValueError, match="line") as caught:
        Callers.parse(lines)

    assert says in str(caught.value)
    assert "token-token" not in str(caught.value)


def test_without_tokens_anybody_on_this_machine_may_do_everything() -> None:
    callers = Callers.parse("", anybody="local")

    assert callers.of("") == Caller("local", ALL)
    assert Callers.parse(TOKENS, anybody="local").of("") is None
