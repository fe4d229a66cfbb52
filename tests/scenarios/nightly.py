"""The nightly flow: sales of several stores and what the CRM knows, into the warehouse and a dashboard by mail."""

from typing import Any, Final

from events.flow import Flow, flow
from events.types import Request, Result

BY_STORE: Final = """
SELECT s.store, c.region, round(sum(s.price * s.quantity), 2) AS revenue, sum(s.quantity)::BIGINT AS pieces
FROM (SELECT * FROM store_0 UNION ALL BY NAME SELECT * FROM store_1 UNION ALL BY NAME SELECT * FROM store_2
      UNION ALL BY NAME SELECT * FROM store_3 UNION ALL BY NAME SELECT * FROM store_4) s
JOIN crm c USING (store) WHERE s.day = $day::DATE GROUP BY ALL ORDER BY s.store
"""
PAGES: Final = {"items": "data", "next": "links.next"}


class NightlyRequested(Request, frozen=True, kw_only=True):
    """The sales of a day."""

    day: str
    stores: tuple[str, ...]
    crm: str
    to: str


class NightlyCompleted(Result, frozen=True, kw_only=True):
    """Where the figures are."""

    parquet: str
    revenue: float


@flow(NightlyRequested)
async def nightly(job: NightlyRequested, do: Flow) -> NightlyCompleted:
    """Each part is tried by itself; what was fetched is not fetched again."""
    crm = do.fetch(url=job.crm, name="crm.csv")
    fetched = await do.map(lambda url: do.fetch(url=url, name="sales.jsonl", pages=PAGES), job.stores)
    tables = [_table(f"store_{number}", each, "jsonl") for number, each in enumerate(fetched)]
    tables.append(_table("crm", await crm, "csv"))
    asked = {"sql": BY_STORE, "tables": tables, "parameters": {"day": job.day}}
    kept = await do.query(**asked, result="parquet", name=f"sales-{job.day}.parquet")
    figures = _table("figures", kept, "parquet")
    rows = (await do.query(sql="FROM figures", tables=[figures])).rows
    await do.call("load", {"day": job.day, "rows": rows})
    outputs = [{"name": "sales.pdf", "format": "pdf"}]
    report = await do.report(template="dashboard", data=_dashboard(job.day, rows), outputs=outputs)
    pdf = {"name": "sales.pdf", "source": {"key": report.artifacts[0].key}, "media_type": "application/pdf"}
    await do.message(to=[job.to], subject=f"Sales of {job.day}", text="See the dashboard.", attachments=[pdf])
    return NightlyCompleted(parquet=kept.artifacts[0].key, revenue=_sum(rows, "revenue"))


def _table(name: str, made: Any, format_: str) -> dict[str, Any]:
    return {"name": name, "source": {"key": made.artifacts[0].key}, "format": format_}


def _sum(rows: Any, column: str) -> float:
    return float(round(sum(each[column] for each in rows), 2))


def _dashboard(day: str, rows: Any) -> dict[str, Any]:
    names, revenue = [each["store"] for each in rows], [each["revenue"] for each in rows]
    return {
        "title": f"Sales of {day}",
        "currency": "EUR",
        "figures": [
            {"label": "Revenue", "value": _sum(rows, "revenue"), "unit": "money"},
            {"label": "Pieces", "value": int(_sum(rows, "pieces"))},
        ],
        "charts": [
            {
                "title": "Revenue by store",
                "kind": "bar",
                "unit": "money",
                "labels": names,
                "series": [{"name": day, "values": revenue}],
            }
        ],
    }
