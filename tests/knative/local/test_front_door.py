"""`errands up` with a gateway: its port is the front door's, and the broker's ingress is for functions alone."""

import json
import os
import signal
from pathlib import Path
from typing import Any

import httpx
import pytest

from events.http import Event
from functions.flows.engine import SIGNAL
from functions.gateway.routes import Routes
from functions.runtime.packed import PACKED, packed
from functions.runtime.running import find
from knative.manifests.gateway import FILE, deadline_s, declared, rendered
from knative.manifests.manifests import MANIFESTS, load
from tests.conftest import sample
from tests.support.dead_letter_store import DeadLetterStore
from tests.support.local_runner import (
    REQUESTED,
    ROOT,
    Up,
    bound,
    children,
    event,
    front_door,
    service,
    trigger,
    until,
    up,
    write_manifests,
)

BASE = load(MANIFESTS)
ECHOING = (service(), trigger(), *front_door())
REQUEST = {"specversion": "1.0", "source": "/tests", "datacontenttype": "application/json"}
STRUCTURED_MODE = {"content-type": "application/cloudevents+json"}
EVENT_TYPE = """
apiVersion: eventing.knative.dev/v1beta2
kind: EventType
metadata: {name: echo}
spec:
  type: dev.errands.echo.requested.v1
  schemaData: '{"type": "object", "properties": {"n": {"type": "integer"}}}'
"""


def job(runner: Up, id_: str) -> dict[str, Any]:
    found = runner.client.get("/jobs", params={"source": "/tests", "id": id_})
    return dict(found.json())


def gateway_pid(runner: Up) -> int:
    def is_gateway(pid: int) -> bool:
        return b"errands function gateway" in Path(f"/proc/{pid}/cmdline").read_bytes()

    return next(pid for pid in children(runner.process.pid) if is_gateway(pid))


def test_what_the_gateway_is_told_on_a_cluster_is_what_the_manifests_say() -> None:
    assert FILE.read_text() == rendered(BASE), "make schemas"
    assert Routes(declared(BASE)).known_types == tuple(each for each in BASE.known_types if ".requested." in each)


def test_a_deadline_covers_every_attempt_wait_and_pause_of_the_triggers_delivery() -> None:
    by_name = {each.name: each for each in BASE.triggers}

    # six attempts of 15 s; waits of 1, 2, 4, 8 and 16 s and a tenth more; a minute
    assert deadline_s(by_name["ics"]) == pytest.approx(6 * 15 + 62 * 1.1 + 60)
    assert deadline_s(by_name["message"]) > by_name["message"].longest_wait_s == 6 * 3_600
    assert deadline_s(by_name["flow-onboarding"]) > by_name["flow-onboarding"].longest_flow_s == 30 * 86_400


def test_who_begins_a_flow_says_how_long_it_may_take_and_the_gateway_knows_it() -> None:
    begin = {
        each.name
        for each in BASE.triggers
        if each.subscriber == "flows" and each.filter.get("type") not in (None, SIGNAL)
    }

    assert {each.name for each in BASE.triggers if each.longest_flow_s} == begin
    assert {each.name for each in declared(BASE).routes if each.begins_flow} == begin


@pytest.mark.slow
def test_a_job_is_known_from_its_acceptance_to_its_end_and_says_why_an_attempt_failed(tmp_path: Path) -> None:
    flaky = {"do": "status", "status": 500, "once": str(tmp_path / "once")}
    with up(tmp_path, ECHOING) as runner:
        accepted = runner.post(event("1", flaky))
        ended = runner.outcome("1")
        told = until(lambda: failed(runner, accepted.headers["location"]), what="the attempt that failed")
        now = job(runner, "1")

    assert ended
    assert (accepted.status_code, ended["outcome"], now["state"]) == (202, "completed", "completed")
    assert (told["attempt"], told["by"], told["detail"]) == (1, "echo", "as asked")


@pytest.mark.slow
def test_a_dead_letter_whose_job_is_asked_for_again_is_closed_by_its_end_and_goes_with_the_job(tmp_path: Path) -> None:
    console = service("console", source=ROOT / "functions/console/main.py", max_scale=1, concurrency=0)
    replayed = trigger("console-replayed", subscriber="console", filter='{replayed: "true"}')
    documents = (service(), trigger(retry=0), bound("console"), console, replayed, *front_door())
    with up(tmp_path, documents) as runner:
        dead = DeadLetterStore(f"sqlite:///{runner.data / 'deadletters.db'}")

        def states() -> list[str]:
            return [each.state for each in dead.list()]

        def deadlettered(id_: str) -> str:
            once = {"do": "status", "status": 500, "once": str(tmp_path / id_)}
            path = runner.post(event(id_, once)).headers["location"]
            until(lambda: job(runner, id_)["state"] == "deadlettered", what="the dead letter")
            return path

        retried, sent_again = deadlettered("1"), deadlettered("2")
        before = states()
        runner.client.post(f"{retried}/retry")
        runner.post(event("2", {"do": "done"}))
        until(lambda: states() == ["completed", "completed"], what="the end of both")
        runner.client.delete(retried)
        until(lambda: [each.event.id for each in dead.list()] == ["2"], what="the dead letter's removal")

    assert before == ["open", "open"]
    assert sent_again != retried


@pytest.mark.slow
@pytest.mark.parametrize("token", ["", "a-token-for-the-front-door"])
def test_a_function_tells_the_gateway_how_far_its_job_is(tmp_path: Path, token: str) -> None:
    (tmp_path / "token").write_text(token)
    options = ("--token-file", str(tmp_path / "token")) if token else ()
    with up(tmp_path, ECHOING, *options) as runner:
        runner.client.headers.update({"authorization": f"Bearer {token}"} if token else {})
        for id_ in ("1", "2"):  # the first may be lost while the function gets its client ready on a busy machine
            runner.post(event(id_, {"do": "progress", "percent": 40, "text": "page 212"}))
            runner.outcome(id_)
        now = until(lambda: job(runner, "2") if job(runner, "2")["state"] == "completed" else None, what="the end")

    assert (now["progress"]["percent"], now["progress"]["text"]) == (40, "page 212")


def failed(runner: Up, location: str) -> dict[str, Any] | None:
    timeline = runner.client.get(f"{location}/timeline").json()
    return next((each for each in timeline if each["what"] == "attempt failed"), None)


@pytest.mark.slow
def test_a_flow_s_step_is_no_job_of_the_ledger_s_though_an_attempt_of_it_fails(tmp_path: Path) -> None:
    documents = (service(), trigger(retry=5, delay="PT60S"), *front_door())
    tried = tmp_path / "tried"
    flaky = {"do": "status", "status": 503, "once": str(tried)}
    step = event("step", flaky, stepof="onboarding", flowid="f", step="1")
    with up(tmp_path, documents) as runner:
        running = find(runner.data)
        assert running
        taken = httpx.post(running.url, content=json.dumps(step), headers={**STRUCTURED_MODE, **runner.inside})
        until(tried.exists, what="the step's attempt")
        runner.post(event("1", {"do": "status", "status": 503}))
        until(lambda: job(runner, "1").get("attempt"), what="the attempt of the other, whose note comes later")
        known = [each["id"] for each in runner.client.get("/jobs").json()["jobs"]]

    assert taken.status_code == 202
    assert known == ["1"]


@pytest.mark.slow
def test_a_job_that_is_tried_again_says_when_and_why(tmp_path: Path) -> None:
    documents = (service(), trigger(retry=5, delay="PT60S"), *front_door())
    with up(tmp_path, documents) as runner:
        runner.post(event("1", {"do": "status", "status": 503}))
        waiting = until(lambda: (found := job(runner, "1")).get("attempt") and found, what="the attempt")

    assert (waiting["state"], waiting["attempt"], waiting["error"]) == ("sent", 1, "as asked")
    assert waiting["next_at"] > waiting["since"]


@pytest.mark.slow
def test_a_dead_letter_is_the_end_of_its_job_and_names_its_error(tmp_path: Path) -> None:
    with up(tmp_path, ECHOING) as runner:
        runner.post(event("1", {"do": "status", "status": 500}))
        runner.outcome("1")
        dead = job(runner, "1")

    assert (dead["state"], dead["error"]) == ("deadlettered", "as asked")


@pytest.mark.slow
def test_the_brokers_ingress_is_for_functions_alone(tmp_path: Path) -> None:
    with up(tmp_path, ECHOING) as runner:
        running = find(runner.data)
        assert running
        outside = httpx.post(running.url, content=json.dumps(event("1")), headers=STRUCTURED_MODE)
        inside = {**STRUCTURED_MODE, **runner.inside}
        taken = httpx.post(running.url, content=json.dumps(event("2")), headers=inside)
        outcome = until(lambda: runner.outcome("2", wait_s=1), what="its outcome")
        direct = job(runner, "2")

    assert (running.front_door, running.url != runner.url) == (runner.url, True)
    assert (outside.status_code, outside.json()["detail"]) == (403, "events come here from functions alone")
    assert (taken.status_code, outcome["outcome"]) == (202, "completed")
    assert (direct["state"], direct["api"], direct["type"]) == ("completed", "", REQUESTED)


@pytest.mark.slow
def test_many_events_in_one_request_are_taken_of_the_gateway_alone_each_with_its_answer(tmp_path: Path) -> None:
    events = [Event({**REQUEST, "id": each, "type": type_}, b"{}") for each, type_ in (("1", REQUESTED), ("2", "x"))]
    with up(tmp_path, ECHOING) as runner:
        running = find(runner.data)
        assert running
        inside = {"content-type": PACKED, **runner.inside}
        taken = httpx.post(running.url, content=packed(events), headers=inside).json()
        garbled = httpx.post(running.url, content=b"no events", headers=inside)
        outside = runner.client.post("/", content=packed(events), headers={"content-type": PACKED})
        outcome = until(lambda: runner.outcome("1", wait_s=1), what="its outcome")

    assert [each["status"] for each in taken] == [202, 400]
    assert (garbled.status_code, outside.status_code, outcome["outcome"]) == (400, 400, "completed")


@pytest.mark.slow
def test_the_secret_of_the_functions_is_nothing_at_the_front_door(tmp_path: Path) -> None:
    token = tmp_path / "token"
    token.write_text("the-token-of-the-installation")
    outcome = {**sample("ics", "completed"), "jobsource": "/tests", "jobid": "1"}
    with up(tmp_path, ECHOING, "--token-file", str(token)) as runner:
        forged = runner.post(outcome, inside=True)
        runner.client.headers["authorization"] = "Bearer the-token-of-the-installation"
        refused, taken = runner.post(outcome), runner.post(event("2"))
        ready, figures = runner.client.get("/readyz"), runner.client.get("/metrics")

    assert [each.status_code for each in (forged, refused, taken, ready, figures)] == [401, 403, 202, 200, 200]


@pytest.mark.slow
def test_a_gateway_that_is_killed_is_there_again_and_no_job_is_lost_or_refused(tmp_path: Path) -> None:
    with up(tmp_path, ECHOING) as runner:
        runner.post(event("before"))
        os.kill(gateway_pid(runner), signal.SIGKILL)
        accepted = httpx.post(runner.url, content=json.dumps(event("after")), headers=STRUCTURED_MODE, timeout=60)
        runner.client = httpx.Client(base_url=runner.url, timeout=120)  # its connection is gone with the process
        outcomes = [runner.outcome(each) for each in ("before", "after")]

    assert accepted.status_code == 202
    assert [each and each["outcome"] for each in outcomes] == ["completed", "completed"]


@pytest.mark.slow
def test_a_runner_that_is_killed_with_its_gateway_goes_on_with_every_job(tmp_path: Path) -> None:
    runner = Up(tmp_path, write_manifests(tmp_path / "manifests", ECHOING))
    with runner:
        for number in range(30):
            runner.post(event(str(number), {"do": "sleep", "s": 0.05}))
        gateway = gateway_pid(runner)
        runner.kill()
        os.kill(gateway, signal.SIGKILL)
        runner.start()
        outcomes = [runner.outcome(str(number)) for number in range(30)]

    assert [each and each["outcome"] for each in outcomes] == ["completed"] * 30


@pytest.mark.slow
def test_a_gateway_that_cannot_start_stops_the_runner_with_its_reason(tmp_path: Path) -> None:
    tokens = tmp_path / "data/secrets/gateway"
    tokens.mkdir(parents=True)
    (tokens / "tokens").write_text("shop all short")
    gateway = service("gateway", source=ROOT / "functions/gateway/main.py", min_scale=1)
    secret = "{name: GATEWAY_TOKENS, valueFrom: {secretKeyRef: {name: gateway, key: tokens}}}"
    named = gateway.replace("          env:\n", f"          env:\n            - {secret}\n")
    runner = Up(tmp_path, write_manifests(tmp_path / "manifests", (service(), trigger(), front_door()[0], named)))
    runner.start_only()

    assert runner.process.wait(60) == 64, runner.log.read_text()[-2000:]
    assert "line 1 of GATEWAY_TOKENS: a token has at least 16 characters" in runner.log.read_text()


@pytest.mark.slow
def test_data_of_a_function_of_ones_own_is_judged_by_the_schema_of_its_event_type(tmp_path: Path) -> None:
    with up(tmp_path, (*ECHOING, EVENT_TYPE)) as runner:
        good, bad = runner.post(event("1", {"n": 1})), runner.post(event("2", {"n": "one"}))

    assert (good.status_code, bad.status_code) == (202, 422)
    assert bad.json()["errors"][0]["pointer"] == "#/n"


@pytest.mark.slow
def test_a_browser_is_led_to_the_console_and_results_are_served_without_running(tmp_path: Path) -> None:
    result = tmp_path / "data/store/jobs/a/b/result.html"
    with up(tmp_path, ECHOING) as runner:
        result.parent.mkdir(parents=True)
        result.write_text("<script>")
        led = runner.client.get("/", headers={"accept": "text/html"})
        told = runner.client.get("/")
        shown = runner.client.get("/artifacts/jobs/a/b/result.html")
        hidden = [runner.client.get(f"/artifacts/{each}").status_code for each in ("ledger/x", "jobs/a/b/none", "../x")]

    assert (led.status_code, led.headers["location"], told.status_code) == (303, "/console/", 200)
    assert (shown.status_code, shown.text, hidden) == (200, "<script>", [404] * 3)
    assert "sandbox" in shown.headers["content-security-policy"]


@pytest.mark.slow
def test_at_its_start_it_says_where_events_go_and_where_the_console_is(tmp_path: Path) -> None:
    with up(tmp_path, ECHOING) as runner:
        said = until(lambda: "console at" in runner.log.read_text() and runner.log.read_text(), what="the lines")

    assert f"send events to {runner.url}" in said
    assert f"console at {runner.url}console" in said
