"""A table's data: columns that say what their cells are, rows by the columns' names, groups, totals and widths."""

import math
import unicodedata
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import date
from decimal import Decimal, localcontext
from typing import Annotated, Any, Final, Literal

import msgspec
from markupsafe import Markup
from msgspec import Meta

from events.problem import decode
from events.types import Request, Text
from events.types.report import ReportColumn, ReportPdf
from functions.report.fitting import FIGURE_MM, Fit, fitted
from functions.report.language import Code, Language, Zone
from functions.report.number import Currency, Number, exact
from functions.report.parts import DEFAULT_ACCENT, Accent
from functions.report.sheet import Sheet, label
from functions.templating.figures import EXACT, decimals_of, minor_unit_decimals, rounded

Cell = str | int | float | None
Kind = Literal["text", "number", "money", "date"]
CELLS: Final[dict[Kind, Any]] = {
    "text": Annotated[str, Meta(max_length=1_000)] | int | None,
    "number": Number | None,
    "money": Number | None,
    "date": date | None,
}
# A longer word may be broken where the line is short.
_WORD: Final = 16


class Table(Request, frozen=True, kw_only=True):
    """The data of the template `table`. A row names its cells by column; a cell left out is empty.

    With `group_by`, the name of a column, rows of the same value stand together under it, each group with its totals.
    """

    title: Text
    subtitle: Text | None = None
    author: Text | None = None
    columns: Annotated[tuple[ReportColumn, ...], Meta(min_length=1, max_length=20)]
    rows: Annotated[tuple[dict[str, Any], ...], Meta(max_length=100_000)]
    group_by: Annotated[str, Meta(max_length=100)] | None = None
    currency: Currency | None = None
    landscape: bool = False
    accent: Accent = DEFAULT_ACCENT
    language: Code = "en"
    timezone: Zone = "UTC"

    def __post_init__(self) -> None:
        names = [each.name for each in self.columns]
        if repeated := sorted({name for name in names if names.count(name) > 1}):
            raise ValueError(f"columns must have different names, got {', '.join(repeated)} twice")
        if self.group_by is not None and (self.group_by not in names or len(names) == 1):
            raise ValueError(f"group_by must be one of several columns ({', '.join(names)}), got {self.group_by}")


def check_rows(table: Table, *, at: str, more_columns: bool) -> None:
    """Hold each cell against its column; raise JobFailed that names every bad one.

    Rows that were read from a file may have `more_columns` than the table shows; a row of the job's own may not, so
    that a misspelt name is not lost.
    """
    check_cells(table.columns, table.rows, at=at, more_columns=more_columns)


def check_cells(columns: Sequence[ReportColumn], rows: Sequence[Any], *, at: str, more_columns: bool) -> None:
    """Hold the cells of rows of any kind against their columns, as `check_rows` does."""
    fields = [
        (f"cell_{index}", CELLS[column.kind], msgspec.field(default=None, name=column.name))
        for index, column in enumerate(columns)
    ]
    row = msgspec.defstruct("Row", fields, forbid_unknown_fields=not more_columns)
    decode(msgspec.json.encode(rows), tuple[row, ...], at=at)  # type: ignore[valid-type]  # made by its columns


@dataclass(frozen=True)
class Written:
    """A column as text; `total` is empty where none is asked for."""

    column: ReportColumn
    cells: tuple[str, ...]
    values: tuple[Decimal | None, ...] = ()
    decimals: int = 0

    def total(self, language: Language, places: Sequence[int]) -> str:
        """Of the amounts as they are shown: a reader who adds them up must find the same. Empty where none is asked."""
        if not self.column.total:
            return ""
        with localcontext(EXACT):
            given = (value for place in places if (value := self.values[place]) is not None)
            sum_ = sum((rounded(each, decimals=self.decimals) for each in given), Decimal(0))
        return language.number(sum_, decimals=self.decimals)

    def need(self, language: Language) -> int:
        """How many figures wide it should be; long texts and labels can be broken."""
        if self.column.width_mm is not None:
            return math.ceil(self.column.width_mm / FIGURE_MM)
        label = min(width(self.column.label or self.column.name), 12)
        bold = math.ceil(1.2 * width(self.total(language, range(len(self.values)))))
        longest = max(label, bold, *map(width, self.cells))
        return 3 + (min(longest, 60) if self.is_prose else longest)

    def least(self, language: Language) -> int:
        """How many figures wide it has to be, so that no number and no word of an ordinary length is broken."""
        if self.column.width_mm is not None or not self.is_prose:
            return self.need(language)
        words = (word for cell in (self.column.label or self.column.name, *set(self.cells)) for word in cell.split())
        return 3 + min(max(map(width, words), default=0), _WORD)

    @property
    def is_prose(self) -> bool:
        """Whether its cells may take several lines."""
        return self.column.kind == "text" and not self.column.nowrap


@dataclass(frozen=True)
class RowGroup:
    """Rows that stand together; `title` and `totals` are empty where there is none."""

    title: str
    rows: tuple[tuple[str, ...], ...]
    totals: tuple[str, ...]


@dataclass(frozen=True)
class Layout:
    """The table as text: everything written in the table's language, widths in percent of the line."""

    heads: tuple[str, ...]
    sides: tuple[str, ...]
    are_whole: tuple[bool, ...]
    fit: Fit
    groups: tuple[RowGroup, ...]
    totals: tuple[str, ...]
    widths_percent: tuple[float, ...]

    @property
    def classes(self) -> tuple[Markup, ...]:
        """The attribute of each column's cells, and none where they stand as all do: a class a cell takes time."""
        names = ["whole" * whole if side == "left" else side + " whole" * whole for side, whole in self._columns]
        return tuple(Markup(f' class="{each}"') if each else Markup() for each in names)  # noqa: S704  # words of ours

    @property
    def _columns(self) -> Iterator[tuple[str, bool]]:
        return zip(self.sides, self.are_whole, strict=True)


def sheet(table: Table, language: Language) -> Sheet:
    """The rows for CSV and XLSX, ungrouped."""
    return Sheet(table.title, table.columns, table.rows, table.currency, language.labels["total"])


def layout(table: Table, language: Language, papers: Sequence[ReportPdf] = (ReportPdf(),)) -> Layout:
    """Write every cell. A column's numbers have the same decimals, so that their points stand in line.

    Raises JobFailed where the columns do not fit on the papers.
    """
    written = {
        each.name: _written(each, [row.get(each.name) for row in table.rows], table, language) for each in table.columns
    }
    columns = [each for name, each in written.items() if name != table.group_by]
    everything = range(len(table.rows))
    fit = fitted(FIGURE_MM * sum(each.least(language) for each in columns), table.landscape, papers)
    groups = tuple(
        RowGroup(
            title, _rows(columns, places), _totals(columns, places, language, "subtotal") if table.group_by else ()
        )
        for title, places in _grouped(written[table.group_by] if table.group_by else None, everything)
    )
    return Layout(
        heads=tuple(label(each.column, table.currency) for each in columns),
        sides=tuple(each.column.side for each in columns),
        are_whole=tuple(not each.is_prose for each in columns),
        fit=fit,
        groups=groups,
        totals=_totals(columns, everything, language, "total"),
        widths_percent=_widths(columns, language, int(fit.line_mm / fit.scale / FIGURE_MM)),
    )


def _grouped(by: Written | None, places: Sequence[int]) -> Iterator[tuple[str, Sequence[int]]]:
    """The places of the rows of each group, in the order in which the groups first appear."""
    if by is None:
        yield "", places
        return
    groups: dict[str, list[int]] = {}
    for place in places:
        groups.setdefault(by.cells[place], []).append(place)
    yield from ((title or "\N{EM DASH}", found) for title, found in groups.items())


def _rows(columns: Sequence[Written], places: Sequence[int]) -> tuple[tuple[str, ...], ...]:
    return tuple(tuple(each.cells[place] for each in columns) for place in places)


def _totals(columns: Sequence[Written], places: Sequence[int], language: Language, name: str) -> tuple[str, ...]:
    totals = [each.total(language, places) for each in columns]
    if not any(totals):
        return ()
    totals[0] = totals[0] or language.labels[name]
    return tuple(totals)


def _written(column: ReportColumn, cells: Sequence[Cell], table: Table, language: Language) -> Written:
    if column.kind == "date":
        return Written(column, tuple(language.date(date.fromisoformat(str(cell))) if cell else "" for cell in cells))
    if column.kind == "text":
        return Written(column, tuple("" if cell is None else str(cell) for cell in cells))
    values = tuple(None if cell is None else exact(cell) for cell in cells)
    decimals = max((decimals_of(each) for each in values if each is not None), default=0)
    if column.kind == "money":
        decimals = minor_unit_decimals(table.currency)
    texts = tuple("" if each is None else language.number(each, decimals=decimals) for each in values)
    return Written(column, texts, values, decimals)


def _widths(columns: Sequence[Written], language: Language, line: int) -> tuple[float, ...]:
    """Numbers, dates and short texts get what they need; long texts, which may take several lines, share the rest."""
    needs = [each.need(language) for each in columns]
    is_long = [each.is_prose and need > 20 for each, need in zip(columns, needs, strict=True)]
    long = sum(need for need, is_one in zip(needs, is_long, strict=True) if is_one)
    stretch = (line - (sum(needs) - long)) / max(long, 1)
    shares = [need * max(stretch, 0) if is_one else need for need, is_one in zip(needs, is_long, strict=True)]
    least = [each.least(language) for each in columns]
    if sum(shares) > line or any(share < low for share, low in zip(shares, least, strict=True)):
        spare = max(line - sum(least), 0)  # what nobody needs goes to those that are short of it
        short = sum(needs) - sum(least)
        shares = [low + spare * (need - low) / max(short, 1) for need, low in zip(needs, least, strict=True)]
    return tuple(round(100 * each / sum(shares), 3) for each in shares)


def width(text: str) -> int:
    """How many figures wide the text is about; a CJK character counts as two (Unicode TR 11)."""
    return len(text) if text.isascii() else sum(2 if unicodedata.east_asian_width(each) in "WF" else 1 for each in text)
