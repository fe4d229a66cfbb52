"""Errands side by side with what people would pick instead: rounds in which every system takes its turn.

  python -m tests.bench.peers                                     what is installed, in full
  python -m tests.bench.peers --quick                             a minute's worth: one round, small backlogs
  python -m tests.bench.peers --systems embedded,celery --figures drain,latency
  python -m tests.bench.peers --peers                             makes the peers' environments below .bench/ first

The peers run only where their environments are made. Everything listens on 127.0.0.1 and ends with the command.
What came out is printed, and kept with --save FILE.
"""

import argparse
import base64
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from tests.bench.peers.environments import Environment
from tests.bench.peers.measuring import PARTS, Amounts, Figures
from tests.bench.peers.receiver import Receiver, receiving
from tests.bench.peers.results import Results, Round, comparison
from tests.bench.peers.systems import celery, errands
from tests.bench.peers.systems.base import Place, System
from tests.bench.peers.work import photo
from tests.rabbitmq_server import RabbitServer, rabbit_server

SYSTEMS: Sequence[System] = (errands.EMBEDDED, errands.RABBITMQ, *celery.SYSTEMS)
ENVIRONMENTS: Sequence[Environment] = (celery.ENVIRONMENT,)
SECRET = "whsec_" + base64.b64encode(b"the same for every system, 32 b.").decode()


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure, print, keep."""
    options = parser().parse_args(arguments)
    if options.peers:
        for each in ENVIRONMENTS:
            each.make()
    systems = chosen(options.systems)
    rounds = options.rounds or (1 if options.quick else 3)
    amounts = Amounts(latency_s=3.0, share=0.2) if options.quick else Amounts()
    measured = measure(systems, options.figures.split(","), rounds, amounts)
    results = Results.of(measured, systems, amounts)
    if options.save:
        results.save(options.save)
    print(comparison(results))


def parser() -> argparse.ArgumentParser:
    """The command's options."""
    made = argparse.ArgumentParser(
        prog="python -m tests.bench.peers", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    made.add_argument("--peers", action="store_true", help="make the peers' environments where they are not there")
    made.add_argument("--quick", action="store_true", help="one round, a fifth of the backlogs, 3 s of latency")
    made.add_argument("--rounds", type=int, help="3, or 1 with --quick; medians of the rounds are shown")
    names = ",".join(each.name for each in SYSTEMS)
    made.add_argument("--systems", default=names, help=f"default: all that are installed of {names}")
    made.add_argument("--figures", default=",".join(PARTS), help="of latency, drain, image; default: all")
    made.add_argument("--save", type=Path, metavar="FILE", help="keep every round's figures as JSON")
    return made


def chosen(names: str) -> list[System]:
    """The systems that can take part; says of the others why not."""
    known = {each.name: each for each in SYSTEMS}
    wanted = [known[name] for name in names.split(",")]
    for each in wanted:
        if reason := each.missing():
            print(f"without {each.title}: {reason}")
    return [each for each in wanted if not each.missing()]


def measure(systems: Sequence[System], parts: Sequence[str], rounds: int, amounts: Amounts) -> list[Round]:
    """Every system's figures, round by round; within a round the systems take turns at each part."""
    measured: list[Round] = []
    with tempfile.TemporaryDirectory(prefix="errands-bench-") as kept, receiving() as receiver:
        folder, picture = Path(kept), photo()
        with rabbit_server(folder / "rabbitmq") as rabbit:
            for number in range(rounds):
                measured.append({each.name: {} for each in systems})
                for part in parts:
                    for system in systems:
                        name = f"{number}-{part}-{system.name}"
                        with place(folder / name, picture, receiver, rabbit) as where:
                            figures = tried(system, part, where, amounts)
                        measured[-1][system.name] |= figures
    return measured


def tried(system: System, part: str, where: Place, amounts: Amounts) -> Figures:
    """One part of one system; a failure is told and leaves its figures out."""
    started_s = time.monotonic()
    try:
        figures = PARTS[part](system, where, amounts)
        checked = where.receiver.verify(where.secret)
    except (AssertionError, RuntimeError, TimeoutError) as error:
        print(f"{system.name}, {part}: {error}\n{where.logs()}", flush=True)
        return {}
    shown = " ".join(f"{name}={value:.4g}" for name, value in figures.items())
    print(
        f"[{time.monotonic() - started_s:3.0f} s] {system.name} {part} ({checked} signatures right): {shown}",
        flush=True,
    )
    return figures


@contextmanager
def place(folder: Path, picture: bytes, receiver: Receiver, rabbit: RabbitServer) -> Iterator[Place]:
    """A folder and a virtual host, both new, and a receiver that has heard of nothing."""
    folder.mkdir()
    (folder / "photo.jpg").write_bytes(picture)
    rabbit.control("add_vhost", folder.name)
    rabbit.control("set_permissions", "-p", folder.name, "guest", ".*", ".*", ".*")
    receiver.forget()
    try:
        yield Place(folder, picture, SECRET, receiver, rabbit, folder.name)
    finally:
        rabbit.control("delete_vhost", folder.name)
