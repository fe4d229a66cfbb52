"""How a document's language writes numbers, money and dates (CLDR, through Babel), and what it calls its parts."""

import unicodedata
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from functools import cached_property
from typing import Annotated, Final

from babel import Locale, UnknownLocaleError
from babel.dates import format_date
from babel.numbers import format_compact_decimal
from msgspec import Meta

from functions.report.labels import LABELS
from functions.templating.figures import money_text, number_text, percent_text

Code = Annotated[
    str,
    Meta(
        pattern=rf"^({'|'.join(LABELS)})(-[A-Z]{{2}})?$(?!\n)",
        description="a language, or a language and a country, whose way of writing numbers it then has",
        examples=["en", "de-CH", "ar"],
    ),
]


Zone = Annotated[
    str, Meta(max_length=64, description="in which the request's day is told", examples=["Europe/Berlin", "UTC"])
]

# What CLDR knows beside the countries: unions, and codes of its own.
_NO_COUNTRIES: Final = frozenset(["EU", "EZ", "QO", "UN", "XA", "XB", "ZZ"])


@dataclass(frozen=True)
class Language:
    """One language: `en`, or with a country `en-GB`."""

    code: str

    @property
    def labels(self) -> Mapping[str, str]:
        """The words on the documents."""
        return LABELS[self.code.partition("-")[0]]

    @property
    def direction(self) -> str:
        """As HTML's attribute `dir`."""
        return "rtl" if self.code.startswith("ar") else "ltr"

    def direction_of(self, text: str) -> str:
        """Of a text's first letter that has one (Unicode TR 9, P2 and P3): WeasyPrint does not know `dir="auto"`."""
        for each in text:
            if (kind := unicodedata.bidirectional(each)) in ("L", "R", "AL"):
                return "ltr" if kind == "L" else "rtl"
        return self.direction

    @cached_property
    def locale(self) -> Locale:
        """Babel's, of the language alone for a country that it is not written for."""
        try:
            return Locale.parse(self.code, sep="-")
        except UnknownLocaleError:
            return Locale.parse(self.code.partition("-")[0])

    def number(self, value: Decimal, *, decimals: int | None = None) -> str:
        """Grouped digits; without `decimals` as many as the value has."""
        return number_text(value, self.locale, decimals=decimals)

    def money(self, value: Decimal, currency: str) -> str:
        """An amount with its currency, in the currency's minor unit."""
        return money_text(value, currency, self.locale)

    def compact(self, value: Decimal) -> str:
        """Short, for the axis of a chart: 1.2M."""
        return format_compact_decimal(value, locale=self.locale, fraction_digits=2)

    def percent(self, value: Decimal) -> str:
        """A rate, such as 19 %."""
        return percent_text(value, self.locale)

    def country(self, code: str) -> str:
        """What the country is called; ValueError for a code that is none."""
        name: str | None = self.locale.territories.get(code)
        if name is None or code in _NO_COUNTRIES:
            raise ValueError(f"country must be a code of ISO 3166-1, such as DE, got {code!r}")
        return name

    def date(self, day: date, style: str = "medium") -> str:
        """A day; in figures only where nobody could read another one."""
        return format_date(day, style, self.locale)
