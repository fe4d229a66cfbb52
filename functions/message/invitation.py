"""A calendar that goes by e-mail (iMIP, RFC 6047): whole, and of the METHOD that the e-mail says.

A client decides by the e-mail's `method` parameter what it offers, and refuses or misreads an invitation whose calendar
says otherwise. Nothing else is checked here: the calendar comes from the ics function, or is the caller's own.
"""

import re


def invitation(text: str, method: str) -> str:
    """The calendar with CRLF line ends (RFC 5545 3.1); ValueError when it is none, or of another METHOD."""
    lines = re.sub(r"\r?\n[ \t]", "", text.strip("\r\n")).splitlines()  # unfolded
    if not lines or lines[0].upper() != "BEGIN:VCALENDAR" or lines[-1].upper() != "END:VCALENDAR":
        raise ValueError("a calendar from BEGIN:VCALENDAR to END:VCALENDAR is expected")
    methods = [line.partition(":")[2].strip() for line in lines if re.match(r"METHOD[:;]", line, re.IGNORECASE)]
    if [each.upper() for each in methods] != [method]:
        raise ValueError(f"METHOD:{method} is expected in the calendar, as method says, got {methods or 'none'}")
    return "\r\n".join(re.split(r"\r?\n", text.strip("\r\n"))) + "\r\n"
