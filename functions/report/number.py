"""Numbers as they come in a job's data, made exact: no amount of money passes through a float's arithmetic."""

from decimal import Decimal
from typing import Annotated

from msgspec import Meta

from functions.templating.figures import EXACT, rounded

# A text is exact; a JSON number went through a float, so its noise behind the sixth decimal is rounded away.
Number = (
    Annotated[
        str,
        Meta(
            pattern=r"^-?[0-9]{1,12}(\.[0-9]{1,6})?$(?!\n)",
            description="a number such as 149.95, with at most 12 digits before and 6 after the point",
        ),
    ]
    | Annotated[int, Meta(gt=-(10**12), lt=10**12)]
    | Annotated[float, Meta(gt=-1e12, lt=1e12)]
)
Percent = (
    Annotated[
        str,
        Meta(
            pattern=r"^(100(\.0{1,6})?|[0-9]{1,2}(\.[0-9]{1,6})?)$(?!\n)",
            description="a number from 0 to 100, with at most 6 digits after the point",
        ),
    ]
    | Annotated[int, Meta(ge=0, le=100)]
    | Annotated[float, Meta(ge=0, le=100)]
)
Currency = Annotated[str, Meta(pattern=r"^[A-Z]{3}$(?!\n)", description="a code of ISO 4217, such as EUR")]


def exact(number: str | int | float) -> Decimal:
    """The number as it was written, without zeros at its end."""
    value = Decimal(str(number))
    if isinstance(number, float):
        value = rounded(value, decimals=6)
    return value.quantize(Decimal(1)) if value == value.to_integral_value() else value.normalize(EXACT)
