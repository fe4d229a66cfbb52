"""Spreadsheets and data by reference: what is written is read back by programs that are not ours."""

import base64
import csv
import io
import json
from collections.abc import Iterator
from datetime import date
from pathlib import Path
from typing import Any

import openpyxl
import pytest

from tests.support.report_data import CASES, invoice, orders, table
from tests.support.report_function import Deliver, pdf_texts, serving, stored, uploaded

CSV = [{"name": "out.csv", "format": "csv"}]
XLSX = [{"name": "out.xlsx", "format": "xlsx"}]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("store")


@pytest.fixture(scope="module")
def deliver(folder: Path) -> Iterator[Deliver]:
    with serving(folder, ROWS_LIMIT="2000") as deliver:
        numbers = iter(range(1_000_000))
        yield lambda **changes: deliver(id=f"job-{next(numbers)}", **changes)


def rows_of(content: bytes) -> list[list[str]]:
    return list(csv.reader(io.StringIO(content.decode(), newline=""), strict=True))


def source(content: str | bytes, **changes: Any) -> dict[str, Any]:
    data = content.encode() if isinstance(content, str) else content
    return {"source": {"data_base64": base64.b64encode(data).decode()}, "format": "csv", **changes}


@pytest.mark.slow
def test_four_outputs_come_of_one_job(deliver: Deliver, folder: Path) -> None:
    formats = ("pdf", "html", "csv", "xlsx")

    reply = deliver(
        template="table",
        data=table(rows=orders(5)),
        outputs=[{"name": f"o.{each}", "format": each} for each in formats],
    )

    assert [each["name"] for each in reply["artifacts"]] == ["o.pdf", "o.html", "o.csv", "o.xlsx"]
    assert [each.get("pages") for each in reply["artifacts"]] == [1, None, None, None]
    assert reply["size_bytes"] == sum(each["size_bytes"] for each in reply["artifacts"])
    for index, start in enumerate([b"%PDF-", b"<!doctype html>", b"Customer,region,Day", b"PK"]):
        assert stored(reply, folder, index).startswith(start)


def test_a_csv_holds_plain_numbers_and_dates(deliver: Deliver, folder: Path) -> None:
    rows = [{"customer": 'A, "B"', "day": "2026-03-04", "quantity": 1234.5, "net": "1234.5"}, {}]

    content = stored(deliver(template="table", data=table(rows=rows, language="de"), outputs=CSV), folder)

    assert rows_of(content) == [
        ["Customer", "region", "Day", "quantity", "Net (EUR)"],
        ['A, "B"', "", "2026-03-04", "1234.5", "1234.50"],
        ["", "", "", "", ""],
    ]
    assert content.count(b"\r\n") == 3


def test_a_csv_may_have_a_semicolon_and_a_byte_order_mark(deliver: Deliver, folder: Path) -> None:
    outputs = [{**CSV[0], "csv": {"delimiter": ";", "byte_order_mark": True}}]

    content = stored(deliver(template="table", data=table(), outputs=outputs), folder)

    assert content.decode("utf-8-sig").startswith("Customer;region;")
    assert content.startswith(b"\xef\xbb\xbf")


@pytest.mark.parametrize("formula", ["=1+1", "+1", "-1", "@SUM(A1)", "\t=1", "\r=1"])
def test_a_text_is_never_a_formula(deliver: Deliver, folder: Path, formula: str) -> None:
    data = table(rows=[{"customer": formula, "net": "-5"}])

    reply = deliver(template="table", data=data, outputs=[*CSV, *XLSX])

    row = rows_of(stored(reply, folder))[1]
    assert (row[0], row[4]) == (f"'{formula}", "-5.00")
    cell = openpyxl.load_workbook(io.BytesIO(stored(reply, folder, 1))).worksheets[0]["A2"]
    assert cell.data_type == "s"
    assert str(cell.value).endswith(formula.strip())


def test_a_workbook_has_types_widths_a_frozen_header_and_totals(deliver: Deliver, folder: Path) -> None:
    rows = [{"customer": "A" * 40, "day": "2026-03-04", "quantity": 2, "net": "0.005"}, {"net": "0.005"}]

    content = stored(deliver(template="table", data=table(rows=rows, title="A [1]: x"), outputs=XLSX), folder)

    book = openpyxl.load_workbook(io.BytesIO(content))
    page = book.worksheets[0]
    assert (page.title, page.freeze_panes) == ("A  1   x", "A2")
    assert [page[f"{name}2"].value for name in "ABDE"] == ["A" * 40, None, 2, 0.01]
    assert page["C2"].value.date() == date(2026, 3, 4)
    assert (page["C2"].number_format, page["E2"].number_format) == ("yyyy-mm-dd", "#,##0.00")
    assert (page["D4"].value, page["E4"].value) == ("=SUM(D2:D3)", "=SUM(E2:E3)")
    assert page.column_dimensions["A"].width > 40
    values = openpyxl.load_workbook(io.BytesIO(content), data_only=True).worksheets[0]
    assert (values["D4"].value, values["E4"].value) == (2, 0.02)
    assert book.properties.created.isoformat() == "2026-11-22T09:30:00"


@pytest.mark.parametrize("name", ["invoice", "table", "dashboard"])
@pytest.mark.parametrize("case", ["short", "long", "rtl", "empty"])
def test_every_template_with_rows_makes_workbooks_that_open(
    deliver: Deliver, folder: Path, name: str, case: str
) -> None:
    reply = deliver(template=name, data=CASES[name][case], outputs=[*XLSX, *CSV])

    book = openpyxl.load_workbook(io.BytesIO(stored(reply, folder)))
    assert all(0 < len(page.title) <= 31 for page in book.worksheets)
    assert [cell.value for cell in book.worksheets[0][1]] == rows_of(stored(reply, folder, 1))[0]


@pytest.mark.slow
def test_the_same_job_makes_the_same_workbook(folder: Path, tmp_path: Path) -> None:
    def made(store: Path) -> str:
        with serving(store) as deliver:
            reply = deliver(template="table", data=table(rows=orders(50)), outputs=XLSX)
        return str(reply["artifacts"][0]["sha256"])

    assert made(tmp_path / "a") == made(tmp_path / "b")


@pytest.mark.parametrize("name", ["letter", "certificate"])
def test_a_template_without_rows_makes_no_spreadsheet(deliver: Deliver, name: str) -> None:
    reply = deliver(template=name, data=CASES[name]["short"], outputs=[{"name": "a"}, *XLSX])

    assert reply["outcome"] == "failed"
    assert reply["errors"][0]["pointer"] == "#/outputs/1/format"


def test_rows_come_from_a_csv_and_may_have_more_columns(deliver: Deliver, folder: Path) -> None:
    content = '\ufeffcustomer,net,secret\r\nACME,12.50,x\r\n"two\nlines",,y\r\n'

    reply = deliver(template="table", data=table(), data_source=source(content), outputs=CSV)

    assert rows_of(stored(reply, folder))[1:] == [["ACME", "", "", "", "12.50"], ["two\nlines", "", "", "", ""]]


def test_rows_come_from_json_lines_in_the_store(deliver: Deliver, folder: Path) -> None:
    uploaded(folder, "rows.jsonl").write_text("\n".join(json.dumps(each) for each in orders(3)))
    data = {name: value for name, value in table().items() if name != "rows"}

    reply = deliver(
        template="table", data=data, data_source={"source": {"key": "uploads/rows.jsonl"}, "format": "jsonl"}
    )

    assert "Client 2" in pdf_texts(stored(reply, folder))[0]


def test_a_whole_invoice_comes_from_json(deliver: Deliver, folder: Path) -> None:
    reply = deliver(data=None, data_source=source(json.dumps(invoice(number="by-reference")), format="json"))

    assert "by-reference" in pdf_texts(stored(reply, folder))[0]


@pytest.mark.parametrize(
    ("content", "changes", "detail"),
    [
        ("a,b\n1,2,3\n", {}, "line 2 has 3 cells, expected at most 2"),
        ("a,a\n1,2\n", {}, "a CSV's columns must have different names, got a twice"),
        (b"a\n\xff\n", {}, "a CSV must be UTF-8"),
        ('a\n"open\n', {}, "the CSV is not well-formed"),
        ("a\n" + "1\n" * 2_001, {}, "there must be at most 2000 rows, got more"),
        ("a\n" + "x" * 200_000, {}, "the CSV is not well-formed: field larger than field limit"),
        ('{"a": 1}\n{"a": }', {"format": "jsonl"}, "line 2 must be JSON"),
        ("{}\n" * 2_001, {"format": "jsonl"}, "there must be at most 2000 rows, got 2001"),
        ("{", {"format": "json"}, "the data must be JSON"),
        ("[" * 100_000, {"format": "json"}, "the data must be JSON"),
        ("[1]", {"format": "json"}, "the JSON must be an object; give a field for anything else"),
    ],
)
def test_data_that_cannot_be_read_is_refused_by_its_line(
    deliver: Deliver, content: str | bytes, changes: dict[str, Any], detail: str
) -> None:
    reply = deliver(template="table", data=table(), data_source=source(content, **changes))

    assert reply["type"].endswith("/invalid-source"), reply
    assert detail in reply["detail"]
    assert reply["errors"][0]["pointer"] == "#/data_source"


def test_bad_cells_of_a_file_are_named_by_row_and_column(deliver: Deliver) -> None:
    reply = deliver(template="table", data=table(), data_source=source("customer,net\nA,1\nB,x\n"))

    assert [each["pointer"] for each in reply["errors"]] == ["#/data/rows/1/net"]


def test_a_source_that_is_missing_is_named(deliver: Deliver) -> None:
    reply = deliver(
        template="table", data=table(), data_source={"source": {"key": "uploads/no/such.csv"}, "format": "csv"}
    )

    assert reply["type"].endswith("/source-refused")
    assert reply["errors"][0]["pointer"] == "#/data_source/source"
