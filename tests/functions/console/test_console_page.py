"""The operators' page in a real Chromium, and without JavaScript as plain HTTP; hostile dead letters, and other
sites.
"""

import base64
import html
import json
import re
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler
from importlib.resources import files
from pathlib import Path
from typing import Any

import httpx
import pytest

from events.http import Event
from functions.console.places import line_of, lines
from functions.deadletters.service import commands
from functions.deadletters.service.commands import Selection
from functions.deadletters.service.contract import pretty
from functions.deadletters.service.operations import Console, OperatorSession
from functions.deadletters.service.operators import everything
from functions.runtime.masking import rules
from functions.storage.database import Database
from tests.functions.deadletters.test_dead_letters import dead
from tests.functions.deadletters.test_replay import Ingress, ingress
from tests.support.browser import Browser, browser, chromium, colours, database, serve
from tests.support.dead_letter_store import DeadLetterStore
from tests.support.http_server import http_server
from tests.support.local_runner import until

__all__ = ["browser", "chromium", "ingress", "serve"]  # fixtures

SERVE = Callable[..., str]
OPERATORS = """
anna all anna-has-a-long-token
ben see,data,replay ben-has-a-long-token
eve see eve-has-a-long-token
"""
HOSTILE = (
    "</textarea></pre><script>window.hacked = 1</script>"
    """<img src=x onerror="window.hacked = 2">'"><svg onload=hacked=3>"""
)
PAGES = (
    *("", "letters?state=all", "letters/1", "letters/1/edit", "groups/1", "replay?letter=1", "discard?letter=1"),
    *("replays", "audit", "letters?code=many", "nothing"),
)


@pytest.fixture
def store(tmp_path: Path) -> DeadLetterStore:
    return DeadLetterStore(database(tmp_path))


@pytest.fixture
def client(serve: SERVE) -> Iterator["Client"]:
    """A browser without JavaScript, at a console that is open to its own machine."""
    with Client(serve()) as client:
        yield client


class Client(httpx.Client):
    """Sends the page's forms as a browser does: with the hidden fields of the page on which the form is."""

    def __init__(self, url: str, token: str = "") -> None:
        super().__init__(base_url=url, follow_redirects=True, timeout=60)
        self._token = token

    def __enter__(self) -> "Client":
        client = super().__enter__()
        if self._token:
            self.submit("sign-in", "sign-in", token=self._token)
        return client

    def submit(self, page: str, action: str, **fields: Any) -> httpx.Response:
        found = re.search(r'name="form_token" value="([^"]+)"', self.get(page).text)
        assert found, page
        return self.post(action, data={"form_token": found[1], **fields})


def failed(text: str, **changes: str) -> Event:
    """A dead letter whose function said a text."""
    error = base64.b64encode(json.dumps({"detail": text}).encode()).decode()
    return dead("ics", **{"knativeerrordata": error, "knativeerrorcode": "500", **changes})


def changed(event: Event, **changes: object) -> Event:
    data = json.loads(event.data)
    data["events"][0].update(changes)
    return Event(event.attributes, json.dumps(data).encode())


# --- in Chromium


def test_a_dead_letter_is_found_among_groups_and_filters_and_read(
    browser: Browser, serve: SERVE, store: DeadLetterStore
) -> None:
    for number in range(60):
        store.keep(failed("the zone is not known", id=f"order-{number}"))
    wanted = store.keep(dead("image", id="the-picture", knativeerrortrigger="image"))
    browser.open(serve())

    browser.says("60")
    browser.says("the zone is not known")
    browser.press("Dead letters", ".bar")
    browser.says("61 match")
    assert len(browser.all("tbody tr")) == 50
    browser.press("Older")
    assert len(browser.all("tbody tr")) == 11
    browser.fill("[name=job]", "image")
    browser.press("Filter")
    browser.says("1 matches")
    browser.press(str(wanted))

    browser.says("Dead letter 1" if wanted == 1 else f"Dead letter {wanted}", "h1")
    browser.says("something that it needs was down", "main")
    assert "the-picture" in browser.text(".side")
    assert "curl -i" in browser.text("#curl")


def test_an_edit_that_breaks_the_contract_comes_back_with_the_error_beside_its_line(
    browser: Browser, serve: SERVE, store: DeadLetterStore
) -> None:
    number = store.keep(dead())
    browser.open(f"{serve()}letters/{number}/edit")
    came = browser.one("#data").get_attribute("value") or ""
    begin = json.loads(came)["events"][0]["start"]

    browser.fill("#data", came.replace(f'"{begin}"', "7"))
    browser.press("Save")
    browser.says("Nothing was changed.")
    assert "events/0/start" in browser.text("#data-errors")
    assert browser.one("#data").get_attribute("aria-invalid") == "true"
    browser.one("[data-line]").click()
    area = "const area = document.getElementById('data'); "
    assert '"start": 7' in browser.script(area + "return area.value.slice(area.selectionStart, area.selectionEnd)")
    browser.fill("#data", came.replace(f'"{begin}"', '"2027-01-05T10:00:00"'))
    browser.press("Save")

    browser.says("Changed. A replay sends it as it is now.")
    assert "2027-01-05T10:00:00" in browser.text(".diff")
    [kept] = store.list()
    assert (kept.edited, json.loads(kept.event.data)["events"][0]["start"]) == (True, begin)


def test_chosen_dead_letters_are_rehearsed_and_replayed_with_progress_that_follows_by_itself(
    browser: Browser, serve: SERVE, store: DeadLetterStore, ingress: Ingress
) -> None:
    for number in range(5):
        store.keep(dead(id=f"order-{number}"))
    browser.open(f"{serve(K_SINK=ingress.url)}letters")

    for box in browser.all("input[name=dead_letter]")[:3]:
        box.click()
    assert browser.text("[data-chosen]") == "3 chosen:"
    browser.press("Replay…")
    browser.press("Dry run")
    browser.says("3 would be sent")
    assert ingress.ids == []
    browser.press("Replay 3 dead letters")

    browser.says("done", "h1")
    browser.says("3 of 3")
    assert sorted(ingress.ids) == ["order-2", "order-3", "order-4"]


def test_a_replay_is_cancelled_and_resumed(
    browser: Browser, serve: SERVE, store: DeadLetterStore, ingress: Ingress
) -> None:
    for number in range(4):
        store.keep(dead(id=f"order-{number}"))
    browser.open(f"{serve(K_SINK=ingress.url)}replay?all=yes&job=ics")

    browser.fill("[name=rate_per_s]", "0.5")
    browser.press("Replay 4 dead letters")
    browser.press("Cancel")
    browser.says("cancelled", "h1")
    assert len(ingress.ids) < 4
    browser.press("Resume")

    browser.says("running", "h1")


def test_a_discard_asks_for_its_reason_and_is_undone(browser: Browser, serve: SERVE, store: DeadLetterStore) -> None:
    number = store.keep(dead())
    browser.open(f"{serve()}letters/{number}")

    browser.press("Discard…")
    browser.fill("[name=reason]", "the shop took the order back")
    browser.press("Discard 1 dead letter")
    browser.says("1 dead letter discarded.")
    browser.says("the shop took the order back", ".history")
    assert store.list()[0].state == "discarded"
    browser.press("Undo")

    browser.says("1 dead letter taken back.")
    assert store.list()[0].state == "open"


def test_a_group_has_a_state_a_note_and_an_owner(browser: Browser, serve: SERVE, store: DeadLetterStore) -> None:
    store.keep(dead())
    url = serve()
    browser.open(f"{url}groups/1")

    browser.fill("[name=name]", "anna")
    browser.fill("[name=text]", "waits for the supplier\nuntil Monday")
    browser.press("Save")
    browser.press("Acknowledge")
    browser.says("acknowledged", "h1")
    browser.press("Resolve")
    store.keep(dead(id="another"))
    browser.open(url)

    browser.says("came back")
    browser.says("waits for the supplier")
    browser.says("anna", ".owner")


def test_who_signs_in_goes_on_to_the_page_that_they_wanted(
    browser: Browser, serve: SERVE, store: DeadLetterStore
) -> None:
    number = store.keep(dead())
    url = serve(DEADLETTERS_OPERATORS=OPERATORS)
    browser.open(f"{url}letters/{number}")

    browser.fill("[name=token]", "a-token-of-nobody-here")
    browser.press("Sign in")
    browser.says("No operator has this token.")
    browser.fill("[name=token]", "anna-has-a-long-token")
    browser.press("Sign in")
    browser.says(f"Dead letter {number}", "h1")
    assert browser.text(".operator") == "anna"
    [cookie] = [each for each in browser.driver.get_cookies() if each["name"] == "errands_dead"]
    browser.press("Sign out", ".bar")

    browser.open(f"{url}letters/{number}")
    assert browser.one("[name=token]")
    assert (cookie["httpOnly"], cookie["sameSite"], cookie["path"]) == (True, "Strict", "/dead")
    assert "anna-has" not in cookie["value"]


def test_a_link_of_another_site_finds_the_operator_still_signed_in(
    browser: Browser, serve: SERVE, store: DeadLetterStore
) -> None:
    number = store.keep(dead())
    url = serve(DEADLETTERS_OPERATORS=OPERATORS)
    browser.open(url)
    browser.fill("[name=token]", "anna-has-a-long-token")
    browser.press("Sign in")

    with elsewhere(f'<a href="{url}letters/{number}">the dead letter</a>') as chat:
        browser.open(chat)
        browser.press("the dead letter", "body")
        browser.says(f"Dead letter {number}", "h1")
        with elsewhere(
            f'<form method=post action="{url}discard"><input name=letter value={number}>'
            "<input name=reason value=x><button>win</button></form>"
        ) as evil:
            browser.open(evil)
            browser.press("win", "body")
            browser.says("did not come from this page")

    assert store.list()[0].state == "open"


def test_the_keyboard_goes_through_dead_letters(browser: Browser, serve: SERVE, store: DeadLetterStore) -> None:
    for number in range(3):
        store.keep(dead(id=f"order-{number}"))
    browser.open(f"{serve()}letters")

    browser.keys("j")
    browser.keys("j")
    browser.keys("x")
    assert browser.text("[data-chosen]") == "1 chosen:"
    browser.keys("?")
    assert browser.one("dialog[open]").is_displayed()
    browser.one("dialog button").click()
    browser.keys("/")
    assert browser.script("return document.activeElement.name") == "text"
    browser.keys("jx")
    assert browser.one("[name=text]").get_attribute("value") == "jx"
    browser.script("document.activeElement.blur()")
    browser.keys("r")

    browser.says("Replay 1 dead letter", "h1")
    browser.keys("u")
    browser.says("Dead letter 2", "h1")
    browser.keys("u")
    browser.says("Dead letters", "h1")
    browser.keys("j")
    browser.keys("\ue007")
    browser.says("Dead letter 3", "h1")
    browser.keys("ga")
    browser.says("Audit", "h1")


def test_dead_letters_that_come_are_told_of(browser: Browser, serve: SERVE, store: DeadLetterStore) -> None:
    store.keep(dead())
    browser.open(serve())
    browser.one("[data-arrivals]")

    store.keep(dead(id="another"))

    browser.says("1 new dead letter came.")
    browser.press("Show them")
    browser.says("2 dead letters in 1 group")


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_axe_finds_no_barrier(browser: Browser, serve: SERVE, store: DeadLetterStore, scheme: str) -> None:
    store.keep(dead())
    store.keep(failed("the zone is not known", id="another"))
    source = (files("axe_core_python") / "axe.min.js").read_text()
    url, found = serve(), {}
    with colours(browser, scheme):
        for each in PAGES:
            browser.open(url + each)
            browser.script(source)
            result = browser.driver.execute_async_script("axe.run(document).then(arguments[0])")
            found[each] = [(one["id"], one["nodes"][0]["target"]) for one in result["violations"]]

    assert found == {each: [] for each in PAGES}


def test_hostile_dead_letters_are_text_on_every_page(browser: Browser, serve: SERVE, store: DeadLetterStore) -> None:
    event = failed(HOSTILE, id=HOSTILE[:200], subject=HOSTILE, extra=HOSTILE, knativeerrortrigger=HOSTILE)
    number = store.keep(changed(event, summary=HOSTILE, description="\x1b[2J\u202e"))
    url = serve()
    operator_session(store).note(commands.Note(group=1, text=HOSTILE))
    operator_session(store).discard(commands.Discard(selection=Selection(dead_letters=(number,)), reason=HOSTILE))
    browser.driver.get_log("browser")  # type: ignore[no-untyped-call]

    for each in (
        *PAGES,
        f"letters?job={HOSTILE}&state=all",
        f"letters?text={HOSTILE}&state=all",
        "?state=all",
    ):
        browser.open(url + each)
        assert browser.script("return window.hacked") is None
        assert browser.script("return document.querySelectorAll('main script, main img, main svg').length") == 0
        assert browser.all("body"), each
    browser.open(f"{url}letters/{number}")
    assert HOSTILE[:60] in browser.text(".error.whole")
    browser.open(f"{url}letters/{number}/edit")
    assert HOSTILE in json.loads(browser.one("#data").get_attribute("value") or "")["events"][0]["summary"]


def test_the_policy_stops_a_script_that_got_in(browser: Browser, serve: SERVE) -> None:
    browser.open(serve())
    add = "const one = document.createElement('script'); one.textContent = 'window.hacked = 1'; "

    browser.script(add + "document.body.append(one)")

    refused = browser.driver.get_log("browser")  # type: ignore[no-untyped-call]
    assert browser.script("return window.hacked") is None
    assert any("Content Security Policy" in each["message"] for each in refused)


# --- without JavaScript


@pytest.mark.slow
def test_without_javascript_everything_works_by_forms(client: Client, store: DeadLetterStore) -> None:
    number = store.keep(dead())
    edit = client.get(f"letters/{number}/edit").text
    mark = re.search(r'name="fingerprint" value="(\w+)"', edit)
    assert mark
    names = {"fingerprint": mark[1], "name": ["subject"], "value": ["another"]}

    edited = client.submit(f"letters/{number}/edit", f"letters/{number}/edit", **names)
    discarded = client.submit(f"discard?letter={number}", "discard", dead_letter=number, reason="no need")
    listed = client.get("letters?state=discarded")
    undone = client.submit("undo?all=yes&state=discarded", "undo", all="yes", state="discarded")

    assert "Changed." in edited.text
    assert "another" in edited.text
    assert "1 dead letter discarded." in discarded.text
    assert "no need" in discarded.text
    assert f"/dead/letters/{number}" in listed.text
    assert "1 dead letter taken back." in undone.text
    assert "1 dead letter taken back." not in client.get("letters").text
    assert store.list()[0].state == "open"


def test_a_replay_by_forms_goes_on_to_its_page_which_loads_itself_again(
    serve: SERVE, store: DeadLetterStore, ingress: Ingress
) -> None:
    number = store.keep(dead())
    with Client(serve(K_SINK=ingress.url)) as client:
        running = client.submit(f"letters/{number}", "replay", dead_letter=number)
        again = client.get(f"{running.url}")
        done = until(lambda: re.search("state done", client.get(f"{running.url}").text), what="the replay")

    assert re.search("/dead/replays/1$", str(running.url))
    assert running.history[0].status_code == 303
    assert ("http-equiv" in running.text) == ("state running" in running.text)
    assert again.status_code == 200
    assert done
    assert ingress.ids == ["order-1042-invite"]


@pytest.mark.parametrize("forged", ["", "AAAA", "of another session"])
@pytest.mark.parametrize(
    ("path", "fields"),
    [
        ("discard", {"dead_letter": "1", "reason": "x"}),
        ("replay", {"dead_letter": "1"}),
        ("letters/1/edit", {"revert": "true"}),
        ("letters/1/unmask", {}),
        ("groups/1", {"command": "resolve"}),
        ("sign-out", {}),
    ],
)
def test_a_form_that_is_not_the_sessions_own_does_nothing(
    client: Client, store: DeadLetterStore, path: str, fields: dict[str, str], forged: str
) -> None:
    store.keep(dead())
    client.get("")
    if forged == "of another session":
        with Client(str(client.base_url)) as other:
            found = re.search(r'name="form_token" value="([^"]+)"', other.get("discard?letter=1").text)
            forged = found[1] if found else ""

    refused = client.post(path, data={"form_token": forged, **fields})
    without_session = httpx.post(f"{client.base_url}{path}", data=fields)

    assert (refused.status_code, without_session.status_code) == (403, 403)
    assert store.list()[0].state == "open"
    assert [each.verb for each in operator_session(store).audit(commands.Audit()).actions] == []


@pytest.mark.slow
@pytest.mark.parametrize("path", [*PAGES, "static/page.js", "letters/1/data", "arrivals"])
def test_every_response_tells_the_browser_what_it_may_not_do(client: Client, store: DeadLetterStore, path: str) -> None:
    store.keep(dead())

    response = client.get(path)

    policy = response.headers["content-security-policy"]
    assert policy.startswith("default-src 'none'; script-src 'self';")
    assert "unsafe" not in policy
    assert "frame-ancestors 'none'" in policy
    assert response.headers["x-frame-options"] == "DENY"
    assert response.headers["x-content-type-options"] == "nosniff"
    assert response.headers["referrer-policy"] == "no-referrer"
    assert ("no-store" in response.headers["cache-control"]) == (not path.startswith("static"))
    assert not re.search(
        r"<script(?! src=\"/dead/static/)|<style|\sstyle=|\son[a-z]+=|https?://[^<\s]*\.(js|css)", response.text
    )


@pytest.mark.slow
def test_five_megabytes_of_nesting_are_shown_cut_and_downloaded_whole(client: Client, store: DeadLetterStore) -> None:
    deep = b'{"a":' * 800_000 + b"1" + b"}" * 800_000
    wide = json.dumps({"events": [{"summary": f"number {number}", "tags": [[["x"]]]} for number in range(100_000)]})
    bomb = "[" * 300 + "1," * 100_000 + "1" + "]" * 300  # a line for each, indented by its depth
    numbers = [
        store.keep(Event(dead(id=str(number)).attributes, data))
        for number, data in enumerate((deep, wide.encode(), bomb.encode()))
    ]

    began_s = time.monotonic()
    pages = [client.get(f"letters/{number}") for number in numbers]
    taken_s = time.monotonic() - began_s

    assert [each.status_code for each in pages] == [200, 200, 200]
    assert max(len(each.content) for each in pages) < 300_000
    assert pretty(bomb) == bomb, "it would be 60 MB of white space"
    assert "Cut here" in pages[1].text
    whole = client.get(f"letters/{numbers[1]}/data")
    assert whole.content == wide.encode()
    assert "attachment" in whole.headers["content-disposition"]
    assert "errands dead edit" in client.get(f"letters/{numbers[1]}/edit").text
    assert taken_s < 30, "they keep a thread for too long"


def test_what_is_masked_is_unmasked_by_a_form_and_noted(client: Client, store: DeadLetterStore) -> None:
    number = store.keep(changed(dead(), password="hunter2"))

    shown = client.get(f"letters/{number}").text
    token = re.search(r'name="form_token" value="([^"]+)"', shown)
    assert token
    whole = client.post(f"letters/{number}/unmask", data={"form_token": token[1]}).text
    content = client.post(f"letters/{number}/data", data={"form_token": token[1]}).text

    assert (
        "hunter2" not in shown + client.get(f"letters/{number}/data").text + client.get(f"letters/{number}/edit").text
    )
    assert "hunter2" in whole
    assert "hunter2" in content
    assert client.get(f"letters/{number}/unmask").status_code == 405
    assert [each.verb for each in operator_session(store).audit(commands.Audit()).actions] == ["unmasked", "unmasked"]


def test_a_masked_dead_letter_is_edited_without_losing_what_is_hidden(client: Client, store: DeadLetterStore) -> None:
    event = dead()
    number = store.keep(
        Event({**event.attributes, "type": "com.example.other"}, b'{"password": "hunter2", "total": 1.10}')
    )
    page = client.get(f"letters/{number}/edit").text
    mark = re.search(r'name="fingerprint" value="(\w+)"', page)
    assert mark

    data = '{\r\n  "password": "[masked]",\r\n  "total": 2.10\r\n}'
    response = client.submit(f"letters/{number}/edit", f"letters/{number}/edit", fingerprint=mark[1], data=data)

    assert response.status_code == 200, response.text
    body = operator_session(store).unmask(commands.Unmask(dead_letter=number)).body
    assert json.loads(body.data or "") == {"password": "hunter2", "total": 2.10}


def test_an_attribute_that_is_refused_has_the_error_beside_it_and_nothing_typed_is_lost(
    client: Client, store: DeadLetterStore
) -> None:
    number = store.keep(dead())
    mark = re.search(r'name="fingerprint" value="(\w+)"', client.get(f"letters/{number}/edit").text)
    assert mark

    fields = {"fingerprint": mark[1], "name": ["source", "time", "mine"], "value": ["/new", "yesterday", "kept"]}
    response = client.submit(f"letters/{number}/edit", f"letters/{number}/edit", **fields)

    assert response.status_code == 422
    field = r'value="yesterday"[^>]*aria-invalid="true" aria-describedby="(w-\d)">'
    assert re.search(field + r'\s*<p class="wrong" id="\1">a time must be RFC 3339', response.text), response.text
    assert 'value="/new"' in response.text
    assert 'value="kept"' in response.text
    assert not store.list()[0].edited


def test_a_dead_letter_that_somebody_else_changed_meanwhile_is_not_overwritten(
    client: Client, store: DeadLetterStore
) -> None:
    number = store.keep(dead())
    mark = re.search(r'name="fingerprint" value="(\w+)"', client.get(f"letters/{number}/edit").text)
    assert mark
    operator_session(store).edit(commands.Edit(dead_letter=number, attributes={"subject": "theirs"}))

    fields = {"fingerprint": mark[1], "name": ["subject"], "value": ["mine"]}
    response = client.submit(f"letters/{number}/edit", f"letters/{number}/edit", **fields)

    assert response.status_code == 422
    assert "Somebody changed this dead letter meanwhile" in response.text
    assert 'value="theirs"' in response.text


def test_saving_without_a_change_changes_nothing(client: Client, store: DeadLetterStore) -> None:
    number = store.keep(dead())
    page = client.get(f"letters/{number}/edit").text
    text = re.search(r"<textarea[^>]*>\n(.*?)</textarea>", page, re.DOTALL)
    assert text
    fields = {
        "fingerprint": re.findall(r'name="fingerprint" value="(\w+)"', page),
        "name": re.findall(r'name="name" value="(\w+)"', page),
        "value": re.findall(r'name="value" value="([^"]+)"', page),
        "data": html.unescape(re.findall(r"<textarea[^>]*>\n(.*?)</textarea>", page, re.DOTALL)[0]).replace(
            "\n", "\r\n"
        ),
    }

    response = client.submit(f"letters/{number}/edit", f"letters/{number}/edit", **fields)

    assert "Nothing was changed." in response.text
    assert not store.list()[0].edited


@pytest.mark.parametrize(
    ("path", "said"),
    [
        ("replay", "no dead letter was chosen"),
        ("discard?job=ics", "no dead letter was chosen"),
        ("replay?letter=many", "a whole number"),
        ("replay?letter=0", "&gt;= 1"),
        ("letters?code=many&state=none&before=-1", "code"),
        ("letters/0", ""),
        ("letters/99999999999999999999999", ""),
        ("letters/77", "there is no dead letter 77"),
        ("groups/77", "there is no group 77"),
        ("replays/77", "there is no replay 77"),
    ],
)
def test_a_wrong_address_is_answered_with_a_page_that_says_so(client: Client, path: str, said: str) -> None:
    response = client.get(path)

    assert response.status_code in (404, 422)
    assert said in response.text
    assert response.headers["content-type"] == "text/html; charset=utf-8"


@pytest.mark.parametrize(("rate", "reason"), [("0", "rate_per_s"), ("many", "rate_per_s"), ("5000", "rate_per_s")])
def test_a_wrong_field_is_named_where_it_is_and_nothing_is_sent(
    client: Client, store: DeadLetterStore, rate: str, reason: str
) -> None:
    number = store.keep(dead())

    response = client.submit(f"replay?letter={number}", "replay", dead_letter=number, rate_per_s=rate)

    assert response.status_code == 422
    assert f'id="w-{reason}"' in response.text
    assert f'value="{rate}"' in response.text
    assert operator_session(store).replays(commands.Replays()).runs == ()


def test_who_may_not_is_offered_nothing_and_refused(serve: SERVE, store: DeadLetterStore) -> None:
    number = store.keep(dead())
    url = serve(DEADLETTERS_OPERATORS=OPERATORS)
    with Client(url, "eve-has-a-long-token") as eve, Client(url, "ben-has-a-long-token") as ben:
        shown, listed = eve.get(f"letters/{number}").text, eve.get("letters").text
        refused = [
            eve.submit("letters", f"letters/{number}/unmask"),
            eve.submit("letters", "discard", dead_letter=number, reason="x"),
            eve.get(f"letters/{number}/edit"),
            eve.get(f"letters/{number}/data"),
            eve.get("letters?text=invite"),
            ben.submit("letters", "groups/1", command="resolve"),
        ]
        assert "Replay now" in ben.get(f"letters/{number}").text

    assert not re.search("Replay now|Edit|Discard|Unmask|Text in the data", shown + listed)
    assert "to see data is a right of its own" in shown
    assert [each.status_code for each in refused] == [403, 403, 403, 422, 403, 403]
    assert "the right" in refused[1].text
    assert store.list()[0].state == "open"


def test_read_only_is_said_and_held(serve: SERVE, store: DeadLetterStore) -> None:
    number = store.keep(dead())
    with Client(serve(DEADLETTERS_READ_ONLY="true")) as client:
        shown = client.get(f"letters/{number}").text
        refused = client.submit(f"letters/{number}", "discard", dead_letter=number, reason="x")

    assert "read only" in shown
    assert "Discard" not in shown
    assert refused.status_code == 403


def test_a_proxy_says_who_is_asking_and_nobody_else_gets_in(serve: SERVE, store: DeadLetterStore) -> None:
    store.keep(dead())
    url = serve(DEADLETTERS_PROXY_HEADER="x-forwarded-user", DEADLETTERS_OPERATORS="* see,data proxy")

    told = httpx.get(url, headers={"X-Forwarded-User": "carla"})
    unknown = httpx.get(url)

    assert "carla" in told.text
    assert "Sign out" not in told.text
    assert unknown.status_code == 401
    assert 'name="token"' not in unknown.text


@pytest.mark.slow
def test_an_operator_who_was_removed_is_signed_out(serve: SERVE) -> None:
    key = "k" * 32
    first = serve(DEADLETTERS_OPERATORS=OPERATORS, DEADLETTERS_SESSION_KEY=key)
    with Client(first, "anna-has-a-long-token") as anna:
        cookies = dict(anna.cookies)
    same = serve(DEADLETTERS_OPERATORS=OPERATORS, DEADLETTERS_SESSION_KEY=key)
    without = serve(DEADLETTERS_OPERATORS="ben all ben-has-a-long-token", DEADLETTERS_SESSION_KEY=key)
    other_key = serve(DEADLETTERS_OPERATORS=OPERATORS, DEADLETTERS_SESSION_KEY="j" * 32)

    found = [httpx.get(url, cookies=cookies).status_code for url in (same, without, other_key)]

    assert found == [200, 401, 401]


def test_by_a_name_that_is_not_this_machines_nobody_gets_in(client: Client) -> None:
    assert client.get("", headers={"host": "evil.example"}).status_code == 421


@pytest.mark.parametrize(
    "after", ["https://evil.example/", "//evil.example", "/dead/\\evil", "/dead\r\nx: y", "/other"]
)
def test_after_the_sign_in_nobody_is_led_to_another_site(serve: SERVE, after: str) -> None:
    with Client(serve(DEADLETTERS_OPERATORS=OPERATORS)) as client:
        response = client.submit("sign-in", "sign-in", token="anna-has-a-long-token", after=after)

    assert response.history[0].headers["location"] == "/dead/"
    assert response.status_code == 200


def test_a_form_that_is_too_large_is_refused(client: Client, store: DeadLetterStore) -> None:
    number = store.keep(dead())

    response = client.submit(f"letters/{number}/edit", f"letters/{number}/edit", data="x" * 5_000_000)

    assert response.status_code == 413


# --- among 100,000 dead letters


@pytest.mark.slow
def test_among_100_000_dead_letters_each_page_comes_at_once(
    client: Client, store: DeadLetterStore, record_property: Callable[[str, object], None]
) -> None:
    for job, code in (("image", "500"), ("ics", "503"), ("report", "504")):
        store.keep(dead(job, id=job, knativeerrorcode=code, knativeerrortrigger=job))
    multiply(store.database, 100_000)

    took_ms = {}
    for path in (
        "",
        "letters",
        "letters?job=image&code=500&newer_than_s=86400",
        "letters?before=40000",
        "letters/50000",
    ):
        times_s = []
        for _ in range(3):
            began_s = time.monotonic()
            assert client.get(path).status_code == 200
            times_s.append(time.monotonic() - began_s)
        took_ms[path] = round(sorted(times_s)[1] * 1000)
    record_property("took_ms", took_ms)
    print("among 100,000 dead letters, ms:", took_ms)

    assert "100,000" in client.get("letters").text
    assert max(took_ms.values()) < 3_000, took_ms


def multiply(database: Database, total: int) -> None:
    """Dead letters like those that are there, in one statement for each table."""
    dead_letter = (
        "INSERT INTO dead_letter (key, job_key, group_id, state, event_id, event_source, error, attempts, size_bytes,"
        " first_seen, last_seen, is_request) SELECT key || n, job_key || n, group_id, state, event_id || '-' || n,"
        " event_source, error, attempts, size_bytes, first_seen, last_seen, is_request"
    )
    body = "INSERT INTO dead_body (letter_id, attributes, data) SELECT l.id, b.attributes, b.data"
    numbers = "WITH RECURSIVE numbers (n) AS (SELECT 4 UNION ALL SELECT n + 1 FROM numbers WHERE n < ?)"
    with database.transaction() as session:
        numbered = f"{dead_letter} FROM ({numbers} SELECT n FROM numbers) JOIN dead_letter ON id = n % 3 + 1"  # noqa: S608  # ours
        session.execute(numbered, total)
        session.execute(f"{body} FROM dead_letter l JOIN dead_body b ON b.letter_id = l.id % 3 + 1 WHERE l.id > 3")


def test_the_line_of_a_value_in_json() -> None:
    text = '{\n  "a/b": [\n    1,\n    {"c": "x,}\\"]"}\n  ],\n  "d": null\n}'
    where = lines(text)

    assert (where["/a~1b/0"], where["/a~1b/1/c"], where["/d"]) == (3, 4, 6)
    assert line_of(where, "/a~1b/1/missing/deep", "is required", text) == 4
    assert line_of(where, "", "JSON is malformed: invalid character (byte 14)", text) == 3
    assert lines('}{"a" 1 : [,,]') is not None


def operator_session(store: DeadLetterStore) -> OperatorSession:
    """Somebody else at the same dead letters."""
    return Console(database=store.database, rules=rules(""), sink_url="http://sink.example").operator_session(
        everything("carla")
    )


@contextmanager
def elsewhere(page: str) -> Iterator[str]:
    """Another site, with one page."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.send_header("content-type", "text/html")
            self.end_headers()
            self.wfile.write(page.encode())

    with http_server(Handler) as url:
        yield url.replace("127.0.0.1", "localhost") + "/"  # another site than 127.0.0.1
