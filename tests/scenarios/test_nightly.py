"""The nightly pipeline: five stores over HTTP, a CRM, Parquet, a PostgreSQL warehouse, a dashboard by mail."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from email import message_from_bytes, policy
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any, Final
from urllib.parse import parse_qs, urlsplit

import psycopg
import pytest
from pypdf import PdfReader
from standardwebhooks import Webhook

from tests.support.database_servers import new_database, postgresql_server
from tests.support.http_server import http_server
from tests.support.impatient import impatient
from tests.support.local_runner import Up, until

__all__ = ["postgresql_server"]

pytestmark = [pytest.mark.slow, pytest.mark.postgresql]

SOURCE: Final = "/shop/nightly"
DAY: Final = "2026-11-30"
STORES: Final = ("aachen", "bonn", "celle", "dresden", "erfurt")
PAGE: Final = 40
SALES: Final[dict[str, list[dict[str, Any]]]] = {
    store: [
        {"store": store, "day": DAY if line % 10 else "2026-11-29", "price": 2.5 + number, "quantity": 1 + line % 3}
        for line in range(100)
    ]
    for number, store in enumerate(STORES)
}


class Shops:
    """The stores' API, whose `down` ones answer 503 so often; the CRM; and the warehouse's loader."""

    def __init__(self, warehouse: str) -> None:
        self.warehouse, self.url, self.secret = warehouse, "", ""
        self.down = {"celle": 2}
        self.asked: list[str] = []

    def get(self, path: str, query: dict[str, list[str]]) -> tuple[int, bytes]:
        self.asked.append(path)
        name = path.rpartition("/")[2]
        if name == "crm.csv":
            return 200, b"store,region\n" + "".join(f"{each},{each[0].upper()}\n" for each in STORES).encode()
        if self.down.get(name, 0) > 0:
            self.down[name] -= 1
            return 503, b""
        at = int(query.get("at", ["0"])[0])
        more = f"{path}?at={at + PAGE}" if at + PAGE < len(SALES[name]) else None
        return 200, json.dumps({"data": SALES[name][at : at + PAGE], "links": {"next": more}}).encode()

    def load(self, event: dict[str, Any]) -> None:
        """The step `load`: the day's rows in place of those that were there."""
        given = event["data"]["data"]
        with psycopg.connect(self.warehouse) as db:
            db.execute("CREATE TABLE IF NOT EXISTS sales (day DATE, store TEXT, revenue NUMERIC, pieces BIGINT)")
            db.execute("DELETE FROM sales WHERE day = %s", [given["day"]])
            for row in given["rows"]:
                values = [given["day"], row["store"], row["revenue"], row["pieces"]]
                db.execute("INSERT INTO sales VALUES (%s, %s, %s, %s)", values)

    def loaded(self) -> list[tuple[Any, ...]]:
        with psycopg.connect(self.warehouse) as db:
            return db.execute("SELECT store, revenue::float, pieces FROM sales ORDER BY store").fetchall()


@contextmanager
def shops(warehouse: str) -> Iterator[Shops]:
    served = Shops(warehouse)

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            parts = urlsplit(self.path)
            self.answer(*served.get(parts.path, parse_qs(parts.query)))

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["content-length"]))
            Webhook(served.secret).verify(body, dict(self.headers.items()))
            served.load(json.loads(body))
            self.answer(200, b"null")

        def answer(self, status: int, body: bytes) -> None:
            self.send_response(status)
            self.send_header("content-length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

    with http_server(Handler) as url:
        served.url = url
        yield served


def test_a_night_is_fetched_summed_loaded_and_mailed_though_a_store_is_down_and_all_is_killed(
    postgresql_server: str, tmp_path: Path
) -> None:
    manifests = impatient(tmp_path / "manifests", module="tests.scenarios.nightly", name="nightly")
    with shops(new_database(postgresql_server)) as served:
        up = Up(tmp_path, manifests, "--set", f"call.CALL_URL={served.url}/steps")
        with up:
            served.secret = (up.data / "secrets/callback/secrets").read_text()
            ask(up, served)
            until(lambda: "/sales/erfurt" in served.asked, what="the fetching")
            up.kill()
            up.start()
            ended = up.outcome("night-1", source=SOURCE)
            [mail] = until(lambda: list((up.data / "mail").glob("*.eml")), what="the mail")
        letter = message_from_bytes(mail.read_bytes(), policy=policy.default)
        [pdf] = [each for each in letter.iter_attachments() if each.get_content_type() == "application/pdf"]
        (tmp_path / "sales.pdf").write_bytes(pdf.get_content())
        text = PdfReader(tmp_path / "sales.pdf").pages[0].extract_text()

        assert ended is not None, up.log.read_text()[-3_000:]
        assert ended["data"]["revenue"] == sum(revenue for _, revenue, _ in expected()), ended["data"]
        assert served.loaded() == expected()
        assert (up.data / "store" / ended["data"]["parquet"]).read_bytes()[:4] == b"PAR1"
        assert "Revenue by store" in text
        assert all(store in text for store in STORES)


def ask(up: Up, served: Shops) -> None:
    data = {
        "day": DAY,
        "stores": [f"{served.url}/sales/{store}" for store in STORES],
        "crm": f"{served.url}/crm.csv",
        "to": "head@shop.example",
    }
    event = {"specversion": "1.0", "id": "night-1", "source": SOURCE, "type": "dev.errands.nightly.requested.v1"}
    assert up.post({**event, "datacontenttype": "application/json", "data": data}).status_code == 202


def expected() -> list[tuple[Any, ...]]:
    """By plain code: the day's revenue and pieces of each store."""
    sold = {store: [each for each in lines if each["day"] == DAY] for store, lines in SALES.items()}
    return [
        (
            store,
            sum(each["price"] * each["quantity"] for each in lines),
            sum(each["quantity"] for each in lines),
        )
        for store, lines in sold.items()
    ]
