"""Errands side by side with what people would pick instead: rounds in which every system takes its turn.

  python -m tests.bench.peers                                     what is installed, in full
  python -m tests.bench.peers --quick                             one round with small backlogs
  python -m tests.bench.peers --quick --systems embedded,celery --figures drain,latency
  python -m tests.bench.peers --peers                             makes the peers' environments below .bench/ first
  python -m tests.bench.peers --peers --publish                   and puts what came out into the READMEs
  python -m tests.bench.peers --render FILE                       tables and charts of a run that is kept, again

Figures: latency (from nothing running to the first callback, memory at rest, p50 and p99 at 20 jobs/s), drain (accepted
and drained jobs a second, processor time, memory at work), image (12-megapixel pictures), and of Errands alone report
(from zero to the first one), starts (functions beside a bare server) and backlog (100,000 events). Ratios are to Celery
in the same round; a figure of one round on a busy machine says little. The peers run only where their environments are
made. Everything listens on 127.0.0.1 and ends with the command.
"""

import argparse
import base64
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from functools import partial
from pathlib import Path

from tests.bench.peers import publishing, table
from tests.bench.peers.environments import Environment
from tests.bench.peers.measuring import PARTS, Amounts, Figures
from tests.bench.peers.own import OWN_PARTS
from tests.bench.peers.receiver import Receiver, receiving
from tests.bench.peers.results import OWN, Results, Round
from tests.bench.peers.systems import errands, knative, on_rabbitmq, prefect, temporal
from tests.bench.peers.systems.base import Place, System, no_rabbitmq
from tests.bench.peers.work import photo
from tests.support.rabbitmq_server import RabbitServer, rabbit_server

SYSTEMS: Sequence[System] = (
    errands.EMBEDDED,
    errands.STRAIGHT,
    errands.RABBITMQ,
    knative.KNATIVE,
    *on_rabbitmq.SYSTEMS,
    prefect.PREFECT,
    temporal.TEMPORAL,
    on_rabbitmq.LOOP,
)
ENVIRONMENTS: Sequence[Environment] = (
    on_rabbitmq.CELERY,
    on_rabbitmq.DRAMATIQ,
    on_rabbitmq.PIKA,
    prefect.ENVIRONMENT,
    temporal.ENVIRONMENT,
)
SECRET = "whsec_" + base64.b64encode(b"the same for every system, 32 b.").decode()
FULL, QUICK = Amounts(), Amounts(latency_s=3.0, share=0.2)


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure, print, keep."""
    options = parser().parse_args(arguments)
    if options.render:
        publishing.render(Results.read(options.render))
        return
    if options.peers:
        make_environments()
    started_s, systems = time.monotonic(), chosen(options.systems)
    amounts = QUICK if options.quick else FULL
    measured = measure(systems, options.figures, options.rounds or (1 if options.quick else 3), amounts)
    results = Results.of(measured, systems, amounts, took_s=time.monotonic() - started_s)
    if options.save:
        results.save(options.save)
    if options.publish:
        publishing.publish(results)
    print(table.terminal(results))


def parser() -> argparse.ArgumentParser:
    """The command's options."""
    made = argparse.ArgumentParser(
        prog="python -m tests.bench.peers", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    systems, parts = [each.name for each in SYSTEMS], [*PARTS, *OWN_PARTS]
    made.add_argument("--peers", action="store_true", help="make the peers' environments where they are not there")
    made.add_argument("--quick", action="store_true", help="one round, a fifth of the backlogs, 3 s of latency")
    made.add_argument("--rounds", type=int, help="3, or 1 with --quick; medians of the rounds are shown")
    made.add_argument("--systems", type=names(systems), default=systems, help=f"of {', '.join(systems)}")
    made.add_argument("--figures", type=names(parts), default=parts, help=f"of {', '.join(parts)}")
    made.add_argument("--save", type=Path, metavar="FILE", help="keep every round's figures as JSON")
    made.add_argument("--publish", action="store_true", help="keep it in tests/bench/results/, show it in the READMEs")
    made.add_argument("--render", type=Path, metavar="FILE", help="measure nothing; show this run in the READMEs")
    return made


def names(known: Sequence[str]) -> Callable[[str], list[str]]:
    """A list of names with commas, all of them known."""

    def split(text: str) -> list[str]:
        given = text.split(",")
        if unknown := [each for each in given if each not in known]:
            raise argparse.ArgumentTypeError(f"{', '.join(unknown)}: expected one of {', '.join(known)}")
        return given

    return split


def make_environments() -> None:
    """Those that are not there; what cannot be had is said by `chosen`."""
    for each in ENVIRONMENTS:
        each.make()
    temporal.build()


def chosen(wanted: Sequence[str]) -> list[System]:
    """The systems that can take part; says of the others why not."""
    systems = [each for each in SYSTEMS if each.name in wanted]
    for each in systems:
        if reason := each.missing():
            print(f"without {each.title}: {reason}", file=sys.stderr)
    return [each for each in systems if not each.missing()]


def measure(systems: Sequence[System], parts: Sequence[str], rounds: int, amounts: Amounts) -> list[Round]:
    """Every system's figures, round by round; within a round the systems take turns at each part."""
    measured: list[Round] = []
    with tempfile.TemporaryDirectory(prefix="errands-bench-") as kept, receiving() as receiver:
        folder, picture = Path(kept), photo()
        with nullcontext() if no_rabbitmq() else rabbit_server(folder / "rabbitmq") as rabbit:
            for number in range(rounds):
                measured.append({name: {} for name in (*(each.name for each in systems), OWN)})
                for part in (each for each in PARTS if each in parts):
                    for system in (each for each in systems if part in each.parts):
                        with place(folder / f"{number}-{part}-{system.name}", picture, receiver, rabbit) as where:
                            measured[-1][system.name] |= tried(system, part, where, amounts)
                for part in (each for each in OWN_PARTS if each in parts):
                    measured[-1][OWN] |= told(OWN, part, partial(OWN_PARTS[part], amounts))
    return measured


def tried(system: System, part: str, where: Place, amounts: Amounts) -> Figures:
    """One part of one system, its signatures checked; a failure is told and leaves its figures out."""

    def work() -> Figures:
        figures = PARTS[part](system, where, amounts)
        where.receiver.verify(where.secret)
        return figures

    try:
        return told(system.name, part, work)
    except Exception as error:  # a system that fails must not cost the others' twenty minutes
        print(f"{system.name}, {part}: {type(error).__name__}: {error}\n{where.logs()}", file=sys.stderr, flush=True)
        return {}


def told(name: str, part: str, work: Callable[[], Figures]) -> Figures:
    """One part, and a line on it for whoever waits."""
    started_s = time.monotonic()
    figures = work()
    shown = " ".join(f"{key}={value:.4g}" for key, value in figures.items())
    print(f"[{time.monotonic() - started_s:3.0f} s] {name} {part}: {shown}", file=sys.stderr, flush=True)
    return figures


@contextmanager
def place(folder: Path, picture: bytes, receiver: Receiver, rabbit: RabbitServer | None) -> Iterator[Place]:
    """A folder and a virtual host, both new, and a receiver that has heard of nothing."""
    folder.mkdir()
    (folder / "photo.jpg").write_bytes(picture)
    if rabbit:
        rabbit.control("add_vhost", folder.name)
        rabbit.control("set_permissions", "-p", folder.name, "guest", ".*", ".*", ".*")
    receiver.forget()
    try:
        yield Place(folder, picture, SECRET, receiver, rabbit, folder.name)
    finally:
        if rabbit:
            rabbit.control("delete_vhost", folder.name)
