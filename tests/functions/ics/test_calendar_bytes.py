"""The checker of calendar files is checked: it finds each defect that is planted in a good file."""

import pytest

from tests.support.calendar_bytes import defects
from tests.support.calendar_jobs import ANNA, LEE, busy, content, entry, todo, weekly

INVITATION = content(
    weekly(
        uid="fair@shop.example",
        description="One, two; three",
        geo={"latitude": 51.77, "longitude": 19.46},
        color="turquoise",
        organizer=ANNA,
        attendees=[LEE, {"email": "a.very.long.address.of.somebody.else@client.example", "name": "Żółw"}],
        exdates=["2026-12-08T14:00:00"],
        overrides=[{"recurrence_id": "2026-12-15T14:00:00", "summary": "Moved"}],
        alarms=[{"repeat": 1}, {"action": "email", "to": ["anna@shop.example"]}, {"at": "2026-12-01T12:00:00Z"}],
    ),
    method="request",
)
ZONE = b";TZID=Europe/Warsaw:"
PLANTED: list[tuple[str, bytes, bytes, str]] = [
    ("a bare LF", b"VERSION:2.0\r\n", b"VERSION:2.0\n", "bare LF"),
    ("a bare CR", b"VERSION:2.0\r\n", b"VERSION:2.0\rX:1\r\n", "bare LF or CR"),
    ("no CRLF at the end", b"END:VCALENDAR\r\n", b"END:VCALENDAR", "no CRLF at the end"),
    ("a byte order mark", b"BEGIN:VCALENDAR", b"\xef\xbb\xbfBEGIN:VCALENDAR", "byte order mark"),
    ("an empty line", b"METHOD:", b"\r\nMETHOD:", "no content line"),
    ("a long line", b"PRODID:", b"PRODID:" + b"x" * 80, "a line of"),
    ("a split character", "Żółw".encode(), "Żó".encode() + b"\xc5\r\n \x82w", "inside a character"),
    ("no UTF-8", "Żółw".encode(), b"\xff", "no UTF-8"),
    ("a control character", b"SUMMARY:Fair", b"SUMMARY:Fa\x07ir", "control character"),
    ("a line separator", b"SUMMARY:Fair", "SUMMARY:Fa\u2028ir".encode(), "control character"),
    ("a bare comma", rb"One\, two", rb"One, two", "bare comma"),
    ("a bare semicolon", rb"two\; three", rb"two; three", "bare comma, semicolon"),
    ("a bare backslash", rb"One\, two", rb"C:\Temp", "backslash"),
    ("a comma in an unquoted name", b'CN="Lee, Kim"', b"CN=Lee: Kim", "ATTENDEE of the value"),
    ("a quote inside a name", b'CN="Lee, Kim"', b'CN="Lee "Kim""', "no content line"),
    ("a TZID without VTIMEZONE", b"DTEND;TZID=Europe/Warsaw", b"DTEND;TZID=Europe/Paris", "zones that are used"),
    ("a VTIMEZONE without a use", b"TZID:Europe/Warsaw", b"TZID:Europe/Berlin", "zones that are used"),
    ("a bad offset", b"TZOFFSETTO:+0200", b"TZOFFSETTO:+2", "TZOFFSETTO of the value"),
    ("no TZOFFSETFROM", b"TZOFFSETFROM:+0100\r\n", b"", "DAYLIGHT without TZOFFSETFROM"),
    ("no UID", b"UID:fair@shop.example\r\n", b"", "VEVENT without UID"),
    ("no DTSTAMP", b"DTSTAMP:20261122T093000Z\r\n", b"", "VEVENT without DTSTAMP"),
    ("a local DTSTAMP", b"DTSTAMP:20261122T093000Z", b"DTSTAMP:20261122T093000", "DTSTAMP of the value"),
    ("no VERSION", b"VERSION:2.0\r\n", b"", "VCALENDAR without VERSION"),
    ("another VERSION", b"VERSION:2.0", b"VERSION:1.0", "VERSION of the value"),
    ("no PRODID", b"PRODID:-//Errands//ics//EN\r\n", b"", "VCALENDAR without PRODID"),
    ("another METHOD", b"METHOD:REQUEST", b"METHOD:INVITE", "METHOD of the value"),
    ("a day that is none", b"DTSTART" + ZONE + b"20261201", b"DTSTART" + ZONE + b"20261301", "DTSTART of"),
    ("a DATE with a time", b"DTSTART;TZID=Europe/Warsaw:", b"DTSTART;VALUE=DATE:", "as a DATE"),
    ("UTC with a TZID", ZONE + b"20261201T153000", ZONE + b"20261201T153000Z", "with a TZID"),
    ("a floating end", b"DTEND;TZID=Europe/Warsaw:", b"DTEND:", "DTEND is a local"),
    ("an end before the start", b"20261201T153000", b"20261201T133000", "DTEND is not after"),
    ("an end and a DURATION", b"SUMMARY:Fair", b"DURATION:PT1H\r\nSUMMARY:Fair", "an end and a DURATION"),
    ("an EXDATE of UTC", ZONE + b"20261208T140000", b":20261208T130000Z", "EXDATE is a utc"),
    ("an EXDATE of a day", ZONE + b"20261208T140000", b";VALUE=DATE:20261208", "EXDATE is a date"),
    ("a local UNTIL with a TZID", b"COUNT=10", b"UNTIL=20270301T140000", "UNTIL=20270301T140000 where"),
    ("COUNT and UNTIL", b"COUNT=10", b"COUNT=10;UNTIL=20270301T140000Z", "COUNT and UNTIL"),
    ("no FREQ", b"FREQ=WEEKLY;", b"", "RRULE without FREQ"),
    ("a bad BYDAY", b"COUNT=10", b"BYDAY=XX", "BYDAY of the value"),
    ("two rules", b"RRULE:", b"RRULE:FREQ=DAILY\r\nRRULE:", "RRULE twice"),
    ("a RECURRENCE-ID of a day", ZONE + b"20261215T140000", b";VALUE=DATE:20261215", "RECURRENCE-ID is a date"),
    ("an override of no series", b"RRULE:FREQ=WEEKLY;COUNT=10\r\n", b"", "what does not recur"),
    ("one UID twice", b"RECURRENCE-ID" + ZONE + b"20261215T140000\r\n", b"", "UID fair@shop.example twice"),
    ("an ATTENDEE that is no URI", b"mailto:lee@client.example", b"lee@client.example", "ATTENDEE of the value"),
    ("an ORGANIZER that is no address", b"mailto:anna@shop.example", b"mailto:anna", "ORGANIZER of the value"),
    ("another STATUS", b"STATUS:CONFIRMED", b"STATUS:DONE", "STATUS of the value"),
    ("a SEQUENCE that is no number", b"SEQUENCE:0", b"SEQUENCE:a", "SEQUENCE of the value"),
    ("a place that is nowhere", b"GEO:51.77", b"GEO:91.77", "is nowhere"),
    ("an alarm without TRIGGER", b"TRIGGER:-PT15M\r\n", b"", "VALARM without TRIGGER"),
    ("a local absolute TRIGGER", b"20261201T120000Z", b"20261201T120000", "TRIGGER of the value"),
    ("a display without DESCRIPTION", b"DESCRIPTION:Fair\r\n", b"", "VALARM DISPLAY without DESCRIPTION"),
    ("an e-mail to nobody", b"ATTENDEE:mailto:anna@shop.example\r\n", b"", "VALARM EMAIL without ATTENDEE"),
    ("a REPEAT alone", b"DURATION:PT5M\r\n", b"", "REPEAT without DURATION"),
    ("an alarm in a calendar", b"END:VCALENDAR", b"BEGIN:VALARM\r\nEND:VALARM\r\nEND:VCALENDAR", "inside VCALENDAR"),
    ("a component that does not end", b"END:VALARM\r\nEND:VEVENT", b"END:VEVENT", "where another ends"),
    ("nothing after the calendar", b"END:VCALENDAR\r\n", b"END:VCALENDAR\r\nX:1\r\n", "not one VCALENDAR"),
    ("an invitation by nobody", b"ORGANIZER;", b"X-ORGANIZER;", "REQUEST: without, or with, ORGANIZER"),
    ("a publication with attendees", b"METHOD:REQUEST", b"METHOD:PUBLISH", "PUBLISH: without, or with, ATTENDEE"),
    ("a cancellation that is confirmed", b"METHOD:REQUEST", b"METHOD:CANCEL", "CANCEL of another STATUS"),
    ("a reply of two", b"METHOD:REQUEST", b"METHOD:REPLY", "REPLY of more than one"),
]  # fmt: skip


def test_a_good_file_has_no_defects() -> None:
    assert defects(INVITATION) == []
    assert defects(content(free_busy=[busy()])) == []
    assert defects(content(todos=[todo()])) == []


@pytest.mark.parametrize(("what", "good", "bad", "said"), PLANTED, ids=[each[0] for each in PLANTED])
def test_each_planted_defect_is_found(what: str, good: bytes, bad: bytes, said: str) -> None:
    assert good in INVITATION

    found = defects(INVITATION.replace(good, bad))

    assert any(said in each for each in found), found


def test_defects_of_other_components_are_found() -> None:
    taken = content(free_busy=[busy()])
    done = content(todos=[todo(completed="2026-12-02T10:00:00Z", percent_complete=100)])
    mixed = content(entry(uid="a")).replace(b"END:VCALENDAR\r\n", inner_part(done) + b"END:VCALENDAR\r\n")

    assert defects(taken.replace(b"T090000Z/", b"T090000/"))
    assert defects(taken.replace(b"DTSTART:20261201T070000Z", b"DTSTART:20261201T070000"))
    assert defects(done.replace(b"T100000Z", b"T100000"))
    assert defects(done.replace(b"COMPLETE:100", b"COMPLETE:101"))
    assert any("several kinds" in each for each in defects(mixed))


def inner_part(file: bytes) -> bytes:
    return file[file.index(b"BEGIN:VTODO") : file.index(b"END:VCALENDAR")]
