"""Puts a run into the repository: its JSON, the charts, and the tables between the markers of the READMEs."""

import re
from pathlib import Path
from typing import Final

from tests.bench.peers import chart, table
from tests.bench.peers.results import Results
from tests.support.local_runner import ROOT

FOLDER: Final = ROOT / "tests" / "bench" / "results"
BEGIN: Final = "<!-- made by `make bench PEERS=1 ARGS=--publish`: begin -->"
END: Final = "<!-- made by `make bench PEERS=1 ARGS=--publish`: end -->"
BETWEEN: Final = re.compile(f"(?<={re.escape(BEGIN)}\n).*?(?={re.escape(END)})", re.DOTALL)
README: Final = ROOT / "README.md"
DETAILS: Final = ROOT / "tests" / "bench" / "README.md"


def publish(results: Results) -> None:
    """Write all of it; the run becomes the one that the READMEs show."""
    results.save(FOLDER / f"{results.date}.json")
    render(results)


def render(results: Results) -> None:
    """What is made from a run that is kept."""
    for name, content in charts(results).items():
        (FOLDER / name).write_text(content)
    for file, text in texts(results).items():
        file.write_text(put(file.read_text(), text))


def newest() -> Path:
    """The file of the run that the READMEs show."""
    return max(FOLDER.glob("*.json"))


def charts(results: Results) -> dict[str, str]:
    """Each chart by its file's name."""
    return {
        f"{name}-{page}.svg": draw(results, theme)
        for name, draw in chart.CHARTS.items()
        for page, theme in chart.THEMES.items()
    }


def texts(results: Results) -> dict[Path, str]:
    """What belongs between the markers of each README."""
    return {
        README: f"{table.short(results)}\n\n{picture('drained', README)}\n{picture('waits', README)}\n",
        DETAILS: f"{table.full(results)}\n",
    }


def picture(name: str, file: Path) -> str:
    """A chart in the colours of the reader's page."""
    folder = FOLDER.relative_to(file.parent)
    alt = {"drained": "No-op jobs drained a second", "waits": "From the hand-over of a job to its callback"}[name]
    return (
        f'<picture><source media="(prefers-color-scheme: dark)" srcset="{folder}/{name}-dark.svg">'
        f'<img src="{folder}/{name}-light.svg" alt="{alt}"></picture>'
    )


def put(text: str, between: str) -> str:
    """A README with this between its markers."""
    if not BETWEEN.search(text):
        raise ValueError(f"the README must have a line {BEGIN!r} and after it {END!r}")
    return BETWEEN.sub(lambda _: between, text)
