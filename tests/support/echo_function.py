"""A function for the tests of the runner: it does what the event's data says.

    {"do": "done" | "exit" | "status" | "sleep" | "bad reply" | "fail" | "not now" | "progress" | "raise", "once": FILE}

With `once`, only the first process to create FILE does it; the later deliveries are done.
"""

import json
import os
import signal
import time
from pathlib import Path
from typing import Any

from msgspec import Struct

from events.http import Event, binary
from events.problem import JobFailed, NotNow
from events.types import sibling_type
from functions.runtime.adapter import Response, http_function, refusal, reply_event, system_clock
from functions.runtime.progress import progress


class Done(Struct):
    """Which process did it."""

    pid: int
    n: int


def respond(event: Event) -> Response:
    """Do as told, then answer with a completed event."""
    order: dict[str, Any] = json.loads(event.data)
    if "once" in order and not _first(Path(order["once"])):
        order = {}
    match order.get("do", "done"):
        case "exit":
            print("the last words of this function", flush=True)
            os.kill(os.getpid(), signal.SIGKILL)
        case "status":
            said = json.dumps({"detail": order.get("detail", "as asked")}).encode()
            return Response(order["status"], {"content-type": "application/json"}, said)
        case "sleep":
            time.sleep(order["s"])
        case "not now":
            return refusal(NotNow(order.get("detail", "as asked"), retry_after_s=0))
        case "progress":
            progress(order["percent"], order["text"])
        case "raise":
            print(order["detail"], flush=True)  # as a library does that knows of no log
            raise RuntimeError(order["detail"])
        case "fail":
            problem = JobFailed("as-asked", "the job was asked to fail").problem
            failed = reply_event(event, sibling_type(event.type, "failed"), problem, now=system_clock())
            return Response(200, *binary(failed))
        case "bad reply":
            return Response(200, {"ce-specversion": "1.0", "ce-id": "1"}, b"{}")
    done = Done(os.getpid(), order.get("n", 0))
    return Response(200, *binary(reply_event(event, sibling_type(event.type, "completed"), done, now=system_clock())))


def _first(file: Path) -> bool:
    try:
        file.touch(exist_ok=False)
    except FileExistsError:
        return False
    return True


handle = http_function(respond)
