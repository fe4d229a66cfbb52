"""A table's data: columns that say what their cells are, rows by the columns' names, totals and widths."""

import math
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from decimal import Decimal, localcontext
from typing import Annotated, Any, Final, Literal

import msgspec
from msgspec import Meta

from events.problem import decode
from events.types import Request, Text
from functions.report.invoice import Accent
from functions.report.language import Code, Language
from functions.report.number import EXACT, Currency, Number, decimals_of, exact, minor_unit_decimals, rounded

Cell = str | int | float | None
Kind = Literal["text", "number", "money", "date"]
CELLS: Final[dict[Kind, Any]] = {
    "text": Annotated[str, Meta(max_length=1_000)] | None,
    "number": Number | None,
    "money": Number | None,
    "date": date | None,
}
# How many figures fit on a line; measured with the templates' font.
LINE_CHARACTERS: Final = 110
LANDSCAPE_LINE_CHARACTERS: Final = 164


class Column(Request, frozen=True, kw_only=True):
    """One column. `align` is by default right for numbers and money, left for the others."""

    name: Annotated[str, Meta(pattern=r"^[A-Za-z0-9_.-]{1,100}$(?!\n)", description="a key of the rows")]
    label: Text | None = None
    kind: Kind = "text"
    align: Literal["left", "center", "right"] | None = None
    total: bool = False

    def __post_init__(self) -> None:
        if self.total and not self.is_numeric:
            raise ValueError(f"total must be false for the kind {self.kind}; only number and money have one")

    @property
    def is_numeric(self) -> bool:
        return self.kind in ("number", "money")

    @property
    def side(self) -> str:
        """Where its cells stand."""
        return self.align or ("right" if self.is_numeric else "left")


class Table(Request, frozen=True, kw_only=True, tag_field="template", tag="table"):
    """The data of the template `table`. A row names its cells by column; a cell left out is empty."""

    title: Text
    subtitle: Text | None = None
    author: Text | None = None
    columns: Annotated[tuple[Column, ...], Meta(min_length=1, max_length=20)]
    rows: Annotated[tuple[dict[str, Any], ...], Meta(max_length=10_000)]
    currency: Currency | None = None
    landscape: bool = False
    accent: Accent = "#1f4e79"
    language: Code = "en"

    def __post_init__(self) -> None:
        names = [each.name for each in self.columns]
        if repeated := sorted({name for name in names if names.count(name) > 1}):
            raise ValueError(f"columns must have different names, got {', '.join(repeated)} twice")


def check_rows(table: Table, *, at: str) -> None:
    """Hold each cell against its column; raise JobFailed that names every bad one."""
    fields = [
        (f"cell_{index}", CELLS[column.kind], msgspec.field(default=None, name=column.name))
        for index, column in enumerate(table.columns)
    ]
    row = msgspec.defstruct("Row", fields, forbid_unknown_fields=True)
    decode(msgspec.json.encode(table.rows), tuple[row, ...], at=at)  # type: ignore[valid-type]  # made by its columns


@dataclass(frozen=True)
class Written:
    """A column as text; `total` is empty where none is asked for."""

    column: Column
    cells: tuple[str, ...]
    total: str = ""

    @property
    def need(self) -> int:
        """How many figures wide it should be; long texts and labels can be broken."""
        label = min(width(self.column.label or self.column.name), 12)
        bold = math.ceil(1.2 * width(self.total))
        longest = max(label, bold, *map(width, self.cells))
        return 3 + (min(longest, 60) if self.column.kind == "text" else longest)

    @property
    def is_prose(self) -> bool:
        """Whether its cells may take several lines."""
        return self.column.kind == "text" and self.need > 20


@dataclass(frozen=True)
class Layout:
    """The table as text: everything written in the table's language, widths in percent of the line."""

    rows: tuple[tuple[str, ...], ...]
    totals: tuple[str, ...]
    widths_percent: tuple[float, ...]


def layout(table: Table, language: Language) -> Layout:
    """Write every cell. A column's numbers have the same decimals, so that their points stand in line."""
    columns = [_written(each, [row.get(each.name) for row in table.rows], table, language) for each in table.columns]
    totals = [each.total for each in columns]
    if any(totals):
        totals[0] = totals[0] or language.labels["total"]
    line = LANDSCAPE_LINE_CHARACTERS if table.landscape else LINE_CHARACTERS
    rows = tuple(zip(*(each.cells for each in columns), strict=True))
    return Layout(rows, tuple(totals) if any(totals) else (), _widths(columns, line))


def _written(column: Column, cells: Sequence[Cell], table: Table, language: Language) -> Written:
    if column.kind == "date":
        return Written(column, tuple(language.date(date.fromisoformat(str(cell))) if cell else "" for cell in cells))
    if column.kind == "text":
        return Written(column, tuple(str(cell or "") for cell in cells))
    values = [None if cell is None else exact(cell) for cell in cells]
    given = [each for each in values if each is not None]
    decimals = max(map(decimals_of, given), default=0)
    if column.kind == "money":
        decimals = minor_unit_decimals(table.currency)
    written = tuple("" if each is None else language.number(each, decimals=decimals) for each in values)
    if not column.total:
        return Written(column, written)
    with localcontext(EXACT):
        # of the rounded amounts: a reader who adds up what is shown must find the same
        total = sum((rounded(each, decimals=decimals) for each in given), Decimal(0))
    return Written(column, written, language.number(total, decimals=decimals))


def _widths(columns: Sequence[Written], line: int) -> tuple[float, ...]:
    """Numbers, dates and short texts get what they need; long texts share the rest."""
    firm = sum(each.need for each in columns if not each.is_prose)
    prose = sum(each.need for each in columns if each.is_prose)
    stretch = max(line - firm, prose // 3) / max(prose, 1)
    shares = [each.need * (stretch if each.is_prose else 1) for each in columns]
    return tuple(round(100 * each / sum(shares), 3) for each in shares)


def width(text: str) -> int:
    """How many figures wide the text is about; a CJK character counts as two (Unicode TR 11)."""
    return len(text) if text.isascii() else sum(2 if unicodedata.east_asian_width(each) in "WF" else 1 for each in text)
