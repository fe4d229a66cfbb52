"""Recurrence rules as a job gives them, in parts or as text, made into a `Rule`, and into RRULE."""

import re
from datetime import UTC, date, datetime, timedelta
from typing import Final

from icalendar import vRecur

from events.types.ics import CalendarItem, Previous, Recurrence
from functions.ics.findings import FieldPlace
from functions.ics.moment import Moment, TimeFrame, read
from functions.ics.recurrence import DAYS, Rule

FIRST_PERIODS: Final = 50  # looked at for the first instance of a rule that does not begin with its start

_FREQUENCIES: Final = ("daily", "weekly", "monthly", "yearly")
_LISTS: Final = {
    "BYMONTH": ("by_month", 1, 12),
    "BYMONTHDAY": ("by_month_day", -31, 31),
    "BYYEARDAY": ("by_year_day", -366, 366),
    "BYWEEKNO": ("by_week_number", -53, 53),
    "BYDAY": ("by_day", 0, 0),
    "BYSETPOS": ("by_set_position", -366, 366),
}
_FINER: Final = ("BYHOUR", "BYMINUTE", "BYSECOND")
_BY_DAY = re.compile(r"([+-]?[1-9][0-9]?)?(MO|TU|WE|TH|FR|SA|SU)")
_UNTIL = re.compile(r"(\d{4})(\d\d)(\d\d)(?:T(\d\d)(\d\d)(\d\d)(Z?))?", re.ASCII)


def recurrence(item: CalendarItem | Previous) -> Recurrence | None:
    """The parts of an item's rule, however it is given; ValueError when its text is no RRULE."""
    return item.recurrence or (None if item.rrule is None else _parsed(item.rrule))


def rule(parts: Recurrence, start: Moment, frame: TimeFrame, at: FieldPlace, until_at: FieldPlace) -> Rule | None:
    """The rule of a series; None, with what is wrong found at its place, and with its until at its own."""
    conflicts = _conflicts(parts)
    if conflicts:
        at.add("; ".join(conflicts))
    until = None if parts.until is None else _until(parts.until, frame, until_at)
    if conflicts or (parts.until is not None and until is None):
        return None
    made = _rule(parts, start, until)
    if not made.fits(made.start):
        at.add("" if at.full else _first_instance(made))
    elif made.last and made.last < made.start:
        at.add(f"must have an instance: until ({parts.until}) must not be before {frame.like}")
    return made


def value(parts: Recurrence, until: Moment | None) -> vRecur:
    """The RRULE's value; `until` in UTC where its start has a zone (RFC 5545 3.3.10)."""
    given: dict[str, object] = {"FREQ": parts.frequency.upper(), "UNTIL": until, "COUNT": parts.count}
    given["INTERVAL"] = parts.interval if parts.interval > 1 else None
    given |= {name: list(getattr(parts, field)) for name, (field, *_) in _LISTS.items()}
    given["BYDAY"] = [each.removeprefix("+") for each in parts.by_day]
    given["WKST"] = parts.week_start if parts.week_start != "MO" else None
    return vRecur({name: each for name, each in given.items() if each})


def until_value(parts: Recurrence, frame: TimeFrame) -> Moment | None:
    """The UNTIL of a rule without findings, as it is written."""
    if parts.until is None:
        return None
    made = read(parts.until)
    if isinstance(made, datetime) and made.tzinfo is None and frame.zone is not None:
        return made.replace(tzinfo=frame.zone).astimezone(UTC)
    return made


def _parsed(text: str) -> Recurrence:
    parts = [each.partition("=") for each in text.removeprefix("RRULE:").upper().split(";")]
    names = [name for name, _, _ in parts]
    if len(set(names)) < len(names):
        raise ValueError(f"must name each part once, got {text[:80]!r}")
    given: dict[str, object] = dict(_part(name, value) for name, _, value in parts)
    if "frequency" not in given:
        raise ValueError(f"must have FREQ, such as FREQ=WEEKLY;COUNT=10, got {text[:80]!r}")
    return Recurrence(**given)  # type: ignore[arg-type]  # each value is of its field's type, as `_part` made it


def _part(name: str, value: str) -> tuple[str, object]:
    if name == "FREQ":
        if value.lower() not in _FREQUENCIES:
            raise ValueError(
                f"FREQ must be DAILY, WEEKLY, MONTHLY or YEARLY, which all clients take, got {value[:40]!r}"
            )
        return "frequency", value.lower()
    if name == "UNTIL":
        return "until", _until_text(value)
    if name in ("INTERVAL", "COUNT"):
        return name.lower(), _number(name, value, 1, 1_000 if name == "INTERVAL" else 10_000)
    if name == "WKST":
        if value not in DAYS:
            raise ValueError(f"WKST must be one of {', '.join(DAYS)}, got {value[:40]!r}")
        return "week_start", value
    if name in _LISTS:
        return _list(name, value)
    finer = ": every instance is at the time of the start" if name in _FINER else ""
    expected = ", ".join(("FREQ", "INTERVAL", "COUNT", "UNTIL", "WKST", *_LISTS))
    raise ValueError(f"must have parts of {expected} only{finer}; got {name[:40]!r}")


def _list(name: str, value: str) -> tuple[str, object]:
    field, low, high = _LISTS[name]
    values = value.split(",")
    if len(values) > 366:
        raise ValueError(f"{name} must have at most 366 values, got {len(values)}")
    if name != "BYDAY":
        return field, tuple(_number(name, each, low, high) for each in values)
    for each in values:
        if not _BY_DAY.fullmatch(each):
            raise ValueError(f"BYDAY must be days such as MO, 2TU or -1FR, got {each[:40]!r}")
    return field, tuple(values)


def _number(name: str, value: str, low: int, high: int) -> int:
    if not re.fullmatch(r"[+-]?[0-9]{1,5}", value) or not low <= int(value) <= high:
        raise ValueError(f"{name} must be {low} to {high}, got {value[:40]!r}")
    return int(value)


def _until_text(value: str) -> str:
    parts = _UNTIL.fullmatch(value)
    if parts is None:
        raise ValueError(f"UNTIL must be such as 20261231 or 20261231T225959Z, got {value[:40]!r}")
    year, month, day, hour, minute, second, z = parts.groups()
    return f"{year}-{month}-{day}" + (f"T{hour}:{minute}:{second}{z}" if hour else "")


def _conflicts(parts: Recurrence) -> list[str]:
    """Parts that exclude each other (RFC 5545 3.3.10), or that readers take for different things."""
    name, ordinal = parts.frequency, any(len(each) > 2 for each in parts.by_day)
    numbers = (*parts.by_month_day, *parts.by_year_day, *parts.by_week_number, *parts.by_set_position)
    others = parts.by_month or parts.by_month_day or parts.by_year_day or parts.by_week_number or parts.by_day
    broken = {
        "must have count or until, not both": parts.count is not None and parts.until is not None,
        "must count from 1, or from -1 backwards, got 0": 0 in numbers,
        f"by_month_day is for daily, monthly and yearly rules, got {name}": parts.by_month_day and name == "weekly",
        f"by_year_day is for yearly rules, got {name}": parts.by_year_day and name != "yearly",
        f"by_week_number is for yearly rules, got {name}": parts.by_week_number and name != "yearly",
        f"by_day with an ordinal such as 2TU is for monthly and yearly rules, got {name}": (
            ordinal and name in ("daily", "weekly")
        ),
        "by_day must have no ordinals beside by_week_number": ordinal and parts.by_week_number,
        "by_week_number expects by_day too, since readers differ on which day it is": (
            parts.by_week_number and not parts.by_day
        ),
        "by_set_position expects another by part to choose from": parts.by_set_position and not others,
    }
    return [detail for detail, is_broken in broken.items() if is_broken]


def _until(text: str, frame: TimeFrame, at: FieldPlace) -> Moment | None:
    """The last moment, in the frame's own kind: UTC is taken beside local times of a zone, since RRULE wants it so."""
    try:
        made = read(text)
    except ValueError:
        made = None
    if frame.zone is not None and isinstance(made, datetime) and made.tzinfo is not None:
        return made.astimezone(frame.zone)
    return frame.moment(text, at)


def _rule(parts: Recurrence, start: Moment, until: Moment | None) -> Rule:
    first = start.date() if isinstance(start, datetime) else start
    by_day = frozenset((int(each[:-2] or 0), DAYS.index(each[-2:])) for each in parts.by_day)
    by_month, by_month_day = frozenset(parts.by_month), frozenset(parts.by_month_day)
    if not (by_day or by_month_day or parts.by_year_day):  # what is not said is as in the start
        if parts.frequency == "weekly":
            by_day = frozenset({(0, first.weekday())})
        elif parts.frequency in ("monthly", "yearly"):
            by_month_day = frozenset({first.day})
            by_month = by_month or (frozenset({first.month}) if parts.frequency == "yearly" else by_month)
    return Rule(
        start=first,
        frequency=parts.frequency,
        interval=parts.interval,
        count=parts.count,
        last=None if until is None else _last_day(start, until),
        by_month=by_month,
        by_month_day=by_month_day,
        by_year_day=frozenset(parts.by_year_day),
        by_week_number=frozenset(parts.by_week_number),
        by_day=by_day,
        by_set_position=frozenset(parts.by_set_position),
        week_start=DAYS.index(parts.week_start),
    )


def _last_day(start: Moment, until: Moment) -> date:
    if not isinstance(until, datetime) or not isinstance(start, datetime):
        return until
    return until.date() - timedelta(days=until.time() < start.time())


def _first_instance(made: Rule) -> str:
    """What to say of a rule whose start is none of its instances: readers differ on whether it counts (3.8.5.3)."""
    found = next(made.instances(limit_periods=FIRST_PERIODS), None)
    if found is None:
        period = {"daily": "days", "weekly": "weeks", "monthly": "months", "yearly": "years"}[made.frequency]
        each = f"{FIRST_PERIODS * made.interval} {period}"
        return f"must have an instance: the rule gives none in the {each} from start ({made.start})"
    return f"must begin with its own start ({made.start}): the rule's first instance is on {found}"
