"""The images: from a container's start to the probe's first answer, the first job, memory after twenty, and size.

python -m tests.bench.images [ROUNDS]

They are those that tests/functions/test_images.py has built here, with podman, and run as hardened as there. Memory
is the proportional set size of all processes in the container. `enqueue` is left out: its job needs a RabbitMQ.
"""

import statistics
import sys
import time
from contextlib import ExitStack
from dataclasses import dataclass

from tests.bench.peers.processes import memory
from tests.functions.test_images import (
    BASE,
    FUNCTIONS,
    REGISTRY,
    Container,
    Received,
    environment,
    job,
    podman,
    receiving,
    taking_mail,
)

ROUNDS = 5
JOBS = 20


@dataclass(frozen=True)
class Figures:
    """Of one container."""

    start_s: float
    first_job_s: float
    pss_bytes: int


def main() -> None:
    """Rounds of all functions, then the table of medians."""
    rounds = int(sys.argv[1]) if len(sys.argv) > 1 else ROUNDS
    names = [name for name in FUNCTIONS if name != "enqueue"]
    with receiving() as receiver, taking_mail() as mail_port:
        taken = [(name, measured(name, receiver, mail_port)) for _ in range(rounds) for name in names]
    print("| image | on top of the base | start | first job | memory |\n| --- | --- | --- | --- | --- |")
    for name in names:
        ours = [figures for of, figures in taken if of == name]
        size_mb = (size_bytes(f"{REGISTRY}/{name}:test") - size_bytes(BASE)) / 1e6
        start_s, first_s = (statistics.median(getattr(each, of) for each in ours) for of in ("start_s", "first_job_s"))
        memory_mb = statistics.median(each.pss_bytes for each in ours) / 1e6
        print(f"| {name} | {size_mb:.0f} MB | {start_s:.2f} s | {first_s:.2f} s | {memory_mb:.0f} MB |")


def measured(function: str, receiver: Received, mail_port: int) -> Figures:
    """Start it, have it do twenty jobs, stop it."""
    with ExitStack() as stack:
        container = Container(f"{REGISTRY}/{function}:test", environment(function, receiver, mail_port))
        answered_at_s = time.time()
        stack.callback(container.remove)
        state = podman("inspect", "--format", "{{.State.Pid}} {{.State.StartedAt.UnixNano}}", container.id)
        pid, started_at_ns = map(int, state.split())
        begun_s = time.monotonic()
        responses = [container.send(job(function))]
        first_job_s = time.monotonic() - begun_s
        responses += [container.send({**job(function), "id": str(number)}) for number in range(1, JOBS)]
        if bad := [response for response in responses if response[0] not in (200, 202)]:
            raise SystemExit(f"{function} answered {bad[0][0]}: {bad[0][2].decode()}")
        return Figures(answered_at_s - started_at_ns / 1e9, first_job_s, memory([pid]).pss_bytes)


def size_bytes(image: str) -> int:
    return int(podman("image", "inspect", "--format", "{{.Size}}", image))


if __name__ == "__main__":
    main()
