"""Bars of how jobs ended, for an SVG: sizes and places, whose colours are the page's."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from functions.console.gateway import Span

WIDTH: Final = 600
HEIGHT: Final = 84
GAP: Final = 2
KINDS: Final = ("completed", "failed", "other")  # from the ground up


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
        most = max((_sum(each) for each in spans), default=0)
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
    for kind in KINDS:
        count = getattr(span, kind)
        if count:
            height = max(1.5, HEIGHT * count / most)  # what is there is seen
            top = max(0.0, top - height)
            parts.append(Part(kind, round(x, 2), round(top, 2), round(width, 2), round(height, 2)))
    said = ", ".join(f"{getattr(span, kind):,} {_word(kind)}" for kind in KINDS if getattr(span, kind))
    return Bar(span.at, said or "none", round(x, 2), round(width, 2), tuple(parts))


def _sum(span: Span) -> int:
    return span.completed + span.failed + span.other


def _word(kind: str) -> str:
    return "otherwise" if kind == "other" else kind
