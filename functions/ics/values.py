"""The icalendar library's values, with what it gets wrong put right. Whatever a text holds, its line stays one."""

from datetime import datetime, timedelta
from typing import Final
from urllib.parse import quote
from zoneinfo import ZoneInfo

from icalendar import Component, vCategory, vDate, vDatetime, vDuration, vGeo, vText

from functions.ics.folding import folded
from functions.ics.moment import Moment

# U+2028 and U+2029 end a line for a reader that goes by Unicode's rules.
_BREAKS: Final = {0x0D: "\n", 0x2028: "\n", 0x2029: "\n"}


class TextValue(vText):
    r"""A TEXT value (RFC 5545 3.3.11). The library reads a backslash and N, as in C:\New, as a line break."""

    def to_ical(self) -> bytes:
        if r"\N" not in self:
            return super().to_ical()
        return rb"\\N".join(vText(part).to_ical() for part in self.split(r"\N"))


class Minutes(vDuration):
    """A DURATION in minutes. The library writes 1440 of them as P1D, a day of the calendar, which may have 23 hours."""

    def to_ical(self) -> bytes:
        minutes = self.td // timedelta(minutes=1)
        return f"{'-' if minutes < 0 else ''}PT{abs(minutes)}{'M' if minutes else 'S'}".encode()


class Coordinates(vGeo):
    """A GEO value of six decimals (RFC 5545 3.8.1.6). The library writes small numbers as 1e-05, which is none."""

    def to_ical(self) -> str:
        return f"{self.latitude:.6f};{self.longitude:.6f}"


def text(value: str) -> TextValue:
    """A TEXT value; CRLF, CR, LF and Unicode's own line breaks are all one."""
    return TextValue(one_break(value))


def text_list(values: tuple[str, ...]) -> vCategory:
    """A list of them."""
    made = vCategory([])
    made.cats = [text(each) for each in values]  # its constructor would make plain vText of them
    return made


def one_break(value: str) -> str:
    """The text with LF as its only line break; what the library does with CR comes too late for CR before U+2028."""
    return value.replace("\r\n", "\n").translate(_BREAKS) if "\r" in value or not value.isascii() else value


def moment(value: Moment, **parameters: str) -> vDate | vDatetime:
    """A DATE or DATE-TIME value with the parameters that it needs.

    The zone keeps its own name: the library writes UTC for GMT, which no VTIMEZONE would describe.
    """
    if not isinstance(value, datetime):
        return vDate(value, params={"VALUE": "DATE"})
    if isinstance(value.tzinfo, ZoneInfo):
        local = vDatetime(value.replace(tzinfo=None), params=parameters)
        local.params["TZID"] = value.tzinfo.key
        return local
    return vDatetime(value, params=parameters)


def minutes(number: int, **parameters: str) -> Minutes:
    """A DURATION value."""
    return Minutes(timedelta(minutes=number), params=parameters)


def address(email: str) -> str:
    """A cal-address, which the library does not encode (RFC 6068 section 2)."""
    return "mailto:" + quote(email, safe="@!$'*+")


def content(component: Component) -> bytes:
    """The bytes of a component, its properties in the order in which they were added."""
    return b"".join(folded(line) for line in component.content_lines(sorted=False) if line)
