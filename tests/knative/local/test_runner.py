"""The local runner as its user meets it: a real `errands up`, real function processes, real HTTP."""

import base64
import json
import os
import signal
import sqlite3
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import pytest

from tests.support.dead_letter_store import DeadLetterStore
from tests.support.local_runner import ECHO, ROOT, Up, children, event, service, trigger, until, up, write_manifests

pytestmark = pytest.mark.slow

ECHOING = (service(), trigger())
HEARD = trigger("heard", filter="{outcome: completed}")


def test_an_event_goes_in_and_its_outcome_comes_out(tmp_path: Path) -> None:
    with up(tmp_path, ECHOING) as runner:
        response = runner.post(event("1", {"n": 7}, subject="order-1"))
        outcome = runner.outcome("1")

    assert response.status_code == 202
    assert outcome is not None
    assert outcome["data"]["n"] == 7
    assert (outcome["outcome"], outcome["jobid"], outcome["subject"]) == ("completed", "1", "order-1")


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"id": ""}, "attribute id"),
        ({"specversion": "0.3"}, "specversion must be 1.0"),
        ({"time": "yesterday"}, "RFC 3339"),
        ({"type": "com.example.unknown"}, "no Trigger wants type 'com.example.unknown'; the types known here: dev."),
    ],
)
def test_what_is_no_event_or_wanted_by_nobody_is_refused_with_the_reason(
    tmp_path: Path, change: dict[str, str], reason: str
) -> None:
    with up(tmp_path, ECHOING) as runner:
        response = runner.post({**event("1"), **change})

    assert response.status_code == 400
    assert reason in response.json()["detail"]


def test_a_path_a_query_a_batch_that_is_none_and_a_body_over_the_limit_are_refused(tmp_path: Path) -> None:
    with up(tmp_path, ECHOING) as runner:
        structured = {"content-type": "application/cloudevents+json"}
        batch = {"content-type": "application/cloudevents-batch+json"}
        statuses = [
            runner.client.post("/other", json=event("1")).status_code,
            runner.client.post("/?a=b", content=json.dumps(event("1")), headers=structured).status_code,
            runner.client.post("/", content="{}", headers=batch).status_code,
            runner.client.post("/", content=b"x" * (10 * 1024 * 1024 + 1), headers=structured).status_code,
        ]

    assert statuses == [404, 400, 400, 413]


def test_a_batch_is_taken_and_answered_with_one_result_each_in_its_order(tmp_path: Path) -> None:
    batch = [
        event("1", {"n": 1}),
        {"id": "none"},
        {**event("2"), "type": "unknown"},
        *(event(f"{n}") for n in range(3, 60)),
    ]
    headers = {"content-type": "application/cloudevents-batch+json; charset=utf-8"}
    with up(tmp_path, ECHOING) as runner:
        answered = runner.client.post("/", content=json.dumps(batch), headers=headers)
        empty = runner.client.post("/", content="[]", headers=headers)
        many = runner.client.post("/", content=json.dumps([event("1")] * 1_001), headers=headers)
        queried = runner.client.post("/?a=b", content=json.dumps(batch[:1]), headers=headers)
        ended = [runner.outcome(each) is not None for each in ("1", "59")]
        accepted = runner.metric("errands_events_accepted_total")

    results = answered.json()
    assert (answered.status_code, empty.status_code, empty.json()) == (200, 200, [])
    assert [each["id"] for each in results] == ["1", None, "2", *(f"{n}" for n in range(3, 60))]
    assert [each["status"] for each in results] == [202, 400, 400] + [202] * 57
    assert "attribute specversion is required" in results[1]["detail"]
    assert "no Trigger wants type 'unknown'" in results[2]["detail"]
    assert results[0] == {"id": "1", "source": event("1")["source"], "status": 202}
    assert (many.status_code, [each["status"] for each in queried.json()]) == (400, [400])
    assert (ended, accepted) == ([True, True], 58)


def test_a_failed_attempt_is_made_again_as_often_as_declared_and_then_dead_lettered(tmp_path: Path) -> None:
    with up(tmp_path, ECHOING) as runner:
        runner.post(event("1", {"do": "status", "status": 503}))
        dead_letter = until(lambda: _dead_letters(runner).list(), what="the dead letter")[0]

        assert runner.metric("errands_deliveries_total", trigger="echo", code="503") == 3
    assert (dead_letter.code, dead_letter.attempts, dead_letter.trigger, dead_letter.error) == (
        503,
        3,
        "echo",
        "as asked",
    )


@pytest.mark.parametrize("status", [302, 400, 401, 403, 410, 413, 415, 422, 425])
def test_a_response_that_the_rabbitmq_broker_would_lose_is_dead_lettered_at_once(tmp_path: Path, status: int) -> None:
    with up(tmp_path, ECHOING) as runner:
        runner.post(event("1", {"do": "status", "status": status}))
        dead_letter = until(lambda: _dead_letters(runner).list(), what="the dead letter")[0]

    assert (dead_letter.code, dead_letter.attempts) == (status, 1)
    assert "there the event is lost" in runner.log.read_text()


@pytest.mark.parametrize("status", [404, 408, 409, 429])
def test_a_4xx_that_may_pass_is_tried_again(tmp_path: Path, status: int) -> None:
    once = tmp_path / "once"
    with up(tmp_path, ECHOING) as runner:
        runner.post(event("1", {"do": "status", "status": status, "once": str(once)}))

        assert runner.outcome("1") is not None


def test_a_malformed_reply_dead_letters_its_cause(tmp_path: Path) -> None:
    with up(tmp_path, ECHOING) as runner:
        runner.post(event("1", {"do": "bad reply"}))
        dead_letter = until(lambda: _dead_letters(runner).list(), what="the dead letter")[0]

    assert dead_letter.code == 200
    assert "the reply is not an event" in dead_letter.error


def test_an_attempt_that_takes_too_long_is_given_up(tmp_path: Path) -> None:
    with up(tmp_path, (service(), trigger(timeout="PT0.3S"))) as runner:
        runner.post(event("1", {"do": "sleep", "s": 2, "once": str(tmp_path / "once")}))
        outcome = runner.outcome("1")

        assert runner.metric("errands_deliveries_total", trigger="echo", code="-1") == 1
    assert outcome is not None


def test_a_retry_does_not_hold_back_the_events_behind_it(tmp_path: Path) -> None:
    with up(tmp_path, (service(), trigger(parallelism=1, delay="PT20S"))) as runner:
        runner.post(event("waits", {"do": "status", "status": 503}))
        until(lambda: runner.metric("errands_retries_total", trigger="echo"), what="the retry")
        runner.post(event("passes"))

        assert runner.outcome("passes") is not None
        assert runner.outcome("waits", wait_s=0) is None


def test_the_wait_before_a_retry_survives_a_kill(tmp_path: Path) -> None:
    with up(tmp_path, (service(), trigger(delay="PT2S"))) as runner:
        runner.post(event("1", {"do": "status", "status": 503, "once": str(tmp_path / "once")}))
        until(lambda: runner.metric("errands_retries_total", trigger="echo"), what="the retry")
        runner.kill()
        runner.start()

        assert runner.outcome("1") is not None


def test_functions_start_with_the_first_event_and_stop_when_idle(tmp_path: Path) -> None:
    with up(tmp_path, (service(window="0.5s"), trigger())) as runner:
        at_rest = runner.metric("errands_processes", function="echo")
        runner.post(event("1"))
        first = runner.outcome("1")
        at_work = runner.metric("errands_processes", function="echo")
        until(lambda: runner.metric("errands_processes", function="echo") == 0, what="scale to zero")
        runner.post(event("2"))
        second = runner.outcome("2")

    assert (at_rest, at_work) == (0, 1)
    assert first is not None
    assert second is not None
    assert first["data"]["pid"] != second["data"]["pid"]


def test_load_starts_more_processes_up_to_max_scale(tmp_path: Path) -> None:
    documents = (service(concurrency=1, max_scale=3), trigger(parallelism=16))
    with up(tmp_path, documents, "--max-processes", "3") as runner:
        for number in range(12):
            runner.post(event(str(number), {"do": "sleep", "s": 0.5}))
        outcomes = [runner.outcome(str(number)) for number in range(12)]

    assert len({outcome["data"]["pid"] for outcome in outcomes if outcome}) == 3


def test_a_function_that_crashes_is_reported_with_its_last_words_and_its_event_is_retried(tmp_path: Path) -> None:
    with up(tmp_path, ECHOING) as runner:
        runner.post(event("1", {"do": "exit", "once": str(tmp_path / "once")}))
        outcome = runner.outcome("1")

    assert outcome is not None
    assert "the last words of this function" in runner.log.read_text()


def test_an_event_that_ends_its_process_takes_no_other_along(tmp_path: Path, broker: tuple[str, ...]) -> None:
    """The innocent ones are charged nothing, and the one that is to blame becomes a dead letter by its own attempts."""
    documents = (service(concurrency=8, max_scale=1), trigger(parallelism=8, retry=2, delay="PT0.2S"))
    with up(tmp_path, documents, *broker) as runner:
        runner.post(event("first"))
        runner.outcome("first")  # so that the process is there
        for number in range(12):
            runner.post(event(str(number), {"do": "sleep", "s": 0.3}))
            if number in (2, 6):
                runner.post(event(f"poison {number}", {"do": "exit"}))
        dead_letters = until(
            lambda: len(_dead_letters(runner).list()) == 2 and _dead_letters(runner).list(), what="two"
        )
        outcomes = [runner.outcome(str(number)) for number in range(12)]

        assert runner.metric("errands_retries_total", trigger="echo") == 2 * 2
    assert [outcome and outcome["outcome"] for outcome in outcomes] == ["completed"] * 12
    assert {(each.event.id, each.attempts) for each in dead_letters} == {("poison 2", 3), ("poison 6", 3)}


def test_a_function_that_does_not_start_is_reported_and_its_events_become_dead_letters(tmp_path: Path) -> None:
    broken = tmp_path / "broken" / "main.py"
    broken.parent.mkdir()
    broken.write_text("raise RuntimeError('this module is broken')\nhandle = None\n")
    with up(tmp_path, (service("broken", source=broken), trigger(subscriber="broken", retry=1))) as runner:
        runner.post(event("1"))
        dead_letter = until(lambda: _dead_letters(runner).list(), what="the dead letter")[0]

    assert dead_letter.code == -1
    assert "this module is broken" in dead_letter.error
    assert "does not start" in runner.log.read_text()


def test_a_dead_letter_is_kept_while_its_sink_is_down(tmp_path: Path) -> None:
    with up(tmp_path, ECHOING) as runner:
        (runner.data / "deadletters.db").unlink(missing_ok=True)
        (runner.data / "deadletters.db").mkdir()  # the sink cannot open its store
        runner.post(event("1", {"do": "status", "status": 410}))
        until(lambda: "the dead-letter sink does not take it" in runner.log.read_text(), what="the refusal")
        depth = runner.metric("errands_queue_depth", queue="echo.dlq")
        (runner.data / "deadletters.db").rmdir()
        dead_letter = until(lambda: _dead_letters(runner).list(), what="the dead letter")[0]

    assert depth == 1
    assert dead_letter.event.id == "1"


def test_a_job_that_is_dead_lettered_ends_with_an_event_that_says_so(tmp_path: Path) -> None:
    heard = trigger("heard", filter="{outcome: deadlettered}")
    with up(tmp_path, (*ECHOING, heard)) as runner:
        runner.post(event("1", {"do": "status", "status": 500}, subject="order-1"))
        outcome = runner.outcome("1")

    assert outcome is not None
    assert outcome["type"] == "dev.errands.echo.deadlettered.v1"
    assert (outcome["outcome"], outcome["subject"], outcome["data"]["code"]) == ("deadlettered", "order-1", 500)


def test_filters_match_whole_attributes_only_and_every_trigger_gets_its_own_copy(tmp_path: Path) -> None:
    documents = (
        service(),
        trigger("all"),
        trigger("red", filter="{type: dev.errands.echo.requested.v1, colour: red}"),
        trigger("prefix", filter="{type: dev.errands.echo}"),
    )
    with up(tmp_path, documents) as runner:
        runner.post(event("1", colour="red"))
        runner.post(event("2", colour="reddish"))
        until(lambda: runner.metric("errands_deliveries_total", trigger="all", code="200") == 2, what="two deliveries")
        until(lambda: runner.metric("errands_deliveries_total", trigger="red", code="200") == 1, what="one delivery")

        assert runner.metric("errands_deliveries_total", trigger="prefix", code="200") == 0


def test_sigterm_finishes_what_is_in_flight_and_exits_0(tmp_path: Path) -> None:
    begun = tmp_path / "begun"
    with up(tmp_path, (*ECHOING, HEARD)) as runner:
        runner.post(event("1", {"do": "sleep", "s": 1.5, "once": str(begun)}))
        until(begun.exists, what="the function's beginning")
        code = runner.stop()
        runner.start()
        outcome = runner.outcome("1", wait_s=0)

    assert code == 0
    assert outcome is not None


@pytest.mark.parametrize("source", [ECHO, ROOT / "functions/notifier/main.py"], ids=["sync", "async"])
def test_nothing_of_a_function_outlives_its_killed_master(tmp_path: Path, source: Path) -> None:
    """An orphan would keep its port and its pipe, and a stop would wait for it."""
    documents = (service("killed", source=source), trigger(subscriber="killed", retry=30))
    secret = "whsec_" + base64.b64encode(bytes(range(32))).decode()
    with up(tmp_path, documents, "--set", f"killed.CALLBACK_SECRETS={secret}") as runner:
        runner.post(event("1", outcome="completed"), inside=True)
        until(lambda: runner.metric("errands_deliveries_total", trigger="echo", code=_code(source)), what="a delivery")
        family = [pid for pid in children(runner.process.pid) if _shown(pid).startswith("errands function killed")]
        os.kill(min(family), signal.SIGKILL)

        until(lambda: not any(_alive(pid) for pid in family), what="the end of the whole function")
        runner.post(event("2", outcome="completed"), inside=True)
        until(lambda: runner.metric("errands_queue_depth", queue="echo") == 0, what="a new process")


def test_functions_die_with_a_runner_that_is_killed(tmp_path: Path) -> None:
    with up(tmp_path, ECHOING) as runner:
        runner.post(event("1"))
        outcome = runner.outcome("1")
        assert outcome is not None
        runner.kill()

        until(lambda: not _alive(outcome["data"]["pid"]), what="the end of the function")


def test_a_backlog_at_its_limit_is_answered_503_with_retry_after(tmp_path: Path) -> None:
    with up(tmp_path, (service(), trigger(delay="PT60S")), "--backlog-limit", "3") as runner:
        responses = [runner.post(event(str(number), {"do": "status", "status": 503})) for number in range(4)]

    assert [response.status_code for response in responses] == [202, 202, 202, 503]
    assert int(responses[3].headers["retry-after"]) > 0


def test_a_function_whose_source_changes_is_reloaded(tmp_path: Path) -> None:
    source = tmp_path / "mine" / "main.py"
    source.parent.mkdir()
    source.write_text(ECHO.read_text())
    with up(tmp_path, (service("mine", source=source), trigger(subscriber="mine")), "--reload") as runner:
        runner.post(event("1", {"n": 1}))
        before = runner.outcome("1")
        source.write_text(ECHO.read_text().replace('order.get("n", 0)', "99"))
        os.utime(source, (time.time() + 5, time.time() + 5))
        after = until(lambda: _changed(runner), what="the new source")

    assert before is not None
    assert before["data"]["n"] == 1
    assert after["data"]["n"] == 99


def test_sigterm_does_not_wait_for_a_function_that_never_starts(tmp_path: Path) -> None:
    stuck = tmp_path / "stuck" / "main.py"
    stuck.parent.mkdir()
    stuck.write_text("import time\ntime.sleep(600)\nhandle = None\n")
    with up(tmp_path, (service("stuck", source=stuck), trigger(subscriber="stuck"))) as runner:
        runner.post(event("1"))
        until(lambda: runner.metric("errands_processes", function="stuck") == 1, what="the start")
        started = children(runner.process.pid)
        stopped_s = time.monotonic()
        code = runner.stop()

    assert code == 0
    assert time.monotonic() - stopped_s < 20
    assert not [pid for pid in started if _alive(pid)]


def test_metrics_are_prometheus_text(tmp_path: Path) -> None:
    with up(tmp_path, ECHOING) as runner:
        runner.post(event("1"))
        runner.outcome("1")
        text = runner.client.get("/metrics").text

    assert "errands_events_accepted_total 1.0" in text
    assert 'errands_delivery_seconds_bucket{le="0.005",trigger="echo"}' in text
    assert 'errands_queue_depth{queue="echo"} 0.0' in text


def test_an_address_that_others_reach_needs_a_token_which_is_then_asked_for(tmp_path: Path) -> None:
    token = tmp_path / "token"
    token.write_text("a-token-of-enough-characters\n")
    with up(tmp_path, ECHOING, "--host", "0.0.0.0", "--token-file", str(token)) as runner:
        without = runner.post(event("1"))
        wrong = httpx.post(runner.url, json=event("1"), headers={"authorization": "Bearer wrong"})
        runner.client.headers["authorization"] = "Bearer a-token-of-enough-characters"
        right = runner.post(event("1"))

    assert (without.status_code, wrong.status_code, right.status_code) == (401, 401, 202)


def test_a_name_that_was_made_to_lead_to_this_machine_is_not_answered(tmp_path: Path) -> None:
    with up(tmp_path, ECHOING) as runner:
        runner.client.headers["host"] = "rebound.example"
        response = runner.post(event("1"))

    assert response.status_code == 421


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (("--host", "0.0.0.0"), "0.0.0.0 can be reached from other machines: give --token-file FILE, or bind 127."),
        (("--data", "/proc/errands"), "the data directory /proc/errands cannot be written"),
        (("--set", "nobody.A=B"), "there is no function 'nobody'; expected one of"),
        (("--set", "wrong"), "--set expects FUNCTION.NAME=VALUE"),
        (("--trusted-proxy", "everybody"), "--trusted-proxy expects an address or a network"),
        (("--manifests", "/nowhere"), "/nowhere/kustomization.yaml:1: there is no such file"),
    ],
)
def test_a_mistake_at_the_start_is_one_sentence_and_an_exit_code(
    tmp_path: Path, arguments: tuple[str, ...], sentence: str
) -> None:
    runner = Up(tmp_path, write_manifests(tmp_path / "manifests", ECHOING), *arguments)

    with pytest.raises(AssertionError, match="errands up ended with 64"):
        runner.start()
    assert runner.log.read_text().startswith(sentence) or sentence in runner.log.read_text()
    assert "Traceback" not in runner.log.read_text()


def test_a_port_in_use_and_a_data_directory_in_use_are_said_so(tmp_path: Path) -> None:
    with up(tmp_path, ECHOING) as first:
        same_port = Up(tmp_path / "a", tmp_path / "manifests", "--port", str(first.port))
        same_data = Up(tmp_path / "b", tmp_path / "manifests", "--data", str(first.data))
        for each in (same_port, same_data):
            each.log.parent.mkdir()
            with pytest.raises(AssertionError, match="ended with 64"):
                each.start()

    assert f"port {first.port} on 127.0.0.1 cannot be used: Address already in use" in same_port.log.read_text()
    assert "another runner uses the data directory" in same_data.log.read_text()


def test_a_ping_source_posts_its_data_on_its_schedule(tmp_path: Path) -> None:
    ping = """
apiVersion: sources.knative.dev/v1
kind: PingSource
metadata: {name: tick}
spec:
  schedule: "* * * * * */1"
  contentType: application/json
  data: '{"n": 5}'
  sink: {ref: {apiVersion: eventing.knative.dev/v1, kind: Broker, name: test}}
"""
    with up(tmp_path, (service(), trigger("ping", filter="{type: dev.knative.sources.ping}"), ping)) as runner:
        until(lambda: runner.metric("errands_deliveries_total", trigger="ping", code="200") >= 2, what="two pings")


def test_an_event_is_on_disk_when_it_is_answered_202(tmp_path: Path) -> None:
    with up(tmp_path, (service(), trigger(delay="PT60S"))) as runner:
        responses = [runner.post(event(str(number), {"do": "status", "status": 503})) for number in range(20)]
        runner.kill()
        with sqlite3.connect(runner.data / "journal.db") as event_log:
            kept = {json.loads(row[0])["id"] for row in event_log.execute("SELECT attributes FROM event")}
        runner.start()

    assert {response.status_code for response in responses} == {202}
    assert kept == {str(number) for number in range(20)}


def test_many_clients_at_once_are_all_served(tmp_path: Path) -> None:
    with up(tmp_path, ECHOING) as runner, ThreadPoolExecutor(16) as pool:
        responses = list(pool.map(lambda number: runner.post(event(str(number))).status_code, range(400)))
        outcomes = list(pool.map(lambda number: runner.outcome(str(number)), range(400)))

    assert set(responses) == {202}
    assert all(outcomes)


def _dead_letters(runner: Up) -> DeadLetterStore:
    return DeadLetterStore(f"sqlite:///{runner.data / 'deadletters.db'}")


def _code(source: Path) -> str:
    """The echo function replies; the notifier has nobody to call."""
    return "200" if source == ECHO else "202"


def _shown(pid: int) -> str:
    """What ps shows of a process."""
    return Path(f"/proc/{pid}/cmdline").read_bytes().strip(b"\0").replace(b"\0", b" ").decode()


def _alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def _changed(runner: Up) -> dict[str, object] | None:
    id_ = str(time.monotonic())
    runner.post(event(id_, {"n": 1}))
    outcome = runner.outcome(id_)
    return outcome if outcome and outcome["data"]["n"] == 99 else None


def test_a_function_that_hangs_is_replaced_as_its_probe_says_and_what_it_held_is_done(
    tmp_path: Path, broker: tuple[str, ...]
) -> None:
    probe = "{httpGet: {path: /healthz}, periodSeconds: 1, timeoutSeconds: 1, failureThreshold: 2}"
    probed = service(max_scale=1).replace("- image: test", f"- image: test\n          livenessProbe: {probe}")
    with up(tmp_path, (probed, trigger(timeout="PT300S")), *broker) as runner:
        runner.post(event("0"))
        before = runner.outcome("0")
        assert before is not None
        os.kill(before["data"]["pid"], signal.SIGSTOP)
        for number in range(1, 6):
            runner.post(event(str(number)))
        outcomes = [runner.outcome(str(number)) for number in range(1, 6)]

    assert all(outcome and outcome["outcome"] == "completed" for outcome in outcomes)
    assert before["data"]["pid"] not in {outcome["data"]["pid"] for outcome in outcomes if outcome}
