"""Numbers and amounts as a locale writes them: rounded half up by decimal arithmetic, and put into CLDR's patterns.

Babel has CLDR's patterns and symbols; the digits are put into them here, because of what Babel's own way of doing it
loses: from its second on, a group sign that is an apostrophe (Switzerland) is taken for a quote of the pattern; ties
are rounded to even; and currencySpacing, the locale's own minus, and the signs of amounts alone are not minded. Four
digits are always grouped, so that the amounts of a column stand alike: minimumGroupingDigits is not minded here.
"""

import re
import unicodedata
from collections.abc import Mapping
from decimal import ROUND_HALF_UP, Context, Decimal
from functools import cache
from typing import Any, Final

from babel import Locale
from babel.numbers import get_currency_symbol, list_currencies

# More digits than the sum of 10,000 products of two numbers of a job can have: nothing is rounded by the way.
EXACT: Final = Context(prec=60, rounding=ROUND_HALF_UP)

# ISO 4217, table A.1: the currencies whose minor unit is not a hundredth
_NO_DECIMALS: Final = frozenset(
    ["BIF", "CLP", "DJF", "GNF", "ISK", "JPY", "KMF", "KRW", "PYG", "RWF", "UGX", "VND", "VUV", "XAF", "XOF", "XPF"]
)
_THREE_DECIMALS: Final = frozenset(["BHD", "IQD", "JOD", "KWD", "LYD", "OMR", "TND"])
_NO_BREAK_SPACE: Final = "\N{NO-BREAK SPACE}"
_MINUS: Final = "-"
_MARKS: Final = "\N{LEFT-TO-RIGHT MARK}\N{RIGHT-TO-LEFT MARK}\N{ARABIC LETTER MARK}"


def rounded(value: Decimal, *, decimals: int) -> Decimal:
    """Half up: 0.125 is 0.13, and -0.125 is -0.13."""
    return value.quantize(Decimal(1).scaleb(-decimals), rounding=ROUND_HALF_UP, context=EXACT)


def decimals_of(value: Decimal) -> int:
    """How many decimals the number has."""
    return max(-int(value.as_tuple().exponent), 0)


def minor_unit_decimals(currency: str | None) -> int:
    """How many decimals an amount of money has (ISO 4217; CLDR's are those of cash)."""
    if currency in _NO_DECIMALS:
        return 0
    return 3 if currency in _THREE_DECIMALS else 2


def check_currency(code: str) -> None:
    """ValueError for what is no currency of ISO 4217, or was none."""
    if code not in _currencies():
        raise ValueError(f"currency must be a code of ISO 4217, such as EUR, got {code!r}")


def number_text(value: Decimal, locale: Locale, *, decimals: int | None = None) -> str:
    """Grouped digits; without `decimals` as many as the value has."""
    shown = value if decimals is None else rounded(value, decimals=decimals)
    return _written(shown, locale.decimal_formats[None], _symbols(locale))


def money_text(value: Decimal, currency: str, locale: Locale) -> str:
    """An amount with its currency's sign, in the currency's minor unit."""
    pattern, symbols = locale.currency_formats["standard"], _symbols(locale)
    of_amounts = {
        "group": symbols.get("currencyGroup", symbols["group"]),
        "decimal": symbols.get("currencyDecimal", symbols["decimal"]),
    }
    shown = rounded(value, decimals=minor_unit_decimals(currency))
    sign = get_currency_symbol(currency, locale)
    return _written(shown, pattern, {**symbols, **of_amounts}, sign)


def decimal_sign(locale: Locale) -> str:
    """What stands before the decimals."""
    return _symbols(locale)["decimal"]


def percent_text(value: Decimal, locale: Locale) -> str:
    """A rate, such as 19 % of 19, with the decimals that it has."""
    trimmed = value.quantize(Decimal(1)) if value == value.to_integral_value() else value.normalize(EXACT)
    return _written(trimmed, locale.percent_formats[None], _symbols(locale))


def _written(value: Decimal, pattern: Any, symbols: Mapping[str, str], currency: str = "") -> str:
    """The number in a pattern's place; a zero has no sign."""
    whole, _, fraction = f"{abs(value):f}".partition(".")
    digits = _grouped(whole, pattern.grouping, symbols["group"])
    if fraction:
        digits += symbols["decimal"] + fraction
    is_negative = value < 0
    before, after = (_affix(each[is_negative], symbols) for each in (pattern.prefix, pattern.suffix))
    if currency:
        before, after = _spaced(before, after, currency)
    return before + digits + after


def _grouped(digits: str, sizes: tuple[int, int], sign: str) -> str:
    """In groups of these sizes from the right."""
    last, others = sizes
    groups, rest = [digits[-last:]], digits[:-last]
    while rest:
        groups.insert(0, rest[-others:])
        rest = rest[:-others]
    return sign.join(groups)


def _affix(text: str, symbols: Mapping[str, str]) -> str:
    """What a pattern has before or after the digits: without its quotes, with the locale's signs."""
    plain = re.sub(r"'([^']*)'", lambda found: found[1] or "'", text)
    minus = symbols["minusSign"].strip(_MARKS)  # the pattern has the marks that it needs
    return plain.replace(_MINUS, minus).replace("%", symbols["percentSign"])


def _spaced(before: str, after: str, sign: str) -> tuple[str, str]:
    """With the currency's sign, and a space where a letter of it would touch a digit (CLDR, currencySpacing)."""
    if before.endswith("¤") and _is_letter(sign[-1]):
        before += _NO_BREAK_SPACE
    if after.startswith("¤") and _is_letter(sign[0]):
        after = _NO_BREAK_SPACE + after
    return before.replace("¤", sign), after.replace("¤", sign)


def _is_letter(character: str) -> bool:
    """CLDR's currencyMatch: neither a symbol nor a separator."""
    return unicodedata.category(character)[0] not in "SZ"


def _symbols(locale: Locale) -> Mapping[str, str]:
    symbols: Mapping[str, str] = locale.number_symbols["latn"]
    return symbols


@cache
def _currencies() -> frozenset[str]:
    return frozenset(list_currencies())
