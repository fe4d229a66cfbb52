"""What a run found: every figure as it was measured, kept in a file; medians and ratios are made from it when shown."""

import json
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

from tests.bench.peers.machine import machine, programs
from tests.bench.peers.measuring import Amounts, Figures
from tests.bench.peers.systems.base import System

Round = dict[str, Figures]
YARDSTICK: Final = "celery"
OWN: Final = "errands alone"  # in a round: what no other system has


@dataclass(frozen=True, kw_only=True)
class Results:
    """One run. `systems` tells of each what it is; `rounds` has the figures by system, and Errands' own by OWN."""

    at: str  # when it ended, RFC 3339
    took_s: float
    machine: Mapping[str, str]
    versions: Mapping[str, str]
    amounts: Mapping[str, float]
    systems: Mapping[str, Mapping[str, Any]]
    rounds: Sequence[Round]

    @classmethod
    def of(cls, rounds: Sequence[Round], systems: Sequence[System], amounts: Amounts, *, took_s: float) -> "Results":
        """This machine's, now."""
        versions = programs()
        for each in systems:
            versions |= each.versions()
        return cls(
            at=datetime.now(UTC).isoformat(timespec="seconds").replace("+00:00", "Z"),
            took_s=round(took_s),
            machine=machine(),
            versions=versions,
            amounts=asdict(amounts),
            systems={each.name: each.told() for each in systems},
            rounds=[rounded(each) for each in rounds],
        )

    @classmethod
    def read(cls, file: Path) -> "Results":
        """What `save` wrote."""
        return cls(**json.loads(file.read_text()))

    def save(self, file: Path) -> None:
        """As JSON."""
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(json.dumps(asdict(self), indent=1) + "\n")

    @property
    def date(self) -> str:
        """The day of the run."""
        return self.at[:10]

    def values(self, system: str, figure: str) -> list[float]:
        """Of the rounds that have it."""
        return [one[system][figure] for one in self.rounds if figure in one.get(system, {})]

    def median(self, system: str, figure: str) -> float | None:
        """Over the rounds, or None where it was not measured."""
        values = self.values(system, figure)
        return statistics.median(values) if values else None

    def ratio(self, system: str, figure: str, to: str = YARDSTICK, to_figure: str | None = None) -> float | None:
        """The median of the rounds' ratios: what else the machine does falls on both of a round."""
        pairs = [(one.get(system, {}).get(figure), one.get(to, {}).get(to_figure or figure)) for one in self.rounds]
        ratios = [value / base for value, base in pairs if value is not None and base]
        return statistics.median(ratios) if ratios else None


def rounded(one: Round) -> Round:
    """Four significant digits: what comes after them is not this machine's to tell."""
    return {name: {key: float(f"{value:.4g}") for key, value in each.items()} for name, each in one.items()}
