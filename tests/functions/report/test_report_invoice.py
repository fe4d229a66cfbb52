"""What an invoice has to say, what a camera reads of it, and the e-invoice, which Mustang judges."""

import base64
import io
import re
from collections.abc import Callable, Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import msgspec
import pikepdf
import pypdfium2  # type: ignore[import-untyped]  # it has no types
import pytest
import zxingcpp
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from functions.report.invoice import Invoice, sums
from functions.report.labels import LABELS
from functions.report.parts import Party
from functions.report.payment import Payment, is_creditor_reference
from functions.report.swiss_bill import SwissBill, swiss_bill
from tests.support.report_data import (
    AUSTRIAN_BUYER,
    E_INVOICES,
    EPC_PAYMENT,
    GERMAN_SELLER,
    PAYMENT,
    SWISS_BUYER,
    SWISS_PAYMENT,
    SWISS_SELLER,
    german_invoice,
    invoice,
    letter,
    line,
    untaxed_invoice,
)
from tests.support.report_function import Deliver, pdf_texts, serving, stored, uploaded
from tests.support.validators import invoice_findings

pytestmark = pytest.mark.slow

SVG = b'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 9 3"><rect width="9" height="3" fill="#f00"/></svg>'
RAM = "{urn:un:unece:uncefact:data:standard:ReusableAggregateBusinessInformationEntity:100}"
E_INVOICE = [{"name": "o.pdf", "format": "pdf", "pdf": {"variant": "factur-x"}}]
PDF = [{"name": "o.pdf", "format": "pdf"}]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("store")


@pytest.fixture(scope="module")
def deliver(folder: Path) -> Iterator[Deliver]:
    with serving(folder) as deliver:
        numbers = iter(range(1_000_000))
        yield lambda **changes: deliver(id=f"job-{next(numbers)}", **{"outputs": PDF, **changes})


@pytest.fixture
def text_of(deliver: Deliver, folder: Path) -> Callable[[dict[str, Any]], str]:
    def text(data: dict[str, Any]) -> str:
        return " ".join(pdf_texts(stored(deliver(data=data), folder))).replace("\N{NO-BREAK SPACE}", " ")

    return text


def png(colour: str = "#f00") -> bytes:
    content = io.BytesIO()
    Image.new("RGB", (30, 10), colour).save(content, "PNG")
    return content.getvalue()


def source(content: bytes) -> dict[str, str]:
    return {"data_base64": base64.b64encode(content).decode()}


def test_the_day_of_delivery_and_both_tax_numbers_are_printed(text_of: Callable[[dict[str, Any]], str]) -> None:
    text = text_of(german_invoice(buyer_reference="4711"))

    assert "Lieferung/Leistung am 20.11.2026" in text
    assert "USt-IdNr. DE123456789 Steuernummer 22/815/08154" in text
    assert "Ihre Referenz 4711" in text


def test_a_period_is_printed_and_ends_not_before_it_starts(
    deliver: Deliver, text_of: Callable[[dict[str, Any]], str]
) -> None:
    assert "Leistungszeitraum 01.11.2026 \N{EN DASH} 30.11.2026" in text_of(E_INVOICES["period"])

    reply = deliver(data=invoice(period={"start": "2026-11-02", "end": "2026-11-01"}))
    assert [each["pointer"] for each in reply["errors"]] == ["#/data/period"]
    assert "end must not be before start, got 2026-11-02 to 2026-11-01" in reply["detail"]


@pytest.mark.parametrize("language", LABELS)
@pytest.mark.parametrize("kind", ["reverse-charge", "intra-community", "export"])
def test_the_reason_of_a_rate_of_nought_stands_beside_it_in_every_language(language: str, kind: str) -> None:
    from functions.report.builtin import builtin_page
    from tests.support.report_pages import MADE_AT

    data = untaxed_invoice(kind, language=language, lines=[line(tax_percent=0), line()])

    html = builtin_page("invoice", data, rows_are_read=False, made_at=MADE_AT).html

    told = LABELS[language][kind]
    assert re.search(rf"0(,0)?\s?٪?%?.*{re.escape(told)}", html.replace("&#39;", "'"))
    assert html.count(told) == 1


def test_an_exemption_has_the_words_that_it_is_given(
    deliver: Deliver, text_of: Callable[[dict[str, Any]], str]
) -> None:
    assert "Gemäß § 19 UStG wird keine Umsatzsteuer berechnet." in text_of(E_INVOICES["exempt"])
    assert "Weil es so ist" in text_of(
        untaxed_invoice("export", exemption={"kind": "export", "text": "Weil es so ist"})
    )
    assert "text is required for the kind exempt" in deliver(data=untaxed_invoice("exempt"))["detail"]


@pytest.mark.parametrize(
    ("party", "rows"),
    [
        ({"address": ["a", "b"], "street": "c", "postcode": "1", "city": "d"}, ("a", "b", "c", "1 d")),
        (
            {"street": "1 High Street", "postcode": "SW1A 1AA", "city": "London", "country": "GB"},
            ("1 High Street", "London SW1A 1AA"),
        ),
        ({"city": "d"}, ("d",)),
        ({}, ()),
    ],
)
def test_an_address_is_printed_in_the_order_of_its_country(party: dict[str, Any], rows: tuple[str, ...]) -> None:
    assert msgspec.convert({"name": "n", **party}, Party).rows == rows


def test_a_country_is_named_where_it_is_another_one(
    deliver: Deliver, folder: Path, text_of: Callable[[dict[str, Any]], str]
) -> None:
    assert "1010 Wien Österreich" in text_of(german_invoice(buyer=AUSTRIAN_BUYER))
    assert "Deutschland" not in text_of(german_invoice())
    data = letter(language="fr", sender=GERMAN_SELLER, recipient=SWISS_BUYER)
    text = pdf_texts(stored(deliver(template="letter", data=data), folder))[0]
    assert "1003 Lausanne Suisse" in text
    assert "N° fiscal 22/815/08154" in text


@pytest.mark.parametrize("code", ["XX", "EU", "QO"])
def test_a_country_that_does_not_exist_is_refused_by_its_place(deliver: Deliver, code: str) -> None:
    reply = deliver(data=german_invoice(buyer={**AUSTRIAN_BUYER, "country": code}))

    assert [each["pointer"] for each in reply["errors"]] == ["#/data/buyer/country"]
    assert f"country must be a code of ISO 3166-1, such as DE, got '{code}'" in reply["detail"]


@pytest.mark.parametrize("content", [png(), SVG], ids=["png", "svg"])
def test_a_logo_is_shown_and_goes_along_with_the_page(deliver: Deliver, folder: Path, content: bytes) -> None:
    uploaded(folder, "logo").write_bytes(content)
    outputs = [*PDF, {"name": "o.html", "format": "html"}]

    reply = deliver(data=german_invoice(logo={"key": "uploads/logo"}), outputs=outputs)

    shown = pypdfium2.PdfDocument(stored(reply, folder))[0].render().to_pil().convert("RGB")
    assert sum(count for count, colour in shown.getcolors(1 << 24) or () if colour == (255, 0, 0)) > 100
    html = stored(reply, folder, 1).decode()
    assert "img-src data:" in html
    assert '" alt="Beispiel GmbH"' in html


def test_a_page_without_a_logo_loads_no_picture(deliver: Deliver, folder: Path) -> None:
    reply = deliver(data=german_invoice(), outputs=[{"name": "o.html", "format": "html"}])

    assert "img-src" not in stored(reply, folder).decode()


def test_a_logo_that_is_none_is_refused_by_its_place(deliver: Deliver) -> None:
    def pointers(**changes: Any) -> list[str]:
        reply = deliver(**changes)
        assert reply["outcome"] == "failed"
        return [each["pointer"] for each in reply["errors"]]

    assert pointers(data=german_invoice(logo=source(b"no picture"))) == ["#/data/logo"]
    assert pointers(data=german_invoice(logo={"key": "uploads/absent"})) == ["#/data/logo"]
    assert pointers(data=german_invoice(logo={"path": "x"}))[0].startswith("#/data/logo")
    elsewhere = {"source": source(msgspec.json.encode(german_invoice(logo=source(png()))))}
    assert pointers(data=None, data_source=elsewhere) == ["#/data/logo"]


def codes(content: bytes) -> list[Any]:
    """What another program reads of each page."""
    pages = [page.render(scale=3).to_pil() for page in pypdfium2.PdfDocument(content)]
    return [each for page in pages for each in zxingcpp.read_barcodes(page)]


@pytest.mark.parametrize(
    ("payment", "reference"),
    [
        ({"reference": "Rechnung  RE-1042 für Möbel"}, ["", "Rechnung RE-1042 für Möbel"]),
        ({"reference": "RF18 5390 0754 7034"}, ["RF18539007547034"]),
        ({"reference": None}, []),
    ],
)
def test_the_code_of_a_transfer_says_who_gets_how_much_and_what_for(
    deliver: Deliver, folder: Path, payment: dict[str, Any], reference: list[str]
) -> None:
    [code] = codes(stored(deliver(data=german_invoice(payment={**EPC_PAYMENT, **payment})), folder))

    head = ["BCD", "002", "1", "SCT", "COBADEFFXXX", "Beispiel GmbH", "DE89370400440532013000", "EUR2157.86"]
    assert code.text.split("\n") == [*head, *([""] if reference else []), *reference]


@pytest.mark.parametrize(
    ("changes", "pointer", "detail"),
    [
        ({"currency": "CHF"}, "#/data/payment/code", "an epc code expects an amount of 0.01 to 999999999.99 EUR"),
        ({"lines": [line(quantity=-1)]}, "#/data/payment/code", "got -59.38 EUR"),
        ({"payment": {**EPC_PAYMENT, "holder": "x" * 71}}, "#/data/payment/code", "at most 70 characters"),
        ({"payment": {**EPC_PAYMENT, "reference": "x" * 141}}, "#/data/payment/code", "at most 140 characters"),
        ({"payment": {"code": "epc"}}, "#/data/payment", "iban is required for a code to pay with (epc)"),
        ({"payment": SWISS_PAYMENT}, "#/data/payment/code", "the seller's postcode, city and country"),
        ({"payment": {**EPC_PAYMENT, "code": "swiss"}}, "#/data/payment/code", "an IBAN of CH or LI, got DE"),
    ],
)
def test_what_a_code_cannot_hold_is_refused_by_its_place(
    deliver: Deliver, changes: dict[str, Any], pointer: str, detail: str
) -> None:
    reply = deliver(data=german_invoice(**{"seller": {"name": "Beispiel GmbH"}, "payment": EPC_PAYMENT, **changes}))

    assert reply["outcome"] == "failed"
    assert [each["pointer"] for each in reply["errors"]] == [pointer]
    assert detail in reply["detail"]


def test_a_swiss_bill_is_a_page_of_its_own_whose_code_holds_what_it_shows(deliver: Deliver, folder: Path) -> None:
    outputs = [{"name": "o.pdf", "pdf": {"size": "A5", "header": {"left": "head"}, "margin": {"left_mm": 40}}}]

    content = stored(deliver(data=E_INVOICES["swiss"], outputs=outputs), folder)

    [code] = codes(content)
    lines = code.text.split("\n")
    assert code.symbology_identifier == "]Q1"  # no ECI, which banks' applications do not read
    assert lines[:4] == ["SPC", "0200", "1", "CH4431999123000889012"]
    assert lines[4:11] == ["S", "Muster Möbel AG", "Bahnhofstrasse 12", "", "8001", "Zürich", "CH"]
    assert lines[18:20] == ["1334567.79", "CHF"]
    assert lines[20:27] == ["S", "Kundin Beispiel", "Rue du Lac 3", "", "1003", "Lausanne", "CH"]
    assert lines[27:] == ["QRR", "210000000003139471430009017", "", "EPD"]
    text = pdf_texts(content)[-1]
    for shown in ("Empfangsschein", "Zahlteil", "CH44 3199 9123 0008 8901 2", "21 00000 00003 13947 14300 09017"):
        assert shown in text
    assert text.count("1 334 567.79") == 2
    assert "head" not in text
    *_, last = pypdfium2.PdfDocument(content)
    assert [round(each / 72 * 25.4) for each in last.get_size()] == [210, 297]


def bill(iban: str = "CH9300762011623852957", reference: str | None = None, **changes: Any) -> SwissBill:
    payment = msgspec.convert({"iban": iban, "reference": reference, "code": "swiss"}, Payment)
    given = {"seller": SWISS_SELLER, "buyer": SWISS_BUYER, **changes}
    seller, buyer = (msgspec.convert(given[name], Party) for name in ("seller", "buyer"))
    return swiss_bill(payment, seller, buyer, Decimal("10.00"), "CHF")


@pytest.mark.parametrize(
    ("reference", "lines"),
    [
        ("RF18 5390 0754 7034", ["SCOR", "RF18539007547034", ""]),
        ("RF19 5390 0754 7034", ["NON", "", "RF19 5390 0754 7034"]),
        ("Rechnung 1042", ["NON", "", "Rechnung 1042"]),
        (None, ["NON", "", ""]),
    ],
)
def test_a_reference_of_a_swiss_bill_is_of_its_kind(reference: str | None, lines: list[str]) -> None:
    assert bill(reference=reference).text.split("\n")[27:30] == lines


@given(digits=st.text("0123456789", min_size=26, max_size=26))
def test_of_27_digits_one_last_digit_is_right(digits: str) -> None:
    def is_taken(reference: str) -> bool:
        try:
            return bill("CH4431999123000889012", reference).text.split("\n")[27] == "QRR"
        except ValueError:
            return False

    assert sum(is_taken(digits + last) for last in "0123456789") == 1


def test_a_qr_iban_has_a_reference_of_its_own() -> None:
    with pytest.raises(ValueError, match="a QR-IBAN expects a reference of 27 digits"):
        bill("CH4431999123000889012", "RF18 5390 0754 7034")


def test_a_buyer_without_a_whole_address_is_left_to_be_written() -> None:
    made = bill(buyer={"name": "Kundin", "address": ["irgendwo"]})

    assert made.debtor == ()
    assert made.text.split("\n")[20:27] == [""] * 7


def test_a_creditor_reference_has_check_digits() -> None:
    assert is_creditor_reference("RF18 5390 0754 7034")
    assert not is_creditor_reference("RF18 5390 0754 7035")
    assert not is_creditor_reference("1042")


@pytest.mark.server
def test_every_e_invoice_is_one_to_another_program(deliver: Deliver, folder: Path, tmp_path: Path) -> None:
    for name, data in E_INVOICES.items():
        (tmp_path / f"{name}.pdf").write_bytes(stored(deliver(data=data, outputs=E_INVOICE), folder))
    options = {
        "variant": "factur-x",
        "watermark": {"text": "KOPIE"},
        "attachments": [{"name": "a", "source": source(b"a")}],
    }
    data = german_invoice(logo=source(png()), payment=EPC_PAYMENT)
    reply = deliver(data=data, outputs=[{"name": "o.pdf", "pdf": options}])
    (tmp_path / "options.pdf").write_bytes(stored(reply, folder))

    found = invoice_findings(sorted(tmp_path.glob("*.pdf")))

    assert len(found) == len(E_INVOICES) + 1
    assert not {name: words for name, words in found.items() if words}


def xml_of(content: bytes) -> ElementTree.Element:
    with pikepdf.open(io.BytesIO(content)) as pdf:
        assert list(pdf.attachments) == ["factur-x.xml"]
        file = pdf.Root.AF[0]
        assert str(file.AFRelationship) == "/Alternative"
        assert b"<fx:ConformanceLevel>EN 16931</fx:ConformanceLevel>" in pdf.Root.Metadata.read_bytes()
        return ElementTree.fromstring(pdf.attachments["factur-x.xml"].get_file().read_bytes())  # noqa: S314  # our own


@pytest.mark.parametrize("name", E_INVOICES)
def test_the_sums_that_programs_read_are_those_that_people_read(deliver: Deliver, folder: Path, name: str) -> None:
    data = E_INVOICES[name]

    root = xml_of(stored(deliver(data=data, outputs=E_INVOICE), folder))

    right = sums(msgspec.convert(data, Invoice))
    assert [Decimal(each.text or "") for each in root.iter(f"{RAM}GrandTotalAmount")] == [right.total]
    assert [Decimal(each.text or "") for each in root.iter(f"{RAM}TaxBasisTotalAmount")] == [right.net]
    settled = root.iter(f"{RAM}SpecifiedTradeSettlementLineMonetarySummation")
    assert [Decimal(each.findtext(f"{RAM}LineTotalAmount") or "") for each in settled] == list(right.amounts)
    assert all(Decimal(each.text or "") >= 0 for each in root.iter(f"{RAM}ChargeAmount"))


@pytest.mark.parametrize(
    ("data", "pointers"),
    [
        (invoice(), ["#/data/seller/country", "#/data/buyer/country", "#/data/due"]),
        (german_invoice(seller={**GERMAN_SELLER, "vat_id": None, "tax_number": None}), ["#/data/seller/vat_id"]),
        (german_invoice(lines=[line(tax_percent=0)]), ["#/data/exemption"]),
        (german_invoice(currency="KWD"), ["#/data/currency"]),
        (german_invoice(seller={**GERMAN_SELLER, "vat_id": "123456789"}), ["#/data/seller/vat_id"]),
        (untaxed_invoice("reverse-charge"), ["#/data/buyer/vat_id"]),
        (untaxed_invoice("intra-community", delivered=None, buyer=AUSTRIAN_BUYER), ["#/data/delivered"]),
    ],
)
def test_what_an_e_invoice_lacks_is_named_by_its_place(
    deliver: Deliver, data: dict[str, Any], pointers: list[str]
) -> None:
    reply = deliver(data=data, outputs=E_INVOICE)

    assert (reply["outcome"], reply["type"].rpartition("/")[2]) == ("failed", "invalid-data")
    assert [each["pointer"] for each in reply["errors"]] == pointers


def test_characters_that_xml_does_not_have_are_blanks_in_it(deliver: Deliver, folder: Path) -> None:
    data = german_invoice(lines=[line(description="a\x01b & <c> \U0001f600\ufffe")], note="\x0b")

    root = xml_of(stored(deliver(data=data, outputs=E_INVOICE), folder))

    product = next(root.iter(f"{RAM}SpecifiedTradeProduct"))
    assert product.findtext(f"{RAM}Name") == "a b & <c> \U0001f600 "


def test_an_e_invoice_is_made_of_an_invoice_alone(deliver: Deliver) -> None:
    for job in ({"template": "letter", "data": letter()}, {"template": None, "own": {"html": "<p>x"}, "data": {}}):
        reply = deliver(outputs=E_INVOICE, **job)

        assert [each["pointer"] for each in reply["errors"]] == ["#/outputs/0/pdf/variant"]
        assert "factur-x expects the template invoice" in reply["detail"]


def test_the_same_e_invoice_has_the_same_bytes(tmp_path: Path) -> None:
    def made(store: Path) -> bytes:
        with serving(store) as fresh:
            return stored(fresh(data=E_INVOICES["swiss"], outputs=E_INVOICE), store)

    assert made(tmp_path / "a") == made(tmp_path / "b")


def test_an_iban_alone_is_printed_as_before(text_of: Callable[[dict[str, Any]], str]) -> None:
    assert "IBAN DE89 3704 0044 0532 0130 00" in text_of(invoice(payment=PAYMENT))
