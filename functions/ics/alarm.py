"""Alarms (RFC 5545 3.6.6): what is wrong with one, and its lines."""

from events.types.ics import Alarm
from functions.ics.content_line import text
from functions.ics.findings import Place
from functions.ics.moment import instant, stamp
from functions.ics.person import address

DEFAULT_MINUTES_BEFORE = 15


def check(alarm: Alarm, at: Place, *, starts: bool, ends: bool) -> None:
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


def lines(alarm: Alarm, summary: str) -> list[str]:
    """The VALARM; what it shows is by default the summary of what it is of."""
    made = ["BEGIN:VALARM", f"ACTION:{alarm.action.upper()}", _trigger(alarm)]
    if alarm.repeat:  # RFC 5545 3.8.6.2: the two come together
        made += [f"REPEAT:{alarm.repeat}", f"DURATION:PT{alarm.repeat_minutes}M"]
    if alarm.action != "audio":
        made.append(f"DESCRIPTION:{text(alarm.text or summary)}")
    if alarm.action == "email":
        made.append(f"SUMMARY:{text(alarm.subject or summary)}")
        made += [f"ATTENDEE:{address(each)}" for each in alarm.to]
    if alarm.sound_url:
        made.append(f"ATTACH:{alarm.sound_url}")
    return [*made, "END:VALARM"]


def _trigger(alarm: Alarm) -> str:
    """In minutes only: P1D is a day of the calendar, of 23 or 25 hours when the clocks change (RFC 5545 3.3.6)."""
    if alarm.at is not None:
        return f"TRIGGER;VALUE=DATE-TIME:{stamp(instant(alarm.at))}"
    related = ";RELATED=END" if alarm.related == "end" else ""
    if alarm.minutes_after is not None:
        return f"TRIGGER{related}:PT{alarm.minutes_after}M"
    minutes = DEFAULT_MINUTES_BEFORE if alarm.minutes_before is None else alarm.minutes_before
    return f"TRIGGER{related}:{f'-PT{minutes}M' if minutes else 'PT0S'}"
