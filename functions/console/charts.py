"""Bars of how jobs ended, each with a mark of how many were accepted: sizes and places for an SVG, whose colours are
the page's.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from functions.gateway.results import Span

WIDTH: Final = 600
HEIGHT: Final = 84
GAP: Final = 2
MARK: Final = 2.5  # how high that is
ENDS: Final = ("completed", "failed", "other")  # from the ground up
KINDS: Final = ("accepted", *ENDS)


@dataclass(frozen=True, slots=True)
class Part:
    """A rectangle of one kind."""

    kind: str
    x: float
    y: float
    width: float
    height: float


@dataclass(frozen=True, slots=True)
class Bar:
    """A span's parts, and what is said of it."""

    at: str
    said: str
    x: float
    width: float
    parts: tuple[Part, ...]


@dataclass(frozen=True, slots=True)
class Chart:
    """So many bars, the highest as high as the chart."""

    title: str
    bars: tuple[Bar, ...]
    sums: dict[str, int]
    most: int
    width: int = WIDTH
    height: int = HEIGHT

    @classmethod
    def of(cls, title: str, spans: Sequence[Span]) -> "Chart":
        """Of the spans, in their order."""
        most = max((max(_ended(each), each.accepted) for each in spans), default=0)
        step = WIDTH / max(len(spans), 1)
        bars = tuple(_bar(each, index * step, step - GAP, most) for index, each in enumerate(spans))
        return cls(title, bars, {kind: sum(getattr(each, kind) for each in spans) for kind in KINDS}, most)

    @property
    def said(self) -> str:
        """All of it in words."""
        counts = ", ".join(f"{count:,} {_word(kind)}" for kind, count in self.sums.items())
        return f"{self.title}: {counts}; at most {self.most:,} at once"


def _bar(span: Span, x: float, width: float, most: int) -> Bar:
    parts, top = [], float(HEIGHT)
    for kind in ENDS:
        count = getattr(span, kind)
        if count:
            height = max(1.5, HEIGHT * count / most)  # what is there is seen
            top = max(0.0, top - height)
            parts.append(Part(kind, round(x, 2), round(top, 2), round(width, 2), round(height, 2)))
    if span.accepted:
        y = max(0.0, HEIGHT * (1 - span.accepted / most) - MARK / 2)
        parts.append(Part("accepted", round(x, 2), round(y, 2), round(width, 2), MARK))
    said = ", ".join(f"{getattr(span, kind):,} {_word(kind)}" for kind in KINDS if getattr(span, kind))
    return Bar(span.at, said or "none", round(x, 2), round(width, 2), tuple(parts))


def _ended(span: Span) -> int:
    return span.completed + span.failed + span.other


def _word(kind: str) -> str:
    return "otherwise" if kind == "other" else kind
