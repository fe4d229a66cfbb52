"""Writes a sheet as CSV (RFC 4180): UTF-8, a header, CR LF, numbers with a point or the locale's sign, ISO dates."""

import csv
import io
from datetime import date
from decimal import Decimal
from typing import Final

from events.types.report import ReportCsv
from functions.report.sheet import Sheet, Value
from functions.templating.figures import decimal_sign
from functions.templating.template import Conventions

# What a spreadsheet takes for a formula (OWASP, CSV Injection); numbers are no texts and keep their minus.
_FORMULA_STARTS: Final = ("=", "+", "-", "@", "\t", "\r", "\n")
# Dropped by a spreadsheet, which then sees what comes after them
_UNSEEN: Final = "".join(chr(code) for code in range(0x20) if chr(code) not in "\t\r\n") + "\x7f\ufeff\u200b"


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
    return f"'{text}" if options.guard_formulas and text.lstrip(_UNSEEN).startswith(_FORMULA_STARTS) else text
