"""The pages about jobs, of a real gateway: in Chromium, and without JavaScript as plain HTTP."""

import json
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import Any

import httpx
import pytest

from events.http import STRUCTURED
from functions.flows.schema import open_flows
from tests.functions.console.test_console_page import HOSTILE, OPERATORS, SERVE, Client
from tests.functions.deadletters.test_dead_letters import dead
from tests.functions.gateway.test_gateway import ICS, job, outcome
from tests.functions.gateway.test_stream import note
from tests.support.browser import Browser, browser, chromium, colours, database, serve
from tests.support.dead_letter_store import DeadLetterStore
from tests.support.gateway_process import TOKENS, GatewayProcess, authorization, gateway_process
from tests.support.local_runner import until
from tests.support.ports import free_port

__all__ = ["browser", "chromium", "serve"]  # fixtures

pytestmark = pytest.mark.slow

NOTES = "notes-token-notes-token"
SHOP = "shop-token-shop-token"
HELD = """
INSERT INTO flow (id, name, version, type, source, job_id, depth, state, request, data, accepted_at, started_at)
VALUES ('f', 'onboarding', 1, 't', '/s', '1', 0, 'held', x'7b7d', x'7b7d', '2026-12-01', '2026-12-01')
"""


@dataclass(frozen=True)
class Jobs:
    """A gateway, and a console that asks it."""

    gateway: GatewayProcess
    serve: SERVE

    def console(self, **environment: str) -> str:
        """The address of its pages."""
        return self.serve(GATEWAY_URL=self.gateway.url, GATEWAY_TOKEN=SHOP, **environment)

    def send(self, id_: str, **changes: Any) -> str:
        """The key of a job that the broker has."""
        key: str = self.gateway.post({**job(id_), **changes}, token=SHOP).json()["job"]
        until(lambda: self.state(key) == "sent", what="the broker's")
        return key

    def end(self, id_: str, state: str = "completed") -> None:
        """As its function does."""
        self.gateway.tell(outcome(id_, state))

    def say(self, id_: str, percent: float, text: str) -> None:
        """How far it is."""
        data = {"kind": "progress", "by": "ics", "percent": percent, "detail": text}
        headers = {"content-type": STRUCTURED, **authorization(NOTES)}
        content = json.dumps({**note(id_, 1), "data": data})
        assert self.gateway.client.post("/notes", content=content, headers=headers).status_code == 202

    def state(self, key: str) -> str:
        """Of a job."""
        state: str = self.gateway.get(f"/jobs/{key}", token=SHOP).json()["state"]
        return state


@pytest.fixture
def jobs(tmp_path: Path, serve: Callable[..., str]) -> Iterator[Jobs]:
    given = {"GATEWAY_TOKENS": TOKENS, "GATEWAY_NOTES_TOKEN": NOTES, "STORE_URL": (tmp_path / "store").as_uri()}
    port = free_port()  # a browser listens at the front door itself, which is not the console's address here
    given |= {"GATEWAY_PORT": str(port), "GATEWAY_PUBLIC_URL": f"http://127.0.0.1:{port}"}
    with gateway_process(tmp_path, f"sqlite:///{tmp_path}/ledger.db", **given) as (gateway, _broker):
        gateway.url = given["GATEWAY_PUBLIC_URL"]
        gateway.client.base_url = httpx.URL(gateway.url)
        yield Jobs(gateway, serve)


def test_the_first_page_has_everything_at_a_glance(browser: Browser, jobs: Jobs, tmp_path: Path) -> None:
    for each in ("1", "2", "3"):
        jobs.send(each)
    jobs.end("2")
    jobs.end("3", "failed")
    DeadLetterStore(database(tmp_path)).keep(dead())
    with open_flows(f"sqlite:///{tmp_path}/flows.db").transaction() as transaction:
        transaction.execute(HELD)
    url = jobs.console(FLOWS_URL=f"sqlite:///{tmp_path}/flows.db")
    browser.open(url.replace("/dead/", "/console"))

    browser.says("Overview", "h1")
    tiles = dict(re.findall(r"([A-Z][a-z ]+)\n(\d+)", browser.text(".tiles")))
    assert tiles == {
        "Waiting": "0",
        "Sent": "1",
        "Failed": "1",
        "Deadlettered": "0",
        "Cancelled": "0",
        "Lost": "0",
        "Dead letters that wait": "1",
        "Flows held": "1",
    }
    assert [each.get_attribute("aria-label") for each in browser.all("figure svg")] == [
        f"In the last {span}: 3 accepted, 1 completed, 1 failed, 0 otherwise; at most 3 at once"
        for span in ("hour", "day")
    ]
    jobs.send("4")
    until(lambda: "Sent\n2" in browser.text(".tiles"), what="the page's own renewal")
    browser.press("2", ".tiles")
    browser.says("Jobs", "h1")
    assert len(browser.all("tbody tr")) == 2


def test_a_job_is_found_and_followed_as_it_happens_and_cancelled(browser: Browser, jobs: Jobs) -> None:
    for each in range(60):
        jobs.gateway.post(job(f"other-{each}"), token=SHOP)
    key = jobs.send("wanted", subject="order-7")
    browser.open(f"{jobs.console()}jobs")

    assert len(browser.all("tbody tr")) == 50
    browser.press("Older")
    assert len(browser.all("tbody tr")) == 11
    browser.fill("[name=id]", "wanted")
    browser.press("Filter")
    browser.press("wanted")
    browser.says("wanted", "h1")
    browser.script("window.stays = true")
    jobs.say("wanted", 40, "page 212")
    browser.says("page 212", ".progress")
    jobs.gateway.tell(note("wanted", 1))
    browser.says("try 1", "#timeline + ol")
    assert browser.one("progress").get_attribute("value") == "40"
    assert browser.script("return window.stays") is True
    browser.press("Cancel")
    browser.says("Cancelled. Its API is told.")
    browser.says("cancelled", "h1")
    browser.says("local by shop", "#timeline + ol")
    browser.press("Do it again")
    until(lambda: jobs.state(key) == "sent", what="the broker's")
    browser.says("sent", "h1")
    jobs.end("wanted")
    browser.says("completed", "h1")
    assert not browser.all("[data-stream]")


def test_without_javascript_a_job_is_found_changed_and_erased(jobs: Jobs) -> None:
    key = jobs.send("1", subject="order-7")
    with Client(jobs.console()) as client:
        client.submit(f"jobs/{key}", f"jobs/{key}/cancel")
        cancelled = client.get(f"jobs/{key}").text
        again = client.submit(f"jobs/{key}", f"jobs/{key}/cancel")
        found = client.get("jobs", params={"subject": "order-7", "type": "ics", "state": "cancelled"}).text
        none = client.get("jobs", params={"api": "another"}).text
        erased = client.submit(f"jobs/{key}", f"jobs/{key}/erase")
        gone = client.get(f"jobs/{key}")
        unknown = client.get("jobs/no-key")

    assert "cancel asked" in cancelled
    assert (again.status_code, "Too late: the job is cancelled." in again.text) == (409, True)
    assert key in found
    assert "No job matches." in none
    assert "Erased: its request" in erased.text
    assert (gone.status_code, unknown.status_code) == (404, 404)
    assert jobs.gateway.get("/jobs", token=SHOP).json()["jobs"] == []


def test_what_of_a_job_is_shown_and_may_be_done_is_by_the_operators_rights(jobs: Jobs) -> None:
    data = {**ICS["data"], "password": "geheim-1"}
    data["events"] = [{**data["events"][0], "attendees": [{"email": "kim@client.example"}]}]
    key = jobs.send(
        "1", subject="order of ada", data={name: data[name] for name in ICS["data"]} | {"events": data["events"]}
    )
    jobs.gateway.tell({**note("1", 1), "data": {"kind": "attempt failed", "detail": "no mail for kim@client.example"}})
    url = jobs.console(DEADLETTERS_OPERATORS=OPERATORS)
    pages = {}
    for name in ("anna", "ben", "eve"):
        with Client(url, f"{name}-has-a-long-token") as client:
            pages[name] = client.get(f"jobs/{key}").text
            if name == "anna":
                unmasked = client.submit(f"jobs/{key}", f"jobs/{key}/unmask").text
                audit = client.get("audit").text
            if name == "eve":
                by_subject = client.get("jobs", params={"subject": "order of ada"}).status_code
                refused = [
                    client.submit("jobs", f"jobs/{key}/{each}").status_code
                    for each in ("cancel", "retry", "erase", "unmask")
                ]
            if name == "ben":
                refused_to_ben = client.submit("jobs", f"jobs/{key}/unmask").status_code

    assert "[masked]" in pages["ben"]
    assert "kim@client.example" not in pages["ben"]
    assert "order of ada" in pages["ben"]
    assert "order of ada" not in pages["eve"]
    assert "to see data is a right of its own" in pages["eve"]
    assert "kim@client.example" not in pages["eve"]
    assert '<button id="cancel"' in pages["ben"]
    assert '<button id="cancel"' not in pages["eve"]
    assert "kim@client.example" in unmasked
    assert ("job unmasked" in audit, key in audit) == (True, True)
    assert (by_subject, refused, refused_to_ben) == (403, [403] * 4, 403)


def test_an_attribute_that_a_rule_hides_is_neither_shown_nor_found_by_trying(jobs: Jobs) -> None:
    key = jobs.send("of-ada", subject="ada@shop.example")
    url = jobs.console(DEADLETTERS_OPERATORS=OPERATORS, DEADLETTERS_MASKED="@id, @subject")
    with Client(url, "ben-has-a-long-token") as ben:
        pages = [ben.get("jobs").text, ben.get(f"jobs/{key}").text]
        tried = [ben.get("jobs", params={name: "of-ada"}).status_code for name in ("id", "subject")]
    with Client(url, "anna-has-a-long-token") as anna:
        found = anna.get("jobs", params={"id": "of-ada"}).text

    assert [each for each in pages if "of-ada" in each or "ada@shop.example" in each] == []
    assert tried == [403, 403]
    assert key in found


def test_where_the_gateway_is_away_a_page_says_so_and_without_one_there_are_no_jobs(jobs: Jobs, serve: SERVE) -> None:
    url = jobs.console()
    jobs.gateway.kill()
    with Client(url) as client:
        away = client.get("overview")
        letters = client.get("letters").status_code
    alone = serve(GATEWAY_URL="")
    with Client(alone) as client:
        none, begin = client.get("jobs"), client.get(alone.replace("/dead/", "/console"))

    assert (away.status_code, "the gateway does not answer" in away.text, letters) == (503, True, 200)
    assert (none.status_code, begin.status_code) == (404, 200)
    assert ">Jobs</a>" not in begin.text


def test_what_a_job_holds_is_text_on_every_page(browser: Browser, jobs: Jobs) -> None:
    key = jobs.send(HOSTILE[:60], subject=HOSTILE)
    jobs.gateway.tell({**note(HOSTILE[:60], 1), "data": {"kind": "attempt failed", "by": HOSTILE, "detail": HOSTILE}})
    jobs.say(HOSTILE[:60], 3, HOSTILE)
    url = jobs.console()

    for each in ("overview", "jobs", f"jobs/{key}"):
        browser.open(url + each)
        assert browser.script("return window.hacked") is None
        assert browser.script("return document.querySelectorAll('main script, main img').length") == 0
    browser.says(HOSTILE[:40], "#timeline + ol")


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_axe_finds_no_barrier_and_nothing_is_wider_than_a_telephone(browser: Browser, jobs: Jobs, scheme: str) -> None:
    keys = [jobs.send("1"), jobs.send("2")]
    jobs.say("1", 40, "page 212")
    jobs.end("2", "failed")
    source = (files("axe_core_python") / "axe.min.js").read_text()
    pages = ("overview", "jobs", "jobs?state=lost", *(f"jobs/{key}" for key in keys))
    url, barriers, too_wide = jobs.console(), {}, []
    with colours(browser, scheme):
        for each in pages:
            browser.open(url + each)
            browser.script(source)
            result = browser.driver.execute_async_script("axe.run(document).then(arguments[0])")
            barriers[each] = [(one["id"], one["nodes"][0]["target"]) for one in result["violations"]]
            metrics = {"width": 360, "height": 740, "deviceScaleFactor": 1, "mobile": False}
            browser.driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)
            if browser.script("return document.documentElement.scrollWidth > innerWidth"):
                too_wide.append(each)
            browser.driver.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})

    assert barriers == {each: [] for each in pages}
    assert too_wide == []


def test_the_policy_lets_the_script_listen_to_the_gateway_of_this_job_and_nobody_else(jobs: Jobs) -> None:
    key = jobs.send("1")
    with Client(jobs.console()) as client:
        policies = [client.get(each).headers["content-security-policy"] for each in ("jobs", f"jobs/{key}")]

    assert all("default-src 'none'" in each for each in policies)
    assert "connect-src 'self';" in policies[0]
    assert re.search(r"connect-src 'self'( http://127\.0\.0\.1:\d+)?;", policies[1])


def test_the_overview_needs_no_more_than_a_chart_of_nothing(jobs: Jobs) -> None:
    with Client(jobs.console()) as client:
        empty = client.get("overview")

    assert empty.status_code == 200
    assert "No job is open, and none has failed." in empty.text
