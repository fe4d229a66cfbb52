"""Addresses of results: valid when a job is asked for, however long ago it has ended."""

import copy
import json
from collections.abc import Iterator
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import msgspec
import pytest

from events.http import STRUCTURED, read
from events.types import Artifact
from functions.gateway.links import Links
from functions.gateway.results import JobResult
from functions.runtime.adapter import system_clock
from functions.storage.store import URL_LIFETIME, Store
from tests.conftest import sample
from tests.support.gateway_process import GatewayProcess, gateway_process
from tests.support.local_runner import until
from tests.support.s3_server import S3Server, s3_server

REQUEST = read({"content-type": STRUCTURED}, json.dumps(sample("image")).encode())
LONG_AGO = system_clock() - timedelta(days=20)
RESULT = {"name": "a.pdf", "media_type": "application/pdf", "size_bytes": 7, "sha256": "0" * 64, "url": "https://old/"}
KEY = f"jobs/{'a' * 36}/{'b' * 16}/a.pdf"


@pytest.fixture
def s3(tmp_path: Path) -> Iterator[S3Server]:
    with s3_server(tmp_path) as server:
        server.bucket("results")
        yield server


def ended(gateway: GatewayProcess, artifacts: list[Any]) -> Any:
    """What is told of a job that came to these."""
    request = sample("image")
    path = gateway.post(request).headers["location"]
    outcome = copy.deepcopy(sample("image", "completed"))
    outcome["data"]["artifacts"] = artifacts
    gateway.tell({**outcome, "jobsource": request["source"], "jobid": request["id"]})
    until(lambda: gateway.get(path).json()["state"] == "completed", what="its end")
    of_both = [gateway.get(path).json(), gateway.get("/jobs", source=request["source"], id=request["id"]).json()]
    return [each["result"]["artifacts"][0] for each in of_both]


def fields(made: Artifact, **changes: Any) -> dict[str, Any]:
    return {**RESULT, "key": made.key, "url": made.url, "expires_at": made.expires_at, **changes}


@pytest.mark.slow
def test_a_result_in_a_bucket_can_be_fetched_by_what_is_told_of_its_job_when_its_first_address_has_expired(
    s3: S3Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in s3.environment.items():
        monkeypatch.setenv(name, value)
    made = Store("s3://results").put(REQUEST, "請求書.pdf", b"%PDF-1.7", "application/pdf", now=LONG_AGO)
    expired = "https://results.example/expired"

    with gateway_process(tmp_path, f"sqlite:///{tmp_path}/ledger.db", STORE_URL="s3://results") as (gateway, _):
        told = ended(gateway, [fields(made, url=expired)])

    for each in told:
        assert httpx.get(each["url"]).content == b"%PDF-1.7"
        assert datetime.fromisoformat(each["expires_at"]) > system_clock() + URL_LIFETIME - timedelta(hours=1)
        assert {**each, "url": expired, "expires_at": made.expires_at} == fields(made, url=expired)


@pytest.mark.slow
def test_a_result_in_a_folder_is_told_at_its_place_as_it_is(tmp_path: Path) -> None:
    (tmp_path / "store").mkdir()
    url = (tmp_path / "store").as_uri()
    store = Store(url, public_url="http://127.0.0.1:8080/artifacts", names_secret="s" * 32)
    made = store.put(REQUEST, "a.pdf", b"%PDF-1.7", "application/pdf", now=LONG_AGO)

    with gateway_process(tmp_path, f"sqlite:///{tmp_path}/ledger.db", STORE_URL=url) as (gateway, _):
        told = ended(gateway, [fields(made)])
        content = gateway.client.get(made.url.removeprefix("http://127.0.0.1:8080")).content

    assert told == [fields(made)] * 2
    assert content == b"%PDF-1.7"


def job(result: Any) -> JobResult:
    return JobResult(
        job="k",
        source="/shop",
        id="1",
        type="t",
        api="shop",
        state="completed",
        accepted_at="",
        since="",
        result=result,
    )


@pytest.mark.parametrize(
    "result",
    [
        None,
        [{"expires_at": 1}],
        {"artifacts": None},
        {"artifacts": ["expires_at", {}, {"key": KEY}]},
        *(
            {"artifacts": [{**RESULT, "key": key, "expires_at": "2026-01-08T00:00:00Z"}]}
            for key in (
                None,
                1,
                "ledger/a/b/c",
                f"{KEY}/../../ledger",
                KEY.replace("a.pdf", ".."),
                f"ledger/../{KEY}",
                "",
            )
        ),
    ],
)
def test_what_is_no_result_of_ours_is_told_as_it_came_and_nothing_is_signed(result: Any) -> None:
    links = Links("s3://nowhere")  # which it does not open
    told = job(msgspec.Raw(msgspec.json.encode(result)))

    assert links.renewed(told, now=LONG_AGO) is told
