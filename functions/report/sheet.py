"""A table's rows as typed values, for the formats that programs read: what CSV and XLSX are written from."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from typing import Any

from events.types.report import ReportColumn
from functions.report.number import exact
from functions.templating.figures import minor_unit_decimals, rounded

Value = str | Decimal | date | None


@dataclass(frozen=True)
class Sheet:
    """Rows by the columns' names; `currency` decides the decimals of money, `total_label` stands before the totals."""

    title: str
    columns: tuple[ReportColumn, ...]
    rows: Sequence[Mapping[str, Any]]
    currency: str | None = None
    total_label: str = "Total"

    @property
    def labels(self) -> tuple[str, ...]:
        """The header: a money column says its currency."""
        return tuple(label(each, self.currency) for each in self.columns)

    def values(self) -> Iterator[tuple[Value, ...]]:
        """Each row's cells. Money is rounded as it is shown, so that a sum of the cells is the total shown."""
        decimals = minor_unit_decimals(self.currency)
        for row in self.rows:
            yield tuple(_value(row.get(each.name), each.kind, decimals) for each in self.columns)


def label(column: ReportColumn, currency: str | None) -> str:
    """What stands over a column."""
    text = column.label or column.name
    return f"{text} ({currency})" if column.kind == "money" and currency else text


def _value(cell: Any, kind: str, decimals: int) -> Value:
    if cell is None or cell == "":
        return None
    if kind == "date":
        return cell if isinstance(cell, date) else date.fromisoformat(str(cell))
    if kind == "text":
        return str(cell)
    value = exact(cell)
    return rounded(value, decimals=decimals) if kind == "money" else value
