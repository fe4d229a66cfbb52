"""A job is named by its request's own source and id; what else a request carries goes along, within limits."""

from types import MappingProxyType

from hypothesis import given
from hypothesis import strategies as st

from events.http import Event
from events.job import ADMISSION, CARRIED_LIMIT_BYTES, CARRIED_LIMIT_COUNT, OWN, carried, job_of, too_much

REQUEST = {"specversion": "1.0", "id": "1", "source": "/shop", "type": "dev.errands.ics.requested.v1"}
NAMES = st.text("abcdefghijklmnopqrstuvwxyz0123456789", min_size=1, max_size=20)


def event(**attributes: str) -> Event:
    return Event(MappingProxyType(REQUEST | attributes), b"{}")


@given(st.dictionaries(st.sampled_from(sorted(OWN)), st.text(min_size=1)))
def test_nothing_that_a_request_carries_names_its_job(attributes: dict[str, str]) -> None:
    assert job_of(event(**attributes)) == ("/shop", "1")


def test_a_later_event_names_the_job_of_its_request() -> None:
    later = event(type="dev.errands.ics.completed.v1", source="/errands/ics", id="x", jobsource="/shop", jobid="1")

    assert job_of(later) == ("/shop", "1")


def test_the_callers_extensions_go_along_and_ours_and_the_brokers_do_not() -> None:
    request = event(
        subject="order-1",
        callbackurl="https://shop.example/callbacks",
        correlationid="a-caller's-own",
        traceparent="00-1",
        tenant="acme",
        time="2026-11-22T09:30:00Z",
        dataschema="https://shop.example/schema",
        knativeerrorcode="500",
        **dict.fromkeys(OWN | ADMISSION, "x"),
    )

    assert carried(request) == {
        "subject": "order-1",
        "callbackurl": "https://shop.example/callbacks",
        "correlationid": "a-caller's-own",
        "traceparent": "00-1",
        "tenant": "acme",
    }


@given(st.dictionaries(NAMES, st.text(max_size=1_500), max_size=40))
def test_what_is_carried_is_within_the_limits_and_what_is_over_them_is_said(extensions: dict[str, str]) -> None:
    request = event(**{f"x{name}": value for name, value in extensions.items()})

    kept = carried(request)

    assert len(kept) <= CARRIED_LIMIT_COUNT
    assert sum(len(name) + len(value.encode()) for name, value in kept.items()) <= CARRIED_LIMIT_BYTES
    assert (too_much(request) is None) == (len(kept) == len(extensions))
