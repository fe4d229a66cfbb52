"""What an invoice prints for a camera: EPC's code beside the payment, or the page of the Swiss QR-bill."""

from typing import Any, Final

from markupsafe import Markup

from functions.report.invoice import Invoice, Sums
from functions.report.language import Language
from functions.report.payment import Payment, epc_text
from functions.report.qr_code import qr_code
from functions.report.swiss_bill import PAGE_STYLE, WORDS, swiss_bill

_EPC_VERSION: Final = 13  # EPC069-12
_SWISS_VERSION: Final = 25  # Implementation Guidelines QR-bill 6.2


def of_transfer(payment: Payment, invoice: Invoice, sums: Sums, language: Language) -> Markup:
    """EPC's code; ValueError for a payment that it cannot hold."""
    text = epc_text(payment, invoice.seller.name, sums.total, invoice.currency)
    return qr_code(text, told=_told(invoice, sums, language), most_version=_EPC_VERSION)


def of_bill(payment: Payment, invoice: Invoice, sums: Sums, language: Language) -> dict[str, Any]:
    """What the template prints on the bill's page; ValueError for a payment that a bill cannot have."""
    bill = swiss_bill(payment, invoice.seller, invoice.buyer, sums.total, invoice.currency)
    code = qr_code(bill.text, told=_told(invoice, sums, language), most_version=_SWISS_VERSION, cross=True)
    words = WORDS.get(language.code.partition("-")[0], WORDS["en"])
    return {"bill": bill, "bill_code": code, "word": words, "page_style": PAGE_STYLE}


def _told(invoice: Invoice, sums: Sums, language: Language) -> str:
    return f"{language.labels['scan']}: {language.money(sums.total, invoice.currency)}"
