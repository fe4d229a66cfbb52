"""The charts: SVG by hand, one drawing for a light page and one for a dark one."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final
from xml.sax.saxutils import escape

from tests.bench.peers.results import YARDSTICK, Results
from tests.bench.peers.table import number

WIDTH_PX: Final = 780
LEFT_PX: Final = 226
RIGHT_PX: Final = 150  # for the figures at the bars' ends
TOP_PX: Final = 64
ROW_PX: Final = 30
BAR_PX: Final = 16
BOTTOM_PX: Final = 34
FONT: Final = "font-family=\"-apple-system, 'Segoe UI', Helvetica, Arial, sans-serif\""


@dataclass(frozen=True)
class Theme:
    """The colours of one kind of page."""

    text: str
    muted: str
    grid: str
    ours: str
    others: str


THEMES: Final[Mapping[str, Theme]] = {
    "light": Theme(text="#1f2328", muted="#59636e", grid="#d9dee4", ours="#0b7a6f", others="#a7b3c2"),
    "dark": Theme(text="#e6edf3", muted="#9198a1", grid="#30363d", ours="#2dc4b2", others="#5d6b7c"),
}


@dataclass(frozen=True)
class Row:
    """A system's line in a chart: from `low` to `high`, with `value` the one that is meant."""

    label: str
    value: float
    low: float
    high: float
    told: str
    ours: bool


def drained(results: Results, theme: Theme) -> str:
    """Bars from zero: no-op jobs a second, the rounds' spread as a line over each."""
    rows = []
    for name in results.systems:
        if values := results.values(name, "drained_per_s"):
            median, ratio = results.median(name, "drained_per_s"), results.ratio(name, "drained_per_s")
            told = number(median) + (f" · {ratio:.2f} x Celery" if ratio and name != YARDSTICK else "")
            rows.append(_row(results, name, told, value=median or 0.0, low=min(values), high=max(values)))
    highest = max(each.high for each in rows)
    marks = [(mark / highest, number(mark)) for mark in ticks(highest)]
    body = [_bar(number_, each, theme, highest) for number_, each in enumerate(sorted(rows, key=lambda r: -r.value))]
    return _page("No-op jobs drained a second, each with its callback; more is better", results, theme, marks, body)


def waits(results: Results, theme: Theme) -> str:
    """From p50 to p99 on a scale of powers of ten."""
    rows = []
    for name in results.systems:
        p50, p99 = (results.median(name, f"handed_over_{each}_ms") for each in ("p50", "p99"))
        if p50 is not None and p99 is not None:
            pace_per_s = results.systems[name]["pace_per_s"]
            told = f"{number(p50, 1)} · {number(p99, 1)} ms" + (f" at {pace_per_s:g}/s" if pace_per_s != 20 else "")
            rows.append(_row(results, name, told, value=p50, low=p50, high=p99))
    least, most = math.log10(min(each.low for each in rows)) - 0.1, math.log10(max(each.high for each in rows))

    def scale(value: float) -> float:
        return (math.log10(value) - least) / (most - least)

    powers = [10.0**power for power in range(math.ceil(least), math.floor(most) + 1)]
    marks = [(scale(power), f"{power:g} ms") for power in powers]
    placed = enumerate(sorted(rows, key=lambda r: r.value))
    body = [_range(number_, each, theme, scale(each.low), scale(each.high)) for number_, each in placed]
    heading = "From the hand-over of a job to its callback at 20 jobs/s, p50 and p99; less is better"
    return _page(heading, results, theme, marks, body)


def ticks(highest: float, count: int = 4) -> list[float]:
    """Round numbers from zero, about so many."""
    step = 10 ** math.floor(math.log10(highest / count))
    step *= next(factor for factor in (1, 2, 5, 10) if highest / (step * factor) <= count)
    return [step * each for each in range(math.floor(highest / step) + 1)]


CHARTS: Final = {"drained": drained, "waits": waits}


def _row(results: Results, name: str, told: str, *, value: float, low: float, high: float) -> Row:
    title = str(results.systems[name]["title"])
    return Row(title, value, low, high, told, ours=title.startswith("Errands"))


def _x_px(part: float) -> float:
    return LEFT_PX + part * (WIDTH_PX - LEFT_PX - RIGHT_PX)


def _y_px(number_: int) -> float:
    return TOP_PX + number_ * ROW_PX + ROW_PX / 2


def _bar(number_: int, row: Row, theme: Theme, highest: float) -> str:
    y_px, end_px = _y_px(number_), _x_px(row.value / highest)
    fill = theme.ours if row.ours else theme.others
    low_px, high_px = _x_px(row.low / highest), _x_px(row.high / highest)
    return "\n".join(
        [
            _label(row, y_px, theme),
            f'<rect x="{LEFT_PX}" y="{y_px - BAR_PX / 2:g}" width="{max(1.5, end_px - LEFT_PX):.1f}" '
            f'height="{BAR_PX}" rx="2" fill="{fill}"/>',
            f'<path d="M{low_px:.1f} {y_px:g}H{high_px:.1f}" stroke="{theme.text}" stroke-width="1.5"/>',
            _told(row, max(end_px, high_px) + 8, y_px, theme),
        ]
    )


def _range(number_: int, row: Row, theme: Theme, low: float, high: float) -> str:
    y_px, low_px, high_px = _y_px(number_), _x_px(low), _x_px(high)
    fill = theme.ours if row.ours else theme.others
    return "\n".join(
        [
            _label(row, y_px, theme),
            f'<path d="M{low_px:.1f} {y_px:g}H{high_px:.1f}" stroke="{fill}" stroke-width="6" stroke-linecap="round"/>',
            f'<circle cx="{low_px:.1f}" cy="{y_px:g}" r="6.5" fill="{fill}"/>',
            f'<path d="M{high_px:.1f} {y_px - 7:g}v14" stroke="{fill}" stroke-width="3" stroke-linecap="round"/>',
            _told(row, high_px + 10, y_px, theme),
        ]
    )


def _label(row: Row, y_px: float, theme: Theme) -> str:
    weight = ' font-weight="600"' if row.ours else ""
    where = f'x="{LEFT_PX - 12}" y="{y_px + 4.5:g}" text-anchor="end"'
    return f'<text {where} fill="{theme.text}" font-size="13"{weight}>{escape(row.label)}</text>'


def _told(row: Row, x_px: float, y_px: float, theme: Theme) -> str:
    colour = theme.text if row.ours else theme.muted
    return f'<text x="{x_px:.1f}" y="{y_px + 4:g}" fill="{colour}" font-size="12">{escape(row.told)}</text>'


def _page(heading: str, results: Results, theme: Theme, marks: Sequence[tuple[float, str]], body: Sequence[str]) -> str:
    height_px = TOP_PX + len(body) * ROW_PX + BOTTOM_PX
    floor_px = TOP_PX + len(body) * ROW_PX
    where = f"{results.machine['processor']}, {results.machine['cores']} cores"
    below = f"{results.date} · {where} · medians of {len(results.rounds)} rounds"
    grid = [
        f'<path d="M{_x_px(part):.1f} {TOP_PX - 6}V{floor_px}" stroke="{theme.grid}"/>'
        f'<text x="{_x_px(part):.1f}" y="{floor_px + 18}" fill="{theme.muted}" font-size="11" text-anchor="middle">'
        f"{escape(text)}</text>"
        for part, text in marks
    ]
    return "\n".join(
        [
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH_PX} {height_px}" width="{WIDTH_PX}" '
            f'height="{height_px}" role="img" aria-label="{escape(heading)}" {FONT}>',
            f'<text x="0" y="20" fill="{theme.text}" font-size="16" font-weight="600">{escape(heading)}</text>',
            f'<text x="0" y="41" fill="{theme.muted}" font-size="12">{escape(below)}</text>',
            *grid,
            *body,
            "</svg>\n",
        ]
    )
