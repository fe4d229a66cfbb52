"""Organizers and attendees as properties (RFC 5545 3.8.4.1, 3.8.4.3)."""

from typing import Final
from urllib.parse import quote

from events.types.ics import Attendee, Person
from functions.ics.content_line import parameter, quoted

ROLES: Final = {
    "chair": "CHAIR",
    "required": "REQ-PARTICIPANT",
    "optional": "OPT-PARTICIPANT",
    "none": "NON-PARTICIPANT",
}


def address(email: str) -> str:
    """A cal-address."""
    return "mailto:" + quote(email, safe="@!$'*+")  # RFC 6068 section 2


def organizer(person: Person) -> str:
    """The ORGANIZER line."""
    return f"ORGANIZER{_common(person)}:{address(person.email)}"


def attendee(person: Attendee, *, asked: bool) -> str:
    """The ATTENDEE line; RSVP only where a reply is asked for."""
    parameters = [
        _common(person),
        f";CUTYPE={person.type.upper()};ROLE={ROLES[person.role]};PARTSTAT={person.status.upper()}",
    ]
    if asked:
        parameters.append(f";RSVP={'TRUE' if person.rsvp else 'FALSE'}")
    for name, emails in (
        ("DELEGATED-TO", person.delegated_to),
        ("DELEGATED-FROM", person.delegated_from),
        ("MEMBER", person.member_of),
    ):
        if emails:
            parameters.append(quoted(name, *map(address, emails)))
    return f"ATTENDEE{''.join(parameters)}:{address(person.email)}"


def _common(person: Person) -> str:
    name = parameter("CN", person.name) if person.name else ""
    return name + (quoted("SENT-BY", address(person.sent_by)) if person.sent_by else "")
