"""Callbacks that do not go well: endpoints that are gone, busy, down, hostile; each against real sockets."""

import asyncio
import base64
import json
import os
import runpy
import socket
import ssl
import subprocess
import sys
import threading
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler
from ipaddress import ip_network
from pathlib import Path

import httpx
import msgspec
import pytest
from standardwebhooks import Webhook, WebhookVerificationError

from events.problem import JobFailed, NotNow, TryAgain
from functions.net.caller import Call, Caller, NoResponse
from functions.net.exchange import ServerResponse
from functions.net.guard import Guard
from functions.net.signature import Signer
from functions.net.url import Url, parsed
from functions.notifier.circuits import CircuitLimits, Circuits, Peers
from functions.notifier.delivery import CallbackDelivery
from functions.notifier.destination import Target
from functions.notifier.endpoint_state import EndpointStates, Paused, gone, paused, resume
from functions.notifier.handshake import Handshake
from functions.storage.rate_limits import RateLimits
from functions.storage.store import Store
from tests.support.callback_peers import (
    NOW,
    OLD_SECRET,
    ROOT,
    SECRET,
    Receiver,
    notifying,
    receiving,
    sample,
    say,
)
from tests.support.callback_peers import Call as Received

LOOPBACK = Guard((ip_network("127.0.0.0/8"),))


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with receiving() as running:
        yield running


def endpoints(*listed: dict[str, object]) -> str:
    return json.dumps([{"secrets": [OLD_SECRET], **each} for each in listed])


# several endpoints


@pytest.mark.slow
def test_an_endpoint_gets_the_jobs_and_outcomes_of_its_filter_signed_with_its_own_secret(receiver: Receiver) -> None:
    with receiving() as pager:
        further = endpoints({"url": pager.url, "jobs": ["image", "ics"], "outcomes": ["failed", "deadlettered"]})
        with notifying(CALLBACK_URL=receiver.url, CALLBACK_ENDPOINTS=further) as notifier:
            for job, outcome in (("image", "completed"), ("image", "failed"), ("report", "failed")):
                assert notifier.post(sample(f"dev.errands.{job}.{outcome}.v1")).status_code == 202

    assert len(receiver.calls) == 3
    [call] = pager.calls
    assert Webhook(OLD_SECRET).verify(call.body, call.headers)["type"] == "dev.errands.image.failed.v1"


@pytest.mark.slow
def test_a_callbackurl_of_an_endpoint_s_origin_is_signed_for_it_and_stands_in_for_it(receiver: Receiver) -> None:
    with receiving() as default:
        further = endpoints({"url": f"{receiver.url}/all"})
        with notifying(CALLBACK_URL=default.url, CALLBACK_ENDPOINTS=further) as notifier:
            notifier.post(sample(callbackurl=f"{receiver.url}/orders/1042"))

    [call] = receiver.calls
    assert call.path == "/orders/1042"
    Webhook(OLD_SECRET).verify(call.body, call.headers)
    assert default.calls == []


@pytest.mark.slow
def test_endpoints_of_the_default_s_origin_are_called_beside_it_and_none_twice(receiver: Receiver) -> None:
    further = endpoints({"url": f"{receiver.url}/ops"}, {"url": f"{receiver.url}/errands"})
    with notifying(CALLBACK_URL=f"{receiver.url}/errands", CALLBACK_ENDPOINTS=further) as notifier:
        notifier.post(sample())
        notifier.post(sample(callbackurl=f"{receiver.url}/ops"))

    assert sorted(call.path for call in receiver.calls) == ["/errands", "/errands", "/ops", "/ops"]


@pytest.mark.slow
def test_an_endpoint_that_took_the_event_is_not_called_again_for_another_s_failure(
    receiver: Receiver, tmp_path: Path
) -> None:
    with receiving() as down:
        down.response = lambda handler: say(handler, 500)
        further, store = endpoints({"url": down.url}), tmp_path.as_uri()
        with notifying(CALLBACK_URL=receiver.url, CALLBACK_ENDPOINTS=further, STORE_URL=store) as notifier:
            first = notifier.post(sample())
            down.response = lambda handler: say(handler, 204)
            second = notifier.post(sample())

    assert (first.status_code, second.status_code) == (503, 202)
    assert (len(receiver.calls), len(down.calls)) == (1, 2)


# 410 Gone


@pytest.mark.slow
def test_an_endpoint_that_is_gone_is_left_alone_until_an_operator_resumes_it(
    receiver: Receiver, tmp_path: Path
) -> None:
    (tmp_path / "store").mkdir()
    url = f"{receiver.url}/errands"
    settings = {"CALLBACK_URL": f"{url}?token=of-the-query", "STORE_URL": (tmp_path / "store").as_uri()}
    receiver.response = lambda handler: say(handler, 410)
    with notifying(**settings) as notifier:
        answers = [notifier.post(sample(id=each)) for each in ("first", "second")]
    with notifying(**settings) as notifier:  # a new process knows it
        answers.append(notifier.post(sample(id="third")))
    assert len(receiver.calls) == 1
    # none is lost: each is a dead letter, at once
    assert [(each.status_code, each.headers["errands-final"]) for each in answers] == [(500, "1")] * 3
    assert all(each.json()["type"].endswith("/callback-gone") and url in each.json()["detail"] for each in answers)
    assert "of-the-query" not in answers[1].text

    listed = errands("list", tmp_path)
    unknown = errands("resume", tmp_path, f"{url}/other")
    resumed = errands("resume", tmp_path, url)

    assert url in listed.stdout
    assert "of-the-query" not in listed.stdout
    assert (unknown.returncode, resumed.returncode) == (64, 0)
    assert errands("list", tmp_path).stdout == "every endpoint is called\n"
    receiver.response = lambda handler: say(handler, 204)
    with notifying(**settings) as notifier:
        notifier.post(sample(id="fourth"))
    assert len(receiver.calls) == 2


def errands(verb: str, folder: Path, *arguments: str) -> "subprocess.CompletedProcess[str]":
    command = [sys.executable, "-m", "knative.cli.main", "callbacks", verb, *arguments, "--data", str(folder)]
    return subprocess.run(command, check=False, capture_output=True, text=True, env=os.environ | {"COLUMNS": "200"})


def test_a_running_notifier_learns_what_others_have_marked_and_an_operator_resumed() -> None:
    store, url = Store("memory:///"), parsed("https://api.example/errands?order=1")

    async def go() -> None:
        ours, theirs = (EndpointStates(store, adopt=lambda *_: None) for _ in range(2))
        assert not await ours.is_gone(url)
        await theirs.mark_gone(url, "event-1", now=NOW)
        await ours.read()
        assert await ours.is_gone(url)
        assert not await ours.is_gone(parsed("https://api.example/errands?order=2"))
        assert resume(store, "https://api.example/errands") == 1
        await ours.read()
        assert not await ours.is_gone(url)

    asyncio.run(go())
    assert gone(store) == {}


def test_a_resumption_holds_for_the_first_callback_after_it() -> None:
    store, url = Store("memory:///"), parsed("https://api.example/errands")

    async def go() -> None:
        states = EndpointStates(store, adopt=lambda *_: None)
        await states.mark_gone(url, "event-1", now=NOW)
        assert await states.is_gone(url)
        resume(store, "https://api.example/errands")
        assert not await states.is_gone(url)

    asyncio.run(go())


# Retry-After


@pytest.mark.slow
def test_a_path_that_asks_for_a_pause_pauses_itself_alone_and_not_for_longer_than_is_set(receiver: Receiver) -> None:
    def answer(handler: BaseHTTPRequestHandler) -> None:
        if handler.path.startswith("/hostile"):
            say(handler, 503, retry_after="3600")
        else:
            say(handler, 204)

    receiver.response = answer
    with notifying(ALLOWED_ORIGINS=receiver.url, RETRY_AFTER_LIMIT_S="90") as notifier:
        told = [notifier.post(sample(callbackurl=f"{receiver.url}/hostile?{n}")) for n in range(2)]
        other = notifier.post(sample(callbackurl=f"{receiver.url}/orders"))

    assert other.status_code == 202
    assert [(each.status_code, each.headers["errands-not-now"]) for each in told] == [(503, "1")] * 2
    assert all(80 <= int(each.headers["retry-after"]) <= 90 for each in told)
    assert [call.path for call in receiver.calls] == ["/hostile?0", "/orders"]


@pytest.mark.slow
@pytest.mark.parametrize("hostile", ["answers 504", "does not answer", "hangs up"])
def test_a_path_that_fails_again_and_again_closes_no_other_path_of_its_host(receiver: Receiver, hostile: str) -> None:
    done = threading.Event()

    def answer(handler: BaseHTTPRequestHandler) -> None:
        if not handler.path.startswith("/hostile"):
            say(handler, 204)
        elif hostile == "answers 504":
            say(handler, 504)
        elif hostile == "does not answer":
            done.wait(20)
        else:
            handler.connection.shutdown(socket.SHUT_RDWR)

    receiver.response = answer
    with notifying(ALLOWED_ORIGINS=receiver.url, FAILURES_LIMIT="2", TIMEOUT_S="0.3") as notifier:
        failed = [notifier.post(sample(callbackurl=f"{receiver.url}/hostile")) for _ in range(3)]
        other = notifier.post(sample(callbackurl=f"{receiver.url}/orders"))
    done.set()

    assert "/hostile is not called now: 2 calls in a row failed" in failed[2].json()["detail"]
    assert other.status_code == 202


@pytest.mark.slow
def test_a_host_without_a_connection_is_called_on_no_path(receiver: Receiver) -> None:
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{closed.getsockname()[1]}"
        with notifying(ALLOWED_ORIGINS=url, FAILURES_LIMIT="2") as notifier:
            answers = [notifier.post(sample(callbackurl=f"{url}/{n}")) for n in range(3)]

    assert f"{url} is not called now: 2 calls in a row failed" in answers[2].json()["detail"]
    assert {each.headers["errands-not-now"] for each in answers} == {"1"}


@pytest.mark.slow
def test_an_endpoint_that_asks_for_a_pause_is_left_alone_by_every_process_and_others_are_called(
    receiver: Receiver, tmp_path: Path
) -> None:
    receiver.response = lambda handler: say(handler, 429, retry_after="3000")
    origins = "http://127.0.0.1:*"
    with notifying(ALLOWED_ORIGINS=origins, STORE_URL=(tmp_path / "store").as_uri()) as notifier:
        told = notifier.post(sample(callbackurl=f"{receiver.url}/a"))
        held = notifier.post(sample(callbackurl=f"{receiver.url}/a?b"))
        with receiving() as other:
            assert notifier.post(sample(callbackurl=other.url)).status_code == 202
        page = httpx.get(f"{notifier.url}/metrics").text
    with notifying(ALLOWED_ORIGINS=origins, STORE_URL=(tmp_path / "store").as_uri()) as notifier:
        held_by_another = notifier.post(sample(callbackurl=f"{receiver.url}/a?c"))

    assert [each.status_code for each in (told, held, held_by_another)] == [503] * 3
    assert all(500 <= int(each.headers["retry-after"]) <= 600 for each in (told, held, held_by_another))
    assert [call.path for call in receiver.calls] == ["/a"]
    assert f'errands_callback_circuit{{origin="{receiver.url}",state="open"}} 1' in page
    assert "paused  until 20" in errands("list", tmp_path).stdout


def test_a_pause_is_over_when_its_time_has_passed_whatever_the_clock_was_set_to(receiver: Receiver) -> None:
    receiver.response = lambda handler: say(handler, 503, retry_after="20")
    passed, time_of_day, store = Clock(), Clock(), Store("memory:///")
    time_of_day.now_s = NOW.timestamp()
    target = Target(parsed(receiver.url), Signer.parse("standard", [SECRET], setting="CALLBACK_SECRETS"))

    async def go() -> None:
        delivery = delivering(store, passed, time_of_day)
        with pytest.raises(NotNow, match="answered 503"):
            await delivery.deliver(sample(), (target,))
        time_of_day.now_s -= 3_600
        with pytest.raises(NotNow, match="not called now"):
            await delivery.deliver(sample(), (target,))
        receiver.response = lambda handler: say(handler, 204)
        passed.now_s += 20
        await delivery.deliver(sample(), (target,))
        # nor does a process that starts now take over what is told to end in an hour
        await delivering(store, passed, time_of_day).deliver(sample(), (target,))

    asyncio.run(go())
    assert len(receiver.calls) == 3


def delivering(store: Store, passed: "Clock", time_of_day: "Clock") -> CallbackDelivery:
    """With clocks that are moved by hand."""
    peers = Peers(Circuits(CircuitLimits(), passed), Circuits(CircuitLimits(), passed))

    def now() -> datetime:
        return datetime.fromtimestamp(time_of_day(), UTC)

    states = EndpointStates(store, adopt=peers.adopt, clock=now)
    caller = Caller(LOOPBACK, connect_timeout_s=5, response_limit_bytes=65_536)
    return CallbackDelivery(caller, peers, states, store, RateLimits(store, now), None, 15, 600, time_of_day)


@pytest.mark.parametrize(
    ("since_s", "until_s", "left_s"),
    [(-10, 50, 50), (0, 60, 60), (-60, 0, 0), (20, 80, 60), (3_600, 3_660, 0), (None, 60, 0)],
    ids=["begun", "begins", "over", "of a clock ahead", "of a clock that was set back", "that never said when"],
)
def test_a_stored_pause_is_never_longer_than_it_was_to_be(since_s: int | None, until_s: int, left_s: int) -> None:
    since = None if since_s is None else NOW + timedelta(seconds=since_s)
    pause = Paused(peer="https://api.example:443", since=since, until=NOW + timedelta(seconds=until_s), reason="busy")
    store = Store("memory:///")
    store.write("ledger/callbacks/paused/1.json", msgspec.json.encode(pause))

    assert pause.left_s(NOW) == left_s
    assert len(paused(store, now=NOW)) == len(store.list("ledger/callbacks/paused/")) == (left_s > 0)


# rates


@pytest.mark.slow
def test_an_origin_gets_so_many_callbacks_as_are_set_and_what_is_over_is_not_now(receiver: Receiver) -> None:
    with receiving() as other, notifying(ALLOWED_ORIGINS="http://127.0.0.1:*", CALLBACK_RATE="2/h") as notifier:
        answers = [notifier.post(sample(callbackurl=f"{receiver.url}/{number}")) for number in range(3)]
        elsewhere = notifier.post(sample(callbackurl=other.url))

    assert [each.status_code for each in (*answers, elsewhere)] == [202, 503, 503, 202]
    assert [each.headers["errands-not-now"] for each in answers[1:]] == ["1", "1"]
    assert "gets 2/h, the most that is set" in answers[1].json()["detail"]
    assert 1_700 < int(answers[1].headers["retry-after"]) <= 1_800
    assert [call.path for call in receiver.calls] == ["/0"]


@pytest.mark.slow
def test_an_endpoint_has_a_rate_of_its_own(receiver: Receiver) -> None:
    further = endpoints({"url": receiver.url, "rate": "1/d"})
    with notifying(CALLBACK_URL="https://api.example", CALLBACK_ENDPOINTS=further, CALLBACK_RATE="100/s") as notifier:
        first, second = (notifier.post(sample(callbackurl=f"{receiver.url}/{number}")) for number in range(2))

    assert (first.status_code, second.status_code) == (202, 503)
    assert len(receiver.calls) == 1


# circuits


class Clock:
    def __init__(self) -> None:
        self.now_s = 1_000.0

    def __call__(self) -> float:
        return self.now_s


def test_a_circuit_opens_after_failures_in_a_row_and_closes_with_a_trial_that_succeeds() -> None:
    clock = Clock()
    circuits = Circuits(CircuitLimits(failures_limit=2, pause_s=5), clock)

    async def call(*, fails: bool) -> None:
        async with circuits.place("https://api.example:443") as circuit:
            if fails:
                circuit.failed("no answer", clock())
            else:
                circuit.succeeded()

    async def go() -> None:
        circuit = circuits.of("https://api.example:443")
        for fails in (True, False, True):  # not in a row
            await call(fails=fails)
        assert circuit.state(clock()) == "closed"
        await call(fails=True)
        assert circuit.state(clock()) == "open"
        with pytest.raises(TryAgain, match="2 calls in a row failed, the last: no answer"):
            await call(fails=False)
        clock.now_s += 5
        assert circuit.state(clock()) == "half-open"
        await call(fails=True)
        clock.now_s += 9.9
        assert circuit.state(clock()) == "open"  # twice as long
        clock.now_s += 0.1
        await call(fails=False)
        assert circuit.state(clock()) == "closed"

    asyncio.run(go())


def test_a_half_open_circuit_lets_one_call_through_at_a_time() -> None:
    clock = Clock()
    circuits = Circuits(CircuitLimits(failures_limit=1, pause_s=5), clock)

    async def go() -> None:
        async with circuits.place("https://api.example:443") as circuit:
            circuit.failed("no answer", clock())
        clock.now_s += 5
        async with circuits.place("https://api.example:443"):
            with pytest.raises(TryAgain, match="on trial"):
                async with circuits.place("https://api.example:443"):
                    pass

    asyncio.run(go())


def test_a_host_gets_so_many_calls_at_a_time_and_the_next_waits_for_its_place() -> None:
    circuits = Circuits(CircuitLimits(calls_limit=1, place_timeout_s=0.01), Clock())

    async def go() -> None:
        async with circuits.place("https://api.example:443"):
            with pytest.raises(TryAgain, match="1 calls in flight"):
                async with circuits.place("https://api.example:443"):
                    pass
            async with circuits.place("https://other.example:443"):
                pass
        async with circuits.place("https://api.example:443"):
            pass

    asyncio.run(go())


@pytest.mark.slow
def test_places_go_to_who_waits_longest_and_none_is_lost_with_a_call_that_is_cancelled_or_too_late() -> None:
    circuits, order = Circuits(CircuitLimits(calls_limit=2, place_timeout_s=0.2), Clock()), list[int]()
    origin = "https://api.example:443"

    async def call(number: int, seconds: float = 0.0) -> None:
        async with circuits.place(origin) as circuit:
            assert circuit.in_flight <= 2
            order.append(number)
            await asyncio.sleep(seconds)

    async def again() -> None:
        await call(-1, 0.01)
        await call(-1)  # before the one that waits has taken the place that was left to it

    async def go() -> None:
        for turns in range(5):  # of the loop, from the first call's end to the cancellation
            held = [asyncio.create_task(call(-1, 0.01)), asyncio.create_task(again())]
            await asyncio.sleep(0)
            waiting = [asyncio.create_task(call(number)) for number in range(5)]
            await held[0]
            for _ in range(turns):
                await asyncio.sleep(0)
            waiting[1].cancel()
            await asyncio.gather(*held, waiting[0], *waiting[2:])
            assert [each for each in order if each not in (-1, 1)] == [0, 2, 3, 4]
            order.clear()
        late = [asyncio.create_task(call(-1, 0.4)) for _ in range(2)] + [asyncio.create_task(call(0))]
        results = await asyncio.gather(*late, return_exceptions=True)
        assert isinstance(results[2], TryAgain)
        await asyncio.gather(call(1), call(2))
        circuit = circuits.of(origin)
        assert (circuit.in_flight, circuit.handed, len(circuit.waiting)) == (0, 0, 0)

    asyncio.run(go())


def test_a_circuit_that_opens_sends_all_away_that_wait_for_a_place() -> None:
    clock = Clock()
    circuits = Circuits(CircuitLimits(calls_limit=1, failures_limit=1, place_timeout_s=5), clock)

    async def fail() -> None:
        async with circuits.place("https://api.example:443") as circuit:
            await asyncio.sleep(0)
            circuit.failed("no answer", clock())

    async def go() -> None:
        async with asyncio.timeout(2):
            results = await asyncio.gather(*(fail() for _ in range(4)), return_exceptions=True)
        assert [str(each).partition(": ")[0] for each in results] == [
            "None",
            *["https://api.example:443 is not called now"] * 3,
        ]
        circuit = circuits.of("https://api.example:443")
        assert (circuit.in_flight, circuit.handed, len(circuit.waiting)) == (0, 0, 0)

    asyncio.run(go())


def test_circuits_that_are_closed_and_idle_are_forgotten_when_there_are_many() -> None:
    clock = Clock()
    circuits = Circuits(CircuitLimits(failures_limit=1), clock)

    async def go() -> None:
        for number in range(1_500):
            async with circuits.place(f"http://127.0.0.1:{number}") as circuit:
                if number == 7:
                    circuit.failed("no answer", clock())

    asyncio.run(go())
    assert len(list(circuits)) <= 1_000
    assert circuits.of("http://127.0.0.1:7").state(clock()) == "open"


@pytest.mark.slow
def test_a_host_that_hangs_is_not_called_again_at_once_and_the_page_shows_it(receiver: Receiver) -> None:
    done = threading.Event()
    receiver.response = lambda handler: say(handler, 204 if done.wait(20) else 500)
    with notifying(CALLBACK_URL=receiver.url, TIMEOUT_S="1", FAILURES_LIMIT="2") as notifier:
        responses = [notifier.post(sample(id=str(number))).json()["detail"] for number in range(4)]
        page = httpx.get(f"{notifier.url}/metrics").text
    done.set()

    assert len(receiver.calls) == 2
    assert "did not answer within 1 s" in responses[1]
    assert "2 calls in a row failed, the last: did not answer" in responses[3]
    assert f'errands_callback_circuit{{origin="{receiver.url}",state="open"}} 1' in page
    assert f'errands_callbacks_total{{origin="{receiver.url}",result="failed"}} 2' in page


# the handshake


def permitting(**headers: str) -> Callable[[BaseHTTPRequestHandler], None]:
    return lambda handler: say(handler, 200 if handler.command == "OPTIONS" else 204, b"", **headers)


@pytest.mark.slow
def test_with_a_handshake_origin_the_endpoint_is_asked_once_before_its_first_callback(receiver: Receiver) -> None:
    receiver.response = permitting(webhook_allowed_origin="errands.example", webhook_allowed_rate="120")
    with notifying(CALLBACK_URL=receiver.url, HANDSHAKE_ORIGIN="errands.example") as notifier:
        responses = [notifier.post(sample(id=each)).status_code for each in ("first", "second")]

    assert responses == [202, 202]
    assert [call.method for call in receiver.calls] == ["OPTIONS", "POST", "POST"]
    assert receiver.calls[0].headers["webhook-request-origin"] == "errands.example"


@pytest.mark.slow
@pytest.mark.parametrize("headers", [{}, {"webhook_allowed_origin": "elsewhere.example"}])
def test_an_endpoint_that_does_not_permit_callbacks_gets_none(receiver: Receiver, headers: dict[str, str]) -> None:
    receiver.response = permitting(**headers)
    with notifying(CALLBACK_URL=receiver.url, HANDSHAKE_ORIGIN="errands.example") as notifier:
        response = notifier.post(sample())

    assert response.status_code == 500
    assert "does not allow callbacks from errands.example" in response.json()["detail"]
    assert [call.method for call in receiver.calls] == ["OPTIONS"]


def test_the_rate_that_an_endpoint_allows_is_kept() -> None:
    clock, url = Clock(), parsed("https://api.example/errands")

    async def ask(call: Call) -> ServerResponse:
        return ServerResponse(200, {"webhook-allowed-origin": "*", "webhook-allowed-rate": "2"}, b"")

    async def go() -> None:
        handshake = Handshake("errands.example", clock)
        for _ in range(2):
            await handshake.require(url, ask)
        with pytest.raises(TryAgain, match="takes 2 callbacks a minute"):
            await handshake.require(url, ask)
        clock.now_s += 60
        await handshake.require(url, ask)

    asyncio.run(go())


@pytest.mark.parametrize("rate", ["9" * 5_000, "0", "-1", "1e9", "\u0663", "\u00b2", "", "nan"])
def test_a_rate_that_is_no_number_or_beyond_all_measure_is_any_rate(rate: str) -> None:
    async def ask(call: Call) -> ServerResponse:
        return ServerResponse(200, {"webhook-allowed-origin": "*", "webhook-allowed-rate": rate}, b"")

    async def go() -> None:
        handshake = Handshake("errands.example", Clock())
        for _ in range(3):
            await handshake.require(parsed("https://api.example/errands"), ask)

    asyncio.run(go())


@pytest.mark.parametrize("status", [429, 500, 503])
def test_an_endpoint_that_cannot_say_whether_it_permits_callbacks_is_asked_again(status: int) -> None:
    async def ask(call: Call) -> ServerResponse:
        return ServerResponse(status, {}, b"")

    with pytest.raises(NotNow, match=f"answered OPTIONS with {status}"):
        asyncio.run(Handshake("errands.example", Clock()).require(parsed("https://api.example/errands"), ask))


# hostile endpoints, through sockets that no HTTP library softens


Script = Callable[[socket.socket], None]


@dataclass
class Rough:
    """A server that does to each connection what the test's script says."""

    port: int
    connections: list[bytes] = field(default_factory=list)

    @property
    def url(self) -> Url:
        return self.named("127.0.0.1")

    def named(self, host: str) -> Url:
        return parsed(f"http://{host}:{self.port}/errands")


@contextmanager
def rough(script: Script, *, reads: Callable[[], int] = lambda: 65_536) -> Iterator[Rough]:
    listener = socket.create_server(("127.0.0.1", 0))
    running = Rough(listener.getsockname()[1])

    def serve() -> None:
        with suppress(OSError):
            while True:
                connection, _ = listener.accept()
                with connection, suppress(OSError):
                    running.connections.append(connection.recv(reads()))
                    script(connection)

    threading.Thread(target=serve, daemon=True).start()
    try:
        yield running
    finally:
        listener.close()


def post(url: Url, *, guard: Guard = LOOPBACK, timeout_s: float = 5.0) -> ServerResponse:
    return calling(lambda caller: caller.call(Call("POST", url, {}, b"{}"), timeout_s=timeout_s), guard=guard)


def calling(work: Callable[[Caller], Awaitable[ServerResponse]], *, guard: Guard = LOOPBACK) -> ServerResponse:
    async def go() -> ServerResponse:
        caller = Caller(guard, 5.0, 65_536)
        try:
            return await work(caller)
        finally:
            caller.close()

    return asyncio.run(go())


@pytest.mark.parametrize("part", [b"HTTP/1.1 200 O", b"HTTP/1.1 200 OK\r\nx-", b"HTTP/1.1 100 Continue\r\n\r\n"])
def test_a_slow_loris_is_left_after_the_timeout(part: bytes) -> None:
    stopped = threading.Event()

    def trickle(connection: socket.socket) -> None:
        connection.sendall(part)
        while not stopped.wait(0.02):
            connection.sendall(part if part.endswith(b"\r\n\r\n") else b"2")

    with rough(trickle) as server, pytest.raises(NoResponse, match=r"did not answer within 0\.3 s"):
        post(server.url, timeout_s=0.3)
    stopped.set()


def test_of_a_response_of_10_gb_no_more_than_the_limit_is_read() -> None:
    sent_bytes, stopped = [], threading.Event()

    def flood(connection: socket.socket) -> None:
        connection.sendall(b"HTTP/1.1 200 OK\r\ncontent-length: 10000000000\r\n\r\n")
        with suppress(OSError):
            while True:
                sent_bytes.append(connection.send(b"x" * 65_536))
        stopped.set()

    with rough(flood) as server:
        response = post(server.url)
        assert stopped.wait(10), "the connection is still open"

    assert (response.status, len(response.body)) == (200, 1_024)
    assert sum(sent_bytes) < 20_000_000  # the kernel's buffers, both sides'


@pytest.mark.parametrize("body", [b"x" * 200_000, b""], ids=["a header of 200 kB", "10,000 headers"])
def test_a_head_without_measure_is_no_response(body: bytes) -> None:
    head = b"HTTP/1.1 200 OK\r\n" + (b"x-long: " + body + b"\r\n" if body else b"x-many: 1\r\n" * 10_000)

    with rough(lambda connection: connection.sendall(head + b"\r\n")) as server, pytest.raises(NoResponse):
        post(server.url)


@pytest.mark.parametrize("garbage", [b"SSH-2.0-OpenSSH_9.2\r\n", b"HTTP/1.1 200 OK\r\nno colon\r\n\r\n", b"\0" * 500])
def test_what_is_no_http_is_no_response_and_the_query_is_not_told(garbage: bytes) -> None:
    with rough(lambda connection: connection.sendall(garbage)) as server, pytest.raises(NoResponse) as raised:
        post(parsed(f"{server.url}?token=of-the-query"))

    assert str(raised.value).startswith("cannot be reached: what it answered is no HTTP")
    assert "of-the-query" not in str(raised.value)
    assert len(str(raised.value)) < 350


RESPONSE = b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\ncontent-type: text/plain\r\n\r\nhello"


@pytest.mark.parametrize("ending", ["reset", "closed"])
def test_a_connection_that_ends_after_any_byte_of_the_response_is_no_response_or_the_whole_status(ending: str) -> None:
    head_bytes = RESPONSE.index(b"\r\n\r\n") + 4
    left = list(range(len(RESPONSE) + 1))

    def cut(connection: socket.socket) -> None:
        connection.sendall(RESPONSE[: left.pop(0)])
        if ending == "reset":
            reset(connection)

    def outcome(url: Url) -> int | None:
        try:
            return post(url).status
        except NoResponse:
            return None

    with rough(cut) as server:
        outcomes = [outcome(server.url) for _ in range(len(RESPONSE) + 1)]

    assert outcomes[:head_bytes] == [None] * head_bytes
    # a reset may overtake what was sent before it; without one the status has arrived
    assert set(outcomes[head_bytes:]) <= ({200} if ending == "closed" else {200, None})
    assert len(server.connections) == len(RESPONSE) + 1


def test_a_connection_that_is_reset_after_any_byte_of_the_request_is_no_response() -> None:
    with rough(lambda connection: connection.sendall(RESPONSE)) as server:
        post(server.url)
    left = list(range(1, len(server.connections[0]) + 1))

    def outcome(url: Url) -> str:
        with pytest.raises(NoResponse) as raised:
            post(url)
        return str(raised.value)

    with rough(reset, reads=lambda: left.pop(0)) as server:
        outcomes = {outcome(server.url) for _ in tuple(left)}

    assert left == []
    assert all(each.startswith("cannot be reached: ") for each in outcomes)


def reset(connection: socket.socket) -> None:
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\x01\0\0\0\0\0\0\0")  # struct linger: 0 s


# the guard


class Resolver:
    """Answers the next list of addresses at each call, the last one for ever."""

    def __init__(self, *responses: tuple[str, ...]) -> None:
        self.responses = list(responses)

    def __call__(self, host: str, port: int) -> tuple[str, ...]:
        return self.responses.pop(0) if len(self.responses) > 1 else self.responses[0]


def test_the_connection_goes_to_the_address_that_was_checked() -> None:
    guard = Guard((ip_network("127.0.0.1/32"),), Resolver(("127.0.0.1",), ("169.254.169.254",)))

    with rough(lambda connection: connection.sendall(RESPONSE)) as server:
        response = post(server.named("rebinding.test"), guard=guard)

    assert response.status == 200
    assert b"\r\nhost: rebinding.test:" in server.connections[0]


@pytest.mark.parametrize(
    "addresses", [("169.254.169.254",), ("127.0.0.1", "169.254.169.254"), ("::ffff:169.254.169.254",)]
)
def test_a_name_with_one_refused_address_is_not_called(addresses: tuple[str, ...]) -> None:
    guard = Guard((ip_network("127.0.0.1/32"),), Resolver(addresses))

    with rough(lambda connection: None) as server, pytest.raises(JobFailed, match=r"169\.254\.0\.0/16 link-local"):
        post(server.named("metadata.test"), guard=guard)
    assert server.connections == []


class Changing(Guard):
    """Lets an address through so many times, then no more."""

    times = 0

    def refusal(self, address: str) -> str | None:
        object.__setattr__(self, "times", self.times - 1)
        return None if self.times >= 0 else super().refusal(address)

    def resolve(self, host: str, port: int) -> tuple[str, ...]:
        return self.lookup(host, port)


@pytest.mark.parametrize("host", ["127.0.0.1", "elsewhere.test"])
@pytest.mark.parametrize("times", [0, 1])
def test_the_address_is_checked_in_the_moment_it_is_used_and_the_peer_before_anything_is_sent(
    host: str, times: int
) -> None:
    """As if the check of the name's addresses had not been, or the connection led elsewhere."""
    guard = Changing(lookup=Resolver(("127.0.0.1",)))
    object.__setattr__(guard, "times", times)

    with rough(lambda connection: None) as server:
        with pytest.raises(JobFailed, match=r"127\.0\.0\.0/8 loopback"):
            post(server.named(host), guard=guard)
        assert b"".join(server.connections) == b""


@pytest.mark.parametrize(
    "host",
    [
        "127.0.0.1",
        "[::1]",
        "[::ffff:127.0.0.1]",
        "[64:ff9b::7f00:1]",
        "2130706433",
        "127.1",
        "0x7f.1",
        "0",
        "localhost",
    ],
)
def test_this_machine_is_refused_however_it_is_written(host: str) -> None:
    with rough(lambda connection: connection.sendall(RESPONSE)) as server:
        with pytest.raises((JobFailed, NoResponse)):
            post(parsed(f"http://{host}:{server.port}/"), guard=Guard())
        assert server.connections == []


@pytest.mark.slow
def test_a_name_whose_dns_hangs_takes_its_connect_timeout_and_no_other_s_time() -> None:
    released = threading.Event()

    def lookup(host: str, port: int) -> tuple[str, ...]:
        return ("127.0.0.1",) if host == "quick.test" or released.wait(20) else ()

    async def go(server: Rough) -> None:
        caller = Caller(Guard((ip_network("127.0.0.0/8"),), lookup), 1.0, 65_536)
        slow = [call(caller, server.named(f"slow-{number}.test")) for number in range(40)]
        hanging = asyncio.gather(*slow, return_exceptions=True)
        assert (await call(caller, server.named("quick.test"))).status == 200
        assert {str(each) for each in await hanging} == {"could not be connected to within 1 s"}
        released.set()
        caller.close()

    with rough(lambda connection: connection.sendall(RESPONSE)) as server:
        asyncio.run(go(server))


async def call(caller: Caller, url: Url) -> ServerResponse:
    return await caller.call(Call("POST", url, {}, b"{}"), timeout_s=5)


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """For 127.0.0.1, signed by itself, with its key in one file."""
    path = tmp_path_factory.mktemp("tls") / "both.pem"
    options = "req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=127.0.0.1 -addext subjectAltName=IP:127.0.0.1"
    subprocess.run(
        ["openssl", *options.split(), "-keyout", path, "-out", f"{path}.crt"], check=True, capture_output=True
    )
    path.write_bytes(path.read_bytes() + Path(f"{path}.crt").read_bytes())
    return path


@pytest.mark.slow
@pytest.mark.parametrize(
    ("address", "known", "status"), [("127.0.0.1", True, 202), ("127.0.0.1", False, 503), ("127.0.0.2", True, 503)]
)
def test_tls_is_verified_against_the_name_and_the_authorities_of_the_installation(
    certificate: Path, address: str, known: bool, status: int
) -> None:
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(certificate)
    settings = {"SSL_CERT_FILE": f"{certificate}.crt"} if known else {}
    with receiving(address, context) as receiver, notifying(CALLBACK_URL=receiver.url, **settings) as notifier:
        response = notifier.post(sample())

    assert response.status_code == status
    assert len(receiver.calls) == (status == 202)
    assert ("certificate verify failed" in response.text.lower()) == (status == 503)


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_a_redirect_into_the_metadata_address_is_not_followed(receiver: Receiver, status: int) -> None:
    receiver.response = lambda handler: say(handler, status, location="http://169.254.169.254/latest/meta-data/")

    response = post(parsed(receiver.url))

    assert response.status == status
    assert len(receiver.calls) == 1


# secrets that change


@pytest.mark.slow
def test_a_secret_is_rotated_while_the_notifier_runs_and_a_wrong_one_changes_nothing(
    receiver: Receiver, tmp_path: Path
) -> None:
    file, new = tmp_path / "secrets", "whsec_" + base64.b64encode(b"the secret after the rotation").decode()
    file.write_text(f"{SECRET}\n")
    with notifying(CALLBACK_URL=receiver.url, CALLBACK_SECRETS="", CALLBACK_SECRETS_FILE=str(file)) as notifier:
        for number, text in enumerate((None, f"{new} {SECRET}", new, "whsec_half", "", None)):
            if text is not None:
                file.write_text(text)
            elif number:
                file.unlink()
            assert notifier.post(sample(id=str(number))).status_code == 202
        logged = notifier.log.read_text()

    verified = [
        [name for name, secret in (("old", SECRET), ("new", new)) if is_signed(call, secret)] for call in receiver.calls
    ]
    assert verified == [["old"], ["old", "new"], ["new"], ["new"], ["new"], ["new"]]
    assert "the last ones hold: CALLBACK_SECRETS" in logged
    assert "whsec_half" not in logged


def is_signed(call: Received, secret: str) -> bool:
    try:
        return bool(Webhook(secret).verify(call.body, call.headers))
    except WebhookVerificationError:
        return False


@pytest.mark.slow
def test_an_endpoint_that_is_added_while_the_notifier_runs_is_called(receiver: Receiver, tmp_path: Path) -> None:
    file = tmp_path / "endpoints"
    with notifying(CALLBACK_ENDPOINTS_FILE=str(file)) as notifier:
        notifier.post(sample(id="before"))
        file.write_text(endpoints({"url": receiver.url}))
        notifier.post(sample(id="after"))

    assert [call.headers["webhook-id"] for call in receiver.calls] == ["after"]


# the start


@pytest.mark.parametrize(
    ("setting", "value", "said"),
    [
        ("CALLBACK_PROFILE", "laravel", "CALLBACK_PROFILE must be one of standard, symfony-legacy, spatie"),
        ("CALLBACK_ENDPOINTS", "https://api.example", "CALLBACK_ENDPOINTS must be a JSON list"),
        ("CALLBACK_ENDPOINTS", endpoints({}), "missing required field `url`"),
        ("CALLBACK_ENDPOINTS", endpoints({"url": "ftp://a.example"}), "CALLBACK_ENDPOINTS $[0]: url must be an http"),
        ("CALLBACK_ENDPOINTS", endpoints({"url": "https://a.example", "profile": "laravel"}), "at `$[0].profile`"),
        ("CALLBACK_ENDPOINTS", endpoints({"url": "https://a.example", "secrets": ["whsec_short"]}), "$[0]: secret 1"),
        (
            "CALLBACK_ENDPOINTS",
            endpoints({"url": "https://a.example", "outcomes": ["lost"]}),
            "at `$[0].outcomes[0]`",
        ),
        ("CALLBACK_ENDPOINTS", endpoints({"url": "https://a.example", "job": "ics"}), "unknown field `job`"),
        ("CALLBACK_ENDPOINTS", endpoints({"url": "https://a.example", "rate": "9"}), "$[0]: rate must be a number of"),
        ("CALLBACK_RATE", "20 a minute", "CALLBACK_RATE must be a number of calls"),
        ("HANDSHAKE_ORIGIN", "https://errands.example/", "HANDSHAKE_ORIGIN must be a DNS name"),
        ("TIMEOUT_S", "0", "TIMEOUT_S must be greater than 0"),
        ("CALLS_LIMIT", "0", "CALLS_LIMIT must be at least 1"),
        ("ALLOWED_NETWORKS", "10.0.0.0/33", "ALLOWED_NETWORKS must hold networks like 10.0.0.0/8"),
        ("STORE_URL", "gopher://store", "STORE_URL must start with"),
    ],
)
def test_a_bad_setting_stops_the_start_and_is_named(
    monkeypatch: pytest.MonkeyPatch, setting: str, value: str, said: str
) -> None:
    for name, text in {"CALLBACK_SECRETS": SECRET, "STORE_URL": "memory:///", setting: value}.items():
        monkeypatch.setenv(name, text)

    with pytest.raises(SystemExit) as stopped:
        runpy.run_path(str(ROOT / "functions/notifier/main.py"))

    assert said in str(stopped.value)
    assert "whsec_short" not in str(stopped.value)
