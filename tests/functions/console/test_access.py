"""Who gets in: sessions that were ended, wrong tokens, other sites, and the token of the broker."""

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from httpx import Client, Response, get

from functions.runtime.attempts import KEPT, OF_A_CLIENT, WINDOW_S, Attempts
from tests.functions.deadletters.test_dead_letters import dead
from tests.support.dead_letter_store import DeadLetterStore
from tests.support.function_client import serving
from tests.support.local_runner import ROOT
from tests.support.ports import free_port

OPERATORS = "anna all anna-has-a-long-token\nben see,data ben-has-a-long-token"
ANNA = {"Authorization": "Bearer anna-has-a-long-token"}
NOBODY = {"Authorization": "Bearer a-token-of-nobody-here"}
CONSOLE = ROOT / "functions/console/main.py"
START = Callable[..., "Client"]


@pytest.fixture
def url(tmp_path: Path) -> str:
    return f"sqlite:///{tmp_path}/dead_letters.db"


@pytest.fixture
def start(monkeypatch: pytest.MonkeyPatch, url: str) -> Iterator[START]:
    """Starts a console with an environment of its own."""

    def start(**environment: str) -> Client:
        given = {"DEADLETTERS_URL": url, "K_SINK": "http://127.0.0.1:1/", "HOST": "127.0.0.1"}
        for name, value in (given | environment).items():
            monkeypatch.setenv(name, value)
        return Client(base_url=servers.enter_context(serving(CONSOLE, free_port())), timeout=60)

    with ExitStack() as servers:
        yield start


def sign_in(client: Client, token: str = "anna-has-a-long-token") -> Response:  # noqa: S107  # of a test
    return submit(client, "/dead/sign-in", "/dead/sign-in", token=token)


def submit(client: Client, page: str, action: str, **fields: str) -> Response:
    """Send the form of a page."""
    token = client.get(page).text.split('name="form_token" value="')[1].split('"')[0]
    return client.post(action, data={"form_token": token, **fields})


@pytest.mark.slow
def test_after_the_sign_out_a_cookie_that_was_kept_is_worth_nothing(start: START) -> None:
    settings = {"DEADLETTERS_OPERATORS": OPERATORS, "DEADLETTERS_SESSION_KEY": "k" * 32}
    client = start(**settings)
    sign_in(client)
    kept = {"Cookie": f"errands_dead={client.cookies['errands_dead']}"}
    before = get(f"{client.base_url}/dead/", headers=kept).status_code

    submit(client, "/dead/", "/dead/sign-out")

    restarted = start(**settings)
    assert before == 200
    assert get(f"{client.base_url}/dead/", headers=kept).status_code == 401
    assert get(f"{restarted.base_url}/dead/", headers=kept).status_code == 401
    assert sign_in(client).status_code == 303


@pytest.mark.slow
def test_a_session_ends_after_its_time_however_often_it_changes(
    start: START, monkeypatch: pytest.MonkeyPatch, url: str
) -> None:
    DeadLetterStore(url).keep(dead())
    client = start(DEADLETTERS_OPERATORS=OPERATORS)
    sign_in(client)
    now_s = time.time()

    found = []
    for hours in (6, 11.9, 12.1):
        monkeypatch.setattr(time, "time", lambda hours=hours: now_s + hours * 3600)
        found.append(client.get("/dead/").status_code)
        if found[-1] == 200:
            submit(client, "/dead/letters/1/edit", "/dead/letters/1/edit", revert="true")  # which is said on a page

    assert found == [200, 200, 401]


@pytest.mark.parametrize("way", ["sign-in", "api", "metrics"])
def test_wrong_tokens_are_told_to_wait_and_a_right_one_is_never_refused(start: START, way: str) -> None:
    client = start(DEADLETTERS_OPERATORS=OPERATORS)
    path = {"api": "/dead/api/whoami", "metrics": "/dead/metrics"}.get(way, "")

    def attempt(headers: dict[str, str]) -> int:
        if path:
            return client.get(path, headers=headers).status_code
        return sign_in(client, headers["Authorization"].removeprefix("Bearer ")).status_code

    wrong = [attempt(NOBODY) for _ in range(OF_A_CLIENT)]
    more = attempt(NOBODY)
    right = attempt(ANNA)
    after = attempt(NOBODY) if path else 429

    assert set(wrong) <= {401, 422}
    assert (more, after) == (429, 429)
    assert right in (200, 303)


def test_wrong_tokens_are_counted_for_each_client_and_forgotten_and_take_no_memory() -> None:
    now_s = 0.0
    attempts = Attempts(lambda: now_s)
    counts = [attempts.wrong("somebody") for _ in range(OF_A_CLIENT)]
    other = attempts.wrong("another")
    for number in range(3 * KEPT):
        attempts.wrong(str(number))

    assert counts == list(range(1, OF_A_CLIENT + 1))
    assert other == 1
    assert attempts.wrong("somebody") == 1  # others sent so many that it is forgotten
    now_s = WINDOW_S + 1
    assert attempts.wrong("somebody") == 1


@pytest.mark.parametrize("scheme", ["bearer", "Bearer", "BEARER"])
def test_the_scheme_is_taken_in_any_case(start: START, scheme: str) -> None:
    client = start(DEADLETTERS_OPERATORS=OPERATORS)
    headers = {"Authorization": f"{scheme} anna-has-a-long-token"}

    assert [client.get(path, headers=headers).status_code for path in ("/dead/api/whoami", "/dead/metrics")] == [
        200,
        200,
    ]


def test_the_brokers_token_is_no_operator_where_operators_are_configured(start: START) -> None:
    headers = {"Authorization": "Bearer the-token-of-the-broker"}
    alone = start(ERRANDS_TOKEN="the-token-of-the-broker").get("/dead/api/whoami", headers=headers)
    beside = start(ERRANDS_TOKEN="the-token-of-the-broker", DEADLETTERS_OPERATORS=OPERATORS)

    assert alone.json()["name"] == "token"
    assert beside.get("/dead/api/whoami", headers=headers).status_code == 401
    assert beside.get("/dead/metrics", headers=headers).status_code == 401


@pytest.mark.parametrize("site", ["cross-site", "same-site"])
@pytest.mark.parametrize("path", ["/dead/api/watch?wait_s=30", "/dead/api/list", "/dead/api/nothing"])
def test_another_site_gets_nothing_of_the_api_and_holds_no_thread(start: START, site: str, path: str) -> None:
    client, began_s = start(), time.monotonic()

    response = client.get(path, headers={"Sec-Fetch-Site": site, "Sec-Fetch-Dest": "image"})

    assert response.status_code == 403
    assert time.monotonic() - began_s < 5


@pytest.mark.slow
def test_those_who_wait_leave_threads_to_everybody_else(start: START) -> None:
    client, took_s = start(), list[float]()

    def watch() -> None:
        began_s = time.monotonic()
        get(f"{client.base_url}/dead/api/watch?wait_s=2&cursor=0", timeout=60)
        took_s.append(time.monotonic() - began_s)

    client.get("/dead/api/whoami")
    threads = [threading.Thread(target=watch) for _ in range(12)]
    for each in threads:
        each.start()
    for each in threads:
        each.join()

    assert sum(each > 1.8 for each in took_s) == 4


@pytest.mark.slow
@pytest.mark.parametrize("field", ["text", "job", "type", "trigger", "destination"])
@pytest.mark.parametrize("value", ["\0", "\0x", "x\0", "invi\0te"])
def test_a_filter_with_a_nul_is_refused_and_never_everything(start: START, url: str, field: str, value: str) -> None:
    store = DeadLetterStore(url)
    store.keep(dead())
    client = start()

    responses = [
        client.get("/dead/api/list", params={field: value}),
        client.post("/dead/api/list", json={"matching": {field: value}}),
        client.post("/dead/api/discard", json={"selection": {"matching": {field: value}}, "reason": "x"}),
        client.get("/dead/letters", params={field: value}),
        client.get("/dead/replay", params={"all": "yes", field: value}),
    ]

    assert [each.status_code for each in responses] == [422] * 5
    assert store.list()[0].state == "open"


def test_the_api_takes_the_former_names_of_its_fields(start: START, url: str) -> None:
    DeadLetterStore(url).keep(dead())
    client = start()
    former: dict[str, Any] = {"selection": {"letters": [1]}, "reason": "x"}

    shown = client.post("/dead/api/show", json={"letter": 1}).json()
    done = client.post("/dead/api/discard", json=former).json()

    assert shown["dead_letter"]["id"] == 1
    assert done["dead_letters"] == [1]


@pytest.mark.parametrize("path", ["/console", "/console/"])
def test_the_console_is_found_at_its_name(start: START, path: str) -> None:
    response = start().get(path)

    assert (response.status_code, response.headers["location"]) == (303, "/dead/")


def test_a_bug_is_said_to_be_one_and_shows_nothing(start: START, monkeypatch: pytest.MonkeyPatch) -> None:
    client = start(DEADLETTERS_OPERATORS=OPERATORS)
    client.get("/dead/sign-in")
    monkeypatch.setattr("functions.deadletters.service.finding.FindingOperations.list", None)

    responses = [client.get("/dead/api/list", headers=ANNA), client.get("/dead/letters", headers=ANNA)]

    assert [each.status_code for each in responses] == [500, 500]
    assert "content-security-policy" in responses[1].headers
    assert "NoneType" not in responses[0].text + responses[1].text
    assert responses[0].headers["content-type"] == "application/problem+json"
