"""The Swiss QR-bill: what its code holds, and the words on its receipt and payment part.

SIX, Swiss Implementation Guidelines QR-bill 2.3; addresses are structured ones (type S).
"""

from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from types import MappingProxyType
from typing import Final

from functions.report.parts import Party
from functions.report.payment import Payment, compact, grouped_iban, is_creditor_reference

_KEYS: Final = (
    "receipt|part|account|reference|information|payable_by|payable_by_blank|currency|amount|acceptance|separate"
)
_TEXTS: Final = {
    "de": "Empfangsschein|Zahlteil|Konto / Zahlbar an|Referenz|Zusätzliche Informationen|Zahlbar durch|"
    "Zahlbar durch (Name/Adresse)|Währung|Betrag|Annahmestelle|Vor der Einzahlung abzutrennen",
    "en": "Receipt|Payment part|Account / Payable to|Reference|Additional information|Payable by|"
    "Payable by (name/address)|Currency|Amount|Acceptance point|Separate before paying in",
    "fr": "Récépissé|Section paiement|Compte / Payable à|Référence|Informations supplémentaires|Payable par|"
    "Payable par (nom/adresse)|Monnaie|Montant|Point de dépôt|A détacher avant le versement",
    "it": "Ricevuta|Sezione pagamento|Conto / Pagabile a|Riferimento|Informazioni supplementari|Pagabile da|"
    "Pagabile da (nome/indirizzo)|Valuta|Importo|Punto di accettazione|Da staccare prima del versamento",
}
WORDS: Final[Mapping[str, Mapping[str, str]]] = MappingProxyType(
    {code: dict(zip(_KEYS.split("|"), texts.split("|"), strict=True)) for code, texts in _TEXTS.items()}
)
# Of the bill's page, whatever paper, margins and texts the rest of the document has.
PAGE_STYLE: Final = (
    "@page bill { size: A4 portrait !important; margin: 0 !important; background: none !important; "
    + " ".join(
        f"@{edge}-{place} {{ content: none !important }}"
        for edge in ("top", "bottom")
        for place in ("left", "center", "right")
    )
    + " }"
)
_MOST: Final = Decimal("999999999.99")
_MESSAGE_CHARACTERS: Final = 140
# Of the check digit of a QR reference: modulo 10, recursive.
_CARRIES: Final = (0, 9, 4, 6, 8, 2, 7, 1, 3, 5)


@dataclass(frozen=True)
class SwissBill:
    """`text` is what the code holds; `reference` is as it is printed, empty where the bill has none."""

    text: str
    account: str
    creditor: tuple[str, ...]
    debtor: tuple[str, ...]
    reference: str
    message: str
    amount: str
    currency: str


def swiss_bill(payment: Payment, seller: Party, buyer: Party, total: Decimal, currency: str) -> SwissBill:
    """The bill; ValueError says what it lacks. A buyer without a whole address is left blank, to be written by hand."""
    iban = compact(payment.iban or "")
    if iban[:2] not in ("CH", "LI"):
        raise ValueError(f"a Swiss bill expects an IBAN of CH or LI, got {iban[:2]}")
    if currency not in ("CHF", "EUR") or not 0 < total <= _MOST:
        raise ValueError(f"a Swiss bill expects an amount of 0.01 to {_MOST} CHF or EUR, got {total} {currency}")
    creditor = _address(payment.holder or seller.name, seller)
    if creditor is None:
        raise ValueError("a Swiss bill expects the seller's postcode, city and country, and names of 70 characters")
    kind, reference, message = _reference(iban, payment.reference or "")
    debtor = _address(buyer.name, buyer)
    amount = f"{total:.2f}"
    head = ["SPC", "0200", "1", iban, *creditor, *[""] * 7, amount, currency, *(debtor or [""] * 7)]
    return SwissBill(
        text="\n".join([*head, kind, reference, message, "EPD"]),
        account=grouped_iban(iban),
        creditor=_shown(creditor),
        debtor=_shown(debtor) if debtor else (),
        reference=_grouped(kind, reference),
        message=message,
        amount=f"{total:,.2f}".replace(",", " "),
        currency=currency,
    )


def _address(name: str, party: Party) -> list[str] | None:
    """Seven lines of the code; None where the address is not whole, or too long for it."""
    street = party.street or ", ".join(party.address)
    if not (party.postcode and party.city and party.country) or len(name) > 70:
        return None
    if len(street) > 70 or len(party.city) > 35:
        return None
    return ["S", name, street, "", party.postcode, party.city, party.country]


def _shown(address: list[str]) -> tuple[str, ...]:
    _, name, street, _, postcode, city, country = address
    town = f"{postcode} {city}" if country in ("CH", "LI") else f"{country}-{postcode} {city}"
    return tuple(each for each in (name, street, town) if each)


def _reference(iban: str, given: str) -> tuple[str, str, str]:
    """Its kind, the reference, and the message: a text that is no reference of either kind is a message."""
    plain = compact(given)
    if 30_000 <= int(iban[4:9]) <= 31_999 if iban[4:9].isdecimal() else False:
        if not _is_qr_reference(plain):
            raise ValueError(f"a QR-IBAN expects a reference of 27 digits with its check digit, got {given!r}")
        return "QRR", plain, ""
    if is_creditor_reference(plain):
        return "SCOR", plain, ""
    message = " ".join(given.split())
    if len(message) > _MESSAGE_CHARACTERS:
        raise ValueError(f"a Swiss bill expects a reference of at most {_MESSAGE_CHARACTERS} characters")
    return "NON", "", message


def _is_qr_reference(plain: str) -> bool:
    if len(plain) != 27 or not (plain.isascii() and plain.isdecimal()):
        return False
    carry = 0
    for digit in plain[:-1]:
        carry = _CARRIES[(carry + int(digit)) % 10]
    return (10 - carry) % 10 == int(plain[-1])


def _grouped(kind: str, reference: str) -> str:
    """QR references as 2 and fives, the others in fours."""
    if kind == "QRR":
        return " ".join([reference[:2], *(reference[start : start + 5] for start in range(2, 27, 5))])
    return grouped_iban(reference)
