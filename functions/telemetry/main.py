"""Keeps readings of sensors, by the list: the example of a function that a flood comes to."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final

from events.problem import JobFailed, TryAgain
from functions.runtime.batch import Job, Outcome, batch
from functions.runtime.settings import from_environment
from functions.telemetry.readings import Reading, Unreachable, open_readings
from functions.telemetry.types import TelemetryRequested

NO_TIME: Final = "a reading must have the attribute time: when it was taken"


@dataclass(frozen=True)
class Settings:
    """The function's environment; the URL may hold a password."""

    readings_url: str = field(repr=False)


settings = from_environment(Settings)
try:
    readings = open_readings(settings.readings_url)
except ValueError as error:
    raise SystemExit(f"this function cannot start: {error}") from error


@batch(TelemetryRequested)
def handle(jobs: Sequence[Job[TelemetryRequested]]) -> Sequence[Outcome]:
    """A list of readings in, nothing out; one without a time is refused, since nobody could say when it was taken."""
    outcomes: list[Outcome] = [None if job.event.get("time") else JobFailed("no-time", NO_TIME) for job in jobs]
    taken = [reading(job) for job, outcome in zip(jobs, outcomes, strict=True) if outcome is None]
    try:
        readings.keep(taken)
    except Unreachable as error:
        raise TryAgain(str(error)) from error
    return outcomes


def reading(job: Job[TelemetryRequested]) -> Reading:
    """The row of a job."""
    event, data = job.event, job.job
    taken_at = event.attributes["time"]
    return Reading(event.source, event.id, taken_at, data.sensor, data.metric, data.value, data.unit)
