"""Jobs for the tests of calendars: small ones, the sample's, and what comes of them."""

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from events.problem import JobFailed, decode
from events.types.ics import IcsRequested
from functions.ics.calendar_file import Made, render
from tests.support.calendar_bytes import Component, Line, calendar

ROOT = Path(__file__).parents[2]
SAMPLE = json.loads((ROOT / "events/samples/dev.errands.ics.requested.v1.json").read_text())
NOW = datetime(2026, 11, 22, 9, 30, tzinfo=UTC)
ANNA = {"email": "anna@shop.example", "name": "Anna Nowak"}
LEE = {"email": "lee@client.example", "name": "Lee, Kim"}


def made(
    *events: dict[str, Any],
    now: datetime = NOW,
    source: str = "https://shop.example",
    namespace: str = "a job",
    **job: Any,
) -> Made:
    """What a job of these events, and whatever else it has, makes; its data goes through JSON."""
    data = {"events": events, **job} if events else job
    return render(decode(json.dumps(data).encode(), IcsRequested), source=source, namespace=namespace, now=now)


def content(*events: dict[str, Any], **job: Any) -> bytes:
    """The bytes of the job's only file."""
    (file,) = made(*events, **job).files
    return file.content


def entry(**changes: Any) -> dict[str, Any]:
    """A small event to publish; a change to None leaves the field out."""
    small = {"summary": "Fair", "start": "2026-12-01T14:00:00", "timezone": "Europe/Warsaw", **changes}
    return {name: value for name, value in small.items() if value is not None}


def weekly(**changes: Any) -> dict[str, Any]:
    """A series of ten Tuesdays."""
    return entry(**{"end": "2026-12-01T15:30:00", "rrule": "FREQ=WEEKLY;COUNT=10", **changes})


def invitation(**changes: Any) -> dict[str, Any]:
    """The sample's event; a change to None leaves the field out."""
    changed = {**SAMPLE["data"]["events"][0], **changes}
    return {name: value for name, value in changed.items() if value is not None}


def todo(**changes: Any) -> dict[str, Any]:
    """A small to-do; a change to None leaves the field out."""
    small = {"summary": "Pay", "start": "2026-12-01", "due": "2026-12-05", **changes}
    return {name: value for name, value in small.items() if value is not None}


def busy(**changes: Any) -> dict[str, Any]:
    """Two times of a day that are taken; a change to None leaves the field out."""
    taken = [
        {"start": "2026-12-01T10:00:00", "end": "2026-12-01T11:00:00"},
        {"start": "2026-12-01T09:00:00", "end": "2026-12-01T09:30:00", "type": "busy-tentative"},
    ]
    whole = {"start": "2026-12-01T08:00:00", "end": "2026-12-02T08:00:00", "timezone": "Europe/Warsaw"}
    return {k: v for k, v in {**whole, "organizer": ANNA, "periods": taken, **changes}.items() if v is not None}


def inner(file: bytes, name: str = "VEVENT") -> list[Component]:
    """The components of a name in a file without defects."""
    return [each for each in calendar(file).walk() if each.name == name]


def lines_of(file: bytes, component: str = "VEVENT") -> dict[str, Line]:
    """The lines of the components of a name that matter by themselves; of repeated ones the last."""
    return {line.name: line for each in inner(file, component) for line in each.lines}


def refused(*events: dict[str, Any], **job: Any) -> dict[str, str]:
    """What each pointer of the failed job says."""
    with pytest.raises(JobFailed) as caught:
        made(*events, **job)
    assert caught.value.kind == "invalid-data"
    pointers = [each.pointer for each in caught.value.errors]
    assert len(pointers) == len(set(pointers)), pointers
    json.dumps([each.detail for each in caught.value.errors]).encode()
    return {each.pointer: each.detail for each in caught.value.errors}
