"""How four languages write numbers, money and dates, and what they call the parts of a document."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from typing import Final, Literal

from functions.report.number import minor_unit_decimals, rounded

Code = Literal["en", "de", "fr", "pl"]

_MINUS, _NARROW_SPACE, _SPACE = "\N{MINUS SIGN}", "\N{NARROW NO-BREAK SPACE}", "\N{NO-BREAK SPACE}"
_SYMBOLS: Final = {"EUR": "€", "GBP": "£", "PLN": "zł", "USD": "$"}
_MONTHS: Final = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"]


@dataclass(frozen=True)
class Language:
    """One language; `money` and `percent` are patterns, `labels` the words on the documents."""

    code: str
    decimal_mark: str
    group_mark: str
    money_pattern: str
    percent_pattern: str
    date_pattern: str
    labels: Mapping[str, str]

    def number(self, value: Decimal, *, decimals: int | None = None) -> str:
        """Grouped digits; without `decimals` as many as the value has."""
        shown = value if decimals is None else rounded(value, decimals=decimals)
        marks = str.maketrans({",": self.group_mark, ".": self.decimal_mark})
        return (_MINUS if shown < 0 else "") + f"{abs(shown):,f}".translate(marks)

    def money(self, value: Decimal, currency: str) -> str:
        """An amount with its currency, in the currency's minor unit."""
        amount = self.number(abs(value), decimals=minor_unit_decimals(currency))
        symbol = _SYMBOLS.get(currency, currency)
        # a letter would stick to the digits
        gap = _SPACE if symbol[-1].isalpha() else ""
        return (_MINUS if value < 0 else "") + self.money_pattern.format(amount=amount, symbol=symbol, gap=gap)

    def percent(self, value: Decimal) -> str:
        """A rate, such as 19 %."""
        return self.percent_pattern.format(self.number(value))

    def date(self, day: date) -> str:
        """A date in figures, in English with the month's name: 3/4 is read differently on each side of the ocean."""
        return self.date_pattern.format(day=day, month=_MONTHS[day.month - 1])


LANGUAGES: Final[Mapping[str, Language]] = {
    "en": Language(
        code="en",
        decimal_mark=".",
        group_mark=",",
        money_pattern="{symbol}{gap}{amount}",
        percent_pattern="{}%",
        date_pattern="{day.day} {month} {day.year}",
        labels={
            "invoice": "Invoice",
            "issued": "Date",
            "due": "Due",
            "buyer": "Bill to",
            "vat_id": "VAT ID",
            "description": "Description",
            "quantity": "Quantity",
            "unit_price": "Unit price",
            "tax": "VAT",
            "amount": "Amount",
            "net": "Net",
            "tax_on": "VAT {percent} on {net}",
            "total": "Total",
            "payment": "Payment",
            "reference": "Reference",
            "page": "Page",
            "of": "of",
            "empty": "No entries",
        },
    ),
    "de": Language(
        code="de",
        decimal_mark=",",
        group_mark=".",
        money_pattern="{amount}" + _SPACE + "{symbol}",
        percent_pattern="{}" + _SPACE + "%",
        date_pattern="{day.day:02}.{day.month:02}.{day.year}",
        labels={
            "invoice": "Rechnung",
            "issued": "Datum",
            "due": "Fällig am",
            "buyer": "Rechnung an",
            "vat_id": "USt-IdNr.",
            "description": "Beschreibung",
            "quantity": "Menge",
            "unit_price": "Einzelpreis",
            "tax": "USt",
            "amount": "Betrag",
            "net": "Netto",
            "tax_on": "USt {percent} auf {net}",
            "total": "Gesamt",
            "payment": "Zahlung",
            "reference": "Verwendungszweck",
            "page": "Seite",
            "of": "von",
            "empty": "Keine Einträge",
        },
    ),
    "fr": Language(
        code="fr",
        decimal_mark=",",
        group_mark=_NARROW_SPACE,
        money_pattern="{amount}" + _SPACE + "{symbol}",
        percent_pattern="{}" + _SPACE + "%",
        date_pattern="{day.day:02}/{day.month:02}/{day.year}",
        labels={
            "invoice": "Facture",
            "issued": "Date",
            "due": "Échéance",
            "buyer": "Facturé à",
            "vat_id": "N° TVA",
            "description": "Désignation",
            "quantity": "Quantité",
            "unit_price": "Prix unitaire",
            "tax": "TVA",
            "amount": "Montant HT",
            "net": "Total HT",
            "tax_on": "TVA {percent} sur {net}",
            "total": "Total TTC",
            "payment": "Paiement",
            "reference": "Référence",
            "page": "Page",
            "of": "sur",
            "empty": "Aucune entrée",
        },
    ),
    "pl": Language(
        code="pl",
        decimal_mark=",",
        group_mark=_SPACE,
        money_pattern="{amount}" + _SPACE + "{symbol}",
        percent_pattern="{}%",
        date_pattern="{day.day:02}.{day.month:02}.{day.year}",
        labels={
            "invoice": "Faktura",
            "issued": "Data wystawienia",
            "due": "Termin płatności",
            "buyer": "Nabywca",
            "vat_id": "NIP",
            "description": "Nazwa",
            "quantity": "Ilość",
            "unit_price": "Cena netto",
            "tax": "VAT",
            "amount": "Wartość netto",
            "net": "Razem netto",
            "tax_on": "VAT {percent} od {net}",
            "total": "Do zapłaty",
            "payment": "Płatność",
            "reference": "Tytuł przelewu",
            "page": "Strona",
            "of": "z",
            "empty": "Brak pozycji",
        },
    ),
}
