"""Reports: from the event to the stored documents, which are read back with a PDF library of another kind."""

import base64
import hashlib
import io
import json
import os
import re
import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from copy import deepcopy
from datetime import date
from decimal import Decimal
from pathlib import Path
from typing import Any

import msgspec
import pypdf
import pytest
from jsonschema import Draft202012Validator

from functions.report.invoice import Invoice, sums
from functions.report.labels import LABELS
from functions.report.language import Language
from functions.report.progress_log import ProgressLog
from tests.support.report_data import CASES
from tests.support.report_function import ROOT, SAMPLE, Deliver, pdf_texts, require_noto, serving, stored

pytestmark = pytest.mark.slow

COLUMNS = [
    {"name": "customer", "label": "Customer"},
    {"name": "day", "kind": "date"},
    {"name": "net", "label": "Net", "kind": "money", "total": True},
]
TABLE = {"title": "Orders", "subtitle": "of 2026", "currency": "EUR", "columns": COLUMNS}
HOSTILE = """<script>alert(1)</script><img src="file:///etc/passwd"> url(file:///etc/passwd) {{ 7 * 7 }} "'</style>"""


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Callable[..., Deliver]]:
    """Starts the function with an environment and gives what delivers a job's data to it."""
    with ExitStack() as stack:
        yield lambda store=tmp_path, **environment: stack.enter_context(serving(store, **environment))


def invoice_data(**changes: Any) -> dict[str, Any]:
    return {**deepcopy(SAMPLE["data"]["data"]), **changes}


def invoice(**changes: Any) -> Invoice:
    return msgspec.convert(invoice_data(**changes), Invoice)


def orders(count: int) -> list[dict[str, Any]]:
    return [{"customer": f"Client {index}", "day": "2026-03-04", "net": "10.01"} for index in range(count)]


def test_the_sample_becomes_a_pdf_and_a_page_with_the_computed_total(
    start: Callable[..., Deliver], tmp_path: Path
) -> None:
    reply = start()()

    assert reply["outcome"] == "completed"
    assert reply["pages"] == 1
    assert reply["render_s"] > 0
    assert [each["name"] for each in reply["artifacts"]] == ["invoice.pdf", "invoice.html"]
    assert [each["media_type"] for each in reply["artifacts"]] == ["application/pdf", "text/html; charset=utf-8"]
    (text,) = pdf_texts(stored(reply, tmp_path, 0))
    html = stored(reply, tmp_path, 1).decode()
    # 12.5 * 95.00 + 49.90 = 1237.40; 19 % of it is 235.106
    for shown in ("Invoice 2026-1042", "Shop GmbH", "€1,237.40", "€235.11", "€1,472.51"):
        assert shown in text
        assert shown.removeprefix("Invoice ") in html
    assert "Page 1 of 1" in text


def test_the_pdf_says_its_title_author_language_and_the_requests_time(
    start: Callable[..., Deliver], tmp_path: Path
) -> None:
    reply = start()(data=invoice_data(language="de"))

    document = pypdf.PdfReader(io.BytesIO(stored(reply, tmp_path)))
    assert document.metadata is not None
    assert document.metadata.title == "Rechnung 2026-1042"
    assert document.metadata.author == "Shop GmbH"
    assert document.metadata.creation_date is not None
    assert document.metadata.creation_date.isoformat() == "2026-11-22T09:30:00+00:00"
    assert str(document.root_object["/Lang"]) == "de"


def test_the_same_job_gives_the_same_bytes(start: Callable[..., Deliver], tmp_path: Path) -> None:
    first = start(tmp_path / "first")()
    second = start(tmp_path / "second")()

    assert [each["sha256"] for each in first["artifacts"]] == [each["sha256"] for each in second["artifacts"]]


def test_html_alone_is_made_without_pages(start: Callable[..., Deliver], tmp_path: Path) -> None:
    reply = start()(outputs=[{"name": "invoice.html", "format": "html"}])

    assert (reply["outcome"], reply["pages"], len(reply["artifacts"])) == ("completed", 0, 1)


@pytest.mark.parametrize(
    ("lines", "currency", "amounts", "total"),
    [
        ([("999999999999.999999", "999999999999", "0")], "EUR", ["999999999998999999000000.00"], None),
        ([("3", "0.335", "0")], "EUR", ["1.01"], "1.01"),  # 1.005: a float is below it, and bankers round to even
        ([(3, 0.335, 0)], "EUR", ["1.01"], "1.01"),
        ([("-3", "0.335", "0")], "EUR", ["-1.01"], "-1.01"),
        ([("1", "0.25", "10"), ("1", "0.25", "10")], "EUR", ["0.25", "0.25"], "0.55"),  # 0.05 tax, not 2 x 0.03
        ([("1", "0.25", "10"), ("1", "0.25", "10.0")], "EUR", ["0.25", "0.25"], "0.55"),
        ([("1", "0.25", "10"), ("1", "0.25", "20")], "EUR", ["0.25", "0.25"], "0.58"),
        ([(0.1, 3, 0), (0.2, 3, 0)], "EUR", ["0.30", "0.60"], "0.90"),
        ([("1", "2.5", "10")], "JPY", ["3"], "3"),
        ([("1", "0.0005", "0")], "KWD", ["0.001"], "0.001"),
    ],
)
def test_amounts_are_exact_and_rounded_half_up(
    lines: list[tuple[Any, Any, Any]], currency: str, amounts: list[str], total: str | None
) -> None:
    fields = ("quantity", "unit_price", "tax_percent")
    rows = [{"description": "x", **dict(zip(fields, line, strict=True))} for line in lines]

    made = sums(invoice(lines=rows, currency=currency))

    assert [str(each) for each in made.amounts] == amounts
    assert str(made.total) == (total or amounts[0])


@pytest.mark.parametrize(
    ("code", "amount", "day"),
    [
        ("en", "-€1,234.50", "Mar 4, 2026"),
        ("en-GB", "-€1,234.50", "4 Mar 2026"),
        ("de", "-1.234,50 €", "04.03.2026"),
        ("de-CH", "EUR-1'234.50", "04.03.2026"),
        ("fr", "-1 234,50 €", "4 mars 2026"),
        ("pl", "-1 234,50 €", "4 mar 2026"),
        ("ar", "\u200f-1,234.50 €", "04\u200f/03\u200f/2026"),
    ],
)
def test_each_language_writes_money_and_dates_its_way(code: str, amount: str, day: str) -> None:
    language = Language(code)

    written = re.sub(r"\s", " ", language.money(Decimal("-1234.5"), "EUR"))
    # editions of CLDR differ in the characters for minus and for the Swiss apostrophe
    assert written.replace("\N{MINUS SIGN}", "-").replace("\N{RIGHT SINGLE QUOTATION MARK}", "'") == amount
    assert language.date(date(2026, 3, 4)) == day
    assert language.labels.keys() == LABELS["en"].keys()


def test_bad_data_names_every_bad_field(start: Callable[..., Deliver]) -> None:
    bad = invoice_data(
        issued="22.11.2026",
        currency="euro",
        colour="red",
        accent="red;} body{display:none",
        payment={"iban": "DE89370400440532013001"},
        lines=[
            {"description": "x", "quantity": "many", "unit_price": "1e9"},
            {"description": "x", "unit_price": True, "tax_percent": 101},
        ],
    )
    del bad["buyer"]["name"]

    reply = start()(data=bad)

    assert reply["outcome"] == "failed"
    assert reply["type"].endswith("/invalid-data")
    assert {each["pointer"] for each in reply["errors"]} == {
        "#/data/issued",
        "#/data/currency",
        "#/data/colour",
        "#/data/accent",
        "#/data/payment",
        "#/data/buyer/name",
        "#/data/lines/0/quantity",
        "#/data/lines/0/unit_price",
        "#/data/lines/1/unit_price",
        "#/data/lines/1/tax_percent",
    }


@pytest.mark.parametrize("number", ["NaN", "Infinity", "1e999999", "--1", "", "1,5", "٣", "1\n", 1e12, 10**12, [], {}])
def test_what_is_no_number_is_refused_by_its_place(start: Callable[..., Deliver], number: Any) -> None:
    reply = start()(data=invoice_data(lines=[{"description": "x", "unit_price": number}]))

    assert [each["pointer"] for each in reply["errors"]] == ["#/data/lines/0/unit_price"]


def test_bad_cells_are_named_by_row_and_column(start: Callable[..., Deliver]) -> None:
    rows = [*orders(1), {"day": "yesterday", "net": "x"}, {"costumer": "a misspelt column"}]

    reply = start()(template="table", data={**TABLE, "rows": rows})

    pointers = [each["pointer"] for each in reply["errors"]]
    assert pointers == ["#/data/rows/1/day", "#/data/rows/1/net", "#/data/rows/2/costumer"]


def test_bad_columns_are_named(start: Callable[..., Deliver]) -> None:
    columns = [{"name": "a", "total": True}, {"name": "no/pointer"}, {"name": "b", "kind": "image"}]

    reply = start()(template="table", data={**TABLE, "columns": columns, "rows": []})

    pointers = [each["pointer"] for each in reply["errors"]]
    assert pointers == ["#/data/columns/0", "#/data/columns/1/name", "#/data/columns/2/kind"]


def test_an_unknown_template_fails_the_job_and_names_the_known_ones(start: Callable[..., Deliver]) -> None:
    reply = start()(template="leter")

    assert reply["outcome"] == "failed"
    assert reply["type"].endswith("/unknown-template")
    assert reply["detail"] == "template must be one of invoice, letter, table, dashboard, certificate, got leter"


def test_hostile_data_is_shown_and_never_obeyed(start: Callable[..., Deliver], tmp_path: Path) -> None:
    party = {"name": HOSTILE, "address": [HOSTILE], "vat_id": HOSTILE}
    lines = [{"description": HOSTILE, "unit": "<b>", "unit_price": 1}]
    payment = {"text": HOSTILE, "reference": HOSTILE}
    data = invoice_data(number=HOSTILE, seller=party, buyer=party, lines=lines, payment=payment, note=HOSTILE)

    reply = start()(data=data)

    (text,) = pdf_texts(stored(reply, tmp_path, 0))
    html = stored(reply, tmp_path, 1).decode()
    for shown in ("<script>alert(1)</script>", '<img src="file:///etc/passwd">', "{{ 7 * 7 }}"):
        assert shown.replace(" ", "") in text.replace(" ", "")
    assert "root:" not in text + html
    assert not re.search(r"<(script|img|link|iframe)", html)
    assert html.count("</style>") == 1


def test_any_script_and_any_character_can_be_printed(start: Callable[..., Deliver], tmp_path: Path) -> None:
    names = ["株式会社サンプル", "شركة المثال", "דוגמה", "👩🏽‍🚀", "a\u0000\u0001\u202e\ufffe\u2028b", "x" * 1_000]
    rows = [{"customer": name} for name in names]

    reply = start()(template="table", data={**TABLE, "rows": rows})

    assert reply["outcome"] == "completed"
    assert "شركة" in stored(reply, tmp_path, 1).decode()


def test_the_page_allows_its_own_style_sheet_and_nothing_else(start: Callable[..., Deliver], tmp_path: Path) -> None:
    html = stored(start()(), tmp_path, 1).decode()

    (css,) = re.findall(r"<style>(.*?)</style>", html, re.DOTALL)
    sha256 = base64.b64encode(hashlib.sha256(css.encode()).digest()).decode()
    assert f"default-src 'none'; style-src 'sha256-{sha256}'" in html
    assert "style=" not in html


def test_every_page_of_a_long_table_repeats_the_header_and_counts(
    start: Callable[..., Deliver], tmp_path: Path
) -> None:
    reply = start()(template="table", data={**TABLE, "rows": orders(2_400)})

    texts = pdf_texts(stored(reply, tmp_path))
    assert reply["pages"] == len(texts) >= 50
    for number, text in enumerate(texts, start=1):
        assert "Customer day Net (EUR)" in text
        assert f"Page {number} of {len(texts)}" in text
    assert "Total" in texts[-1]
    assert "24,024.00" in texts[-1]
    assert sum(text.count("24,024.00") for text in texts) == 1


@pytest.mark.parametrize("count", range(34, 40))
def test_totals_never_stand_alone_on_a_page(start: Callable[..., Deliver], tmp_path: Path, count: int) -> None:
    texts = pdf_texts(stored(start()(template="table", data={**TABLE, "rows": orders(count)}), tmp_path))

    assert len(texts) == (1 if count < 37 else 2)
    assert "Total" in texts[-1]
    assert f"Client {count - 1}" in texts[-1]


def test_a_total_is_the_sum_of_the_amounts_shown(start: Callable[..., Deliver], tmp_path: Path) -> None:
    rows = [{"customer": "a", "net": "0.005"}, {"customer": "b", "net": "0.005"}]

    (text,) = pdf_texts(stored(start()(template="table", data={**TABLE, "rows": rows}), tmp_path))

    assert re.findall(r"0\.0\d", text) == ["0.01", "0.01", "0.02"]


def test_a_landscape_table_is_wider_than_high(start: Callable[..., Deliver], tmp_path: Path) -> None:
    reply = start()(template="table", data={**TABLE, "rows": [], "landscape": True})

    box = pypdf.PdfReader(io.BytesIO(stored(reply, tmp_path))).pages[0].mediabox
    assert (round(box.width), round(box.height)) == (842, 595)


def test_a_document_over_the_pages_limit_fails(start: Callable[..., Deliver]) -> None:
    reply = start(PAGES_LIMIT="3")(template="table", data={**TABLE, "rows": orders(500)})

    assert reply["outcome"] == "failed"
    assert reply["detail"] == "the document must have at most 3 pages, and it has more"


def test_a_document_over_the_time_limit_fails_and_the_next_one_does_not(start: Callable[..., Deliver]) -> None:
    deliver = start(TIMEOUT_S="4")

    late = deliver(template="table", data={**TABLE, "rows": orders(10_000)})
    next_one = deliver(id="another-job")

    assert late["outcome"] == "failed"
    assert late["detail"].startswith("the rendering exceeded 4 s")
    assert next_one["outcome"] == "completed"


def test_a_document_over_the_memory_limit_fails(start: Callable[..., Deliver]) -> None:
    reply = start(MEMORY_LIMIT_BYTES=str(100 << 20))(template="table", data={**TABLE, "rows": orders(10_000)})

    assert reply["outcome"] == "failed"
    assert "exceeded 104857600 bytes of memory" in reply["detail"]


def test_the_functions_own_process_loads_neither_renderer_nor_http_client(tmp_path: Path) -> None:
    program = """import sys, functions.report.main
print([each for each in ("weasyprint", "jinja2", "httpx") if each in sys.modules])"""
    environment = {**os.environ, "STORE_URL": tmp_path.as_uri(), "PYTHONPATH": str(ROOT)}

    done = subprocess.run([sys.executable, "-c", program], env=environment, capture_output=True, text=True, check=True)

    assert done.stdout.strip() == "[]"


@pytest.mark.parametrize("template", CASES)
def test_the_schema_of_a_templates_data_is_fresh_and_takes_the_data(template: str) -> None:
    from functions.report.schema import FOLDER, rendered  # here: it loads the templates, which need no Pango

    schema = json.loads((FOLDER / f"{template}.json").read_text())

    assert (FOLDER / f"{template}.json").read_bytes() == rendered(template), "run: make schemas"
    for data in CASES[template].values():
        Draft202012Validator(schema).validate(data)


@pytest.mark.parametrize(("template", "case"), [(name, case) for name in CASES for case in CASES[name]])
def test_every_template_holds_every_kind_of_data(
    start: Callable[..., Deliver], tmp_path: Path, template: str, case: str
) -> None:
    require_noto()
    data = CASES[template][case]

    reply = start()(template=template, data=data)

    # in a PDF a line may end anywhere, and right-to-left text comes out in its own order: compare letters
    letters = Counter("".join(pdf_texts(stored(reply, tmp_path))).replace(" ", ""))
    for text in said(data):
        assert not Counter(text[:60].replace(" ", "")) - letters, text
    assert "warnings" not in reply
    assert "style=" not in stored(reply, tmp_path, 1).decode()


def said(data: Any) -> Iterator[str]:
    """Every text that the document has to show."""
    for name, value in data.items():
        if name in ("title", "subtitle", "subject", "closing", "note", "recipient", "number") and isinstance(
            value, str
        ):
            yield value
        elif isinstance(value, dict):
            yield from said(value)
        elif name in ("paragraphs", "enclosures", "address"):
            yield from value
        elif isinstance(value, list | tuple):
            for each in value:
                yield from said(each) if isinstance(each, dict) and name != "rows" else ()


def test_a_long_job_logs_how_far_it_is_now_and_then(caplog: pytest.LogCaptureFixture) -> None:
    now_s = iter([0.0, 1.0, 5.0, 6.0, 11.0])
    pace = ProgressLog("order-1", clock=lambda: next(now_s))

    with caplog.at_level("INFO"):
        for page in range(1, 5):
            pace.told(f"page {page}")

    assert [record.getMessage() for record in caplog.records] == ["rendering: page 2", "rendering: page 4"]
    assert [vars(record)["elapsed_ms"] for record in caplog.records] == [5_000, 11_000]
