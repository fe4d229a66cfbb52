"""The built-in templates: the struct of each one's data, what it computes, and its run."""

import hashlib
import os
import sys
from base64 import b64encode
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from datetime import datetime
from decimal import Decimal
from functools import partial
from importlib import resources
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final
from zoneinfo import ZoneInfo

import jinja2
import msgspec
from jinja2.bccache import Bucket
from markupsafe import Markup

from events.problem import FieldError, JobFailed, decode
from events.types.report import ReportPdf
from functions.report import chart, dashboard, invoice, table
from functions.report.certificate import Certificate
from functions.report.dashboard import Dashboard
from functions.report.draft import LOGO
from functions.report.fitting import Fit
from functions.report.invoice import Invoice
from functions.report.language import Language
from functions.report.letter import Letter
from functions.report.number import exact
from functions.report.page import Page
from functions.report.parts import Party
from functions.report.payment import grouped_iban
from functions.report.picture import check_picture, is_svg
from functions.report.sheet import Sheet
from functions.report.table import Table
from functions.templating.figures import decimals_of, minor_unit_decimals
from functions.templating.moments import date_text
from functions.templating.template import Conventions, environment, run

Data = Invoice | Letter | Table | Dashboard | Certificate
TEMPLATES: Final[Mapping[str, type[Data]]] = MappingProxyType(
    {"invoice": Invoice, "letter": Letter, "table": Table, "dashboard": Dashboard, "certificate": Certificate}
)
# the tags of a long table take time, and twice the bytes
TAGGED_ROWS: Final = 200
_NO_FILES: Final[Mapping[str, bytes]] = MappingProxyType({})


def builtin_page(
    name: str,
    data: Mapping[str, Any],
    *,
    rows_are_read: bool,
    made_at: datetime,
    papers: Sequence[ReportPdf] = (ReportPdf(),),
    files: Mapping[str, bytes] = _NO_FILES,
) -> Page:
    """Check the data and run the template; raise JobFailed that names every bad field, or the known templates.

    A table is made to fit on the `papers` of the job's PDFs; `files` has what the data refers to, by pointer.
    """
    if name not in TEMPLATES:
        detail = f"template must be one of {', '.join(TEMPLATES)}, got {name}"
        raise JobFailed("unknown-template", detail, (FieldError(pointer="#/template", detail=detail),))
    it = decode(msgspec.json.encode(data), TEMPLATES[name], at="#/data")
    _check("currency", Conventions(currency=getattr(it, "currency", None)))
    _check("timezone", Conventions(zone=it.timezone))
    language = Language(it.language)
    for field in ("seller", "buyer", "sender", "recipient"):
        _check_country(getattr(it, field, None), language, f"#/data/{field}/country")
    if isinstance(it, Table):
        table.check_rows(it, at="#/data/rows", more_columns=rows_are_read)
    is_long = isinstance(it, Table) and len(it.rows) > TAGGED_ROWS
    computed = _computed(it, language, papers, files)
    fit: Fit | None = computed["layout"].fit if isinstance(it, Table) else None
    return Page(
        html=_html(name, it, language, made_at, computed),
        title=_title(it, language),
        day=date_text(made_at, "medium", ZoneInfo(it.timezone), language.locale),
        contents=language.labels["contents"],
        sheets=_sheets(it, language),
        tagged=not is_long,
        landscape=fit.landscape if fit else isinstance(it, Certificate),
        is_xml=True,
        warnings=(fit.warning,) if fit and fit.warning else (),
        page_style=computed.get("page_style", ""),
        e_invoice=_e_invoice(it, language) if any(each.variant == "factur-x" for each in papers) else None,
    )


def _check(field: str, conventions: Conventions) -> None:
    try:
        conventions.check()
    except ValueError as error:
        raise _invalid(f"#/data/{field}", str(error)) from error


def _check_country(party: object, language: Language, pointer: str) -> None:
    if isinstance(party, Party) and party.country is not None:
        try:
            language.country(party.country)
        except ValueError as error:
            raise _invalid(pointer, str(error)) from error


def _invalid(pointer: str, detail: str) -> JobFailed:
    return JobFailed("invalid-data", f"{pointer}: {detail}", (FieldError(pointer=pointer, detail=detail),))


def _e_invoice(it: Data, language: Language) -> bytes | None:
    if not isinstance(it, Invoice):
        return None
    # slow to import, and few jobs need it
    from functions.report.e_invoice import e_invoice

    return e_invoice(it, invoice.sums(it), reason=invoice.reason(it, language))


def _title(it: Data, language: Language) -> str:
    if isinstance(it, Invoice):
        return f"{language.labels['invoice']} {it.number}"
    return (it.subject or it.sender.name) if isinstance(it, Letter) else it.title


def _sheets(it: Data, language: Language) -> tuple[Sheet, ...]:
    match it:
        case Invoice():
            return (invoice.sheet(it, language),)
        case Table():
            return (table.sheet(it, language),)
        case Dashboard():
            return dashboard.sheets(it, language)
    return ()


def _computed(it: Data, language: Language, papers: Sequence[ReportPdf], files: Mapping[str, bytes]) -> dict[str, Any]:
    match it:
        case Invoice():
            return _of_invoice(it, language, files)
        case Table():
            return {"layout": table.layout(it, language, papers)}
        case Dashboard():
            return {
                "color": partial(chart.color, accent=it.accent),
                "drawings": [
                    chart.chart(each, accent=it.accent, write=_unit(each.unit, it, language, compact=True))
                    for each in it.charts
                ],
                "chart_rows": dashboard.rows_of(it.charts),
                "colors": chart.COLORS,
                "spark": lambda figure: chart.sparkline(
                    [float(each) for each in figure.trend],
                    accent=it.accent,
                    write=_unit(figure.unit, it, language, compact=True),
                ),
                "write": lambda value, unit: _unit(unit, it, language)(value),
            }
    return {}


def _of_invoice(it: Invoice, language: Language, files: Mapping[str, bytes]) -> dict[str, Any]:
    sums = invoice.sums(it)
    logo = _logo(files) if it.logo is not None else None
    computed = {"sums": sums, "reason": invoice.reason(it, language), "logo": logo, "code": None, "bill": None}
    if it.payment is None or it.payment.code is None:
        return computed
    # few invoices have one
    from functions.report.payment_code import of_bill, of_transfer

    try:
        if it.payment.code == "epc":
            return computed | {"code": of_transfer(it.payment, it, sums, language)}
        return computed | of_bill(it.payment, it, sums, language)
    except ValueError as error:
        raise _invalid("#/data/payment/code", str(error)) from error


def _logo(files: Mapping[str, bytes]) -> str:
    """The picture as a URL, which goes along with the page."""
    if LOGO not in files:
        raise _invalid(LOGO, "a logo stands in the job's data itself, and not in a data_source")
    check_picture(files[LOGO], LOGO)
    kind = "image/svg+xml" if is_svg(files[LOGO]) else "image/png"  # of pixels any kind is told by its first bytes
    return f"data:{kind};base64,{b64encode(files[LOGO]).decode()}"


def _unit(unit: str, it: Dashboard, language: Language, *, compact: bool = False) -> Callable[[Any], str]:
    """How a number of the dashboard is written; on an axis short, such as 1.2M."""
    if unit == "percent":
        return lambda value: language.percent(exact(value))
    if compact:
        return lambda value: language.compact(exact(value))
    if unit == "money":
        return lambda value: language.money(exact(value), it.currency or "")
    return lambda value: language.number(exact(value))


def _html(name: str, it: Data, language: Language, made_at: datetime, computed: Mapping[str, Any]) -> str:
    currency = getattr(it, "currency", None)
    made = _environment(it.language, currency)
    view = {
        "it": it,
        "label": language.labels,
        "language": language.code,
        "direction": language.direction,
        "made_at": made_at.isoformat(timespec="seconds"),
        "title": _title(it, language),
        **computed,
    }
    css = run(made, f"{name}.css", view)
    sha256 = b64encode(hashlib.sha256(css.encode()).digest()).decode()
    style = Markup(css)  # noqa: S704  # our own style sheet; of the data it holds a colour and widths, both checked
    return run(made, f"{name}.html", {**view, "css": style, "css_sha256": sha256})


class Compiled(jinja2.BytecodeCache):
    """The templates' code, compiled once in a process that then forks.

    Kept among our own .pyc files it is there for the first page, too. Jinja tells by a checksum whether it is of this
    source, and by a number whether it is of this Python and this Jinja.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._code: dict[str, bytes] = {}

    def load_bytecode(self, bucket: Bucket) -> None:
        """From memory or the folder."""
        with suppress(OSError):
            if bucket.key not in self._code:
                self._code[bucket.key] = self._file(bucket.key).read_bytes()
            bucket.bytecode_from_string(self._code[bucket.key])

    def dump_bytecode(self, bucket: Bucket) -> None:
        """Into memory."""
        self._code[bucket.key] = bucket.bytecode_to_string()

    def keep(self) -> None:
        """All of it for later processes, where this one may write there."""
        with suppress(OSError):
            self._folder.mkdir(exist_ok=True)
            for key, code in self._code.items():
                made = self._file(key).with_suffix(f".{os.getpid()}")
                made.write_bytes(code)
                made.replace(self._file(key))  # at once, for whoever reads it now

    def _file(self, key: str) -> Path:
        return self._folder / f"{key}.jinja"


COMPILED: Final = Compiled(Path(__file__).with_name("__pycache__"))


def compile_all() -> None:
    """Compile every template, and keep that where Python keeps its own; the build of an image calls it."""
    made = _environment("en", None)
    for file in (resources.files("functions.report") / "templates").iterdir():
        made.get_template(file.name)
    if not sys.dont_write_bytecode:
        COMPILED.keep()


def _environment(code: str, currency: str | None) -> jinja2.Environment:
    made = environment(Conventions(code, currency), _template, compiled=COMPILED)
    made.filters |= _filters(Language(code), currency)
    return made


def _filters(language: Language, currency: str | None) -> dict[str, Callable[..., Any]]:
    decimals = minor_unit_decimals(currency)

    def price(value: str | int | float) -> str:
        number = exact(value)
        return language.number(number, decimals=max(decimals, decimals_of(number)))

    def amount(value: Decimal) -> str:
        return language.number(value, decimals=decimals)

    def rows(party: Party, home: Party) -> tuple[str, ...]:
        """An address, with its country where that is another one than the sender's."""
        abroad = party.country is not None and home.country is not None and party.country != home.country
        return (*party.rows, *([language.country(party.country or "")] if abroad else []))

    return {
        "amount": amount,
        "date": language.date,
        "dir": language.direction_of,
        "iban": grouped_iban,
        "money": lambda value: language.money(value, currency or ""),
        "number": lambda value: language.number(exact(value)),
        "percent": lambda value: language.percent(exact(value)),
        "price": price,
        "rows": rows,
    }


def _template(name: str) -> str | None:
    file = resources.files("functions.report") / "templates" / name
    return file.read_text() if file.is_file() else None
