"""Numbers as they come in a job's data, made exact: no amount of money passes through a float's arithmetic."""

from decimal import ROUND_HALF_UP, Context, Decimal
from typing import Annotated, Final

from msgspec import Meta

# A text is exact; a JSON number went through a float, so its noise behind the sixth decimal is rounded away.
Number = (
    Annotated[str, Meta(pattern=r"^-?[0-9]{1,12}(\.[0-9]{1,6})?$(?!\n)")]
    | Annotated[int, Meta(gt=-(10**12), lt=10**12)]
    | Annotated[float, Meta(gt=-1e12, lt=1e12)]
)
Percent = (
    Annotated[str, Meta(pattern=r"^(100(\.0{1,6})?|[0-9]{1,2}(\.[0-9]{1,6})?)$(?!\n)")]
    | Annotated[int, Meta(ge=0, le=100)]
    | Annotated[float, Meta(ge=0, le=100)]
)
Currency = Annotated[str, Meta(pattern=r"^[A-Z]{3}$(?!\n)", description="ISO 4217")]

# More digits than the sum of 10,000 products of two Numbers can have: nothing is rounded by the way.
EXACT: Final = Context(prec=60, rounding=ROUND_HALF_UP)

# ISO 4217, table A.1: the currencies whose minor unit is not a hundredth
_NO_DECIMALS: Final = frozenset(
    ["BIF", "CLP", "DJF", "GNF", "ISK", "JPY", "KMF", "KRW", "PYG", "RWF", "UGX", "VND", "VUV", "XAF", "XOF", "XPF"]
)
_THREE_DECIMALS: Final = frozenset(["BHD", "IQD", "JOD", "KWD", "LYD", "OMR", "TND"])


def exact(number: str | int | float) -> Decimal:
    """The number as it was written, without zeros at its end."""
    value = Decimal(str(number))
    if isinstance(number, float):
        value = rounded(value, decimals=6)
    return value.quantize(Decimal(1)) if value == value.to_integral_value() else value.normalize(EXACT)


def rounded(value: Decimal, *, decimals: int) -> Decimal:
    """Half up: 0.125 is 0.13, and -0.125 is -0.13."""
    return value.quantize(Decimal(1).scaleb(-decimals), rounding=ROUND_HALF_UP, context=EXACT)


def decimals_of(value: Decimal) -> int:
    """How many decimals the number has."""
    return max(-int(value.as_tuple().exponent), 0)


def minor_unit_decimals(currency: str | None) -> int:
    """How many decimals an amount of money has."""
    if currency in _NO_DECIMALS:
        return 0
    return 3 if currency in _THREE_DECIMALS else 2
