"""Calendars: processor time of a single event and of a feed, beside the bare icalendar library's in the same run.

The library builds and writes ours too, after the checks: at most 1.5 times its own time is the aim.

python -m tests.bench.ics [ROUNDS]
"""

import json
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import icalendar

from events.problem import decode
from events.types.ics import IcsRequested
from functions.ics.calendar_file import render
from tests.support.calendar_jobs import NOW, SAMPLE

ROUNDS = 7
AIM = 1.5
FEED_EVENTS = 10_000
SINGLE_JOBS = 300
WARSAW = "Europe/Warsaw"
PROCESS = """
import re, sys
from datetime import UTC, datetime
import functions.runtime.framework
from events.types.ics import IcsRequested
from events.problem import decode
from functions.ics.calendar_file import render
from functions.storage.store import Store
render(decode(sys.stdin.buffer.read(), IcsRequested), source="s", namespace="n", now=datetime.now(UTC))
print(re.search(r"VmHWM:\\s+(\\d+)", open("/proc/self/status").read())[1])  # ru_maxrss would be the parent's
"""


def main() -> None:
    """Rounds of both, in turn; medians."""
    rounds = int(sys.argv[1]) if len(sys.argv) > 1 else ROUNDS
    single, feed = json.dumps(SAMPLE["data"]).encode(), json.dumps({"events": feed_events()}).encode()
    ours(single), library(SAMPLE["data"]["events"])  # a warm function has read its zone
    times: dict[str, list[float]] = {"single": [], "single library": [], "feed": [], "feed library": []}
    one = SAMPLE["data"]["events"]
    for _ in range(rounds):
        times["single"].append(cpu_s(lambda: [ours(single) for _ in range(SINGLE_JOBS)]) / SINGLE_JOBS)
        times["single library"].append(cpu_s(lambda: [library(one) for _ in range(SINGLE_JOBS)]) / SINGLE_JOBS)
        times["feed"].append(cpu_s(lambda: ours(feed)))
        times["feed library"].append(cpu_s(lambda: library(json.loads(feed)["events"])))
    medians = {name: statistics.median(values) for name, values in times.items()}
    show("a single event, from its JSON", medians["single"], medians["single library"])
    show(f"a feed of {FEED_EVENTS} events, from its JSON", medians["feed"], medians["feed library"])
    print(f"memory of a process that makes the feed: {peak_bytes(feed) / 1e6:.0f} MB")


def ours(data: bytes) -> bytes:
    """The job as the function does it, without the store."""
    made = render(decode(data, IcsRequested), source="https://shop.example", namespace="a job", now=NOW)
    return made.files[0].content


def library(events: list[dict[str, Any]]) -> bytes:
    """The same events by the bare library, unchecked, with its own VTIMEZONE of two years."""
    calendar = icalendar.Calendar()
    calendar.add("version", "2.0")
    calendar.add("prodid", "-//Errands//bench//EN")
    for entry in events:
        event = icalendar.Event()
        for name in ("uid", "summary", "description", "location"):
            event.add(name, entry[name])
        for name, field in (("dtstart", "start"), ("dtend", "end")):
            event.add(name, datetime.fromisoformat(entry[field]).replace(tzinfo=ZoneInfo(WARSAW)))
        event.add("dtstamp", NOW)
        for person in entry.get("attendees", ()):
            event.add("attendee", f"mailto:{person['email']}", parameters={"cn": person.get("name", "")})
        for alarm in entry["alarms"]:
            made = icalendar.Alarm()
            made.add("action", "DISPLAY")
            made.add("trigger", -timedelta(minutes=alarm["minutes_before"]))
            made.add("description", entry["summary"])
            event.add_component(made)
        calendar.add_component(event)
    first, last = datetime(2025, 1, 1).date(), datetime(2027, 1, 1).date()  # noqa: DTZ001  # dates
    calendar.add_missing_timezones(first_date=first, last_date=last)
    return bytes(calendar.to_ical())


def feed_events() -> list[dict[str, Any]]:
    """A year of events with an alarm each."""
    days = [f"2026-{index % 12 + 1:02}-{index % 28 + 1:02}" for index in range(FEED_EVENTS)]
    return [
        {
            "uid": f"{index}@shop.example",
            "summary": f"Visit {index}, Łódź",
            "start": f"{day}T14:00:00",
            "end": f"{day}T15:00:00",
            "timezone": WARSAW,
            "location": "ul. Piotrkowska 1, Łódź",
            "description": "Bring the papers; ring twice.\nSecond floor",
            "alarms": [{"minutes_before": 15}],
        }
        for index, day in enumerate(days)
    ]


def cpu_s(work: Callable[[], object]) -> float:
    """Processor time of one call."""
    started_s = time.process_time()
    work()
    return time.process_time() - started_s


def peak_bytes(feed: bytes) -> int:
    """The largest memory of a process that has loaded what the function has, and makes the feed once."""
    done = subprocess.run([sys.executable, "-c", PROCESS], input=feed, capture_output=True, check=True)
    return int(done.stdout) * 1024


def show(what: str, ours_s: float, library_s: float) -> None:
    """One line of the result."""
    ratio = ours_s / library_s
    held = "held" if ratio <= AIM else "missed"
    times = f"{ours_s * 1000:.2f} ms; {ratio:.2f} x the bare icalendar's {library_s * 1000:.2f} ms"
    print(f"{what}: {times} (aim {AIM}: {held})")


if __name__ == "__main__":
    main()
