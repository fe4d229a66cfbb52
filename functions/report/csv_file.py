"""Writes a sheet as CSV (RFC 4180): UTF-8, a header, CR LF, numbers with a point or the locale's sign, ISO dates."""

import csv
import io
from datetime import date
from decimal import Decimal
from typing import Final
from unicodedata import category, normalize

from events.types.report import ReportCsv
from functions.report.sheet import Sheet, Value
from functions.templating.figures import decimal_sign
from functions.templating.template import Conventions

# What a spreadsheet takes for a formula (OWASP, CSV Injection), also in its full width, as Excel does in Japanese;
# numbers are no texts and keep their minus.
_FORMULA_STARTS: Final = frozenset("=+-@\t\r\n")
# Control and format characters, which a spreadsheet drops: it then sees what comes after them.
_UNSEEN: Final = frozenset(["Cc", "Cf"])


def csv_file(sheet: Sheet, options: ReportCsv) -> bytes:
    """The whole file; ValueError for a locale that does not exist."""
    sign = "." if options.locale is None else decimal_sign(Conventions(options.locale).babel)
    text = io.StringIO(newline="")
    writer = csv.writer(text, delimiter=options.delimiter or (";" if sign == "," else ","))
    writer.writerow(_text(each, options, sign) for each in sheet.labels)
    writer.writerows([_text(each, options, sign) for each in row] for row in sheet.values())
    return text.getvalue().encode("utf-8-sig" if options.byte_order_mark else "utf-8")


def _text(value: Value, options: ReportCsv, sign: str) -> str:
    if isinstance(value, Decimal):
        return f"{value:f}".replace(".", sign)
    if isinstance(value, date):
        return value.isoformat()
    text = value or ""
    return f"'{text}" if options.guard_formulas and _is_formula(text) else text


def _is_formula(text: str) -> bool:
    first = next((each for each in text if each in _FORMULA_STARTS or category(each) not in _UNSEEN), "")
    return normalize("NFKC", first) in _FORMULA_STARTS
