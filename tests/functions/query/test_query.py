"""Queries over files, through the whole function: what they give, and what none of them reaches."""

import json
from base64 import b64encode
from collections.abc import Callable
from pathlib import Path
from typing import Any

import duckdb
import pytest

from events.http import STRUCTURED
from functions.query.sql import SHUT
from tests.conftest import sample
from tests.support.function_client import FunctionClient
from tests.support.local_runner import ROOT

SAMPLE = sample("query")
ORDERS = b"sku,price,quantity\nmug,8.5,2\npen,1.2,10\n"
Client = Callable[..., FunctionClient]


@pytest.fixture
def client(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Client:
    def make(**environment: str) -> FunctionClient:
        for name, value in {"STORE_URL": f"file://{tmp_path}/store", **environment}.items():
            monkeypatch.setenv(name, value)
        return FunctionClient(ROOT / "functions/query/main.py")

    return make


def table(name: str, content: bytes, format_: str = "csv") -> dict[str, Any]:
    return {"name": name, "source": {"data_base64": b64encode(content).decode()}, "format": format_}


def answered(function: FunctionClient, **data: Any) -> tuple[str, dict[str, Any]]:
    """The outcome and the data of a job like the sample's, with its tables unless others are given."""
    given = {"tables": [table("orders", ORDERS)], **data}
    event = {**SAMPLE, "id": json.dumps(data, sort_keys=True)[:500], "data": given}
    response = function.post("/", content=json.dumps(event), headers={"content-type": STRUCTURED})
    assert response.status_code == 200, response.text
    return response.headers["ce-outcome"], response.json()


def test_the_sample_gives_its_rows_with_their_columns(client: Client) -> None:
    outcome, data = answered(client(), **SAMPLE["data"])

    assert (outcome, data) == ("completed", sample("query", "completed")["data"])


def test_tables_of_three_formats_are_joined_into_a_file_that_another_query_reads(
    client: Client, tmp_path: Path
) -> None:
    names = b'{"sku": "mug", "title": "A mug"}\n{"sku": "pen", "title": "Pen"}\n'
    duckdb.connect().execute(
        f"COPY (SELECT 'mug' AS sku, DATE '2026-12-01' AS sold) TO '{tmp_path}/sales.parquet' (FORMAT parquet)"
    )
    sales = (tmp_path / "sales.parquet").read_bytes()
    tables = [table("orders", ORDERS), table("names", names, "jsonl"), table("sales", sales, "parquet")]
    sql = (
        "SELECT title, sold, sum(quantity) AS n FROM orders JOIN names USING (sku) JOIN sales USING (sku) GROUP BY ALL"
    )
    function = client()

    _, made = answered(function, tables=tables, sql=sql, result="parquet", name="sold.parquet")
    [artifact] = made["artifacts"]
    again = {"name": "sold", "source": {"key": artifact["key"]}, "format": "parquet"}
    _, read = answered(function, tables=[again], sql="FROM sold")

    assert (artifact["media_type"], made["count"]) == ("application/vnd.apache.parquet", 1)
    assert read["rows"] == [{"title": "A mug", "sold": "2026-12-01", "n": 2}]


@pytest.mark.slow
def test_a_query_may_have_many_tables(client: Client) -> None:
    tables = [table(f"t{number}", f"a\n{number}\n".encode()) for number in range(50)]
    sql = " UNION ALL ".join(f"FROM t{number}" for number in range(50))

    _, data = answered(client(), tables=tables, sql=f"SELECT sum(a) AS total FROM ({sql})")  # noqa: S608  # ours

    assert data.get("rows") == [{"total": sum(range(50))}], data


@pytest.mark.parametrize(("result", "start"), [("csv", b"sku,"), ("jsonl", b'{"sku":"mug"')])
def test_a_result_may_be_a_file_that_people_and_programs_read(
    client: Client, tmp_path: Path, result: str, start: bytes
) -> None:
    _, data = answered(client(), sql="FROM orders", result=result)

    assert (tmp_path / "store" / data["artifacts"][0]["key"]).read_bytes().startswith(start)


@pytest.mark.slow
def test_a_parameter_is_bound_and_is_no_part_of_the_query(client: Client) -> None:
    hostile = "pen' OR 1=1 --"
    _, data = answered(client(), sql="SELECT $sku AS given FROM orders LIMIT 1", parameters={"sku": hostile})

    assert data["rows"] == [{"given": hostile}]


def test_a_query_may_stand_in_the_store_and_be_the_only_kind(client: Client, tmp_path: Path) -> None:
    function = client(NAMED_ONLY="true")
    (tmp_path / "store/queries").mkdir(parents=True)
    (tmp_path / "store/queries/cheap.sql").write_text("SELECT sku FROM orders WHERE price < $most;\n")

    _, data = answered(function, query="cheap", parameters={"most": 5})
    refused = [answered(function, **given) for given in ({"sql": "FROM orders"}, {"query": "dear"})]

    assert data["rows"] == [{"sku": "pen"}]
    assert [outcome for outcome, _ in refused] == ["failed", "failed"]


@pytest.mark.parametrize(
    "sql",
    [
        "FROM read_text('/etc/passwd')",
        "FROM '/etc/passwd'",
        "SELECT * FROM glob('/**')",
        "FROM read_csv('https://shop.example/a.csv')",
        "COPY orders TO '/tmp/stolen.csv'",
        "COPY orders TO 'output'",
        "ATTACH '/tmp/a.db'",
        "INSTALL httpfs",
        "LOAD httpfs",
        "SET enable_external_access = true",
        "PRAGMA database_list",
        "SELECT 1; SELECT 2",
        "CREATE TABLE a (b INTEGER)",
        "FROM orders) ; ATTACH '/tmp/a.db' AS (a",
        "SELECT getenv('STORE_URL')",
        "FROM duckdb_secrets()",
        "SELECT * FROM query('ATTACH ''/tmp/a.db''')",
    ],
)
def test_a_query_reaches_nothing_but_its_tables(client: Client, sql: str) -> None:
    outcome, data = answered(client(), sql=sql)

    assert outcome == "failed", data
    assert data["type"].endswith("/query-refused")


def test_its_settings_cannot_be_changed_back() -> None:
    connection = duckdb.connect()
    for each in SHUT:
        connection.execute(each)

    for name in ("enable_external_access", "allowed_paths", "autoload_known_extensions", "lock_configuration"):
        with pytest.raises(duckdb.Error):
            connection.execute(f"SET {name} = {'[]' if name == 'allowed_paths' else 'false'}")


@pytest.mark.slow
@pytest.mark.parametrize(
    ("sql", "settings"),
    [
        ("FROM range(1001)", {}),
        ("SELECT repeat('a', 100) AS a FROM range(900)", {}),
        ("SELECT max(a.range + b.range) FROM range(100000000) a, range(100000000) b", {"TIMEOUT_S": "1"}),
        ("SELECT list(range) FROM range(100000000)", {"MEMORY_LIMIT_BYTES": "200000000"}),
    ],
)
def test_a_query_that_takes_too_much_fails_and_says_what_the_limit_is(
    client: Client, sql: str, settings: dict[str, str]
) -> None:
    outcome, data = answered(client(**settings), sql=sql)

    assert outcome == "failed"
    assert data["type"].rpartition("/")[2] in ("limit-exceeded", "query-refused"), data


def test_a_file_that_is_none_of_its_format_fails_the_job(client: Client) -> None:
    outcome, data = answered(client(), tables=[table("orders", b"PAR1 no", "parquet")], sql="FROM orders")

    assert (outcome, "parquet" in data["detail"].lower()) == ("failed", True)


@pytest.mark.parametrize(
    "given",
    [{}, {"sql": "SELECT 1", "query": "a"}, {"sql": "SELECT 1", "tables": [table("a", b"a"), table("a", b"a")]}],
)
def test_a_request_names_one_query_and_each_table_once(client: Client, given: dict[str, Any]) -> None:
    outcome, data = answered(client(), **given)

    assert (outcome, data["title"]) == ("failed", "Invalid data")
