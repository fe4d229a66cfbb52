"""What a function says of a job's progress: taken by a token of its own, shown wherever the job is."""

import json
from pathlib import Path
from typing import Any

import httpx
import pytest

from events.http import STRUCTURED
from functions.gateway.ledger.job import key_of
from tests.functions.gateway.test_gateway import ICS, job, outcome, state
from tests.functions.gateway.test_stream import note, told
from tests.support.database_servers import database_url, postgresql_server
from tests.support.gateway_process import GatewayProcess, authorization, gateway_process
from tests.support.local_runner import until

__all__ = ["database_url", "postgresql_server"]

pytestmark = pytest.mark.slow

TOKEN = "notes-token-notes-token"


def say(gateway: GatewayProcess, id_: str, *, token: str | None = TOKEN, **data: Any) -> httpx.Response:
    event = {**note(id_, 1), "data": {"kind": "progress", "by": "ics", **data}}
    headers = {"content-type": STRUCTURED, **authorization(token)}
    return gateway.client.post("/notes", content=json.dumps(event), headers=headers)


def test_how_far_a_job_is_is_shown_in_status_timeline_and_stream(database_url: str, tmp_path: Path) -> None:
    with gateway_process(tmp_path, database_url, GATEWAY_NOTES_TOKEN=TOKEN) as (gateway, _broker):
        accepted = gateway.post(job("1")).json()
        until(lambda: state(gateway, "1") == "sent", what="the broker's")
        taken = [say(gateway, "1", percent=each, detail=f"page {each}").status_code for each in (10, 20)]
        gateway.tell(note("1", 1))
        say(gateway, "1", percent=30, detail="page 30")
        say(gateway, "1", detail="page 31")
        shown = gateway.get(f"/jobs/{accepted['job']}").json()
        gateway.tell(outcome("1"))
        say(gateway, "1", percent=99)
        timeline = gateway.get(f"/jobs/{accepted['job']}/timeline").json()
        with gateway.client.stream("GET", accepted["stream"]) as response:
            events = list(told(response))

    assert taken == [202, 202]
    assert {**shown["progress"], "at": ""} == {"at": "", "text": "page 31"}
    noted = [(each["what"], each["detail"]) for each in timeline if "detail" in each]
    assert noted == [("progress", "20 % page 20"), ("attempt failed", "try 1"), ("progress", "page 31")]
    assert [each["data"]["detail"] for each in events if each["event"] == "note"] == [each for _, each in noted]
    assert events[-1]["data"]["progress"]["text"] == "page 31"
    assert events[-1]["data"]["state"] == "completed"


def test_by_the_token_of_notes_nothing_but_progress_of_known_jobs_is_told(database_url: str, tmp_path: Path) -> None:
    with gateway_process(tmp_path, database_url, GATEWAY_NOTES_TOKEN=TOKEN) as (gateway, _broker):
        gateway.post(job("1"))
        wrong = [say(gateway, "1", token=each, percent=5).status_code for each in (None, "another-token")]
        kinds = {**note("1", 1), "data": {"kind": "attempt failed"}}
        ended = outcome("1")
        headers = {"content-type": STRUCTURED, **authorization(TOKEN)}
        bad: list[Any] = [kinds, ended, []]
        others = [gateway.client.post("/notes", json=each, headers=headers).status_code for each in bad]
        beyond = say(gateway, "1", percent=140).status_code
        unknown = say(gateway, "nobody", percent=5).status_code
        found = gateway.get(f"/jobs/{key_of(ICS['source'], 'nobody')}").status_code
        shown = gateway.get(f"/jobs/{key_of(ICS['source'], '1')}").json()

    assert (wrong, others, beyond) == ([401, 401], [400, 400, 400], 400)
    assert (unknown, found) == (202, 404)
    assert "progress" not in shown


def test_without_a_token_of_notes_nobody_tells_any(tmp_path: Path) -> None:
    with gateway_process(tmp_path, f"sqlite:///{tmp_path}/ledger.db") as (gateway, _broker):
        assert say(gateway, "1", token="", percent=5).status_code == 401
