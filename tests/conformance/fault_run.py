"""Jobs while parts are killed and started again at random: what became of each, and who lost what.

python -m tests.conformance.fault_run embedded|rabbitmq|knative [--straight] [--jobs 3000] [--seed N]

The echo function, the real notifier, the real dead-letter sink and the gateway stand in front of the broker; `straight`
sends to the broker's own ingress, which no gateway watches. In ten jobs eight are done, one fails, one is never taken.
The sender repeats what was not answered 202; an API counts the callbacks.
"""

import argparse
import json
import os
import random
import signal
import sqlite3
import subprocess
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager, suppress
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, Protocol

import httpx
import msgspec

from knative.manifests.gateway import declared
from knative.manifests.manifests import load
from tests.conformance.functions_up import Functions
from tests.conformance.functions_up import running as functions_running
from tests.conformance.systems import KnativeDataPlane
from tests.knative.local.test_kill import Callbacks, receiving
from tests.support.local_runner import (
    ROOT,
    Up,
    children,
    event,
    front_door,
    service,
    trigger,
    until,
    write_manifests,
)
from tests.support.ports import free_port
from tests.support.rabbitmq_server import RabbitServer, rabbit_server

JOBS = 3_000
PACE_S = 0.02
GRACE_S = 5.0  # from the SIGTERM to a dispatcher to the SIGKILL; Kubernetes gives it 30
DOWN_S = 4.0  # of a function that does not come back at once; longer than the retries of a doomed job's dead letter
QUIET_S = 25.0  # longer than any wait between two attempts: who has not been heard of then is lost
DEADLINE_S = 20.0  # after which the gateway asks again; longer than all attempts of one delivery
WATCHED_QUIET_S = 180.0  # longer than any of the gateway's waits, of which the last is four deadlines
DOOMED = "dev.errands.doomed.requested.v1"


class System(Protocol):
    """What is killed and revived."""

    url: str  # where jobs are sent
    ledger: Path | None  # of the gateway, if there is one

    def break_something(self, chance: random.Random) -> str:
        """Kill one part; its name."""

    def revive(self) -> None:
        """Start what has ended."""

    def attempted(self) -> Counter[tuple[str, str]]:
        """The deliveries to functions that were answered, by (service, job)."""


class OnKnative:
    """The Go programs and the functions, each a process.

    A dispatcher that gets its SIGTERM while it is not connected closes for good and never ends (v0.48.0: the loop of
    cmd/dispatcher/main.go knows its end only from a consumer's): Kubernetes kills it, and so does this.
    """

    def __init__(self, plane: KnativeDataPlane, functions: Functions, *, url: str, ledger: Path | None) -> None:
        self._plane = plane
        self._functions = functions
        self._ending: dict[subprocess.Popen[bytes], float] = {}
        self._down: dict[str, float] = {}
        self.url = url
        self.ledger = ledger

    def break_something(self, chance: random.Random) -> str:
        parts = {**self._plane.parts, **self._functions.processes}
        name = chance.choice(sorted(parts))
        number = chance.choice((signal.SIGKILL, signal.SIGTERM)) if name != "ingress" else signal.SIGKILL
        parts[name].send_signal(number)
        if number == signal.SIGTERM and name in self._plane.parts:
            self._ending.setdefault(parts[name], time.monotonic() + GRACE_S)
        if name in self._functions.processes and chance.random() < 0.3:
            self._down[name] = time.monotonic() + DOWN_S
        return f"{name} by {number.name}"

    def revive(self) -> None:
        for part, end_s in self._ending.items():
            if time.monotonic() > end_s:
                part.kill()  # nothing to one that has ended
        self._plane.revive()
        self._functions.revive(except_for={name for name, end_s in self._down.items() if time.monotonic() < end_s})

    def down(self, function: str, *, for_s: float) -> None:
        """Kill a function, and leave it so for a while."""
        self._functions.processes[function].kill()
        self._down[function] = time.monotonic() + for_s

    def attempted(self) -> Counter[tuple[str, str]]:
        return _logged({name: self._functions.log(name).read_text() for name in self._functions.processes})


class OnRunner:
    """`errands up` and its functions."""

    def __init__(self, up: Up, *, ledger: Path | None) -> None:
        self._up = up
        self.url = up.url
        self.ledger = ledger

    def break_something(self, chance: random.Random) -> str:
        functions = children(self._up.process.pid)
        if functions and chance.random() < 0.6:
            with suppress(ProcessLookupError):
                os.kill(chance.choice(functions), signal.SIGKILL)
            return "a function by SIGKILL"
        number = chance.choice((signal.SIGKILL, signal.SIGTERM))
        self._up.process.send_signal(number)
        return f"the runner by {number.name}"

    def revive(self) -> None:
        if self._up.process.poll() is not None:
            with suppress(AssertionError):  # RabbitMQ is down: the next time, then
                self._up.start()

    def attempted(self) -> Counter[tuple[str, str]]:
        return _logged({"": self._up.log.read_text()})


def _logged(logs: dict[str, str]) -> Counter[tuple[str, str]]:
    found: Counter[tuple[str, str]] = Counter()
    for name, text in logs.items():
        for line in text.splitlines():
            with suppress(ValueError):
                fields = json.loads(line)
                if isinstance(fields, dict) and "status" in fields and "job" in fields:
                    found[str(fields.get("function", name)), str(fields["job"])] += 1
    return found


@dataclass
class Account:
    """What became of the jobs."""

    jobs: int
    kills: Counter[str] = field(default_factory=Counter)
    outcomes: Counter[str] = field(default_factory=Counter)
    repeated_callbacks: int = 0
    two_outcomes: list[str] = field(default_factory=list)
    unexpected: Counter[str] = field(default_factory=Counter)
    lost: dict[str, list[str]] = field(default_factory=dict)
    states: Counter[str] = field(default_factory=Counter)
    asked_again: Counter[str] = field(default_factory=Counter)
    elapsed_s: float = 0.0

    @property
    def ended_in_the_ledger(self) -> int:
        """How many jobs have an outcome there, which the API may ask for, and named lost is none."""
        return sum(self.states[each] for each in ("completed", "failed", "deadlettered"))

    def __str__(self) -> str:
        lost = sum(len(each) for each in self.lost.values())
        lines = [
            f"{self.jobs} jobs in {self.elapsed_s:.0f} s; {self.kills.total()} kills: "
            + ", ".join(f"{count} {what}" for what, count in sorted(self.kills.items())),
            "outcomes: " + ", ".join(f"{count} {what}" for what, count in sorted(self.outcomes.items())),
            f"callbacks made again, with the id of the first: {self.repeated_callbacks}",
            f"jobs with two different outcomes: {len(self.two_outcomes)}",
            "other outcomes than without faults: " + (str(dict(self.unexpected)) if self.unexpected else "none"),
            "states in the ledger: " + (str(dict(self.states)) if self.states else "no gateway"),
            "asked for again by the gateway, by how they ended: "
            + (str(dict(self.asked_again)) if self.asked_again else "none"),
            f"lost: {lost}",
            *(f"  {len(jobs)} {where} (such as {', '.join(jobs[:3])})" for where, jobs in sorted(self.lost.items())),
        ]
        return "\n".join(lines)


def account(jobs: int, callbacks: Callbacks, attempted: Counter[tuple[str, str]]) -> Account:
    """Set what was told against what was sent, and say of each lost job how far it came."""
    result = Account(jobs)
    result.repeated_callbacks = callbacks.count - sum(len(told) for told in callbacks.outcomes.values())
    for number in range(jobs):
        told = {outcome for _, outcome in callbacks.outcomes.get(str(number), ())}
        if not told:
            result.lost.setdefault(_stage(number, attempted), []).append(str(number))
            continue
        result.outcomes[" and ".join(sorted(told))] += 1
        if len(told) > 1:
            result.two_outcomes.append(str(number))
        elif told != {expected(number)}:
            result.unexpected[f"{expected(number)} became {', '.join(told)}"] += 1
    return result


def of_ledger(result: Account, file: Path) -> None:
    """Add what the gateway knows: how each job stands, and which it had to ask for again."""
    with closing(sqlite3.connect(f"file:{file}?mode=ro", uri=True)) as ledger:
        result.states.update(dict(ledger.execute("SELECT state, count(*) FROM job GROUP BY state")))
        overdue = "SELECT DISTINCT job_id FROM job_note WHERE kind = 'overdue'"
        asked = ledger.execute(f"SELECT state, count(*) FROM job WHERE id IN ({overdue}) GROUP BY state")  # noqa: S608  # no input
        result.asked_again.update(dict(asked))


def _open(file: Path) -> int:
    """How many jobs have not ended there."""
    with closing(sqlite3.connect(f"file:{file}?mode=ro", uri=True)) as ledger:
        return int(ledger.execute("SELECT count(*) FROM job WHERE ended_ms IS NULL").fetchone()[0])


def _stage(number: int, attempted: Counter[tuple[str, str]]) -> str:
    """How far a lost job came, by what the functions' logs say."""
    job = str(number)
    if attempted["notifier", job]:
        return "after the notifier had tried: its retries, or its dead letter, were lost"
    if attempted["deadletters", job]:
        return "after the dead-letter sink had answered an attempt"
    if attempted["echo", job]:
        what = "dead letter" if expected(number) == "deadlettered" else "reply, or its dead letter,"
        return f"after the function had answered: the {what} was lost"
    return "before any function answered: between the ingress' 202 and the function, or as a dead letter"


def expected(number: int) -> str:
    """The outcome without faults."""
    return {0: "failed", 1: "deadlettered"}.get(number % 10, "completed")


def documents(*, straight: bool) -> list[str]:
    """The echo function and its doomed jobs, the real notifier and sink; retried for some ten seconds."""
    notifier = (
        service("notifier", source=ROOT / "functions/notifier/main.py", concurrency=100, max_scale=1).rstrip()
        + """
            - name: CALLBACK_SECRETS
              valueFrom: {secretKeyRef: {name: callback, key: secrets}}
"""
    )
    retried: dict[str, Any] = {"retry": 10, "delay": "PT0.2S", "parallelism": 16}
    heard = [
        trigger(f"notifier-{each}", subscriber="notifier", filter=f"{{outcome: {each}}}", **retried)
        for each in ("completed", "failed", "deadlettered")
    ]
    doomed = trigger("doomed", filter=f"{{type: {DOOMED}}}", retry=2, delay="PT0.5S", parallelism=16)
    gateway = () if straight else front_door(**retried)
    return [service(max_scale=1), trigger(**retried), doomed, notifier, *heard, *gateway]


def order(number: int) -> dict[str, object]:
    """The event of a job."""
    if expected(number) == "deadlettered":
        return event(str(number), {"do": "status", "status": 503}, type=DOOMED)
    return event(str(number), {"do": "fail"} if expected(number) == "failed" else {"n": number})


def send_all(url: str, jobs: int) -> None:
    """An API that repeats what was not answered 202, with the same id."""
    headers = {"content-type": "application/cloudevents+json"}
    with httpx.Client(base_url=url, headers=headers, timeout=10) as client:
        for number in range(jobs):
            content = json.dumps(order(number))
            until(partial(_accepted, client, content), timeout_s=120, poll_s=0.1, what="a 202")
            time.sleep(PACE_S)


def _accepted(client: httpx.Client, content: str) -> bool:
    with suppress(httpx.TransportError):
        return client.post("/", content=content).status_code == 202
    return False


def run(system: System, rabbit: RabbitServer | None, callbacks: Callbacks, jobs: int, seed: int) -> Account:
    """Send, kill, wait until nothing more comes; then account."""
    chance, started_s = random.Random(seed), time.monotonic()  # noqa: S311  # repeatable, not secret
    kills: Counter[str] = Counter()
    sender = threading.Thread(target=send_all, args=(system.url, jobs))
    sender.start()
    while sender.is_alive():
        time.sleep(chance.uniform(0.3, 1.2))  # the moments of the kills, which no condition could choose
        if rabbit and chance.random() < 0.06:
            rabbit.kill() if chance.random() < 0.5 else rabbit.stop()
            kills["RabbitMQ"] += 1
            rabbit.start()
        else:
            kills[system.break_something(chance)] += 1
        system.revive()
    until_quiet(system, callbacks, jobs)
    result = account(jobs, callbacks, system.attempted())
    result.kills, result.elapsed_s = kills, time.monotonic() - started_s
    if system.ledger:
        of_ledger(result, system.ledger)
    return result


def until_quiet(system: System, callbacks: Callbacks, jobs: int) -> None:
    """Until every job is told of, and has ended in the ledger, or nothing has come for a while."""
    seen, since_s = -1, time.monotonic()
    quiet_s = WATCHED_QUIET_S if system.ledger else QUIET_S
    while time.monotonic() - since_s < quiet_s:
        if len(callbacks.outcomes) == jobs and (system.ledger is None or not _open(system.ledger)):
            return
        system.revive()
        if callbacks.count != seen:
            seen, since_s = callbacks.count, time.monotonic()
        time.sleep(0.2)


@contextmanager
def prepared(
    kind: str, folder: Path, rabbit: RabbitServer | None = None, programs: Path | None = None, *, straight: bool = False
) -> Iterator[tuple[System, Callbacks]]:
    """A system that is up, and the API that it calls back; `rabbit` but for the embedded broker."""
    with ExitStack() as stack:
        callbacks, callback_url = stack.enter_context(receiving())
        manifests = write_manifests(folder / "manifests", documents(straight=straight))
        settings = {"notifier": {"CALLBACK_URL": callback_url}, "gateway": {"GATEWAY_ROUTES": _routes(manifests)}}
        vhost = f"faults-{kind}{'-straight' if straight else ''}"
        if rabbit:
            rabbit.control("add_vhost", vhost)
            rabbit.control("set_permissions", "-p", vhost, "guest", ".*", ".*", ".*")
        if not programs or not rabbit:
            arguments = [f"--set={name}.{key}={value}" for name, of in settings.items() for key, value in of.items()]
            arguments += ["--broker", rabbit.url + vhost] if rabbit else []
            up = stack.enter_context(Up(folder, manifests, *arguments))
            yield OnRunner(up, ledger=None if straight else up.data / "ledger.db"), callbacks
            return
        port, door = free_port(), free_port()
        functions = Functions(manifests, folder, ingress_url=f"http://127.0.0.1:{port}/", settings=settings, door=door)
        plane = KnativeDataPlane(
            folder,
            manifests,
            programs=programs,
            rabbit=rabbit,
            vhost=vhost,
            subscriber=functions.url,
            port=port,
        )
        stack.enter_context(functions_running(functions))
        plane.start()
        stack.callback(plane.kill)
        if straight:
            yield OnKnative(plane, functions, url=plane.url, ledger=None), callbacks
        else:
            yield OnKnative(plane, functions, url=f"http://127.0.0.1:{door}/", ledger=folder / "ledger.db"), callbacks


def _routes(manifests: Path) -> str:
    """What the gateway is told of these Triggers, with a deadline that a test can wait for."""
    told = declared(load(manifests))
    routes = tuple(msgspec.structs.replace(each, deadline_s=DEADLINE_S) for each in told.routes)
    return msgspec.json.encode(msgspec.structs.replace(told, routes=routes)).decode()


def main() -> None:
    """Run it and print the account."""
    parser = argparse.ArgumentParser()
    parser.add_argument("kind", choices=("embedded", "rabbitmq", "knative"))
    parser.add_argument("--straight", action="store_true", help="without the gateway")
    parser.add_argument("--jobs", type=int, default=JOBS)
    parser.add_argument("--seed", type=int, default=int(time.time()))
    given = parser.parse_args()
    print(f"seed {given.seed}", flush=True)
    programs = None
    if given.kind == "knative":
        programs = Path(subprocess.check_output([ROOT / ".ci/knative"], text=True).strip())
    with tempfile.TemporaryDirectory() as kept, ExitStack() as stack:
        folder = Path(kept)
        rabbit = stack.enter_context(rabbit_server(folder / "rabbitmq")) if given.kind != "embedded" else None
        system, callbacks = stack.enter_context(prepared(given.kind, folder, rabbit, programs, straight=given.straight))
        print(run(system, rabbit, callbacks, given.jobs, given.seed))


if __name__ == "__main__":
    main()
