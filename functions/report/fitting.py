"""How a table's columns come to fit on a line of its paper: by smaller type, by turning the paper, or not at all.

Numbers and dates are never broken, and neither are words of an ordinary length.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from events.problem import FieldError, JobFailed
from events.types.report import ReportPdf

# Of a figure of the templates' font in the table's type.
FIGURE_MM: Final = 1.615
_MARGIN_MM: Final = 16.0
_SIZES_MM: Final = {
    "A3": (297.0, 420.0),
    "A4": (210.0, 297.0),
    "A5": (148.0, 210.0),
    "A6": (105.0, 148.0),
    "B4": (250.0, 353.0),
    "B5": (176.0, 250.0),
    "letter": (215.9, 279.4),
    "legal": (215.9, 355.6),
    "ledger": (279.4, 431.8),
}
# Of the table's type: what is read with ease, and what can be read at all (8 pt and 4.4 pt of 8).
_EASY: Final = 0.8
_LEAST: Final = 0.55


@dataclass(frozen=True)
class Fit:
    """How the table is laid out; `warning` says what is not as it was asked for."""

    landscape: bool
    scale: float = 1.0
    line_mm: float = 178.0
    warning: str | None = None


def fitted(need_mm: float, landscape: bool, papers: Sequence[ReportPdf]) -> Fit:
    """Of the papers the narrowest counts; raise JobFailed where the columns do not fit on it at any size."""
    may_turn = not landscape and not any(each.orientation or each.width_mm for each in papers)
    for turned in (landscape, True) if may_turn else (landscape,):
        line_mm = min((_line_mm(each, turned) for each in papers), default=_line_mm(ReportPdf(), turned))
        scale = round(min(1.0, line_mm / need_mm), 3)
        if scale >= (_EASY if may_turn and not turned else _LEAST) or not papers:
            return Fit(turned, scale if papers else 1.0, line_mm, _warning(scale, turned is not landscape))
    detail = (
        f"the columns need {need_mm:.0f} mm of a line, and the paper has {line_mm:.0f} mm: leave columns out, "
        "or give the output's pdf a larger size"
    )
    raise JobFailed("invalid-data", detail, (FieldError(pointer="#/data/columns", detail=detail),))


def _warning(scale: float, is_turned: bool) -> str | None:
    done = [*(["on landscape paper"] if is_turned else []), *([f"in type of {8 * scale:.1f} pt"] if scale < 1 else [])]
    return f"the table is set {' and '.join(done)}, so that its columns fit" if done else None


def _line_mm(paper: ReportPdf, landscape: bool) -> float:
    """What the margins leave of the paper's width."""
    if paper.width_mm is not None and paper.height_mm is not None:
        sides = sorted((paper.width_mm, paper.height_mm), reverse=paper.orientation == "landscape")
        width_mm = sides[0] if paper.orientation else paper.width_mm
    else:
        is_wide = paper.orientation == "landscape" if paper.orientation else landscape
        width_mm = _SIZES_MM[paper.size or "A4"][is_wide]
    margin = paper.margin
    left_mm = _MARGIN_MM if margin is None or margin.left_mm is None else margin.left_mm
    right_mm = _MARGIN_MM if margin is None or margin.right_mm is None else margin.right_mm
    return max(width_mm - left_mm - right_mm, 1.0)
