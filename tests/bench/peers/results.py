"""What a run found, as it is kept in a file and as it is summed up."""

import json
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

from tests.bench.peers.figures import FIGURES
from tests.bench.peers.machine import machine, programs
from tests.bench.peers.measuring import Amounts, Figures
from tests.bench.peers.systems.base import System

Round = dict[str, Figures]
YARDSTICK: Final = "celery"


@dataclass(frozen=True, kw_only=True)
class Results:
    """One run: `rounds` holds every figure of every system as it was measured, nothing is summed up."""

    at: str  # when it ended, RFC 3339
    machine: Mapping[str, str]
    versions: Mapping[str, str]
    amounts: Mapping[str, float]
    systems: Mapping[str, Mapping[str, str]]  # title, durability and settings of each
    rounds: Sequence[Round]

    @classmethod
    def of(cls, rounds: Sequence[Round], systems: Sequence[System], amounts: Amounts) -> "Results":
        """This machine's, now."""
        versions = programs()
        for each in systems:
            versions |= each.versions()
        told = {each.name: {n: getattr(each, n) for n in ("title", "durability", "settings")} for each in systems}
        now = datetime.now(UTC).isoformat(timespec="seconds").replace("+00:00", "Z")
        return cls(
            at=now, machine=machine(), versions=versions, amounts=asdict(amounts), systems=told, rounds=list(rounds)
        )

    @classmethod
    def read(cls, file: Path) -> "Results":
        """What `save` wrote."""
        kept: dict[str, Any] = json.loads(file.read_text())
        return cls(**kept)

    def save(self, file: Path) -> None:
        """As JSON, four significant digits."""
        rounds = [
            {name: {key: float(f"{value:.4g}") for key, value in each.items()} for name, each in one.items()}
            for one in self.rounds
        ]
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(json.dumps(asdict(self) | {"rounds": rounds}, indent=1) + "\n")

    def values(self, system: str, figure: str) -> list[float]:
        """Of the rounds that have it."""
        return [one[system][figure] for one in self.rounds if figure in one.get(system, {})]

    def median(self, system: str, figure: str) -> float | None:
        """Over the rounds, or None where it was not measured."""
        values = self.values(system, figure)
        return statistics.median(values) if values else None

    def ratio(self, system: str, figure: str, to: str = YARDSTICK) -> float | None:
        """The median of the rounds' ratios: what else the machine does falls on both of a round."""
        pairs = [(one.get(system, {}).get(figure), one.get(to, {}).get(figure)) for one in self.rounds]
        ratios = [value / base for value, base in pairs if value is not None and base]
        return statistics.median(ratios) if ratios else None


def comparison(results: Results) -> str:
    """For a terminal: a row for each figure, a column for each system, with the ratio to Celery."""
    names = list(results.systems)
    lines = [" " * 46 + "".join(f"{name:>20}" for name in names)]
    for key, figure in FIGURES.items():
        cells = [_cell(results, name, key, figure.digits) for name in names]
        if any(cells):
            lines.append(f"{figure.title + ', ' + figure.unit:<46}" + "".join(f"{cell:>20}" for cell in cells))
    return "\n".join(lines)


def _cell(results: Results, name: str, key: str, digits: int) -> str:
    median, ratio = results.median(name, key), results.ratio(name, key)
    if median is None:
        return ""
    return f"{median:,.{digits}f}" + (f" ({ratio:.2f} x)" if ratio is not None and name != YARDSTICK else "")
