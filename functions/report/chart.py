"""Charts as SVG, drawn of nothing but numbers: bars, lines, stacked bars, a donut, a sparkline.

An SVG is vector graphics in the PDF and needs no script in the page. Its texts are not in it but laid over it by the
page: WeasyPrint sets the letters of an SVG's text one by one, which breaks Arabic. Sizes are in the SVG's own units,
which the page scales.
"""

import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Final, Literal

from markupsafe import Markup, escape

from functions.report.dashboard import Chart

Write = Callable[[float], str]
Values = Sequence[float | None]

_GRID, _QUIET = "#e3e7ec", "#6b7280"
_HEIGHT, _TOP, _BOTTOM, _TEXT_SIZE = 200.0, 10.0, 24.0, 9.0
_CHARACTER = 0.56 * _TEXT_SIZE
_SPOKEN = 60
# after the accent: hues that stay apart in print and for the colour-blind (Okabe and Ito, 2008, darkened a little)
_COLORS = (
    "#d1651a",
    "#2f9e77",
    "#c0568f",
    "#b8860b",
    "#5aa6d6",
    "#7a5ea8",
    "#8a8f98",
    "#a23b3b",
    "#3c6e47",
    "#946638",
    "#46808f",
)


# The colours in turn: the accent is the first of a chart, and none of those that come again.
COLORS: Final = 1 + len(_COLORS)
_NOTHING: Final = Markup()


@dataclass(frozen=True)
class ChartText:
    """A text over a drawing: its middle, or its end, stands at this place."""

    left_percent: float
    top_percent: float
    text: str
    anchor: Literal["middle", "end"] = "middle"
    big: bool = False


@dataclass(frozen=True)
class Drawing:
    """A chart; `svg` is empty where there is nothing to draw."""

    svg: Markup = _NOTHING
    texts: tuple[ChartText, ...] = ()


def color(index: int, accent: str) -> str:
    """The color of a series."""
    return accent if index == 0 else _COLORS[(index - 1) % len(_COLORS)]


def chart(given: Chart, *, accent: str, write: Write) -> Drawing:
    """The drawing without its legend; its title, for who cannot see it, has the values."""
    series = [[None if value is None else float(value) for value in each.values] for each in given.series]
    if not any(value is not None for values in series for value in values):
        return Drawing()
    if given.kind == "donut":
        return _donut(given, [value or 0 for value in series[0]], accent, write)
    area = _frame(given, series, write)
    if given.kind == "line":
        parts = [_line(area, values, color(index, accent)) for index, values in enumerate(series)]
    else:
        parts = _bars(area, series, accent, stacked=given.kind == "stacked")
    texts = (*_values(area, write), *_places(area, given.labels))
    return Drawing(_svg(area.width, _HEIGHT, [*_grid(area), *parts], _told(given, write)), texts)


def sparkline(values: Sequence[float], *, accent: str, write: Write) -> Markup:
    """A line as high as a text, its last point marked; empty for less than two values."""
    if len(values) < 2:
        return _NOTHING
    low, high = min(values), max(values)
    spread = high - low or 1
    points = [
        (3 + 94 * index / (len(values) - 1), 21 - 18 * ((value - low) / spread if high > low else 0.5))
        for index, value in enumerate(values)
    ]
    x, y = points[-1]
    line = f'<path d="{_path(points)}" fill="none" stroke="{accent}" stroke-width="1.5" stroke-linejoin="round"/>'
    return _svg(100, 24, [line, f'<circle cx="{x:.2f}" cy="{y:.2f}" r="2" fill="{accent}"/>'], _cut(map(write, values)))


@dataclass(frozen=True)
class PlotArea:
    """Where a value stands: `ticks` are the values of the grid's lines."""

    width: float
    left: float
    places: int
    ticks: tuple[float, ...]

    def x(self, place: float) -> float:
        """The middle of a place on the axis is `place + 0.5`."""
        return self.left + (self.width - self.left - 4) * place / self.places

    def y(self, value: float) -> float:
        low, high = self.ticks[0], self.ticks[-1]
        return _TOP + (_HEIGHT - _TOP - _BOTTOM) * (1 - (value - low) / (high - low))


def ticks(low: float, high: float, *, wanted: int = 5) -> tuple[float, ...]:
    """Round values from at most `low` to at least `high`, steps of 1, 2, 2.5 or 5 (Heckbert, Graphics Gems, 1990)."""
    if low == high:
        low, high = min(low, 0), max(high, 0) or 1
    rough = (high - low) / wanted
    scale = 10 ** math.floor(math.log10(rough))
    step = next(each * scale for each in (1, 2, 2.5, 5, 10) if each * scale >= rough * 0.999)
    first, last = math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9)
    return tuple(number * step for number in range(first, last + 1))


def _frame(given: Chart, series: Sequence[Values], write: Write) -> PlotArea:
    known = [value for values in series for value in values if value is not None]
    if given.kind == "stacked":
        known = [sum(value or 0 for value in column) for column in zip(*series, strict=True)]
    # bars start at zero; so does a line, unless that would leave it flat
    low, high = min(known), max(known)
    if given.kind != "line" or low <= 0 or high - low > low / 2:
        low, high = min(low, 0), max(high, 0)
    marks = ticks(low, high)
    left = max(len(write(mark)) for mark in marks) * _CHARACTER + 8
    return PlotArea(760.0 if given.wide else 370.0, left, max(len(given.labels), 1), marks)


def _grid(area: PlotArea) -> Iterable[str]:
    for mark in area.ticks:
        y, stroke = area.y(mark), _QUIET if mark == 0 else _GRID
        yield f'<path d="M{area.left:.1f} {y:.1f}H{area.width - 4:.1f}" stroke="{stroke}" stroke-width="0.6"/>'


def _values(area: PlotArea, write: Write) -> Iterator[ChartText]:
    for mark in area.ticks:
        yield _text(area.left - 5, area.y(mark), write(mark), area.width, anchor="end")


def _places(area: PlotArea, labels: Sequence[str]) -> Iterator[ChartText]:
    """As many labels as there is room for, each cut to it."""
    room = (area.width - area.left) / area.places
    longest = max(map(len, labels), default=1)
    every = max(1, math.ceil(min(longest, 10) * _CHARACTER * 1.1 / room))
    most = max(int(room * every / _CHARACTER) - 1, 1)
    for place in range(0, len(labels), every):
        label = labels[place]
        shown = label if len(label) <= most else label[: max(most - 1, 1)] + "…"
        yield _text(area.x(place + 0.5), _HEIGHT - 10, shown, area.width)


def _text(x: float, y: float, text: str, width: float, *, anchor: Literal["middle", "end"] = "middle") -> ChartText:
    return ChartText(round(100 * x / width, 2), round(100 * y / _HEIGHT, 2), text, anchor)


def _bars(area: PlotArea, series: Sequence[Values], accent: str, *, stacked: bool) -> list[str]:
    room = area.x(1) - area.x(0)
    width = room * 0.7 / (1 if stacked else len(series))
    bars, bases = [], [0.0] * area.places
    for index, values in enumerate(series):
        for place, value in enumerate(values):
            if not value:
                continue
            x = area.x(place) + room * 0.15 + (0 if stacked else index * width)
            ends = sorted((area.y(bases[place]), area.y(bases[place] + value)))
            bases[place] += value if stacked else 0
            bars.append(
                f'<rect x="{x:.2f}" y="{ends[0]:.2f}" width="{width * 0.94:.2f}" height="{ends[1] - ends[0]:.2f}" '
                f'fill="{color(index, accent)}"/>'
            )
    return bars


def _line(area: PlotArea, values: Values, stroke: str) -> str:
    """Broken where a value is absent; a value between two absent ones is a dot."""
    runs: list[list[tuple[float, float]]] = [[]]
    for place, value in enumerate(values):
        if value is None:
            runs.append([])
        else:
            runs[-1].append((area.x(place + 0.5), area.y(value)))
    d = " ".join(_path(run) for run in runs if len(run) > 1)
    dots = [run[0] for run in runs if len(run) == 1] if len(values) > 1 else [p for run in runs for p in run]
    line = f'<path d="{d}" fill="none" stroke="{stroke}" stroke-width="2" stroke-linejoin="round"/>' if d else ""
    return line + "".join(f'<circle cx="{x:.2f}" cy="{y:.2f}" r="2.5" fill="{stroke}"/>' for x, y in dots)


def _donut(given: Chart, values: Sequence[float], accent: str, write: Write) -> Drawing:
    total, start, parts = sum(values), 0.0, []
    for index, value in enumerate(values):
        share = value / total if total else 0
        if share:
            parts.append(_slice(start, start + share, color(index, accent)))
        start += share
    if not total:
        return Drawing()
    return Drawing(_svg(200, 200, parts, _told(given, write)), (ChartText(50, 50, write(total), big=True),))


def _slice(start: float, end: float, fill: str) -> str:
    """A ring from one part of the circle to another, clockwise from the top."""
    if end - start > 0.9999:  # an arc from a point to itself is none
        return f'<circle cx="100" cy="100" r="76" fill="none" stroke="{fill}" stroke-width="36"/>'
    large = 1 if end - start > 0.5 else 0
    (x1, y1), (x2, y2) = _on_circle(start, 94), _on_circle(end, 94)
    (x3, y3), (x4, y4) = _on_circle(end, 58), _on_circle(start, 58)
    d = f"M{x1:.2f} {y1:.2f}A94 94 0 {large} 1 {x2:.2f} {y2:.2f}L{x3:.2f} {y3:.2f}A58 58 0 {large} 0 {x4:.2f} {y4:.2f}Z"
    return f'<path d="{d}" fill="{fill}" stroke="#ffffff" stroke-width="1.5"/>'


def _on_circle(part: float, radius: float) -> tuple[float, float]:
    return 100 + radius * math.sin(2 * math.pi * part), 100 - radius * math.cos(2 * math.pi * part)


def _path(points: Sequence[tuple[float, float]]) -> str:
    return "M" + "L".join(f"{x:.2f} {y:.2f}" for x, y in points)


def _told(given: Chart, write: Write) -> str:
    """The chart in words, for screen readers and for PDF/UA (ISO 14289-1 7.3)."""
    return f"{given.title}: " + _cut(
        f"{each.name}, {label} {write(float(value))}"
        for each in given.series
        for label, value in zip(given.labels, each.values, strict=True)
        if value is not None
    )


def _cut(values: Iterable[str]) -> str:
    """As many of them as a person listens to."""
    shown = list(islice(values, _SPOKEN + 1))
    return "; ".join(shown[:_SPOKEN]) + (" …" if len(shown) > _SPOKEN else "")


def _svg(width: float, height: float, parts: Iterable[str], told: str) -> Markup:
    head = f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width:g} {height:g}" role="img">'
    body = f"{head}<title>{escape(told)}</title>{''.join(parts)}</svg>"
    return Markup(body)  # noqa: S704  # numbers, checked colours, and a text that is escaped
