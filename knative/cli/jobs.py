"""`errands jobs` and `errands status`: where jobs are, asked of the gateway."""

import json
import shlex
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any, Final, NoReturn
from urllib.parse import quote

import typer

from functions.deadletters.cli.terminal import plain
from knative.cli.front_door import (
    OPEN,
    BadToken,
    FrontDoor,
    Refused,
    Unreachable,
    address,
    befell,
    moment,
    options,
    read_token,
)

app = typer.Typer(
    help="Jobs: list them, look at one, watch it, cancel it, have it done again. A job is named by its key, or by its"
    " request's id where no other job has that.\n\n"
    "Exit codes: 0 done; 1 too late for that; 64 a mistake; 69 the gateway cannot be reached; 77 not allowed. `watch`"
    " ends as the job does: 0 completed, 1 failed or cancelled, 2 a dead letter or lost.",
    no_args_is_help=True,
    rich_markup_mode=None,
)

MISTAKE: Final = 64  # EX_USAGE of sysexits.h, as in all of `errands`
UNAVAILABLE: Final = 69  # EX_UNAVAILABLE
NOT_ALLOWED: Final = 77  # EX_NOPERM
TOO_LATE: Final = 1
CODES: Final = {401: NOT_ALLOWED, 403: NOT_ALLOWED, 409: TOO_LATE, 429: NOT_ALLOWED}
EXITS: Final = {"completed": 0, "failed": 1, "cancelled": 1, "deadlettered": 2, "lost": 2}
RETRIED: Final = ("failed", "deadlettered", "lost", "cancelled")
HERE: Final = Path(".errands")

Named = Annotated[str, typer.Argument(metavar="JOB", help="Its key, or its request's id.")]
Data = Annotated[Path, typer.Option("--data", help="The runner's data directory.", envvar="ERRANDS_DATA")]
Sink = Annotated[
    str | None, typer.Option("--sink", help="The gateway; otherwise that of the runner of --data.", envvar="K_SINK")
]
TokenFile = Annotated[
    Path | None, typer.Option("--token-file", help="A file with the token of an API that may; or ERRANDS_TOKEN.")
]
Json = Annotated[bool, typer.Option("--json", help="JSON for programs, an object a line.")]


@app.command("list")
def list_jobs(
    data: Data = HERE,
    sink: Sink = None,
    token_file: TokenFile = None,
    *,
    state: Annotated[
        str | None, typer.Option(help="waiting, sent, completed, failed, deadlettered, cancelled or lost.")
    ] = None,
    type_: Annotated[str | None, typer.Option("--type", help="A request's type, or one of our jobs: image.")] = None,
    api: Annotated[str | None, typer.Option(help="Of this API, by the name of its token.")] = None,
    subject: Annotated[str | None, typer.Option(help="With this subject.")] = None,
    id_: Annotated[str | None, typer.Option("--id", help="With this id of its request.")] = None,
    after: Annotated[str | None, typer.Option(help="Those after a page, as its last line says.")] = None,
    limit: Annotated[int, typer.Option(min=1, max=200)] = 50,
    as_json: Json = False,
) -> None:
    """List jobs, the newest first.

    errands jobs list --state failed --type image
    """
    where = {"state": state, "type": _type(type_), "api": api, "subject": subject, "id": id_, "after": after}
    with asking(sink, data, token_file) as door:
        found = door.ask("/jobs", where | {"limit": str(limit)})
    if as_json:
        return _show(map(_line_of_json, found["jobs"]))
    lines = [line for each in found["jobs"] for line in _listed(each)] or ["no jobs"]
    more = _typed(where | {"after": found["next"]}) + options(sink, data)
    _show([*lines, f"more: errands jobs list{more}"] if found["next"] else lines)
    return None


@app.command("show")
def show_job(
    job: Named, data: Data = HERE, sink: Sink = None, token_file: TokenFile = None, *, as_json: Json = False
) -> None:
    """Show a job: its state and why, what befell it, and what came of it."""
    with asking(sink, data, token_file) as door:
        found = _one(door, job)
        timeline = door.ask(f"/jobs/{found['job']}/timeline")
    if as_json:
        return _show([_line_of_json({**found, "timeline": timeline})])
    _show(
        [
            *_described(found),
            "",
            *map(befell, timeline),
            "",
            *(f"{hint}{options(sink, data)}" for hint in _hints(found)),
        ]
    )
    return None


@app.command("watch")
def watch_job(
    job: Named, data: Data = HERE, sink: Sink = None, token_file: TokenFile = None, *, as_json: Json = False
) -> None:
    """Say what befalls a job, as it does, until its end."""
    with asking(sink, data, token_file) as door:
        last = found = _one(door, job)
        if not as_json:
            _show(_listed(found))
        for name, told in door.follow(f"/jobs/{found['job']}/stream"):
            last = told if name == "job" else last
            if as_json:
                _show([_line_of_json({name: told})])
            else:
                _show([befell(told)] if name == "note" else _listed(told))
    raise SystemExit(EXITS.get(last["state"], 3))


@app.command("cancel")
def cancel_job(
    job: Named, data: Data = HERE, sink: Sink = None, token_file: TokenFile = None, *, as_json: Json = False
) -> None:
    """End an open job: its API is told that it was cancelled, and what its function comes to is dropped."""
    _change(job, "cancel", sink, data, token_file, as_json=as_json)


@app.command("retry")
def retry_job(
    job: Named, data: Data = HERE, sink: Sink = None, token_file: TokenFile = None, *, as_json: Json = False
) -> None:
    """Have a job done again that failed, was cancelled or lost, or is a dead letter."""
    _change(job, "retry", sink, data, token_file, as_json=as_json)


def show_status(data: Data = HERE, sink: Sink = None, token_file: TokenFile = None, *, as_json: Json = False) -> None:
    """Say how all is: jobs by state and type, the oldest that is open, what ended in the last hour and day."""
    with asking(sink, data, token_file) as door:
        summary = door.ask("/summary")
    _show([_line_of_json(summary)] if as_json else _status(summary, door.url, options(sink, data)))


def _change(named: str, verb: str, sink: str | None, data: Path, token_file: Path | None, *, as_json: bool) -> None:
    with asking(sink, data, token_file) as door:
        found = door.ask(f"/jobs/{_one(door, named)['job']}/{verb}", method="POST")
    _show([_line_of_json(found)] if as_json else _listed(found))


@contextmanager
def asking(sink: str | None, data: Path, token_file: Path | None) -> Iterator[FrontDoor]:
    """The gateway; what it refuses ends the command with its reason and an exit code."""
    try:
        yield FrontDoor(address(sink, data), read_token(token_file))
    except BadToken as error:
        _stop(str(error), MISTAKE)
    except Unreachable as error:
        _stop(str(error), UNAVAILABLE)
    except Refused as error:
        _stop(str(error), CODES.get(error.status, MISTAKE))
    except KeyboardInterrupt:
        raise SystemExit(130) from None


def _one(door: FrontDoor, named: str) -> Any:
    """The job of a key, or the one that has this id."""
    try:
        return door.ask(f"/jobs/{quote(named, safe='')}")
    except Refused as error:
        if error.status != 404:
            raise
    found = door.ask("/jobs", {"id": named})["jobs"]
    if not found:
        raise Refused(404, f"there is no job {named!r}; see: errands jobs list")
    if len(found) > 1:
        listed = "".join(f"\n  {each['job']}  of {each['source']}" for each in found[:10])
        raise Refused(404, f"{len(found)} jobs have the id {named!r}; name one by its key:{listed}")
    return door.ask(f"/jobs/{found[0]['job']}")


def _listed(job: Any) -> Iterator[str]:
    """A job in a list: two lines where there is something to say of it."""
    where = job["subject"] if job.get("subject") else job["source"]
    yield f"{job['state']:<12}  {moment(job['since'])}  {_name(job['type']):<10}  {job['job']}  {job['id']}  {where}"
    said = [
        f"attempt {job['attempt']}" if job.get("attempt") and job["state"] in OPEN else "",
        _progress(job) if job["state"] in OPEN else "",
        f"waits for {job['held_by']}" if job.get("held_by") else "",
        " ".join(job.get("error", "").split())[:150],
    ]
    if any(said):
        yield " " * 14 + "; ".join(filter(None, said))


def _described(job: Any) -> Iterator[str]:
    for name in ("job", "state", "since", "type", "id", "source", "subject", "api", "accepted_at", "ended_at"):
        if job.get(name):
            yield f"{name + ':':<13}{job[name]}"
    if job.get("held_by"):
        yield f"{'waits for:':<13}{job['held_by']}"
    if job.get("next_at"):
        yield f"{'next try:':<13}{job['next_at']}"
    if job.get("progress"):
        yield f"{'progress:':<13}{_progress(job)}"
    if job.get("error"):
        yield f"{'error:':<13}{job['error']}"
    if job.get("result") is not None:
        yield f"{'result:':<13}{json.dumps(job['result'], indent=2, ensure_ascii=False)}"


def _progress(job: Any) -> str:
    told = job.get("progress") or {}
    percent = f"{told['percent']:g} %" if "percent" in told else ""
    return " ".join(filter(None, (percent, told.get("text", ""))))


def _hints(job: Any) -> Iterator[str]:
    """What can be done next, as it is typed."""
    if job["state"] in OPEN:
        yield f"errands jobs watch {job['job']}"
        yield f"errands jobs cancel {job['job']}"
    if job["state"] in RETRIED:
        yield f"errands jobs retry {job['job']}"


def _status(summary: Any, url: str, here: str) -> Iterator[str]:
    yield f"the gateway at {url}" + (f": {summary['trouble']}" if summary.get("trouble") else " is well")
    states = summary["states"]
    yield "  " + (", ".join(f"{states[each]:,} {each}" for each in states) or "no job is open, or has failed")
    if summary.get("oldest_at"):
        yield f"  the oldest that is open is of {moment(summary['oldest_at'])}:"
        yield f"errands jobs show {summary['oldest']}{here}"
    for name in ("hour", "day"):
        ended = [f"{sum(span[each] for span in summary[name]):,} {each}" for each in ("completed", "failed", "other")]
        yield f"  ended in the last {name}: {', '.join(ended)}"
    for each in summary["types"]:
        counts = ", ".join(f"{count:,} {state}" for state, count in each["states"].items())
        yield f"  {_name(each['type']):<12} {counts}"
    if states.get("failed"):
        yield f"errands jobs list --state failed{here}"
    if states.get("deadlettered") or states.get("lost"):
        yield "errands dead groups"  # of --data, or a console's: the gateway does not know where


def _type(given: str | None) -> str | None:
    """A type by its job's name."""
    return f"dev.errands.{given}.requested.v1" if given and "." not in given else given


def _name(type_: str) -> str:
    """One of our types by its job's name."""
    ours = type_.startswith("dev.errands.") and type_.endswith(".requested.v1")
    return type_.removeprefix("dev.errands.").removesuffix(".requested.v1") if ours else type_


def _typed(given: dict[str, str | None]) -> str:
    return "".join(f" --{name} {shlex.quote(value)}" for name, value in given.items() if value is not None)


def _line_of_json(record: Any) -> str:
    return json.dumps(record, ensure_ascii=True)


def _show(lines: Iterable[str]) -> None:
    for line in lines:
        typer.echo(plain(line))


def _stop(reason: str, code: int) -> NoReturn:
    typer.echo(plain(reason), err=True)
    sys.exit(code)
