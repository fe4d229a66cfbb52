"""An invoice's data, and its sums: net prices, tax by rate, everything rounded half up to the currency's unit."""

from dataclasses import dataclass
from datetime import date
from decimal import Decimal, localcontext
from typing import Annotated

from msgspec import Meta, structs

from events.types import Request, Text
from events.types.report import ReportColumn
from functions.report.language import Code, Language, Zone
from functions.report.number import Currency, Number, Percent, exact
from functions.report.parts import DEFAULT_ACCENT, Accent, Paragraph, Party
from functions.report.sheet import Sheet
from functions.templating.figures import EXACT, minor_unit_decimals, rounded


class Line(Request, frozen=True, kw_only=True):
    """What is charged; `unit_price` is net, and may have more decimals than the currency."""

    description: Paragraph
    quantity: Number = 1
    unit: Annotated[str, Meta(max_length=20)] | None = None
    unit_price: Number
    tax_percent: Percent = 0


class Payment(Request, frozen=True, kw_only=True):
    """How to pay."""

    text: Paragraph | None = None
    iban: (
        Annotated[
            str,
            Meta(
                pattern=r"^[A-Z]{2}[0-9]{2}[A-Z0-9 ]{11,38}$(?!\n)",
                description="an IBAN, such as DE89 3704 0044 0532 0130 00",
            ),
        ]
        | None
    ) = None
    reference: Text | None = None

    def __post_init__(self) -> None:
        if self.iban is not None and not _is_iban(self.iban):
            raise ValueError(f"iban must have right check digits (ISO 13616), got {self.iban}")


class Invoice(Request, frozen=True, kw_only=True):
    """The data of the template `invoice`. A negative quantity or price is a discount or a credit."""

    number: Text
    issued: date
    due: date | None = None
    currency: Currency
    seller: Party
    buyer: Party
    lines: Annotated[tuple[Line, ...], Meta(min_length=1, max_length=1_000)]
    payment: Payment | None = None
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


def grouped_iban(iban: str) -> str:
    """In fours, as banks print it (ISO 13616)."""
    digits = iban.replace(" ", "")
    return " ".join(digits[start : start + 4] for start in range(0, len(digits), 4))


def _is_iban(text: str) -> bool:
    iban = text.replace(" ", "")
    return 15 <= len(iban) <= 34 and int("".join(str(int(each, 36)) for each in iban[4:] + iban[:4])) % 97 == 1
