"""Data that would make a wrong document: each is refused with what was found and expected, or written right."""

import base64
import csv
import io
import itertools
import json
import re
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import openpyxl
import pikepdf
import pypdfium2  # type: ignore[import-untyped]  # it has no types
import pytest
from babel.numbers import format_decimal

from tests.support.report_data import invoice, letter, table
from tests.support.report_function import Deliver, pdf_texts, require_noto, serving, stored

CSV = [{"name": "o.csv", "format": "csv"}]
PDF = [{"name": "o.pdf"}]
COLUMNS = [{"name": "sku"}, {"name": "net", "kind": "money", "total": True}]
NAMED = "expected 'sku', 'net', found "


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("store")


@pytest.fixture(scope="module")
def deliver(folder: Path) -> Iterator[Deliver]:
    numbers = itertools.count()
    with serving(folder) as post:
        yield lambda **changes: post(id=f"job-{next(numbers)}", **changes)


def source(content: str, **options: Any) -> dict[str, Any]:
    return {"source": {"data_base64": base64.b64encode(content.encode()).decode()}, **options}


def of_source(deliver: Deliver, content: str, **options: Any) -> dict[str, Any]:
    data = {"title": "T", "columns": COLUMNS, "currency": "EUR"}
    return deliver(template="table", data=data, data_source=source(content, **options), outputs=CSV)


@pytest.mark.parametrize(
    ("content", "options", "told"),
    [
        ("SKU,net \nA,1\n", {"format": "csv"}, NAMED + "'SKU', 'net '"),
        ("sku;net\nA;1\n", {"format": "csv"}, NAMED + "'sku;net'; is the delimiter ';' and not ','?"),
        ("sku\tnet\nA\t1\n", {"format": "csv", "delimiter": ";"}, r"is the delimiter '\t' and not ';'?"),
        ("sku,nett\nA,1\n", {"format": "csv"}, "the data has no 'net'; " + NAMED + "'sku', 'nett'"),
        ("", {"format": "csv"}, NAMED + "none"),
        ('{"sku": "A", "nett": 1}\n{"sku": "B"}\n', {"format": "jsonl"}, NAMED + "'sku', 'nett'"),
        ('[{"Sku": "A", "net": 1}]', {"format": "json", "field": "rows"}, NAMED + "'Sku', 'net'"),
        ('{"rows": [{"sku": "A", "Net": 1}]}', {"format": "json"}, NAMED + "'sku', 'Net'"),
    ],
)
def test_a_source_without_a_column_is_refused(
    deliver: Deliver, content: str, options: dict[str, Any], told: str
) -> None:
    reply = of_source(deliver, content, **options)

    assert reply["title"] == "Invalid source"
    assert told in reply["detail"]


def test_the_columns_of_an_own_templates_sheet_are_sought_too(deliver: Deliver) -> None:
    own = {"html": "<p>", "sheets": [{"columns": COLUMNS}]}
    job = {"own": own, "data_source": source("sku;net\nA;1", format="csv"), "outputs": PDF}

    assert NAMED + "'sku;net'" in deliver(template=None, **job)["detail"]


def test_a_column_that_is_in_no_row_is_told(deliver: Deliver) -> None:
    reply = of_source(deliver, "net,other\n1,x\n", format="csv")

    assert reply["warnings"] == ["the data has no 'sku'; expected 'sku', 'net', found 'net', 'other'"]


@pytest.mark.parametrize(
    ("content", "options", "lines"),
    [
        ("net;more;sku\n1;x;A\n;;B\n", {"format": "csv", "delimiter": ";"}, ["A,1.00", "B,"]),
        ("sku,net\n", {"format": "csv"}, []),
        ("[]", {"format": "json", "field": "rows"}, []),
        ('{"sku": "A"}\n{"net": 2}\n', {"format": "jsonl"}, ["A,", ",2.00"]),
    ],
)
def test_a_source_with_its_columns_is_read(
    deliver: Deliver, folder: Path, content: str, options: dict[str, Any], lines: list[str]
) -> None:
    reply = of_source(deliver, content, **options)

    assert stored(reply, folder).decode().split("\r\n")[1:-1] == lines


@pytest.mark.parametrize("code", ["EUO", "XYZ", "ZZZ"])
@pytest.mark.parametrize("make", [invoice, table])
def test_a_currency_that_does_not_exist_is_refused_by_its_place(deliver: Deliver, make: Any, code: str) -> None:
    template = make.__name__

    reply = deliver(template=template, data=make(currency=code), outputs=PDF)

    assert reply["errors"][0]["pointer"] == "#/data/currency"
    assert f"ISO 4217, such as EUR, got '{code}'" in reply["detail"]


def test_an_own_templates_currency_is_looked_up_as_well(deliver: Deliver) -> None:
    reply = deliver(template=None, own={"html": "<p>", "currency": "EUO"}, data={}, outputs=PDF)

    assert "currency must be a code of ISO 4217, such as EUR, got 'EUO'" in reply["detail"]


def test_integers_stand_in_text_columns(deliver: Deliver, folder: Path) -> None:
    rows = [{"sku": 1042, "net": 1}, {"sku": 0, "net": 2}]
    outputs = [*CSV, {"name": "o.html", "format": "html"}]

    reply = deliver(template="table", data=table(columns=COLUMNS, rows=rows), outputs=outputs)

    assert stored(reply, folder).decode().split("\r\n")[1:3] == ["1042,1.00", "0,2.00"]
    assert "<td>1042</td>" in stored(reply, folder, 1).decode()
    assert "<td>0</td>" in stored(reply, folder, 1).decode()


@pytest.mark.parametrize("digits", ["18446744073709551616", "-9223372036854775809", "1" + "0" * 300])
def test_an_integer_of_more_than_64_bits_is_refused_by_its_place(deliver: Deliver, digits: str) -> None:
    wide = json.loads(digits)

    own = deliver(template=None, own={"html": "{{ a }}"}, data={"a": [1, {"b/c": wide}]}, outputs=PDF)
    built_in = deliver(template="invoice", data=invoice(number=wide), outputs=PDF)

    assert own["errors"][0]["pointer"] == "#/data/a/1/b~1c"
    assert "an integer must have at most 64 bits, got " in own["detail"]
    assert "#/data/number" in [each["pointer"] for each in built_in["errors"]]


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"currency": "euro"}, "a code of ISO 4217, such as EUR, got"),
        ({"accent": "red"}, "a colour as #RRGGBB, got"),
        ({"language": "xx"}, "a language, or a language and a country"),
        ({"lines": [{"description": "x", "unit_price": "1,50"}]}, "a number such as 149.95"),
        ({"payment": {"iban": "x"}}, "an IBAN, such as DE89"),
    ],
)
def test_an_error_says_what_is_expected_and_quotes_no_pattern(
    deliver: Deliver, changes: dict[str, Any], told: str
) -> None:
    reply = deliver(template="invoice", data=invoice(**changes), outputs=PDF)

    assert told in reply["detail"]
    assert "regex" not in json.dumps(reply)


@pytest.mark.parametrize(
    "hidden",
    ["", "\x00", "\x01", "\x1f", "\x7f", "\ufeff", "\u200b", "\u200d", "\u2060", "\u00ad", "\u202e", "\x00\x00"],
)
@pytest.mark.parametrize("start", "=+-@" + "\uff1d\uff0b\uff0d\uff20\ufe62\ufe63\ufe66\ufe6b")
def test_a_formula_behind_characters_that_are_not_seen_is_guarded(
    deliver: Deliver, folder: Path, hidden: str, start: str
) -> None:
    rows = [{"sku": f"{hidden}{start}1+1"}]

    reply = deliver(template="table", data=table(columns=[{"name": "sku"}], rows=rows), outputs=CSV)

    assert stored(reply, folder).decode().split("\r\n")[1] == f"'{hidden}{start}1+1"


def test_the_labels_of_a_german_invoice_are_german(deliver: Deliver, folder: Path) -> None:
    reply = deliver(template="invoice", data=invoice(language="de"), outputs=CSV)

    (heads, *_) = csv.reader(io.StringIO(stored(reply, folder).decode()))
    assert heads == ["Beschreibung", "Menge", "Einheit", "Einzelpreis", "USt %", "Betrag (EUR)"]


@pytest.mark.slow
def test_the_reference_of_a_letter_is_none_of_a_bank_transfer(deliver: Deliver, folder: Path) -> None:
    for language, label in (("de", "Unser Zeichen"), ("pl", "Znak"), ("en", "Reference")):
        data = letter(language=language, reference="1042", subject="S", paragraphs=["T"])
        reply = deliver(template="letter", data=data, outputs=PDF)

        assert f"{label}: 1042" in " ".join(pdf_texts(stored(reply, folder)))


def test_an_own_template_rounds_half_up_and_writes_moments_in_its_zone(deliver: Deliver, folder: Path) -> None:
    html = "{{ a | money }}|{{ b | money }}|{{ t | date }}|{{ made_at | date }}|{{ t | time }}"
    own = {"html": html, "locale": "de", "currency": "EUR", "timezone": "Pacific/Kiritimati"}
    data = {"a": "0.145", "b": "-0.001", "t": "2026-07-22T23:30:00Z"}
    outputs = [{"name": "o.html", "format": "html"}]

    reply = deliver(template=None, own=own, data=data, outputs=outputs)

    written = stored(reply, folder).decode().replace("\N{NO-BREAK SPACE}", " ")
    assert written.split("|")[:3] == ["0,15 €", "0,00 €", "23.07.2026"]
    assert written.split("|")[4] == "13:30"


@pytest.mark.parametrize(("filter_", "value"), [("date", None), ("time", None), ("money", {"a": 1}), ("datetime", 5)])
def test_a_value_that_a_filter_does_not_take_fails_the_job_by_its_line(
    deliver: Deliver, filter_: str, value: Any
) -> None:
    job = {"own": {"html": f"<p>\n{{{{ x | {filter_} }}}}", "currency": "EUR"}, "data": {"x": value}, "outputs": PDF}

    reply = deliver(template=None, **job)

    assert reply["title"] == "Invalid template"
    assert "template, line 2: " in reply["detail"]


@pytest.mark.parametrize(
    ("tag", "face"),
    [
        ("zh-Hans", "SC"),
        ("zh-Hant", "TC"),
        ("zh", "SC"),
        ("zh-Hant-HK", "HK"),
        ("zh-TW", "TC"),
        ("ja", "JP"),
        ("ja-JP", "JP"),
        ("ko-KR", "KR"),
    ],
)
def test_a_language_has_its_own_glyphs(deliver: Deliver, folder: Path, tag: str, face: str) -> None:
    require_noto()

    reply = deliver(template=None, own={"html": f"<p lang={tag}>与才骨直門今</p>"}, data={}, outputs=PDF)

    with pikepdf.open(io.BytesIO(stored(reply, folder))) as pdf:
        fonts = {str(font.BaseFont) for page in pdf.pages for font in page.Resources.Font.values()}
    assert {font.rpartition("-")[2] for font in fonts} == {face}


KOREAN = '<p lang="ko">大韓民國 與骨直</p>'


def faces_of(content: bytes) -> set[str]:
    with pikepdf.open(io.BytesIO(content)) as pdf:
        return {str(f.BaseFont).partition("+")[2] for page in pdf.pages for f in page.Resources.Font.values()}


@pytest.mark.parametrize(
    ("html", "faces"),
    [
        (KOREAN, {"Noto-Serif-CJK-KR"}),
        (f'<html lang="ko-KR"><body style="font-family: sans-serif">{KOREAN}한글', {"Noto-Sans-CJK-KR"}),
        ('<p style="font-family: \'Noto Sans\'" lang="ko">與骨直</p>', {"Noto-Sans-CJK-KR"}),
        (
            f'{KOREAN}<p lang="ja">与骨</p><p lang="zh-Hant">骨</p>',
            {f"Noto-Serif-CJK-{each}" for each in ("KR", "JP", "TC")},
        ),
    ],
)
def test_chinese_characters_in_korean_are_korean(deliver: Deliver, folder: Path, html: str, faces: set[str]) -> None:
    require_noto()

    content = stored(deliver(template=None, own={"html": html}, data={}, outputs=PDF), folder)

    assert faces_of(content) == faces


def test_a_korean_job_changes_no_fonts_of_the_next_one(deliver: Deliver, folder: Path) -> None:
    require_noto()
    plain = {"template": None, "own": {"html": "<p>與骨直</p>"}, "data": {}, "outputs": PDF}
    before = stored(deliver(**plain), folder)

    stored(deliver(template=None, own={"html": KOREAN}, data={}, outputs=PDF), folder)

    assert faces_of(stored(deliver(**plain), folder)) == faces_of(before)


MONTHS = ["Jan", "Feb", "Mär", "Apr", "Mai", "Jun", "Jul", "Aug", "Sep", "Okt", "Nov", "Dez"]


def of_months(count: int, amount: str, **changes: Any) -> dict[str, Any]:
    columns: list[dict[str, Any]] = [{"name": "kunde", "label": "Kunde"}]
    columns += [{"name": f"m{n}", "label": MONTHS[n % 12], "kind": "money", "total": True} for n in range(count)]
    rows = [{"kunde": f"Musterfirma {row}", **{f"m{n}": amount for n in range(count)}} for row in range(3)]
    return table(columns=columns, rows=rows, language="de", **changes)


def words_of(content: bytes) -> set[str]:
    """As poppler's and pdfium's users see them: a number that goes on in the next line is two."""
    pages = pypdfium2.PdfDocument(content)
    return {word for page in pages for word in page.get_textpage().get_text_bounded().split()}


@pytest.mark.slow
@pytest.mark.parametrize(
    ("count", "amount", "warning"),
    [
        (5, "1.234,50", None),
        (8, "1.234,50", "the table is set in type of "),
        (12, "1.234,50", "the table is set on landscape paper"),
        (12, "123.456,78", "the table is set on landscape paper and in type of "),
    ],
)
def test_amounts_are_never_broken(deliver: Deliver, folder: Path, count: int, amount: str, warning: str | None) -> None:
    given = amount.replace(".", "").replace(",", ".")
    total = format_decimal(3 * Decimal(given), "#,##0.00", "de")

    reply = deliver(template="table", data=of_months(count, given), outputs=PDF)

    words = words_of(stored(reply, folder))
    assert "Musterfirma" in words
    assert {each for each in words if "," in each} == {amount, total}
    assert len(reply.get("warnings", ())) == (warning is not None)
    assert all(each.startswith(warning or "") for each in reply.get("warnings", ()))


@pytest.mark.parametrize(
    ("count", "options"),
    [(19, {"size": "A5"}), (12, {"orientation": "portrait"}), (12, {"width_mm": 90, "height_mm": 90})],
)
def test_columns_that_fit_on_no_paper_are_refused_with_what_to_do(
    deliver: Deliver, count: int, options: dict[str, Any]
) -> None:
    outputs = [{"name": "o.pdf", "pdf": options}]

    reply = deliver(template="table", data=of_months(count, "1234567.89"), outputs=outputs)

    assert reply["errors"][0]["pointer"] == "#/data/columns"
    assert "leave columns out, or give the output's pdf a larger size" in reply["detail"]


def test_a_larger_paper_holds_more_columns(deliver: Deliver, folder: Path) -> None:
    outputs = [{"name": "o.pdf", "pdf": {"size": "A3"}}]

    reply = deliver(template="table", data=of_months(12, "1234.50"), outputs=outputs)

    assert "1.234,50" in words_of(stored(reply, folder))
    assert "landscape" not in str(reply.get("warnings"))


def test_a_column_has_its_width_and_keeps_its_line(deliver: Deliver, folder: Path) -> None:
    text = "one two three four five six seven"
    columns: list[dict[str, Any]] = [
        {"name": "a", "nowrap": True},
        {"name": "b"},
        {"name": "c", "width_mm": 20, "align": "center"},
    ]
    rows = [{"a": text, "b": text * 9, "c": text}]

    reply = deliver(template="table", data=table(columns=columns, rows=rows), outputs=PDF)

    lines = pypdfium2.PdfDocument(stored(reply, folder))[0].get_textpage().get_text_bounded().split("\r\n")
    assert any(line.startswith(text) for line in lines)


@pytest.mark.parametrize(
    ("options", "lines"),
    [
        ({}, ["a,net (EUR)", "A,1234.50", '"B,b",-0.05']),
        ({"locale": "de"}, ["a;net (EUR)", "A;1234,50", "B,b;-0,05"]),
        ({"locale": "fr-CH", "delimiter": "\t"}, ["a\tnet (EUR)", "A\t1234,50", "B,b\t-0,05"]),
        ({"locale": "de-CH"}, ["a,net (EUR)", "A,1234.50", '"B,b",-0.05']),
        ({"locale": "de", "delimiter": ","}, ["a,net (EUR)", 'A,"1234,50"', '"B,b","-0,05"']),
    ],
)
def test_a_csv_has_the_decimal_sign_of_its_locale(
    deliver: Deliver, folder: Path, options: dict[str, Any], lines: list[str]
) -> None:
    columns = [{"name": "a"}, {"name": "net", "kind": "money"}]
    rows = [{"a": "A", "net": "1234.5"}, {"a": "B,b", "net": "-0.05"}]
    outputs = [{"name": "o.csv", "format": "csv", "csv": options}]

    reply = deliver(template="table", data=table(columns=columns, rows=rows), outputs=outputs)

    assert stored(reply, folder).decode().split("\r\n")[:3] == lines


def test_a_csv_of_an_unknown_locale_is_refused_by_its_place(deliver: Deliver) -> None:
    outputs = [{"name": "o.csv", "format": "csv", "csv": {"locale": "xx"}}]

    reply = deliver(template="table", data=table(), outputs=outputs)

    assert reply["errors"][0]["pointer"] == "#/outputs/0/csv/locale"


def test_a_workbook_names_its_totals_and_prints_on_its_papers_width(deliver: Deliver, folder: Path) -> None:
    outputs = [{"name": "o.xlsx", "format": "xlsx"}]

    reply = deliver(template="table", data=of_months(12, "1.50"), outputs=outputs)

    page = openpyxl.load_workbook(io.BytesIO(stored(reply, folder))).worksheets[0]
    assert [page.cell(5, 1).value, page.cell(5, 2).value] == ["Gesamt", "=SUM(B2:B4)"]
    fit = page.sheet_properties.pageSetUpPr
    assert fit is not None
    assert (fit.fitToPage, page.page_setup.fitToWidth or 1, page.page_setup.fitToHeight) == (True, 1, 0)
    assert page.print_title_rows == "$1:$1"
    assert page.page_setup.orientation == "landscape"


def test_the_day_of_a_built_in_template_is_its_zones(deliver: Deliver, folder: Path) -> None:
    outputs = [{"name": "o.pdf", "pdf": {"header": {"right": "{date}"}}}]
    days = []
    for zone in ("Pacific/Kiritimati", "Pacific/Pago_Pago"):  # a day and an hour apart
        reply = deliver(template="invoice", data=invoice(issued="2020-01-01", timezone=zone), outputs=outputs)
        days.append(re.findall(r"Nov \d+, 2026", pdf_texts(stored(reply, folder))[0]))

    assert len(days[0]) == len(days[1]) == 1
    assert days[0] != days[1]


def test_a_zone_that_does_not_exist_is_refused_by_its_place(deliver: Deliver) -> None:
    reply = deliver(template="letter", data=letter(timezone="Berlin"), outputs=PDF)

    assert reply["errors"][0]["pointer"] == "#/data/timezone"


def test_an_amount_wider_than_its_column_stays_on_its_line(deliver: Deliver, folder: Path) -> None:
    columns = [{"name": "a"}, {"name": "net", "kind": "money", "width_mm": 8}, {"name": "b"}]
    rows = [{"a": "word " * 90, "net": "1234567.5", "b": "word " * 90}]

    reply = deliver(template="table", data=table(columns=columns, rows=rows), outputs=PDF)

    assert "1,234,567.50" in words_of(stored(reply, folder))
