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
from events.types.report import ReportColumn
from functions.report.language import Code, Language
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
# How many figures fit on a line; measured with the templates' font.
LINE_CHARACTERS: Final = 110
LANDSCAPE_LINE_CHARACTERS: Final = 164


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
    """The same for rows of any kind."""
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
        label = min(width(self.column.label or self.column.name), 12)
        bold = math.ceil(1.2 * width(self.total(language, range(len(self.values)))))
        longest = max(label, bold, *map(width, self.cells))
        return 3 + (min(longest, 60) if self.column.kind == "text" else longest)


@dataclass(frozen=True)
class Group:
    """Rows that stand together; `title` and `totals` are empty where there is none."""

    title: str
    rows: tuple[tuple[str, ...], ...]
    totals: tuple[str, ...]


@dataclass(frozen=True)
class Layout:
    """The table as text: everything written in the table's language, widths in percent of the line."""

    heads: tuple[str, ...]
    sides: tuple[str, ...]
    groups: tuple[Group, ...]
    totals: tuple[str, ...]
    widths_percent: tuple[float, ...]

    @property
    def classes(self) -> tuple[Markup, ...]:
        """The attribute of each column's cells, and none where they stand as all do: a class a cell takes time."""
        return tuple(Markup() if side == "left" else Markup(f' class="{side}"') for side in self.sides)  # noqa: S704  # one of three words


def sheet(table: Table) -> Sheet:
    """The rows for CSV and XLSX, ungrouped."""
    return Sheet(table.title, table.columns, table.rows, table.currency)


def layout(table: Table, language: Language) -> Layout:
    """Write every cell. A column's numbers have the same decimals, so that their points stand in line."""
    written = {
        each.name: _written(each, [row.get(each.name) for row in table.rows], table, language) for each in table.columns
    }
    columns = [each for name, each in written.items() if name != table.group_by]
    everything = range(len(table.rows))
    groups = tuple(
        Group(title, _rows(columns, places), _totals(columns, places, language, "subtotal") if table.group_by else ())
        for title, places in _grouped(written[table.group_by] if table.group_by else None, everything)
    )
    return Layout(
        heads=tuple(label(each.column, table.currency) for each in columns),
        sides=tuple(each.column.side for each in columns),
        groups=groups,
        totals=_totals(columns, everything, language, "total"),
        widths_percent=_widths(columns, language, LANDSCAPE_LINE_CHARACTERS if table.landscape else LINE_CHARACTERS),
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
    is_prose = [each.column.kind == "text" and need > 20 for each, need in zip(columns, needs, strict=True)]
    prose = sum(need for need, long in zip(needs, is_prose, strict=True) if long)
    stretch = max(line - (sum(needs) - prose), prose // 3) / max(prose, 1)
    shares = [need * (stretch if long else 1) for need, long in zip(needs, is_prose, strict=True)]
    return tuple(round(100 * each / sum(shares), 3) for each in shares)


def width(text: str) -> int:
    """How many figures wide the text is about; a CJK character counts as two (Unicode TR 11)."""
    return len(text) if text.isascii() else sum(2 if unicodedata.east_asian_width(each) in "WF" else 1 for each in text)
