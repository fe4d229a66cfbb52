"""When a request is let in, as its attributes say: judged at the door, with a pointer to each that is bad."""

from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from events.http import timestamp
from events.problem import JobFailed
from functions.gateway.ledger.job import NewJob
from functions.gateway.timing import NAMES, timing_of
from tests.conftest import sample
from tests.functions.gateway.test_admission import NOW, event, judged, refused

NOW_MS = int(NOW.timestamp() * 1000)
HOUR_MS = 3_600_000


def due_ms(**attributes: Any) -> tuple[int, int | None]:
    admitted = judged({**sample("ics"), **attributes})
    assert isinstance(admitted, NewJob)
    return admitted.due_ms, admitted.not_before_ms


@pytest.mark.parametrize(
    "attributes",
    [{"delay": "PT1H"}, {"notbefore": "2026-12-01T13:00:00Z"}, {"notbefore": "2026-12-01T14:00:00+01:00"}],
)
def test_a_job_is_due_at_its_moment_or_after_its_delay(attributes: dict[str, str]) -> None:
    assert due_ms(**attributes) == (NOW_MS + HOUR_MS, NOW_MS + HOUR_MS)


@pytest.mark.parametrize("attributes", [{"delay": "PT0S"}, {"notbefore": "2020-02-29T13:00:00Z"}, {}])
def test_what_has_passed_is_now(attributes: dict[str, str]) -> None:
    assert due_ms(**attributes)[1] is None


@pytest.mark.parametrize(
    ("attributes", "pointers"),
    [
        ({"delay": "1h"}, ["#/delay"]),
        ({"delay": "P367D"}, ["#/delay"]),
        ({"delay": "P999999999D"}, ["#/delay"]),
        ({"notbefore": "tomorrow"}, ["#/notbefore"]),
        ({"notbefore": "2027-12-03T12:00:00Z"}, ["#/notbefore"]),
        ({"notbefore": "9999-12-31T23:59:59-23:59"}, ["#/notbefore"]),
        ({"notbefore": "2026-12-01T13:00:00Z", "delay": "PT1H"}, ["#/delay"]),
        ({"notbefore": "soon", "delay": "late"}, ["#/delay", "#/notbefore", "#/delay"]),
        ({"delay": "PT2H", "expirytime": "2026-12-01T13:00:00Z"}, ["#/delay"]),
        ({"notbefore": "2026-12-01T14:00:00Z", "expirytime": "2026-12-01T13:00:00Z"}, ["#/notbefore"]),
    ],
)
def test_each_bad_attribute_is_pointed_to(attributes: dict[str, str], pointers: list[str]) -> None:
    refusal = refused({**sample("ics"), **attributes})

    assert (refusal.status, refusal.kind) == (422, "invalid-attribute")
    assert [each.pointer for each in refusal.errors] == pointers


@given(
    moment=st.datetimes(datetime(2026, 1, 1), datetime(2028, 1, 1)),  # noqa: DTZ001  # the zone is drawn beside it
    offset_min=st.integers(-23 * 60, 23 * 60),
)
def test_a_moment_is_the_same_in_whatever_zone_it_is_written(moment: datetime, offset_min: int) -> None:
    zoned = moment.replace(tzinfo=timezone(timedelta(minutes=offset_min)), microsecond=0)

    def read(text: str) -> datetime | str | None:
        try:
            return timing_of(event({**sample("ics"), "notbefore": text}), now=NOW).not_before
        except JobFailed as error:
            return error.kind

    assert read(zoned.isoformat()) == read(timestamp(zoned.astimezone(UTC)))


@given(texts=st.dictionaries(st.sampled_from(sorted(NAMES)), st.text(st.characters(categories=["L", "N", "P"]))))
def test_whatever_the_attributes_say_is_a_timing_or_a_refusal(texts: dict[str, str]) -> None:
    request = event(sample("ics")).with_attributes(**texts)

    try:
        timing_of(request, now=NOW)
        errors = None
    except JobFailed as error:
        errors = error.errors

    assert errors != ()
