"""Writes sheets as an XLSX workbook: typed cells, widths, a frozen header, totals as formulas (XlsxWriter).

Rows are streamed (`constant_memory`); a text is always a text, never a formula or a link. The same sheets give the same
bytes.
"""

import io
import re
from collections.abc import Sequence
from datetime import date, datetime
from decimal import Decimal
from typing import Any, Final

import xlsxwriter  # type: ignore[import-untyped]  # it has no types
from xlsxwriter.utility import xl_col_to_name  # type: ignore[import-untyped]  # as above

from functions.report.sheet import Sheet, Value
from functions.templating.figures import decimals_of, minor_unit_decimals

_FIRST_DAY: Final = date(1900, 3, 1)  # before it Excel's calendar is a day off
_WIDTHS_FROM_ROWS: Final = 200
_WIDEST_CHARACTERS: Final = 60
_A4: Final = 9  # of Excel's list of papers
_COLUMNS_OF_PORTRAIT: Final = 7
_CELL_CHARACTERS: Final = 32_767  # the most that Excel takes; XlsxWriter leaves longer ones out


def workbook(sheets: Sequence[Sheet], *, title: str, made_at: datetime) -> bytes:
    """The whole file; sheets of the same title get a number."""
    content = io.BytesIO()
    options = {
        "constant_memory": True,
        "strings_to_formulas": False,
        "strings_to_urls": False,
        "strings_to_numbers": False,
        "default_date_format": "yyyy-mm-dd",
    }
    with xlsxwriter.Workbook(content, options) as book:
        book.set_properties({"title": title, "created": made_at.replace(tzinfo=None)})
        for number, sheet in enumerate(sheets, 1):
            _write(book, book.add_worksheet(_sheet_name(sheet.title, number, len(sheets))), sheet)
    return content.getvalue()


def _write(book: Any, page: Any, sheet: Sheet) -> None:
    rows = list(sheet.values())
    formats = [book.add_format(_look(sheet, index, rows)) for index in range(len(sheet.columns))]
    head = book.add_format({"bold": True, "bottom": 1, "text_wrap": True, "valign": "bottom"})
    for index, width in enumerate(_widths(sheet, rows)):
        page.set_column(index, index, width)
    page.freeze_panes(1, 0)
    _set_paper(page, sheet)
    for index, label in enumerate(sheet.labels):
        page.write_string(0, index, label, head)
    for number, row in enumerate(rows, 1):
        for index, value in enumerate(row):
            _write_cell(page, number, index, value, formats[index])
    if rows:
        page.autofilter(0, 0, len(rows), len(sheet.columns) - 1)
    _write_totals(book, page, sheet, rows)


def _set_paper(page: Any, sheet: Sheet) -> None:
    """A4, as wide as the columns, with the header on each page."""
    page.set_paper(_A4)
    page.fit_to_pages(1, 0)
    page.repeat_rows(0)
    if len(sheet.columns) > _COLUMNS_OF_PORTRAIT:
        page.set_landscape()


def _write_cell(page: Any, row: int, column: int, value: Value, look: Any) -> None:
    if value is None:
        return
    if isinstance(value, Decimal):
        page.write_number(row, column, float(value), look)
    elif isinstance(value, date) and value >= _FIRST_DAY:
        page.write_datetime(row, column, datetime(value.year, value.month, value.day), look)  # noqa: DTZ001 - a day
    else:
        page.write_string(row, column, str(value)[:_CELL_CHARACTERS], look)


def _write_totals(book: Any, page: Any, sheet: Sheet, rows: Sequence[tuple[Value, ...]]) -> None:
    if any(each.total for each in sheet.columns) and not sheet.columns[0].total:
        page.write_string(max(len(rows) + 1, 2), 0, sheet.total_label, book.add_format({"bold": True, "top": 1}))
    for index, column in enumerate(sheet.columns):
        if not column.total:
            continue
        look = book.add_format({**_look(sheet, index, rows), "bold": True, "top": 1})
        name = xl_col_to_name(index)
        total = sum((value for row in rows if isinstance(value := row[index], Decimal)), Decimal(0))
        # with its value, for programs that show a workbook without computing it
        formula = f"=SUM({name}2:{name}{max(len(rows) + 1, 2)})"
        page.write_formula(max(len(rows) + 1, 2), index, formula, look, float(total))


def _look(sheet: Sheet, index: int, rows: Sequence[tuple[Value, ...]]) -> dict[str, object]:
    column = sheet.columns[index]
    look: dict[str, object] = {"align": column.side, "valign": "top"}
    if column.kind == "date":
        return {**look, "num_format": "yyyy-mm-dd"}
    if column.kind == "text":
        return {**look, "text_wrap": True}
    decimals = minor_unit_decimals(sheet.currency)
    if column.kind == "number":
        values = (row[index] for row in rows)
        decimals = max((decimals_of(each) for each in values if isinstance(each, Decimal)), default=0)
    return {**look, "num_format": "#,##0" + ("." + "0" * decimals if decimals else "")}


def _widths(sheet: Sheet, rows: Sequence[tuple[Value, ...]]) -> list[float]:
    seen = rows[:_WIDTHS_FROM_ROWS]
    longest = [max((len(str(row[index] or "")) for row in seen), default=0) for index in range(len(sheet.columns))]
    heads = [min(len(label), 20) + 3 for label in sheet.labels]
    return [min(max(size * 1.15 + 2, head), _WIDEST_CHARACTERS) for size, head in zip(longest, heads, strict=True)]


def _sheet_name(title: str, number: int, count: int) -> str:
    """Excel takes 31 characters, and none of these; a number keeps the names apart."""
    name = re.sub(r"[\[\]:*?/\\\x00-\x1f]", " ", title).strip(" '") or "Sheet"
    suffix = f" {number}" if count > 1 else ""
    name = name[: 31 - len(suffix)].strip(" '") + suffix
    return "Sheet" if name.lower() == "history" else name  # reserved by Excel
