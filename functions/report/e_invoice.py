"""The electronic invoice: ZUGFeRD 2 and Factur-X 1, profile EN 16931, as the XML that goes into a PDF/A-3.

drafthorse has the elements of UN/CEFACT's Cross Industry Invoice and their order; what they mean is EN 16931-1, and the
rules named here are its own.
"""

import re
from collections.abc import Iterator
from datetime import date
from decimal import Decimal
from typing import Any, Final
from xml.etree import ElementTree

from drafthorse.models.accounting import ApplicableTradeTax  # type: ignore[import-untyped]  # it has no types
from drafthorse.models.document import Document  # type: ignore[import-untyped]
from drafthorse.models.note import IncludedNote  # type: ignore[import-untyped]
from drafthorse.models.party import TaxRegistration  # type: ignore[import-untyped]
from drafthorse.models.payment import PaymentMeans, PaymentTerms  # type: ignore[import-untyped]
from drafthorse.models.tradelines import LineItem  # type: ignore[import-untyped]

from events.problem import FieldError, JobFailed
from functions.report.invoice import Invoice, Line, Sums, Tax
from functions.report.number import exact
from functions.report.parts import Party
from functions.report.payment import Payment, compact
from functions.templating.figures import minor_unit_decimals

PROFILE: Final = "urn:cen.eu:en16931:2017"
_INVOICE: Final = "380"  # UNTDID 1001
_SEPA: Final = "58"  # UNTDID 4461
_TRANSFER: Final = "30"
# XML 1.0 2.2
_NO_XML: Final = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
# UNTDID 5305 and the code list VATEX
_CATEGORIES: Final = {
    "exempt": ("E", None),
    "reverse-charge": ("AE", "VATEX-EU-AE"),
    "intra-community": ("K", "VATEX-EU-IC"),
    "export": ("G", "VATEX-EU-G"),
    "zero": ("Z", None),
}


def e_invoice(invoice: Invoice, sums: Sums, *, reason: str | None) -> bytes:
    """The XML; raises JobFailed that names each field which EN 16931 requires and the invoice lacks."""
    missing = tuple(FieldError(pointer=f"#/data/{field}", detail=detail) for field, detail in _missing(invoice, sums))
    if missing:
        listed = "; ".join(f"{each.pointer}: {each.detail}" for each in missing)
        raise JobFailed("invalid-data", f"an e-invoice needs more: {listed}", missing)
    made = Document()
    made.context.guideline_parameter.id = PROFILE
    made.header.id = invoice.number
    made.header.type_code = _INVOICE
    made.header.issue_date_time = invoice.issued
    if invoice.note:
        note = IncludedNote()
        note.content = invoice.note
        made.header.notes.add(note)
    for number, (line, amount) in enumerate(zip(invoice.lines, sums.amounts, strict=True), start=1):
        made.trade.items.add(_line(number, line, amount, invoice))
    _agree(made.trade.agreement, invoice)
    _deliver(made.trade, invoice)
    _settle(made.trade.settlement, invoice, sums, reason)
    root: ElementTree.Element = made.to_etree()
    for each in root.iter():
        each.text = each.text and _NO_XML.sub(" ", each.text)
    content: bytes = ElementTree.tostring(root, encoding="UTF-8", xml_declaration=True)
    return content


def _missing(invoice: Invoice, sums: Sums) -> Iterator[tuple[str, str]]:
    for name, party in (("seller", invoice.seller), ("buyer", invoice.buyer)):
        if party.country is None:
            yield f"{name}/country", "is required (BR-9, BR-11)"
        if party.vat_id and not re.match("[A-Z]{2}", party.vat_id):
            yield f"{name}/vat_id", "must begin with the code of a country, such as DE123456789 (BR-CO-9)"
    if not (invoice.seller.vat_id or invoice.seller.tax_number):
        yield "seller/vat_id", "is required, or seller/tax_number (BR-CO-26)"
    if invoice.due is None and not (invoice.payment and invoice.payment.text) and sums.total > 0:
        yield "due", "is required, or payment/text (BR-CO-25)"
    if minor_unit_decimals(invoice.currency) > 2:
        yield "currency", "must be one of at most two decimals (BR-DEC-14)"
    yield from _missing_of_zero(invoice, sums)


def _missing_of_zero(invoice: Invoice, sums: Sums) -> Iterator[tuple[str, str]]:
    if any(not each.percent for each in sums.taxes):
        kind = invoice.exemption.kind if invoice.exemption else None
        if kind is None:
            yield "exemption", "is required for lines at 0 % (BR-E-10 and its like)"
        if kind in ("reverse-charge", "intra-community") and not invoice.buyer.vat_id:
            yield "buyer/vat_id", f"is required for the exemption {kind} (BR-AE-2, BR-IC-2)"
        if kind in ("intra-community", "export") and not invoice.seller.vat_id:
            yield "seller/vat_id", f"is required for the exemption {kind} (BR-IC-2, BR-G-2)"
        if kind == "intra-community" and not (invoice.delivered or invoice.period):
            yield "delivered", "is required for the exemption intra-community, or period (BR-IC-11)"


def _line(number: int, line: Line, amount: Decimal, invoice: Invoice) -> Any:
    quantity, price = exact(line.quantity), exact(line.unit_price)
    if price < 0:  # BR-27: a price is never negative, a quantity may be
        quantity, price = -quantity, -price
    name, _, more = line.description.partition("\n")
    item = LineItem()
    item.document.line_id = str(number)
    item.product.name = name.strip() or line.description.strip()
    if more.strip():
        item.product.description = more.strip()
    item.agreement.net.amount = _plain(price)
    item.delivery.billed_quantity = (_plain(quantity), line.unit_code)
    item.settlement.trade_tax.type_code = "VAT"
    category, _ = _category(exact(line.tax_percent), invoice)
    item.settlement.trade_tax.category_code = category
    item.settlement.trade_tax.rate_applicable_percent = _plain(exact(line.tax_percent))
    item.settlement.monetary_summation.total_amount = _plain(amount)
    return item


def _category(percent: Decimal, invoice: Invoice) -> tuple[str, str | None]:
    """The tax's category and the code of why there is none."""
    return ("S", None) if percent or invoice.exemption is None else _CATEGORIES[invoice.exemption.kind]


def _agree(agreement: Any, invoice: Invoice) -> None:
    if invoice.buyer_reference:
        agreement.buyer_reference = invoice.buyer_reference
    _describe(agreement.seller, invoice.seller)
    _describe(agreement.buyer, invoice.buyer)


def _describe(element: Any, party: Party) -> None:
    element.name = party.name
    rows = [*party.address, *([party.street] if party.street else [])]
    lines = [*rows[:2], ", ".join(rows[2:])]
    address = element.address
    address.line_one, address.line_two, address.line_three = [*lines, "", ""][:3]
    address.postcode, address.city_name, address.country_id = party.postcode or "", party.city or "", party.country
    if party.tax_number and not party.vat_id:  # BR-CO-26: the tax number alone identifies nobody
        element.id = party.tax_number
    if party.email:
        element.electronic_address.uri_ID = ("EM", party.email)
    if party.tax_number:
        element.tax_registrations.add(TaxRegistration(id=("FC", party.tax_number)))
    if party.vat_id:
        element.tax_registrations.add(TaxRegistration(id=("VA", compact(party.vat_id))))


def _deliver(trade: Any, invoice: Invoice) -> None:
    if invoice.exemption and invoice.exemption.kind == "intra-community":  # BR-IC-12
        _ship(trade.delivery.ship_to, invoice.buyer)
    if invoice.delivered:
        trade.delivery.event.occurrence = invoice.delivered
    if invoice.period:
        trade.settlement.period.start, trade.settlement.period.end = invoice.period.start, invoice.period.end


def _ship(element: Any, party: Party) -> None:
    element.name = party.name
    element.address.country_id = party.country


def _settle(settlement: Any, invoice: Invoice, sums: Sums, reason: str | None) -> None:
    payment = invoice.payment
    settlement.currency_code = invoice.currency
    if payment and payment.reference:
        settlement.payment_reference = payment.reference
    if payment and payment.iban:
        settlement.payment_means.add(_means(payment, invoice))
    for tax in sums.taxes:
        settlement.trade_tax.add(_tax(tax, invoice, reason))
    settlement.terms.add(_terms(payment.text if payment else None, invoice.due))
    total = settlement.monetary_summation
    total.line_total = _plain(sums.net)
    total.tax_basis_total = (_plain(sums.net), None)
    total.tax_total = (_plain(sums.total - sums.net), invoice.currency)
    total.grand_total = (_plain(sums.total), None)
    total.due_amount = _plain(sums.total)


def _means(payment: Payment, invoice: Invoice) -> Any:
    means = PaymentMeans()
    means.type_code = _SEPA if invoice.currency == "EUR" else _TRANSFER
    means.payee_account.iban = compact(payment.iban or "")
    means.payee_account.account_name = payment.holder or invoice.seller.name
    if payment.bic:
        means.payee_institution.bic = payment.bic
    return means


def _tax(tax: Tax, invoice: Invoice, reason: str | None) -> Any:
    category, code = _category(tax.percent, invoice)
    element = ApplicableTradeTax()
    element.calculated_amount, element.basis_amount = _plain(tax.tax), _plain(tax.net)
    element.type_code, element.category_code = "VAT", category
    element.rate_applicable_percent = _plain(tax.percent)
    if category not in ("S", "Z"):
        element.exemption_reason = reason or ""
        element.exemption_reason_code = code or ""
    return element


def _terms(text: str | None, due: date | None) -> Any:
    terms = PaymentTerms()
    if text:
        terms.description = text
    if due:
        terms.due = due
    return terms


def _plain(value: Decimal) -> Decimal:
    """Such that its text has no exponent."""
    return Decimal(f"{value:f}")
