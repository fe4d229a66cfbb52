"""The operators' Service through functions-framework: the HTTP API, and who may use it."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from flask.testing import FlaskClient
from functions_framework import create_app

from functions.deadletters.database import open_database
from tests.database_servers import database_url, postgresql_server
from tests.local_runner import ROOT
from tests.test_letters import dead, keep

__all__ = ["database_url", "postgresql_server"]  # fixtures

DESK = ROOT / "functions/deadletters/desk.py"
OPERATORS = """
# name rights secret
anna all anna-has-a-long-token
ben  see,replay ben-has-a-long-token
"""
START = Callable[..., FlaskClient]


@pytest.fixture
def start(monkeypatch: pytest.MonkeyPatch, database_url: str) -> START:
    """Starts the desk with an environment of its own."""

    def start(**environment: str) -> FlaskClient:
        given = {"DEADLETTERS_URL": database_url, "K_SINK": "http://127.0.0.1:1/", "HOST": "127.0.0.1"}
        for name, value in (given | environment).items():
            monkeypatch.setenv(name, value)
        client: FlaskClient = create_app("handle", str(DESK)).test_client()  # type: ignore[no-untyped-call]
        return client

    return start


def bearer(name: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {name}-has-a-long-token"}


def test_the_letters_are_listed_and_shown_as_json(start: START, database_url: str) -> None:
    desk = start(DEADLETTERS_OPERATORS=OPERATORS)
    number = keep(open_database(database_url), dead())

    page = desk.get("/dead/api/list?job=ics&code=503&limit=10", headers=bearer("anna")).get_json()
    shown = desk.post("/dead/api/show", json={"letter": number}, headers=bearer("anna")).get_json()

    assert [each["id"] for each in page["letters"]] == [number]
    assert (page["total"], page["next_before"]) == (1, None)
    assert shown["body"]["attributes"]["id"] == "order-1042-invite"
    assert shown["letter"]["code"] == 503


def test_who_lacks_a_right_is_told_which(start: START, database_url: str) -> None:
    desk = start(DEADLETTERS_OPERATORS=OPERATORS)
    number = keep(open_database(database_url), dead())

    unknown = desk.get("/dead/api/list")
    refused = desk.post(
        "/dead/api/discard", json={"selection": {"letters": [number]}, "reason": "x"}, headers=bearer("ben")
    )
    shown = desk.get(f"/dead/api/show?letter={number}", headers=bearer("ben")).get_json()

    assert (unknown.status_code, refused.status_code) == (401, 403)
    assert "the right 'discard' is needed" in refused.get_json()["detail"]
    assert shown["body"]["data"] is None
    assert "#" in shown["body"]["masked"]


def test_a_mistake_names_the_field(start: START) -> None:
    desk = start()
    answers = [
        desk.post("/dead/api/list", json={"limit": 0}),
        desk.get("/dead/api/list?limit=many"),
        desk.get("/dead/api/nothing"),
        desk.get("/dead/api/discard"),
        desk.post("/dead/api/list", data="{}", content_type="text/plain"),
        desk.get("/dead/api/show?letter=7"),
        desk.get("/dead/api/list", headers={"Host": "evil.example"}),
    ]
    assert [each.status_code for each in answers] == [422, 422, 404, 405, 422, 404, 421], [
        each.data for each in answers
    ]


@pytest.mark.parametrize("setting", ["", "DEADLETTERS_OPERATORS"])
def test_it_does_not_start_for_everybody_on_a_network(start: START, setting: str, tmp_path: Path) -> None:
    with pytest.raises(SystemExit, match=r"(?i)operators"):
        start(HOST="0.0.0.0", **({setting: "anna all short"} if setting else {}))


def test_the_ping_keeps_the_house(start: START) -> None:
    headers = {"ce-specversion": "1.0", "ce-id": "1", "ce-source": "/p", "ce-type": "dev.knative.sources.ping"}

    answer = start().post("/", data=b"{}", headers=headers)

    assert answer.status_code == 202
    assert json.loads(start().get("/dead/api/whoami").data)["name"] == "local"
