"""Days and moments as a locale writes them, by one rule: a moment is written in the document's zone.

A moment with an offset (`2026-07-22T23:30:00Z`) is turned into that zone, for its day as for its time; one without, and
a day, stand as they are. Nothing else is taken, above all not null: Babel would write the worker's own today for it.
"""

import re
from datetime import date, datetime, time
from typing import Final
from zoneinfo import ZoneInfo

from babel import Locale, dates
from jinja2 import Undefined

SHOWN_CHARACTERS: Final = 80
_STYLES: Final = ("short", "medium", "long", "full")
_A_DAY: Final = "a day such as 2026-11-22 or a moment such as 2026-11-22T09:30:00Z"
_A_MOMENT: Final = "a moment such as 2026-11-22T09:30:00Z"
_A_TIME: Final = "a time such as 23:30 or a moment such as 2026-11-22T09:30:00Z"
# UTS 35, date field symbols
_OF_DAYS: Final = frozenset("GyYuUQqMLwWdDFgEec")
_OF_TIMES: Final = frozenset("abBhHkKmsSAzZOvVXx")


def date_text(value: object, style: object, zone: ZoneInfo, locale: Locale) -> str:
    """A day, or the day of a moment."""
    shape = _shape(style, "date", _OF_DAYS, "dd.MM.yyyy")
    day = _day(value)
    return dates.format_date(day or _moment(value, zone, _A_DAY), shape, locale)


def datetime_text(value: object, style: object, zone: ZoneInfo, locale: Locale) -> str:
    """A moment; of a day its beginning."""
    shape = _shape(style, "datetime", _OF_DAYS | _OF_TIMES, "dd.MM.yyyy HH:mm")
    day = _day(value)
    moment = datetime.combine(day, time(), zone) if day else _moment(value, zone, _A_MOMENT)
    return dates.format_datetime(moment, shape, zone, locale)


def time_text(value: object, style: object, zone: ZoneInfo, locale: Locale) -> str:
    """A time of day, or a moment's."""
    shape = _shape(style, "time", _OF_TIMES, "HH:mm")
    at = _time_of_day(value)
    moment = datetime.combine(date(2000, 1, 1), at, at.tzinfo or zone) if at else _moment(value, zone, _A_TIME)
    return dates.format_time(moment, shape, moment.tzinfo, locale)


def shown(value: object) -> str:
    """A value for a message, cut short; an undefined one raises Jinja's error, which has its name."""
    if isinstance(value, Undefined):
        return str(value)
    if value is None or isinstance(value, bool):
        return {None: "null", True: "true", False: "false"}[value]
    if isinstance(value, dict):
        return "an object"
    if isinstance(value, list | tuple):
        return "a list"
    text = repr(value) if not isinstance(value, int) or abs(value) < 10**SHOWN_CHARACTERS else "a number without end"
    return text if len(text) <= SHOWN_CHARACTERS else text[:SHOWN_CHARACTERS] + "..."


def _day(value: object) -> date | None:
    """The day that is no moment."""
    if isinstance(value, date):
        return None if isinstance(value, datetime) else value
    try:
        return date.fromisoformat(value.strip()) if isinstance(value, str) else None
    except ValueError:
        return None


def _time_of_day(value: object) -> time | None:
    """The time of no day."""
    if isinstance(value, time):
        return value
    try:
        return time.fromisoformat(value.strip()) if isinstance(value, str) and ":" in value[:3] else None
    except ValueError:
        return None


def _moment(value: object, zone: ZoneInfo, expected: str) -> datetime:
    """In the document's zone; TypeError says what was expected."""
    try:
        moment = datetime.fromisoformat(value.strip()) if isinstance(value, str) else value
        if isinstance(moment, datetime):
            return moment.astimezone(zone) if moment.tzinfo else moment.replace(tzinfo=zone)
    except (ValueError, OverflowError):
        pass
    is_of_php = isinstance(value, dict) and "timezone_type" in value
    hint = "; of PHP's DateTime send $at->format(DATE_ATOM)" if is_of_php else ""
    wrong = f"Invalid isoformat string: {shown(value)}" if isinstance(value, str) else f"got {shown(value)}{hint}"
    raise TypeError(f"{wrong}; {expected} is expected")


def _shape(style: object, filter_: str, symbols: frozenset[str], example: str) -> str:
    """A style of the locale, or a pattern of CLDR: PHP's and strftime's, which look alike, mean something else."""
    if isinstance(style, str) and (style in _STYLES or _is_pattern(style, symbols)):
        return style
    known = f"{', '.join(_STYLES)}, or a pattern of CLDR such as {example}"
    raise TypeError(f"{filter_} expects one of {known}; got {shown(style)}")


def _is_pattern(style: str, symbols: frozenset[str]) -> bool:
    plain = re.sub(r"'[^']*'", "", style)
    letters = set(re.findall("[A-Za-z]", plain))
    has_hours, has_weeks = letters & set("hHkK"), "w" in letters
    is_of_another = "%" in plain or ("m" in letters and not has_hours) or ("Y" in letters and not has_weeks)
    return bool(letters) and letters <= symbols and not is_of_another
