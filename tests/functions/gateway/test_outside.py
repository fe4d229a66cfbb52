"""What the runner takes from outside, and that nobody there forges an outcome or has it call itself for ever."""

import json
import os
import shutil
import socket
from contextlib import ExitStack, suppress
from dataclasses import replace
from functools import partial
from pathlib import Path

import httpx
import pytest

from events.http import Event
from events.job import OWN
from functions.gateway.outside import CallbackOrigins, Own, refusal
from functions.notifier.destination import allowed_origins
from knative.local.process.environment import Machine, callback_origins, environment, make_secrets
from knative.manifests.documents import ManifestError
from knative.manifests.manifests import MANIFESTS, load
from tests.conftest import sample
from tests.support.local_runner import COMPLETED, REQUESTED, ROOT, children, event, service, sink, trigger, until, up

OWN_ADDRESS = Own(8080, frozenset(["errands.example", "10.1.2.3"]))
MACHINE = Machine(
    data=Path("/tmp"),  # noqa: S108  # replaced where anything is written
    ingress_url="http://x/",
    ingress_secret="",
    invoker_secret="",
    public_url="http://x/",
    token=None,
    settings={},
)
ALLOWED = f"{MACHINE.config_map['ALLOWED_ORIGINS']},https://api.example"
ENDPOINTS = json.dumps([{"url": "https://shop.example/hook", "secrets": ["whsec_" + "c2VjcmV0" * 4]}])
BINARY = {"ce-specversion": "1.0", "ce-source": "/tests", "ce-type": REQUESTED}
HEARD = trigger("heard", subscriber="echo", filter=f"{{type: {COMPLETED}}}")


def request(**attributes: str) -> Event:
    base = {"specversion": "1.0", "id": "1", "source": "/tests", "type": REQUESTED}
    return Event({**base, **attributes}, b"{}")


@pytest.mark.parametrize("type_", [COMPLETED, "dev.errands.ics.failed.v1", "dev.errands.ics.deadlettered.v1", "x"])
def test_an_event_that_is_no_request_is_refused(type_: str) -> None:
    found = refusal(request(type=type_), OWN_ADDRESS)

    assert found is not None
    assert (found.status, "outcomes come from functions alone" in found.detail) == (403, True)


@pytest.mark.parametrize("name", sorted(OWN))
def test_an_attribute_of_ours_is_refused_and_named(name: str) -> None:
    found = refusal(request(**{name: "completed"}), OWN_ADDRESS)

    assert found is not None
    assert (found.status, name in found.detail) == (403, True)


@pytest.mark.parametrize(
    "url",
    [
        "http://127.0.0.1:8080/",
        "http://127.9.9.9:8080/callbacks",
        "http://localhost:8080/",
        "http://LOCALHOST.:8080/x",
        "http://shop.localhost:8080/",
        "http://[::1]:8080/",
        "http://[::ffff:127.0.0.1]:8080/",
        "http://0.0.0.0:8080/",
        "http://errands.example:8080/",
        "http://Errands.Example.:8080/",
        "http://10.1.2.3:8080/",
    ],
)
def test_the_runners_own_address_is_no_callback(url: str) -> None:
    found = refusal(request(callbackurl=url), OWN_ADDRESS)

    assert found is not None
    assert (found.status, "the runner's own" in found.detail) == (422, True)


@pytest.mark.parametrize(
    "url", ["http://127.0.0.1:8081/", "https://localhost/", "http://shop.example:8080/", "http://[2001:db8::1]:8080/"]
)
def test_any_other_address_may_be_one(url: str) -> None:
    assert refusal(request(callbackurl=url), OWN_ADDRESS) is None


@pytest.mark.parametrize(
    "url",
    ["https://lee:secret@shop.example/", "https://shop.example/a b", "ftp://shop.example/", "shop.example", "", "x://"],
)
def test_a_callback_that_can_never_be_called_is_refused_at_once(url: str) -> None:
    found = refusal(request(callbackurl=url), OWN_ADDRESS)

    assert found is not None
    assert (found.status, found.detail.startswith("callbackurl must")) == (400, True)
    assert "secret" not in found.detail


@pytest.mark.parametrize(
    "url",
    [
        "https://127.0.0.1/callbacks",
        "http://127.0.0.2:8000/",
        "http://[::2]:8000/",
        "https://elsewhere.example/?token=of-the-query",
        "http://api.example/",
        "https://api.example:8443/",
    ],
)
def test_a_callback_to_an_origin_that_is_not_allowed_is_refused_with_the_setting(url: str) -> None:
    found = refusal(request(callbackurl=url), OWN_ADDRESS, called_back(ALLOWED))

    assert found is not None
    assert (found.status, "ALLOWED_ORIGINS" in found.detail) == (422, True)
    assert "of-the-query" not in found.detail


@pytest.mark.parametrize(
    "url", ["http://127.0.0.1:8000/", "http://localhost:1/x", "http://[::1]:8000/x", "https://api.example/callbacks?x"]
)
def test_a_callback_to_an_allowed_origin_is_taken(url: str) -> None:
    assert refusal(request(callbackurl=url), OWN_ADDRESS, called_back(ALLOWED)) is None


def test_an_origin_that_is_allowed_meanwhile_is_taken_and_what_cannot_be_known_refuses_none() -> None:
    asked = request(callbackurl="https://new.example/")
    known = [frozenset[str](), frozenset(["https://new.example:443"])]
    origins = CallbackOrigins(lambda: known.pop(0))

    def unreadable() -> frozenset[str]:
        raise ManifestError("Secret callback has no key secrets")

    assert refusal(asked, OWN_ADDRESS, origins) is not None
    assert refusal(asked, OWN_ADDRESS, origins) is None
    assert refusal(asked, OWN_ADDRESS, CallbackOrigins(lambda: None)) is None
    assert refusal(asked, OWN_ADDRESS, CallbackOrigins(unreadable)) is None


@pytest.mark.parametrize(
    ("settings", "refused"),
    [
        ({}, True),
        ({"ALLOWED_ORIGINS": "https://shop.example"}, False),
        ({"CALLBACK_URL": "https://api.example/"}, False),  # which is called instead
        ({"CALLBACK_ENDPOINTS": ENDPOINTS}, False),
    ],
    ids=lambda each: next(iter(each), "none") if isinstance(each, dict) else "",
)
def test_the_notifiers_own_settings_decide(tmp_path: Path, settings: dict[str, str], *, refused: bool) -> None:
    machine = replace(MACHINE, data=tmp_path, settings={"notifier": settings})
    make_secrets(machine)
    origins = CallbackOrigins(partial(callback_origins, load(MANIFESTS), machine))

    found = refusal(request(callbackurl="https://shop.example/callbacks"), OWN_ADDRESS, origins)

    assert (found is not None) == refused


def called_back(settings: str) -> CallbackOrigins:
    return CallbackOrigins(lambda: allowed_origins(settings, None))


@pytest.mark.slow
def test_an_outcome_is_taken_from_functions_and_from_nobody_else(tmp_path: Path) -> None:
    forged = event("1", type=COMPLETED, outcome="completed", jobid="order-1", jobsource="/shop")
    with up(tmp_path, (service(), sink(), trigger(), HEARD)) as runner:
        outside = runner.post(forged)
        wrong = httpx.post(runner.url, json=forged, headers={"authorization": "Bearer nothing"})
        known = runner.client.get("/jobs", params={"source": "/shop", "id": "order-1"})
        inside = runner.post(forged, inside=True)

        assert (outside.status_code, outside.json()["type"].rpartition("/")[2]) == (403, "forbidden")
        assert wrong.status_code in (400, 403)
        assert known.status_code == 204
        assert inside.status_code == 202
        assert runner.metric("errands_events_accepted_total") == 1


@pytest.mark.slow
@pytest.mark.parametrize("path", ["/triggers/echo", "/services/deadletters"])
def test_the_ways_for_functions_alone_are_closed_to_others(tmp_path: Path, path: str) -> None:
    with up(tmp_path, (service(), sink(), trigger(), HEARD)) as runner:
        outside = runner.post(event("1"), path=path)

    assert outside.status_code == 403


@pytest.mark.slow
def test_the_secret_of_a_start_is_its_owners_alone_and_gone_with_it(tmp_path: Path) -> None:
    with up(tmp_path, (service(), trigger())) as runner:
        told = runner.data / "ingress.json"
        first = runner.inside
        mode = told.stat().st_mode & 0o777
        runner.stop()
        gone = not told.exists()
        runner.start()
        second = runner.inside

    assert (mode, gone, first != second) == (0o600, True, True)
    assert first["authorization"] not in runner.log.read_text()


@pytest.mark.slow
def test_a_job_that_would_call_the_runner_itself_makes_no_loop(tmp_path: Path) -> None:
    documents = (service(), sink(), trigger(), HEARD)
    with up(tmp_path, documents) as runner:
        refused = runner.post(event("1", callbackurl=runner.url))
        until(lambda: runner.client.get("/healthz").status_code == 200)

        assert refused.status_code == 422
        assert runner.metric("errands_events_accepted_total") == 0


def test_no_manifest_gives_a_function_the_secret_that_sends_nothing(tmp_path: Path) -> None:
    machine = replace(MACHINE, data=tmp_path, ingress_secret="s3cret")
    make_secrets(machine)
    manifests = load(ROOT / "knative" / "base")

    holders = {
        each.name for each in manifests.services.values() if "s3cret" in environment(each, manifests, machine).values()
    }

    assert holders == {"deadletters", "console", "flows", "gateway"}  # who sends events of their own


@pytest.mark.slow
def test_a_functions_port_is_for_its_runner_alone(tmp_path: Path) -> None:
    with up(tmp_path, (service(), trigger(), sink())) as runner:
        runner.post(event("1"))
        assert runner.outcome("1")
        listening = [each for pid in children(runner.process.pid) for each in ports(pid)]
        forged = [
            httpx.post(f"http://127.0.0.1:{port}/", json=event("2"), headers=headers)
            for port in listening
            for headers in ({}, {"errands-invoker": "guessed"}, {"host": "rebound.example"})
        ]
        well = {httpx.get(f"http://127.0.0.1:{port}/healthz").status_code for port in listening}

    assert len(listening) >= 2
    assert {each.status_code for each in forged} == {403}
    assert well == {200}


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("prlimit") is None, reason="prlimit is not installed")
def test_idle_connections_to_a_functions_port_keep_its_runner_out_of_nothing(tmp_path: Path) -> None:
    few = ("prlimit", "--nofile=512:512")
    with up(tmp_path, (service(max_scale=1), trigger(), sink()), prefix=few) as runner, ExitStack() as stack:
        runner.post(event("1"))
        assert runner.outcome("1")
        listening = [each for pid in children(runner.process.pid) for each in ports(pid)]
        for number in range(700 * len(listening)):
            place = ("127.0.0.1", listening[number % len(listening)])
            client = stack.enter_context(socket.create_connection(place, timeout=30))
            with suppress(ConnectionError):  # of one that gave way at once
                client.sendall(b"" if number % 2 else b"GET / HTTP/1.1\r\nhost: localhost\r\n\r\n")
        for number in range(2, 12):
            runner.post(event(str(number)))
        ended = [runner.outcome(str(number)) for number in range(2, 12)]
        again = runner.metric("errands_retries_total", trigger="echo")

    assert all(ended)
    assert again == 0


def ports(pid: int) -> list[int]:
    """Where a process listens, as the kernel tells."""
    sockets = {os.readlink(each) for each in Path(f"/proc/{pid}/fd").iterdir()}
    rows = [line.split() for line in Path("/proc/net/tcp").read_text().splitlines()[1:]]
    return [int(row[1].rpartition(":")[2], 16) for row in rows if row[3] == "0A" and f"socket:[{row[9]}]" in sockets]


@pytest.mark.slow
def test_data_of_any_size_is_told_from_other_data_and_not_from_the_same_written_otherwise(tmp_path: Path) -> None:
    long = {"b": 1, "a": "x" * 200_000}
    with up(tmp_path, (service(), trigger(), sink(), HEARD)) as runner:
        codes = [
            runner.post(event("1", each)).status_code
            for each in (long, dict(reversed(long.items())), {**long, "b": 2}, {"b": 1})
        ]

    assert codes == [202, 202, 409, 409]


@pytest.mark.slow
def test_after_a_start_other_data_is_refused_of_a_job_that_waits_and_of_one_that_is_recorded(tmp_path: Path) -> None:
    asked = sample("ics")
    other = {**asked, "data": {**asked["data"], "name": "other.ics"}}
    ics = service("ics", source=ROOT / "functions/ics/main.py")
    makes = trigger("makes", subscriber="ics", filter="{type: dev.errands.ics.requested.v1}")
    waiting = trigger(retry=3, delay="PT1H")
    documents = (service(), waiting, sink(), HEARD, ics, makes)
    with up(tmp_path, documents) as runner:
        assert runner.post(event("waits", {"do": "status", "status": 503})).status_code == 202
        assert runner.post(asked).status_code == 202
        assert runner.outcome(asked["id"], source=asked["source"])
        until(lambda: runner.metric("errands_retries_total", trigger="echo") == 1, what="the first attempt")
        runner.stop()
        runner.start()
        codes = [
            runner.post(each).status_code
            for each in (event("waits", {}), event("waits", {"do": "status", "status": 503}), other, asked)
        ]

    assert codes == [409, 202, 409, 202]


@pytest.mark.slow
def test_the_same_id_with_other_data_is_refused_at_the_door_unless_its_job_has_failed(tmp_path: Path) -> None:
    failing = {"do": "fail", "why": "a"}
    with up(tmp_path, (service(), trigger(), sink(), HEARD)) as runner:
        first = runner.post(event("1", {"b": 1, "a": 2}))
        assert runner.outcome("1")
        same = runner.client.post(
            "/", content=b'{"a": 2,  "b": 1}', headers={**BINARY, "ce-id": "1", "content-type": "application/json"}
        )
        other = runner.post(event("1", {"a": 3}))
        elsewhere = runner.post(event("1", {"a": 3}, source="/another"))
        runner.post(event("2", failing))
        failed = runner.outcome("2")
        mended = runner.post(event("2", {}))

    assert (first.status_code, same.status_code, elsewhere.status_code) == (202, 202, 202)
    assert (other.status_code, other.json()["type"].rpartition("/")[2]) == (409, "same-id-other-data")
    assert failed is not None
    assert failed["outcome"] == "failed"
    assert mended.status_code == 202
