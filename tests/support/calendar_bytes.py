"""A strict reader of calendar files, of bytes, that shares nothing with what writes them: it says what is wrong.

It looks for what RFC 5545, 5546 and 7986 forbid and the libraries let through: line ends, lengths, folding, escaping,
value types that do not agree, zones that are not described, and what a method requires.
"""

import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime

PARAMETER = r';([A-Z0-9-]+)=((?:"[^"]*"|[^";:,]*)(?:,(?:"[^"]*"|[^";:,]*))*)'
CONTENT_LINE = re.compile(rf"([A-Z0-9-]+)((?:{PARAMETER})*):(.*)", re.DOTALL)
UTC_TIME = re.compile(r"\d{8}T\d{6}Z")
TEXTS = {"SUMMARY", "DESCRIPTION", "LOCATION", "COMMENT", "UID", "NAME", "X-WR-CALNAME", "X-WR-CALDESC", "TZNAME"}
ONCE = {
    *("UID", "DTSTAMP", "DTSTART", "DTEND", "DUE", "DURATION", "SEQUENCE", "STATUS", "SUMMARY", "RRULE", "ORGANIZER"),
    *("RECURRENCE-ID", "CLASS", "PRIORITY", "TRANSP", "GEO", "LOCATION", "URL", "COLOR", "PERCENT-COMPLETE"),
    *("VERSION", "PRODID", "CALSCALE", "METHOD", "TRIGGER", "ACTION", "TZID", "TZOFFSETFROM", "TZOFFSETTO", "REPEAT"),
}
REQUIRED = {
    "VCALENDAR": {"VERSION", "PRODID"},
    "VEVENT": {"UID", "DTSTAMP", "DTSTART"},
    "VTODO": {"UID", "DTSTAMP"},
    "VFREEBUSY": {"UID", "DTSTAMP"},
    "VALARM": {"ACTION", "TRIGGER"},
    "VTIMEZONE": {"TZID"},
    "STANDARD": {"DTSTART", "TZOFFSETFROM", "TZOFFSETTO"},
    "DAYLIGHT": {"DTSTART", "TZOFFSETFROM", "TZOFFSETTO"},
}
INSIDE = {
    "-": {"VCALENDAR"},
    "VCALENDAR": {"VEVENT", "VTODO", "VFREEBUSY", "VTIMEZONE"},
    "VEVENT": {"VALARM"},
    "VTODO": {"VALARM"},
    "VTIMEZONE": {"STANDARD", "DAYLIGHT"},
}
VALUES = {
    "STATUS": {
        "VEVENT": r"TENTATIVE|CONFIRMED|CANCELLED",
        "VTODO": r"NEEDS-ACTION|COMPLETED|IN-PROCESS|CANCELLED",
    },
    "ACTION": {"VALARM": r"AUDIO|DISPLAY|EMAIL"},
    "METHOD": {"VCALENDAR": r"PUBLISH|REQUEST|REPLY|ADD|CANCEL|REFRESH|COUNTER|DECLINECOUNTER"},
    "VERSION": {"VCALENDAR": r"2\.0"},
}
SHAPES = {
    "DTSTAMP": UTC_TIME.pattern,
    "COMPLETED": UTC_TIME.pattern,
    "SEQUENCE": r"\d{1,10}",
    "PRIORITY": r"[0-9]",
    "PERCENT-COMPLETE": r"\d{1,2}|100",
    "TRANSP": r"OPAQUE|TRANSPARENT",
    "CLASS": r"PUBLIC|PRIVATE|CONFIDENTIAL",
    "GEO": r"-?\d{1,2}(\.\d+)?;-?\d{1,3}(\.\d+)?",
    "COLOR": r"[a-z]+",
    "TZOFFSETFROM": r"[+-]([01]\d|2[0-3])[0-5]\d([0-5]\d)?",
    "TZOFFSETTO": r"[+-]([01]\d|2[0-3])[0-5]\d([0-5]\d)?",
    "ORGANIZER": r"mailto:[^@\s]+@[^@\s]+",
    "ATTENDEE": r"mailto:[^@\s]+@[^@\s]+",
    "URL": r"[A-Za-z][A-Za-z0-9+.-]*:[!-~]+",
    "SOURCE": r"[a-z][a-z0-9+.-]*:[!-~]+",
    "CONFERENCE": r"[a-z][a-z0-9+.-]*:[!-~]+",
    "REFRESH-INTERVAL": r"P(\d+W|\d+D|T\d+[HMS])+",
    "DURATION": r"P(\d+W|(\d+D)?(T(\d+H)?(\d+M)?(\d+S)?)?)",
    "FREEBUSY": rf"{UTC_TIME.pattern}/{UTC_TIME.pattern}",
    "REPEAT": r"\d+",
}
NEEDS = {  # RFC 5546: METHOD -> what each component of the message has, and has not
    "PUBLISH": ({"UID", "DTSTAMP"}, {"ATTENDEE"}),
    "REQUEST": ({"ORGANIZER", "ATTENDEE"}, set[str]()),
    "REPLY": ({"ORGANIZER", "ATTENDEE"}, {"VALARM"}),
    "COUNTER": ({"ORGANIZER", "ATTENDEE", "SEQUENCE"}, set[str]()),
    "CANCEL": ({"SEQUENCE", "STATUS"}, {"VALARM"}),
}


@dataclass(frozen=True)
class Line:
    """One unfolded content line, and the component that it stands in."""

    component: str
    name: str
    parameters: dict[str, str]
    value: str

    @property
    def text(self) -> str:
        """The value of a TEXT property without its escapes."""
        return re.sub(r"\\(.)", lambda found: "\n" if found[1] in "nN" else found[1], self.value)

    @property
    def type(self) -> str:
        """What a DATE or DATE-TIME is: a date, UTC, of a zone, or floating."""
        if re.fullmatch(r"\d{8}", self.value):
            return "date"
        return "utc" if self.value.endswith("Z") else f"local {self.parameters.get('TZID', '')}"


@dataclass
class Component:
    """A component with its own lines and those inside it."""

    name: str
    lines: list[Line] = field(default_factory=list)
    inner: list["Component"] = field(default_factory=list)

    def first(self, name: str) -> Line | None:
        return next((each for each in self.lines if each.name == name), None)

    def value(self, name: str) -> str | None:
        found = self.first(name)
        return None if found is None else found.value

    def walk(self) -> Iterator["Component"]:
        yield self
        for each in self.inner:
            yield from each.walk()


def calendar(content: bytes) -> Component:
    """The file as a tree; AssertionError with everything that is wrong with it."""
    root, found = _read(content)
    assert not found, "\n".join(found)
    return root.inner[0]


def defects(content: bytes) -> list[str]:
    """Everything that is wrong with a file, in words."""
    return _read(content)[1]


def _read(content: bytes) -> tuple[Component, list[str]]:
    found = [*_physical_defects(content)]
    root = Component("-")
    stack = [root]
    text = content.decode(errors="replace").replace("\r\n ", "").replace("\r\n\t", "")
    for unfolded in text.removesuffix("\r\n").split("\r\n"):
        parts = CONTENT_LINE.fullmatch(unfolded)
        if not parts:
            found.append(f"no content line: {unfolded[:60]!r}")
            continue
        name, value = parts[1], parts[5]
        if name == "BEGIN":
            if value not in INSIDE.get(stack[-1].name, ()):
                found.append(f"{value} inside {stack[-1].name}")
            stack.append(Component(value))
            stack[-2].inner.append(stack[-1])
        elif name == "END":
            if len(stack) == 1 or stack.pop().name != value:
                return root, [*found, f"END:{value} where another ends"]
        else:
            parameters = {key: _parameter(raw) for key, raw in re.findall(PARAMETER, parts[2])}
            stack[-1].lines.append(Line(stack[-1].name, name, parameters, value))
    if len(stack) > 1 or [each.name for each in root.inner] != ["VCALENDAR"] or root.lines:
        return root, [*found, "not one VCALENDAR from the beginning to the end"]
    for each in root.inner[0].walk():
        found += _component_defects(each)
    return root, [*found, *_calendar_defects(root.inner[0])]


def _physical_defects(content: bytes) -> Iterator[str]:
    if not content.endswith(b"\r\n"):
        yield "no CRLF at the end"
    if content.startswith(b"\xef\xbb\xbf"):
        yield "a byte order mark"
    if re.search(rb"(?<!\r)\n|\r(?!\n)", content):
        yield "a bare LF or CR"
    for line in content.split(b"\r\n"):
        if len(line) > 75:
            yield f"a line of {len(line)} bytes"
        try:
            line.decode()
        except UnicodeDecodeError:
            yield "a line that ends inside a character, or no UTF-8"
    text = content.decode(errors="replace")
    if re.search(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\u2028\u2029]", text):
        yield "a control character"


def _parameter(raw: str) -> str:
    return re.sub(r"\^([n'^])", lambda found: {"n": "\n", "'": '"', "^": "^"}[found[1]], raw.replace('"', ""))


def _component_defects(component: Component) -> Iterator[str]:
    names = Counter(each.name for each in component.lines)
    missing = REQUIRED.get(component.name, set()) - set(names)
    if missing:
        yield f"{component.name} without {', '.join(sorted(missing))}"
    yield from (f"{name} twice in {component.name}" for name in ONCE if names[name] > 1)
    for line in component.lines:
        yield from _line_defects(line)
    if component.name == "VALARM":
        yield from _alarm_defects(component, names)
    if component.name == "VTIMEZONE" and not component.inner:
        yield "VTIMEZONE without an observance"
    if component.name in ("VEVENT", "VTODO", "VFREEBUSY"):
        yield from _time_defects(component)


def _line_defects(line: Line) -> Iterator[str]:
    shape = VALUES.get(line.name, {}).get(line.component) or SHAPES.get(line.name)
    if shape and not re.fullmatch(shape, line.value):
        yield f"{line.name} of the value {line.value[:60]!r}"
    if line.name in TEXTS and not re.fullmatch(r"(?:[^\\,;]|\\[\\,;nN])*", line.value):
        yield f"{line.name} with a bare comma, semicolon or backslash: {line.value[:60]!r}"
    if line.name in ("DTSTART", "DTEND", "DUE", "RECURRENCE-ID", "EXDATE", "RDATE"):
        yield from _moment_defects(line)
    if line.name == "GEO" and re.fullmatch(SHAPES["GEO"], line.value):
        latitude, longitude = map(float, line.value.split(";"))
        if abs(latitude) > 90 or abs(longitude) > 180:
            yield f"GEO {line.value} is nowhere"
    if line.name == "RRULE":
        yield from _rule_defects(line.value)


def _moment_defects(line: Line) -> Iterator[str]:
    for value in line.value.split(","):
        is_date = line.parameters.get("VALUE") == "DATE"
        try:
            datetime.strptime(value.removesuffix("Z"), "%Y%m%d" if is_date else "%Y%m%dT%H%M%S")  # noqa: DTZ007  # syntax only
        except ValueError:
            yield f"{line.name} of the value {value[:60]!r}{' as a DATE' if is_date else ''}"
    if "TZID" in line.parameters and (line.value.endswith("Z") or "VALUE" in line.parameters):
        yield f"{line.name} of UTC or a date with a TZID"


def _rule_defects(value: str) -> Iterator[str]:
    pairs = [part.partition("=") for part in value.split(";")]
    parts = {name: given for name, _, given in pairs}
    if len(parts) < len(pairs) or not all(parts.values()):
        yield f"RRULE with a part twice or empty: {value}"
    if parts.get("FREQ") not in ("SECONDLY", "MINUTELY", "HOURLY", "DAILY", "WEEKLY", "MONTHLY", "YEARLY"):
        yield f"RRULE without FREQ: {value}"
    if "COUNT" in parts and "UNTIL" in parts:
        yield "RRULE with COUNT and UNTIL"
    for day in parts["BYDAY"].split(",") if "BYDAY" in parts else ():
        if not re.fullmatch(r"([+-]?[1-9]\d?)?(MO|TU|WE|TH|FR|SA|SU)", day):
            yield f"BYDAY of the value {day!r}"


def _alarm_defects(alarm: Component, names: Counter[str]) -> Iterator[str]:
    action, trigger = alarm.value("ACTION"), alarm.first("TRIGGER")
    needed = {"DISPLAY": {"DESCRIPTION"}, "EMAIL": {"DESCRIPTION", "SUMMARY", "ATTENDEE"}}.get(action or "", set())
    if needed - set(names):
        yield f"VALARM {action} without {', '.join(sorted(needed - set(names)))}"
    if ("REPEAT" in names) != ("DURATION" in names):
        yield "REPEAT without DURATION, or the other way about"
    if trigger is None:
        return
    absolute = trigger.parameters.get("VALUE") == "DATE-TIME"
    shape = UTC_TIME.pattern if absolute else r"[+-]?P(\d+W|(\d+D)?(T(\d+H)?(\d+M)?(\d+S)?)?)"
    if not re.fullmatch(shape, trigger.value):
        yield f"TRIGGER of the value {trigger.value!r}"


def _time_defects(component: Component) -> Iterator[str]:
    """Value types that do not agree, and ends that are before starts."""
    start = component.first("DTSTART")
    if start is None:
        return
    for each in component.lines:
        if each.name in ("DTEND", "DUE", "EXDATE", "RDATE") and each.type != start.type:
            yield f"{each.name} is a {each.type}, DTSTART a {start.type}"
        if each.name in ("DTEND", "DUE") and each.type == start.type and each.value <= start.value:
            yield f"{each.name} is not after DTSTART"
    if component.first("DURATION") and (component.first("DTEND") or component.first("DUE")):
        yield "an end and a DURATION"
    if component.name == "VFREEBUSY" and start.type != "utc":
        yield "VFREEBUSY that is not of UTC"
    until = re.search(r"UNTIL=([^;]*)", component.value("RRULE") or "")
    if until:
        kind = {"date": r"\d{8}", "utc": UTC_TIME.pattern, "local ": r"\d{8}T\d{6}"}.get(start.type, UTC_TIME.pattern)
        if not re.fullmatch(kind, until[1]):
            yield f"UNTIL={until[1]} where DTSTART is a {start.type}"


def _calendar_defects(root: Component) -> Iterator[str]:
    items = [each for each in root.inner if each.name != "VTIMEZONE"]
    if not items:
        yield "no component"
    described = [each.value("TZID") for each in root.inner if each.name == "VTIMEZONE"]
    used = {line.parameters["TZID"] for each in root.walk() for line in each.lines if "TZID" in line.parameters}
    if used != set(described):
        yield f"zones that are used or described only: {sorted(used ^ {each or '' for each in described})}"
    if len(set(described)) < len(described):
        yield "a zone described twice"
    yield from _identity_defects(items)
    method = root.value("METHOD")
    if method in NEEDS:
        yield from _method_defects(method, items)


def _identity_defects(items: list[Component]) -> Iterator[str]:
    names = Counter((each.value("UID"), each.value("RECURRENCE-ID")) for each in items)
    yield from (f"UID {uid} twice" for (uid, _), count in names.items() if count > 1)
    masters = {each.value("UID"): each for each in items if not each.first("RECURRENCE-ID")}
    for each in items:
        changed, master = each.first("RECURRENCE-ID"), masters.get(each.value("UID"))
        start = master and master.first("DTSTART")
        if changed and start and changed.type != start.type:
            yield f"RECURRENCE-ID is a {changed.type}, the series' DTSTART a {start.type}"
        if changed and master and not (master.first("RRULE") or master.first("RDATE")):
            yield "RECURRENCE-ID of what does not recur"


def _method_defects(method: str, items: list[Component]) -> Iterator[str]:
    required, forbidden = NEEDS[method]
    for each in items:
        has = {line.name for line in each.lines} | {inner.name for inner in each.inner}
        if required - has or forbidden & has:
            wrong = ", ".join(sorted((required - has) | (forbidden & has)))
            yield f"{method}: without, or with, {wrong}"
        if method == "CANCEL" and each.value("STATUS") != "CANCELLED":
            yield "CANCEL of another STATUS"
        if method == "REPLY" and sum(line.name == "ATTENDEE" for line in each.lines) != 1:
            yield "REPLY of more than one"
    if len({each.name for each in items}) > 1:
        yield f"{method} of components of several kinds"
    if method != "PUBLISH" and len({each.value("UID") for each in items}) > 1:
        yield f"{method} of several UIDs"
