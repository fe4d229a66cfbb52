"""What the front door offers, as an OpenAPI 3.1 document: each operation of its table, with its answers."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any, Final

import msgspec

from events.problem import FieldError
from functions.gateway.files import StoredFile
from functions.gateway.results import JobPage, JobResult, Summary, TimelineEntry
from functions.gateway.ruling import AdmissionResult
from functions.gateway.scheduling import ScheduleResult

EVENT: Final = "application/cloudevents+json"
JSON: Final = "application/json"
PROBLEM: Final = "application/problem+json"
TEXT: Final = "text/plain"
EVERYWHERE: Final = (401, 421, 429, 503)  # nobody knows who asks, or by what name; too often; not now
REASONS: Final[Mapping[int, str]] = {
    200: "As asked",
    201: "Kept",
    202: "Recorded",
    204: "Nothing to tell",
    303: "See there",
    400: "Not as expected",
    401: "Nobody is known by this token",
    403: "Not yours to do",
    404: "Not there, or not yours",
    409: "Its state leaves no room for that",
    413: "Too long",
    415: "Of no type that is taken",
    421: "By a name that is not this one's",
    422: "The data breaks the contract: `errors` has each bad field",
    429: "Too many wrong tokens",
    503: "Not now: again after Retry-After",
}


class Taken(msgspec.Struct, frozen=True, kw_only=True):
    """A request that is recorded; `stream` is the address of its Server-Sent Events."""

    job: str
    state: str
    stream: str


class Result(msgspec.Struct, frozen=True, kw_only=True):
    """Of an event of a batch: its status, and what it would have been answered by itself."""

    id: str | None
    source: str | None
    status: int
    job: str = ""
    state: str = ""
    stream: str = ""
    detail: str = ""
    retry_after_s: float = 0
    errors: tuple[FieldError, ...] = ()


class Erased(msgspec.Struct, frozen=True, kw_only=True):
    """How many jobs were erased, and whether there are more."""

    erased: int
    more: bool


@dataclass(frozen=True, slots=True)
class Described:
    """An operation in words; `answers` beside those that every one has: a struct or several, or a media type."""

    summary: str
    answers: Mapping[int, Any]
    query: tuple[str, ...] = ()
    takes: tuple[str, ...] = ()
    is_open: bool = False


SCHEDULED: Final[Mapping[int, Any]] = {200: ScheduleResult, 403: PROBLEM, 404: PROBLEM}
CHANGED: Final[Mapping[int, Any]] = {200: AdmissionResult, 403: PROBLEM, 422: PROBLEM}
FIND: Final = ("source", "id", "wait_s", "state", "type", "subject", "api", "after", "limit")
OPERATIONS: Final[Mapping[tuple[str, str], Described]] = {
    ("POST", "/"): Described(
        "Ask for a job by a CloudEvent, or for at most 1,000 by a batch",
        {
            200: (Taken, list[Result]),
            202: Taken,
            400: PROBLEM,
            403: PROBLEM,
            404: PROBLEM,
            409: PROBLEM,
            413: PROBLEM,
            422: PROBLEM,
        },
        takes=(EVENT, "application/cloudevents-batch+json", JSON),
    ),
    ("POST", "/notes"): Described(
        "How far a job is, told by its function with the token of notes",
        {202: None, 400: PROBLEM},
        takes=(EVENT,),
        is_open=True,
    ),
    ("GET", "/"): Described("What this is; a browser is led to the console", {200: TEXT, 303: None}, is_open=True),
    ("GET", "/openapi.json"): Described("This document", {200: JSON}, is_open=True),
    ("GET", "/healthz"): Described("Whether it is alive", {200: TEXT}, is_open=True),
    ("GET", "/readyz"): Described("Whether it takes jobs", {200: TEXT}, is_open=True),
    ("GET", "/metrics"): Described("Its metrics, for Prometheus", {200: TEXT}),
    ("GET", "/artifacts/jobs/{job}/{content}/{name}"): Described("A result", {200: None, 404: PROBLEM}, is_open=True),
    ("PUT", "/files/{name}"): Described(
        "Hand over a file, which a job may name by its key",
        {201: StoredFile, 400: PROBLEM, 403: PROBLEM, 404: PROBLEM, 413: PROBLEM},
        takes=("application/octet-stream",),
    ),
    ("GET", "/summary"): Described("All jobs at a glance", {200: Summary, 403: PROBLEM}),
    ("POST", "/files"): Described(
        "The same, for who cannot PUT",
        {201: StoredFile, 400: PROBLEM, 403: PROBLEM, 404: PROBLEM, 413: PROBLEM},
        query=("name",),
        takes=("application/octet-stream",),
    ),
    ("GET", "/jobs"): Described(
        "The job of a source and an id, or its outcome within wait_s; else those that match, by an id alone too",
        {200: (JobPage, JobResult), 204: None, 400: PROBLEM, 403: PROBLEM, 404: PROBLEM},
        query=FIND,
    ),
    ("DELETE", "/jobs"): Described(
        "Erase the ended jobs of a subject", {200: Erased, 400: PROBLEM, 403: PROBLEM}, query=("subject",)
    ),
    ("GET", "/jobs/{key}"): Described("A job", {200: JobResult, 404: PROBLEM}),
    ("DELETE", "/jobs/{key}"): Described(
        "Erase an ended job with all that is kept of it", {204: None, 403: PROBLEM, 404: PROBLEM, 409: PROBLEM}
    ),
    ("GET", "/jobs/{key}/request"): Described("What was asked for", {200: EVENT, 404: PROBLEM}),
    ("GET", "/jobs/{key}/timeline"): Described("What befell it", {200: list[TimelineEntry], 404: PROBLEM}),
    ("GET", "/jobs/{key}/stream"): Described(
        "What befalls it, as Server-Sent Events; 204 where all was told",
        {200: "text/event-stream", 204: None, 404: PROBLEM},
        query=("ticket",),
        is_open=True,
    ),
    ("POST", "/jobs/{key}/cancel"): Described(
        "Cancel an open job", {202: JobResult, 403: PROBLEM, 404: PROBLEM, 409: PROBLEM}
    ),
    ("POST", "/jobs/{key}/retry"): Described(
        "Do one anew that has not ended well", {202: JobResult, 403: PROBLEM, 404: PROBLEM, 409: PROBLEM}
    ),
    ("POST", "/jobs/{key}/signal/{name}"): Described(
        "Say something to a flow, by a job of its own; the same id again is the same",
        {202: Taken, **dict.fromkeys((400, 403, 404, 409, 413, 422), PROBLEM)},
        query=("id",),
        takes=(JSON,),
    ),
    ("POST", "/jobs/{key}/complete"): Described(
        "Tell the end of a flow's step that was answered 202",
        {202: Taken, **dict.fromkeys((400, 403, 404, 409, 413, 422), PROBLEM)},
        takes=(JSON,),
    ),
    ("GET", "/schedules"): Described("All schedules", {200: list[ScheduleResult], 403: PROBLEM}),
    ("PUT", "/schedules/{name}"): Described(
        "Have jobs made by the clock", {200: ScheduleResult, 403: PROBLEM, 422: PROBLEM}, takes=(JSON,)
    ),
    ("GET", "/schedules/{name}"): Described("A schedule with its next times", SCHEDULED),
    ("DELETE", "/schedules/{name}"): Described(
        "Have no more made; its jobs go on", {204: None, 403: PROBLEM, 404: PROBLEM}
    ),
    ("POST", "/schedules/{name}/run"): Described("Make a job of it now", SCHEDULED),
    ("POST", "/schedules/{name}/pause"): Described("Have none made for now", SCHEDULED),
    ("POST", "/schedules/{name}/resume"): Described("Have them made again, from now on", SCHEDULED),
    ("GET", "/admission"): Described(
        "What holds jobs back, and its last changes", {200: AdmissionResult, 403: PROBLEM}
    ),
    ("PUT", "/limits/{name}"): Described("Have a limit hold", CHANGED, takes=(JSON,)),
    ("DELETE", "/limits/{name}"): Described("Have none hold", CHANGED),
    ("PUT", "/pauses/{name}"): Described("Let no job of a name in", CHANGED, takes=(JSON,)),
    ("DELETE", "/pauses/{name}"): Described("Let them in again", CHANGED),
}


@cache
def document() -> bytes:
    """The document as JSON."""
    paths: dict[str, dict[str, Any]] = {}
    structs = [each for one in OPERATIONS.values() for given in one.answers.values() for each in _structs(given)]
    schemas, components = msgspec.json.schema_components(structs, ref_template="#/components/schemas/{name}")
    found = {repr(each): schema for each, schema in zip(structs, schemas, strict=True)}
    for (method, path), each in OPERATIONS.items():
        paths.setdefault(path, {})[method.lower()] = _operation(path, each, found)
    made = {
        "openapi": "3.1.0",
        "info": {"title": "The gateway of Errands", "version": "1"},
        "security": [{"token": []}],
        "paths": paths,
        "components": {
            "schemas": components,
            "securitySchemes": {"token": {"type": "http", "scheme": "bearer"}},
        },
    }
    return msgspec.json.encode(made)


def _operation(path: str, each: Described, schemas: Mapping[str, Any]) -> dict[str, Any]:
    within = [part[1:-1] for part in path.split("/") if part.startswith("{")]
    parameters = [_parameter(name, "path") for name in within] + [_parameter(name, "query") for name in each.query]
    answers = {**dict.fromkeys(EVERYWHERE, PROBLEM), **each.answers}
    made: dict[str, Any] = {
        "summary": each.summary,
        "parameters": parameters,
        "responses": {str(status): _answer(status, answers[status], schemas) for status in sorted(answers)},
    }
    if each.takes:
        made["requestBody"] = {"required": True, "content": {media_type: {} for media_type in each.takes}}
    return made | ({"security": []} if each.is_open else {})


def _parameter(name: str, place: str) -> dict[str, Any]:
    return {"name": name, "in": place, "required": place == "path", "schema": {"type": "string"}}


def _answer(status: int, given: Any, schemas: Mapping[str, Any]) -> dict[str, Any]:
    if given is None:
        return {"description": REASONS[status]}
    found = [schemas[repr(each)] for each in _structs(given)]
    schema = found[0] if len(found) == 1 else {"anyOf": found}
    return {"description": REASONS[status], "content": {JSON: {"schema": schema}} if found else {given: {}}}


def _structs(given: Any) -> tuple[Any, ...]:
    """Of an answer in JSON what it may be."""
    if given is None or isinstance(given, str):
        return ()
    return given if isinstance(given, tuple) else (given,)
