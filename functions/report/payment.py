"""How an invoice is paid, and the code that a banking application reads of it: EPC's of the euro area."""

import re
from decimal import Decimal
from typing import Annotated, Final, Literal

from msgspec import Meta

from events.types import Request, Text
from functions.report.parts import Paragraph

Iban = Annotated[
    str,
    Meta(
        pattern=r"^[A-Z]{2}[0-9]{2}[A-Z0-9 ]{11,38}$(?!\n)",
        description="an IBAN, such as DE89 3704 0044 0532 0130 00",
    ),
]
Bic = Annotated[str, Meta(pattern=r"^[A-Z0-9]{8}([A-Z0-9]{3})?$(?!\n)", description="a BIC, such as COBADEFFXXX")]
# EPC069-12 v3.1: what each line holds at most
_NAME_CHARACTERS: Final = 70
_TEXT_CHARACTERS: Final = 140
_MOST: Final = Decimal("999999999.99")


class Payment(Request, frozen=True, kw_only=True):
    """How to pay; `holder` is whose account it is, by default the seller's.

    `code` prints what is scanned to pay: `epc` for euros, `swiss` the QR-bill as a page of its own.
    """

    text: Paragraph | None = None
    iban: Iban | None = None
    bic: Bic | None = None
    holder: Text | None = None
    reference: Text | None = None
    code: Literal["epc", "swiss"] | None = None

    def __post_init__(self) -> None:
        if self.iban is not None and not is_iban(self.iban):
            raise ValueError(f"iban must have right check digits (ISO 13616), got {self.iban}")
        if self.code is not None and self.iban is None:
            raise ValueError(f"iban is required for a code to pay with ({self.code})")


def epc_text(payment: Payment, seller: str, total: Decimal, currency: str) -> str:
    """What the code holds (EPC069-12, version 002); ValueError for what it cannot."""
    name = payment.holder or seller
    if currency != "EUR" or not 0 < total <= _MOST:
        raise ValueError(f"an epc code expects an amount of 0.01 to {_MOST} EUR, got {total} {currency}")
    if len(name) > _NAME_CHARACTERS:
        raise ValueError(f"an epc code expects a holder of at most {_NAME_CHARACTERS} characters, got {len(name)}")
    reference = " ".join((payment.reference or "").split())
    if len(reference) > _TEXT_CHARACTERS:
        raise ValueError(f"an epc code expects a reference of at most {_TEXT_CHARACTERS} characters")
    creditor = compact(reference) if is_creditor_reference(reference) else ""
    lines = ["BCD", "002", "1", "SCT", payment.bic or "", name, compact(payment.iban or ""), f"EUR{total:f}", ""]
    return "\n".join([*lines, creditor, "" if creditor else reference]).rstrip("\n")


def compact(text: str) -> str:
    """Without the spaces that people read it with."""
    return text.replace(" ", "")


def grouped_iban(iban: str) -> str:
    """In fours, as banks print it (ISO 13616)."""
    digits = compact(iban)
    return " ".join(digits[start : start + 4] for start in range(0, len(digits), 4))


def is_iban(text: str) -> bool:
    """Whether length and check digits are right."""
    return 15 <= len(compact(text)) <= 34 and _has_check_digits(compact(text))


def is_creditor_reference(text: str) -> bool:
    """Whether it is one of ISO 11649, such as RF18 5390 0754 7034."""
    plain = compact(text)
    return re.fullmatch("RF[0-9]{2}[A-Z0-9]{1,21}", plain) is not None and _has_check_digits(plain)


def _has_check_digits(plain: str) -> bool:
    """ISO 7064, MOD 97-10, with the check digits in third and fourth place."""
    return int("".join(str(int(each, 36)) for each in plain[4:] + plain[:4])) % 97 == 1
