"""Alarms (RFC 5545 3.6.6): what is wrong with one, and its properties."""

from collections.abc import Iterator
from typing import Any

from icalendar import vCalAddress, vDate, vDatetime, vInt, vUri

from events.types.ics import Alarm
from functions.ics.findings import FieldPlace
from functions.ics.moment import instant
from functions.ics.values import Minutes, address, minutes, moment, text

DEFAULT_MINUTES_BEFORE = 15


def check(alarm: Alarm, at: FieldPlace, *, starts: bool, ends: bool) -> None:
    """Find what an alarm of an item with a start, with an end, may not have."""
    given = [name for name in ("minutes_before", "minutes_after", "at") if getattr(alarm, name) is not None]
    if len(given) > 1:
        at.add(f"must have one of minutes_before, minutes_after and at, got {' and '.join(given)}")
    if alarm.at is not None:
        (at / "at").take(instant, alarm.at)
    elif not (ends if alarm.related == "end" else starts):
        (at / "related").add(f"must be absent or another: what the alarm is of has no {alarm.related}")
    for name, actions in (("to", ("email",)), ("subject", ("email",)), ("sound_url", ("audio",))):
        if getattr(alarm, name) and alarm.action not in actions:
            (at / f"{name}").add(f"expects action {actions[0]}, got {alarm.action}")
    if alarm.action == "email" and not alarm.to:
        (at / "to").add("must name at least one with action email, got none")
    if alarm.action == "audio" and alarm.text is not None:
        (at / "text").add("must be absent with action audio, which shows none")


def properties(alarm: Alarm, summary: str) -> Iterator[tuple[str, Any]]:
    """What the VALARM holds; what it shows is by default the summary of what it is of."""
    yield "ACTION", text(alarm.action.upper())
    yield "TRIGGER", _trigger(alarm)
    if alarm.repeat:  # RFC 5545 3.8.6.2: the two come together
        yield "REPEAT", vInt(alarm.repeat)
        yield "DURATION", minutes(alarm.repeat_minutes)
    if alarm.action != "audio":
        yield "DESCRIPTION", text(alarm.text or summary)
    if alarm.action == "email":
        yield "SUMMARY", text(alarm.subject or summary)
        yield from (("ATTENDEE", vCalAddress(address(each))) for each in alarm.to)
    if alarm.sound_url:
        yield "ATTACH", vUri(alarm.sound_url)


def _trigger(alarm: Alarm) -> vDate | vDatetime | Minutes:
    """When it sounds: at an instant, or so many minutes from the start or the end."""
    if alarm.at is not None:
        return moment(instant(alarm.at), VALUE="DATE-TIME")
    related = {"RELATED": "END"} if alarm.related == "end" else {}
    if alarm.minutes_after is not None:
        return minutes(alarm.minutes_after, **related)
    return minutes(-(DEFAULT_MINUTES_BEFORE if alarm.minutes_before is None else alarm.minutes_before), **related)
