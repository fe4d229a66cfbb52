"""How soon: `errands up` to ready, the first event to its callback with everything at zero, memory at rest.

python -m tests.bench.start [ROUNDS]
"""

import statistics
import sys
import tempfile
import time
from contextlib import ExitStack
from functools import partial
from pathlib import Path

from events.http import Event
from knative import client
from knative.event_file import build
from tests.example_api import PythonApi
from tests.local_runner import ROOT, Up, until

ROUNDS = 5
JOBS = ("ics", "image", "report")


def main() -> None:
    """Rounds of a fresh runner; medians."""
    rounds = int(sys.argv[1]) if len(sys.argv) > 1 else ROUNDS
    ready_s, memory_bytes = [], []
    callback_s: dict[str, list[float]] = {job: [] for job in JOBS}
    for _ in range(rounds):
        with ExitStack() as stack:
            folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
            started_s = time.monotonic()
            runner = stack.enter_context(Up(folder, ROOT / "knative"))
            ready_s.append(time.monotonic() - started_s)
            until(partial(sink_is_up, runner))
            memory_bytes.append(runner.rss_bytes())
            secret = (runner.data / "secrets" / "callback" / "secrets").read_text()
            api = stack.enter_context(PythonApi(runner.url, secret).serving())
            for job in JOBS:
                callback_s[job].append(
                    first_callback_s(api, runner, build(job, None, {"callbackurl": api.callback_url}))
                )
    print(f"errands up to ready: {statistics.median(ready_s):.2f} s")
    print(f"memory of the runner at rest: {statistics.median(memory_bytes) / 1e6:.0f} MB")
    for job, times_s in callback_s.items():
        which = "notifier at zero too" if job == JOBS[0] else "notifier warm"
        print(f"first {job} event to its callback, function at zero, {which}: {statistics.median(times_s):.2f} s")


def sink_is_up(runner: Up) -> bool:
    """The dead-letter sink is the only function that runs at rest."""
    return runner.metric("errands_processes", function="deadletters") == 1


def first_callback_s(api: PythonApi, runner: Up, event: Event) -> float:
    """From the post to the verified callback."""
    api.expect(event.id)
    started_s = time.monotonic()
    client.post(event, runner.url, token=None)
    until(lambda: api.state(event.id)["state"] == "completed", poll_s=0.002)
    return time.monotonic() - started_s


if __name__ == "__main__":
    main()
