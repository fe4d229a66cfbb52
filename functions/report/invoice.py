"""An invoice's data, and its sums: net prices, tax by rate, everything rounded half up to the currency's unit."""

from dataclasses import dataclass
from datetime import date
from decimal import Decimal, localcontext
from typing import Annotated, Literal

from msgspec import Meta, structs

from events.types import Input, Request, Text
from events.types.report import ReportColumn
from functions.report.language import Code, Language, Zone
from functions.report.number import Currency, Number, Percent, exact
from functions.report.parts import DEFAULT_ACCENT, Accent, Paragraph, Party
from functions.report.payment import Payment
from functions.report.sheet import Sheet
from functions.templating.figures import EXACT, minor_unit_decimals, rounded


class Line(Request, frozen=True, kw_only=True):
    """What is charged; `unit_price` is net, and may have more decimals than the currency."""

    description: Paragraph
    quantity: Number = 1
    unit: Annotated[str, Meta(max_length=20)] | None = None
    unit_code: Annotated[
        str,
        Meta(
            pattern=r"^[A-Z0-9]{2,3}$(?!\n)",
            description="of UN/ECE recommendation 20, for e-invoices: C62 one, HUR hour, DAY, MON, KGM, MTR",
        ),
    ] = "C62"
    unit_price: Number
    tax_percent: Percent = 0


class Period(Request, frozen=True, kw_only=True):
    """From the first day to the last."""

    start: date
    end: date

    def __post_init__(self) -> None:
        if self.end < self.start:
            raise ValueError(f"end must not be before start, got {self.start} to {self.end}")


class Exemption(Request, frozen=True, kw_only=True):
    """Why the lines at 0 % bear no tax (EN 16931 BT-118, BT-120). `text` is by default the language's own words.

    `exempt` is by a law that the text names (in Germany § 19 UStG, for one), `zero` a rate of nought that the law has.
    """

    kind: Literal["exempt", "reverse-charge", "intra-community", "export", "zero"]
    text: Paragraph | None = None

    def __post_init__(self) -> None:
        if self.kind == "exempt" and self.text is None:
            raise ValueError("text is required for the kind exempt: it names the law")


class Invoice(Request, frozen=True, kw_only=True):
    """The data of the template `invoice`. A negative quantity or price is a discount or a credit.

    `delivered` is the day of the delivery or service, `period` that of a longer one (EN 16931 BT-72, BG-14).
    """

    number: Text
    issued: date
    due: date | None = None
    delivered: date | None = None
    period: Period | None = None
    currency: Currency
    seller: Party
    buyer: Party
    lines: Annotated[tuple[Line, ...], Meta(min_length=1, max_length=1_000)]
    exemption: Exemption | None = None
    payment: Payment | None = None
    buyer_reference: Annotated[Text, Meta(description="what the buyer files it by (BT-10)")] | None = None
    logo: Annotated[Input, Meta(description="of the seller: PNG, JPEG, GIF, WebP or SVG")] | None = None
    note: Paragraph | None = None
    accent: Accent = DEFAULT_ACCENT
    language: Code = "en"
    timezone: Zone = "UTC"


@dataclass(frozen=True)
class Tax:
    """The tax of one rate on the net amounts that have it."""

    percent: Decimal
    net: Decimal
    tax: Decimal


@dataclass(frozen=True)
class Sums:
    """What an invoice comes to; `amounts` are net, one a line."""

    amounts: tuple[Decimal, ...]
    taxes: tuple[Tax, ...]
    net: Decimal
    total: Decimal


def sums(invoice: Invoice) -> Sums:
    """Round each line, then the tax of each rate on the sum of its lines (EN 16931 BR-CO-10, BR-CO-17)."""
    decimals = minor_unit_decimals(invoice.currency)
    with localcontext(EXACT):
        amounts = tuple(rounded(exact(it.quantity) * exact(it.unit_price), decimals=decimals) for it in invoice.lines)
        nets: dict[Decimal, Decimal] = {}
        for line, amount in zip(invoice.lines, amounts, strict=True):
            percent = exact(line.tax_percent)
            nets[percent] = nets.get(percent, Decimal(0)) + amount
        taxes = tuple(
            Tax(percent, net, rounded(net * percent / 100, decimals=decimals))
            for percent, net in sorted(nets.items(), reverse=True)
        )
        net = sum(amounts, Decimal(0))
        return Sums(amounts, taxes, net, sum((each.tax for each in taxes), net))


def reason(invoice: Invoice, language: Language) -> str | None:
    """Why the lines at 0 % bear no tax, where the invoice says so."""
    given = invoice.exemption
    if given is None or given.text is not None or given.kind == "zero":
        return given.text if given else None
    return language.labels[given.kind]


def sheet(invoice: Invoice, language: Language) -> Sheet:
    """The lines for CSV and XLSX."""
    label = language.labels
    columns = (
        ReportColumn(name="description", label=label["description"]),
        ReportColumn(name="quantity", label=label["quantity"], kind="number"),
        ReportColumn(name="unit", label=label["unit"]),
        ReportColumn(name="unit_price", label=label["unit_price"], kind="number"),
        ReportColumn(name="tax_percent", label=f"{label['tax']} %", kind="number"),
        ReportColumn(name="amount", label=label["amount"], kind="money", total=True),
    )
    rows = [
        {**structs.asdict(line), "amount": str(amount)}
        for line, amount in zip(invoice.lines, sums(invoice).amounts, strict=True)
    ]
    return Sheet(f"{label['invoice']} {invoice.number}", columns, rows, invoice.currency, label["total"])
