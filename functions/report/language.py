"""How a document's language writes numbers, money and dates (CLDR, through Babel), and what it calls its parts."""

import unicodedata
from collections.abc import Mapping
from copy import copy
from dataclasses import dataclass
from datetime import date
from decimal import Decimal, localcontext
from functools import cached_property
from typing import Annotated

from msgspec import Meta

from functions.report.labels import LABELS
from functions.report.number import EXACT, decimals_of, minor_unit_decimals, rounded

Code = Annotated[
    str,
    Meta(
        pattern=rf"^({'|'.join(LABELS)})(-[A-Z]{{2}})?$(?!\n)",
        description="a language, or a language and a country, whose way of writing numbers it then has",
        examples=["en", "de-CH", "ar"],
    ),
]


@dataclass(frozen=True)
class Language:
    """One language: `en`, or with a country `en-GB`. Babel is loaded with its first use."""

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
    def _locale(self):  # type: ignore[no-untyped-def]  # a Babel Locale; naming it would load Babel
        from babel import Locale, UnknownLocaleError

        try:
            return Locale.parse(self.code, sep="-")
        except UnknownLocaleError:  # a country that the language is not written for
            return Locale.parse(self.code.partition("-")[0])

    def number(self, value: Decimal, *, decimals: int | None = None) -> str:
        """Grouped digits; without `decimals` as many as the value has."""
        from babel.numbers import format_decimal

        shown = value if decimals is None else rounded(value, decimals=decimals)
        places = decimals_of(shown)
        with localcontext(EXACT):
            return format_decimal(shown, "#,##0" + ("." + "0" * places if places else ""), self._locale)

    def money(self, value: Decimal, currency: str) -> str:
        """An amount with its currency, in the currency's minor unit."""
        decimals = minor_unit_decimals(currency)  # ISO 4217's; CLDR's are those of cash
        pattern = copy(self._locale.currency_formats["standard"])
        pattern.frac_prec = (decimals, decimals)
        with localcontext(EXACT):
            amount = rounded(value, decimals=decimals)
            return str(pattern.apply(amount, self._locale, currency=currency, currency_digits=False))

    def compact(self, value: Decimal) -> str:
        """Short, for the axis of a chart: 1.2M."""
        from babel.numbers import format_compact_decimal

        return format_compact_decimal(value, locale=self._locale, fraction_digits=2)

    def percent(self, value: Decimal) -> str:
        """A rate, such as 19 %."""
        from babel.numbers import format_percent

        return format_percent(value / 100, locale=self._locale, decimal_quantization=False)

    def date(self, day: date, style: str = "medium") -> str:
        """A day; in figures only where nobody could read another one."""
        from babel.dates import format_date

        return format_date(day, style, self._locale)
