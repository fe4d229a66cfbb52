"""Every kind of file, before readers that know nothing of each other, and of what wrote it.

libical (with the restrictions of iTIP), `ical`, `ics`, vobject and icalendar have to see the same events in it, and
the strict reader of bytes no defect.
"""

from datetime import UTC, date, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from tests.support.calendar_bytes import defects
from tests.support.calendar_jobs import ANNA, LEE, busy, content, entry, invitation, lines_of, todo, weekly
from tests.support.calendar_panel import instances, restrictions, seen_by_all

RESPONSE, DONE = {**LEE, "status": "accepted"}, {**LEE, "status": "completed"}
EVERYTHING = weekly(
    exdates=["2026-12-08T14:00:00"],
    rdates=["2026-12-09T14:00:00"],
    overrides=[{"recurrence_id": "2026-12-15T14:00:00", "start": "2026-12-16T10:00:00", "summary": "Moved"}],
    description="One, two;\nthree",
    comment="No pets",
    location="Hall 1, Łódź",
    geo={"latitude": 51.77, "longitude": 19.46},
    url="https://shop.example/fair",
    conferences=[{"url": "https://meet.example/1", "label": "Join, now", "features": ["audio", "video"]}],
    categories=["fairs, and more", "toys"],
    priority=5,
    classification="private",
    color="turquoise",
    status="tentative",
    transparency="transparent",
    organizer=ANNA,
    attachments=[
        {"url": "https://shop.example/plan.pdf", "media_type": "application/pdf", "name": "plan.pdf"},
        {"data_base64": "aGVsbG8=", "media_type": "text/plain", "name": "hello.txt"},
    ],
    images=[{"url": "https://shop.example/fair.png", "media_type": "image/png", "display": "badge"}],
    alarms=[
        {"action": "audio", "sound_url": "https://shop.example/bell.wav"},
        {"action": "email", "to": ["lee@client.example"], "minutes_before": 60, "subject": "Soon"},
        {"at": "2026-12-01T10:00:00Z"},
        {"minutes_after": 5, "related": "end", "repeat": 2},
    ],
)
FEED = {
    "name": "Fairs, and more",
    "description": "All of them",
    "uid": "feed@shop.example",
    "url": "https://shop.example",
    "source_url": "https://shop.example/fairs.ics",
    "refresh_minutes": 60,
    "timezone": "Europe/Warsaw",
    "color": "turquoise",
    "categories": ["toys"],
    "images": [{"url": "https://shop.example/logo.png"}],
}
FILES: dict[str, dict[str, Any]] = {
    "an event": {"events": [entry()]},
    "days": {"events": [entry(timezone=None, start="2026-12-24", **end) for end in ({"end": "2026-12-27"}, {})]},
    "a floating time": {"events": [entry(timezone=None, end="2026-12-02T09:00:00")]},
    "UTC": {"events": [entry(start="2026-12-01T13:00:00Z", timezone=None)]},
    "hard zones": {"events": [entry(timezone=zone) for zone in ("Africa/Cairo", "America/Nuuk", "Asia/Gaza", "GMT")]},
    "a year of war": {"events": [entry(start="1944-07-24T10:00:00", timezone="America/New_York")]},
    "a series": {"events": [weekly()]},
    "everything": {"events": [EVERYTHING]},
    "a feed": {"events": [entry(), weekly()], "feed": FEED},
    "no message": {"method": "none", "events": [invitation()], "todos": [{"summary": "Pay"}], "free_busy": [busy()]},
    "a request": {"method": "request", "events": [invitation()]},
    "a request of everything": {"method": "request", "events": [{**EVERYTHING, "attendees": [LEE]}]},
    "a cancellation": {"method": "cancel", "events": [invitation()]},
    "a cancellation of one instance": {
        "method": "cancel",
        "events": [invitation(recurrence_id="2026-12-01T14:00:00")],
    },
    "a reply": {"method": "reply", "events": [invitation(attendees=[RESPONSE])]},
    "a counter-proposal": {"method": "counter", "events": [invitation(start="2026-12-01T15:00:00", comment="Later?")]},
    "a to-do": {"todos": [todo(percent_complete=20, status="in-process", alarms=[{"related": "end"}])]},
    "a to-do asked for": {"method": "request", "todos": [todo(organizer=ANNA, attendees=[LEE])]},
    "a to-do called off": {"method": "cancel", "todos": [todo(uid="pay", organizer=ANNA, attendees=[LEE])]},
    "a to-do done": {"method": "reply", "todos": [todo(uid="pay", organizer=ANNA, attendees=[DONE])]},
    "a to-do put otherwise": {"method": "counter", "todos": [todo(uid="pay", organizer=ANNA, attendees=[LEE])]},
    "a to-do every month": {"todos": [todo(recurrence={"frequency": "monthly"}, categories=["home"])]},
    "busy times": {"free_busy": [busy()]},
    "a question for busy times": {"method": "request", "free_busy": [busy(periods=None, attendees=[LEE])]},
    "busy times for an answer": {"method": "reply", "free_busy": [busy(uid="q", attendees=[RESPONSE])]},
}  # fmt: skip


@pytest.mark.parametrize("job", FILES.values(), ids=FILES)
def test_every_reader_sees_the_same_in_every_kind_of_file(job: dict[str, Any]) -> None:
    file = content(**job)

    assert defects(file) == []
    assert len(seen_by_all(file)) == file.count(b"BEGIN:VEVENT")


def test_libical_finds_what_itip_forbids() -> None:
    bad = content(invitation(), method="request").replace(b"ORGANIZER", b"X-ORGANIZER")

    assert any("ORGANIZER" in each for each in restrictions(bad))


def test_the_panel_sees_a_reader_that_differs() -> None:
    with pytest.raises(AssertionError, match="libical differ"):
        seen_by_all(content(entry()).replace(b"TZOFFSETTO:+0100", b"TZOFFSETTO:+0300"))


def test_libical_expands_a_series_with_its_exceptions() -> None:
    series = {**EVERYTHING, "rdates": []}  # libical takes an RDATE of a zone for UTC
    found = instances(content(series), datetime(2027, 1, 1, tzinfo=UTC))

    assert [f"{each:%m-%d %H}" for each in found] == ["12-01 13", "12-15 13", "12-22 13", "12-29 13"]


# --- any job

TEXT = (
    st.text(
        st.characters(exclude_categories=("Cc", "Cs", "Zl", "Zp"), include_characters="\n"), min_size=1, max_size=120
    )
    .map(str.strip)
    .filter(bool)
)  # the reader `ical` takes blanks off, and libical takes a blank text for none
WORD = st.text("abc,;:\"'^\\ żł😀", min_size=1, max_size=30)
PERSON = st.fixed_dictionaries(
    {"email": st.from_regex(r"[a-z0-9+]{1,10}@[a-z]{1,10}\.example", fullmatch=True)},
    optional={"name": WORD, "role": st.sampled_from(["chair", "optional"]), "type": st.sampled_from(["room", "group"])},
)
ZONES = st.sampled_from(["Europe/Warsaw", "America/New_York", "Australia/Lord_Howe", "Africa/Cairo", "Asia/Kathmandu"])
RULES = st.sampled_from(
    [{"frequency": "daily", "count": 3}, {"frequency": "weekly"}, {"frequency": "monthly", "interval": 2, "count": 5}]
)


@st.composite
def events(draw: st.DrawFn) -> dict[str, Any]:
    """An event of any kind of time, with some of everything else."""
    start = draw(st.datetimes(datetime(1970, 1, 2), datetime(2099, 1, 1)))  # noqa: DTZ001  # local, as jobs give them
    end = start + draw(st.timedeltas(timedelta(minutes=1), timedelta(days=40)))
    kind = draw(st.sampled_from(["date", "zone", "utc", "floating"]))
    if kind == "date":
        times = {"start": str(start.date()), "end": str(end.date() + timedelta(days=1))}
    else:
        z = "Z" if kind == "utc" else ""
        times = {"start": f"{start:%Y-%m-%dT%H:%M:%S}{z}", "end": f"{end:%Y-%m-%dT%H:%M:%S}{z}"}
    if kind == "zone":
        times["timezone"] = draw(ZONES)
    return times | draw(
        st.fixed_dictionaries(
            {"summary": TEXT},
            optional={
                "description": TEXT,
                "location": TEXT,
                "categories": st.lists(WORD, max_size=3),
                "recurrence": RULES,
                "organizer": PERSON.map(lambda person: {"email": person["email"]}),
                "alarms": st.lists(st.builds(lambda m: {"minutes_before": m}, st.integers(0, 9_999)), max_size=2),
                "geo": st.builds(
                    lambda a, b: {"latitude": a, "longitude": b}, st.floats(-90, 90), st.floats(-180, 180)
                ),
                "priority": st.integers(0, 9),
            },
        )
    )


@pytest.mark.slow
@settings(deadline=None)
@given(event=events(), guests=st.lists(PERSON, min_size=1, max_size=4, unique_by=lambda each: each["email"]))
def test_any_invitation_is_read_by_all_as_it_was_asked_for(event: dict[str, Any], guests: list[dict[str, Any]]) -> None:
    job = {**event, "uid": "any@shop.example", "organizer": ANNA, "attendees": guests}
    assume(not _skipped(job))
    file = content(job, method="request")

    assert defects(file) == []
    (seen,) = seen_by_all(file)
    assert (seen.uid, seen.start, seen.end) == ("any@shop.example", _utc(job, "start"), _utc(job, "end"))
    lines = lines_of(file)
    assert lines["SUMMARY"].text == job["summary"]
    assert [lines[name].text for name in ("DESCRIPTION", "LOCATION") if name in lines] == [
        job[name] for name in ("description", "location") if name in job
    ]


def _skipped(job: dict[str, Any]) -> bool:
    """Whether the clocks go forward past the start or the end."""
    zone = ZoneInfo(job.get("timezone", "UTC"))
    local = [datetime.fromisoformat(job[name].removesuffix("Z")).replace(tzinfo=zone) for name in ("start", "end")]
    return any(
        each.astimezone(UTC).astimezone(zone).replace(tzinfo=None) != each.replace(tzinfo=None) for each in local
    )


def _utc(job: dict[str, Any], name: str) -> str:
    if len(job[name]) == len("2026-12-01"):
        return str(date.fromisoformat(job[name]))
    local = datetime.fromisoformat(job[name].removesuffix("Z"))
    if "timezone" in job:
        local = local.replace(tzinfo=ZoneInfo(job["timezone"])).astimezone(UTC)
    return local.isoformat()[:19]
