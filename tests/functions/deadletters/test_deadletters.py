"""The dead-letter sink: through functions-framework, a real HTTP server in the broker's place; and killed."""

import base64
import json
import os
import resource
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from http.server import BaseHTTPRequestHandler
from pathlib import Path

import httpx
import pytest

from events.http import BODY_LIMIT_BYTES, STRUCTURED, Event, binary, read
from functions.deadletters.store import dead_letters, notices
from functions.runtime.adapter import system_clock
from tests.conftest import sample
from tests.support.database_servers import database_url, postgresql_server
from tests.support.dead_letter_store import NOW, DeadLetterStore, Kept
from tests.support.function_client import FunctionClient
from tests.support.http_server import http_server
from tests.support.local_runner import ROOT, until
from tests.support.ports import free_port

__all__ = ["database_url", "postgresql_server"]  # fixtures

MAIN = ROOT / "functions/deadletters/main.py"
TRACEPARENT = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
PING = Event({"specversion": "1.0", "id": "1", "source": "/ping", "type": "dev.knative.sources.ping"}, b"{}")
ADDED = {
    "knativeerrordest": "http://ics.svc.cluster.local",
    "knativeerrorcode": "503",
    "knativeerrortrigger": "ics",
    "knativeerrorattempts": "6",
}


@dataclass
class Broker:
    """A stand-in for the broker's ingress: what it was posted, and what it says to that."""

    url: str = ""
    status: int = 202
    told: list[tuple[str, Event]] = field(default_factory=list)  # the Authorization header, the event
    refuses: Callable[[Event], bool] = lambda event: False

    @property
    def events(self) -> list[Event]:
        """The events that it has taken."""
        return [event for _, event in self.told]

    def take(self, authorization: str, event: Event) -> int:
        """One request."""
        if self.refuses(event):
            return 400
        if self.status == 202:
            self.told.append((authorization, event))
        return self.status


@dataclass(frozen=True)
class Sink:
    """The function under test, with its store and its broker."""

    client: FunctionClient
    dead_letters: DeadLetterStore
    broker: Broker

    def post(self, event: Event) -> httpx.Response:
        """Deliver an event as the dispatcher does."""
        headers, body = binary(event)
        return self.client.post("/", content=body, headers=headers)

    def keep(self, event: Event) -> Kept:
        """Deliver an event and find its dead letter, the newest."""
        response = self.post(event)
        assert response.status_code == 202, response.text
        return self.dead_letters.list()[0]


@pytest.fixture
def broker() -> Iterator[Broker]:
    with serving() as broker:
        yield broker


@pytest.fixture
def start(monkeypatch: pytest.MonkeyPatch, database_url: str, broker: Broker) -> Callable[..., Sink]:
    """Starts the sink with an environment of its own."""

    def start(**environment: str) -> Sink:
        for name, value in {"DEADLETTERS_URL": database_url, "K_SINK": broker.url, **environment}.items():
            monkeypatch.setenv(name, value)
        return Sink(FunctionClient(MAIN), DeadLetterStore(database_url), broker)

    return start


@pytest.fixture
def sink(start: Callable[..., Sink]) -> Sink:
    return start()


def dead(job: str = "ics", **changes: str) -> Event:
    """A sample job as its dead letter comes, with these attributes changed."""
    event = read({"content-type": STRUCTURED}, json.dumps(sample(job)).encode())
    return event.with_attributes(**ADDED | changes)


def encoded(text: bytes) -> str:
    return base64.b64encode(text).decode()


def test_a_dead_letter_holds_the_event_whole_and_what_the_broker_said(sink: Sink) -> None:
    sent = dead(knativeerrordata=encoded(b"the function is down"), colour="blue")

    dead_letter = sink.keep(sent)

    kept = {name: value for name, value in sent.attributes.items() if not name.startswith("knativeerror")}
    assert (dict(dead_letter.event.attributes), dead_letter.event.data) == (kept, sent.data)
    assert (dead_letter.code, dead_letter.destination, dead_letter.trigger) == (
        503,
        "http://ics.svc.cluster.local",
        "ics",
    )
    assert (dead_letter.attempts, dead_letter.error, dead_letter.times, dead_letter.state) == (
        6,
        "the function is down",
        1,
        "open",
    )


def test_the_response_is_never_an_event(sink: Sink) -> None:
    responses = [sink.post(dead()), sink.post(PING), sink.client.post("/", content=b"no event")]

    assert [(response.status_code, response.content) for response in responses] == [(202, b"")] * 3
    assert not [name for response in responses for name in response.headers if name.lower().startswith("ce-")]


def test_the_same_dead_letter_twice_is_one_dead_letter_with_the_latest_reason(sink: Sink) -> None:
    first = sink.keep(dead(knativeerrordata=encoded(b"first")))
    second = sink.keep(dead(knativeerrordata=encoded(b"second"), knativeerrorcode="500"))

    assert len(sink.dead_letters.list()) == 1
    assert (second.id, second.times, second.error, second.code) == (first.id, 2, "second", 500)
    assert (second.first_seen, second.last_seen >= first.last_seen) == (first.first_seen, True)


def test_the_same_event_of_two_triggers_is_two_dead_letters(sink: Sink) -> None:
    sink.post(dead())
    sink.post(dead(knativeerrortrigger="audit"))

    assert [dead_letter.trigger for dead_letter in sink.dead_letters.list()] == ["audit", "ics"]


def test_a_dead_letter_that_comes_again_after_it_was_closed_is_open_again(sink: Sink) -> None:
    number = sink.keep(dead()).id
    with sink.dead_letters.database.transaction() as transaction:
        dead_letters.discard(transaction, number, now=system_clock())

    again = sink.keep(dead())

    assert (again.id, again.state, again.times) == (number, "open", 2)


@pytest.mark.parametrize(
    ("body", "headers"),
    [
        (b"", {}),
        (b"not an event", {"content-type": "text/plain"}),
        (b"{", {"content-type": STRUCTURED}),
        (b"\xff\x00\xfe", {"ce-specversion": "1.0", "ce-id": "1"}),
        (b"x" * BODY_LIMIT_BYTES, {}),
        (b"x" * (BODY_LIMIT_BYTES + 1), {}),
        (b"[" * 5_000_000, {"content-type": STRUCTURED}),
    ],
    ids=["empty", "text", "broken JSON", "an id only", "10 MiB", "more", "5 MB of nesting"],
)
def test_what_is_no_event_is_kept_with_the_reason(sink: Sink, body: bytes, headers: dict[str, str]) -> None:
    told = {"ce-knativeerrorcode": "500", "ce-knativeerrortrigger": "ics"}
    responses = [sink.client.post("/", content=body, headers={**headers, **told}).status_code for _ in range(2)]

    dead_letter = sink.dead_letters.list()[0]
    assert responses == [202, 202]
    assert (dead_letter.event.type, dead_letter.event.data, dead_letter.times) == ("dev.errands.unreadable", body, 2)
    assert (dead_letter.code, dead_letter.trigger) == (500, "ics")
    assert "expected" in dead_letter.error or "must be" in dead_letter.error or "required" in dead_letter.error
    assert sink.broker.events == []


def test_an_event_of_10_mib_is_kept_whole(sink: Sink) -> None:
    large = Event(dead().attributes, json.dumps({"text": "x" * (BODY_LIMIT_BYTES - 20)}).encode())

    dead_letter = sink.keep(large)

    assert dead_letter.event.data == large.data


def test_an_event_with_as_many_attributes_as_are_taken_keeps_them_as_a_dead_letter(sink: Sink) -> None:
    event = read({"content-type": STRUCTURED}, json.dumps(sample("ics")).encode())
    full = event.with_attributes(**{f"extra{number}": "1" for number in range(50 - len(event.attributes))})

    dead_letter = sink.keep(full.with_attributes(**ADDED))

    assert (dead_letter.event, dead_letter.code) == (full, 503)
    assert [event.attributes["jobid"] for event in sink.broker.events] == [full.id]


@pytest.mark.parametrize(
    ("data", "error"),
    [
        (encoded(b'{"title": "Bug", "detail": "the disk is full"}'), "the disk is full"),
        (encoded(b'{"error": "no detail here"}'), '{"error": "no detail here"}'),
        (encoded(b"plain text"), "plain text"),
        (encoded(b'{"detail": "cut in a dead letter \xc5"}'), '{"detail": "cut in a dead letter �"}'),
        (encoded(b'{"detail": ' + b"[" * 2_900), '{"detail": ' + "[" * 2_900),
        ("not base64", "not base64"),
        ("bm8=cGFkZGluZw", "bm8=cGFkZGluZw"),
        ("Łódź", "Łódź"),
        (encoded(b"\x1b[31mred\x00"), "\x1b[31mred�"),
    ],
    ids=["problem", "other JSON", "text", "cut", "deep", "no base64", "broken base64", "not ASCII", "control"],
)
def test_the_reason_is_read_as_far_as_it_can_be(sink: Sink, data: str, error: str) -> None:
    dead_letter = sink.keep(dead(knativeerrordata=data))

    assert dead_letter.error == error
    assert [json.loads(event.data)["error"] for event in sink.broker.events] == [error]


@pytest.mark.parametrize(
    ("told", "code", "attempts"),
    [
        ({"knativeerrorcode": "-1", "knativeerrorattempts": "1"}, -1, 1),
        ({"knativeerrorcode": "--5", "knativeerrorattempts": "many"}, 0, 0),
        ({"knativeerrorcode": "9" * 30, "knativeerrorattempts": "٣"}, 0, 0),
    ],
)
def test_figures_that_are_none_do_not_lose_the_dead_letter(
    sink: Sink, told: dict[str, str], code: int, attempts: int
) -> None:
    dead_letter = sink.keep(dead().with_attributes(**told))

    assert (dead_letter.code, dead_letter.attempts) == (code, attempts)


def test_what_a_database_would_not_take_in_the_brokers_own_commands_does_not_lose_the_dead_letter(sink: Sink) -> None:
    headers, body = binary(dead())
    headers |= {"ce-knativeerrortrigger": "a%00b", "ce-knativeerrordest": "http://[%00" + "x" * 5_000}

    response = sink.client.post("/", content=body, headers=headers)

    assert response.status_code == 202
    assert sink.dead_letters.list()[0].trigger == "a�b"


def test_a_dead_letter_of_a_broker_that_tells_nothing_is_kept(sink: Sink) -> None:
    """eventing-rabbitmq adds the destination and the code; another broker may add nothing at all."""
    event = read({"content-type": STRUCTURED}, json.dumps(sample("ics")).encode())

    dead_letter = sink.keep(event)

    assert (
        dead_letter.code,
        dead_letter.destination,
        dead_letter.trigger,
        dead_letter.attempts,
        dead_letter.error,
    ) == (0, "", "", None, "")
    assert "attempts" not in json.loads(sink.broker.events[0].data)


def test_the_api_hears_of_a_job_that_is_kept(sink: Sink) -> None:
    url, reason = "https://shop.example/callbacks", encoded(b'{"detail": "down"}')
    dead_letter = sink.keep(dead(callbackurl=url, traceparent=TRACEPARENT, knativeerrordata=reason))

    event, expected = sink.broker.events[0], sample("ics", "deadlettered")
    told = dict(event.attributes)
    assert told["type"] == expected["type"]
    assert (told["outcome"], told["source"]) == ("deadlettered", "/errands/ics")
    assert (told["jobid"], told["jobsource"], told["causationid"]) == (
        "order-1042-invite",
        "https://shop.example/orders",
        "order-1042-invite",
    )
    assert (told["subject"], told["callbackurl"], told["traceparent"]) == ("order-1042", url, TRACEPARENT)
    assert not [name for name in told if name.startswith("knativeerror")]
    destination = "http://ics.svc.cluster.local"
    data = {"letter": str(dead_letter.id), "code": 503, "destination": destination, "error": "down", "attempts": 6}
    assert json.loads(event.data) == data
    assert set(data) == set(expected["data"])


def test_the_event_for_the_api_has_the_same_id_each_time(sink: Sink) -> None:
    sink.post(dead())
    sink.post(dead())
    sink.post(dead(id="another"))

    first, second, other = (event.id for event in sink.broker.events)
    assert first == second != other


@pytest.mark.parametrize("phase", ["completed", "failed", "deadlettered"])
def test_a_dead_letter_that_is_no_request_breeds_no_event(sink: Sink, phase: str) -> None:
    event = read({"content-type": STRUCTURED}, json.dumps(sample("ics", phase)).encode())

    dead_letter = sink.keep(event.with_attributes(**ADDED | {"knativeerrortrigger": "notifier"}))

    assert dead_letter.trigger == "notifier"
    assert (sink.broker.events, sink.dead_letters.unsent()) == ([], [])


@pytest.mark.parametrize("next_event", [PING, dead(id="another")], ids=["ping", "dead letter"])
def test_while_the_broker_is_down_the_event_waits_for_the_next_ping_or_dead_letter(
    sink: Sink, next_event: Event
) -> None:
    sink.broker.status = 503
    response = sink.post(dead())
    waiting = sink.dead_letters.unsent()
    sink.broker.status = 202
    sink.post(next_event)

    assert response.status_code == 202
    assert [event.attributes["jobid"] for event in waiting] == ["order-1042-invite"]
    assert sink.broker.events[0] == waiting[0]
    assert sink.dead_letters.unsent() == []


@pytest.mark.parametrize("url", ["http://127.0.0.1:1/", "no-url", "http://[::1", "ftp://127.0.0.1/"])
def test_a_dead_letter_is_kept_and_taken_when_nobody_is_at_k_sink(start: Callable[..., Sink], url: str) -> None:
    sink = start(K_SINK=url)

    responses = [sink.post(dead(id=str(number))).status_code for number in range(3)]

    assert responses == [202, 202, 202]
    assert len(sink.dead_letters.unsent()) == 3


def test_an_event_that_the_broker_refuses_does_not_hold_back_those_behind_it(sink: Sink) -> None:
    sink.broker.refuses = lambda event: event.attributes["jobid"] == "refused"
    for id_ in ("refused", "second", "third"):
        sink.post(dead(id=id_))

    assert [event.attributes["jobid"] for event in sink.broker.events] == ["second", "third"]
    assert [event.attributes["jobid"] for event in sink.dead_letters.unsent()] == ["refused"]


def test_a_notice_that_was_put_off_before_the_clock_was_set_back_does_not_wait_for_the_clock(sink: Sink) -> None:
    sink.dead_letters.keep(dead(id="order-1"), now=NOW)
    with sink.dead_letters.database.transaction() as transaction:
        [notice] = notices.due(transaction, now=NOW)
        notices.refused(transaction, notice, "no Trigger wants it", now=NOW)

    def due(now: datetime) -> int:
        with sink.dead_letters.database.transaction(writes=False) as transaction:
            return len(notices.due(transaction, now=now))

    assert (due(NOW), due(NOW + timedelta(minutes=1)), due(NOW - timedelta(hours=2))) == (0, 1, 1)


def test_a_hundred_refused_events_leave_room_for_others(sink: Sink) -> None:
    sink.broker.refuses = lambda event: event.attributes["jobid"] != "good"
    for number in range(100):
        sink.dead_letters.keep(dead(id=f"refused-{number}"))
    sink.post(dead(id="good"))

    assert [event.attributes["jobid"] for event in sink.broker.events] == ["good"]
    assert len(sink.dead_letters.unsent()) == 100


@pytest.mark.parametrize("type_", ["dev.errands.a job.requested.v1", f"dev.{'x' * 4_070}.requested.v1", ".requested."])
def test_a_type_that_leads_to_no_event_is_kept_and_stops_nothing(sink: Sink, type_: str) -> None:
    odd = sink.keep(dead(type=type_))
    sink.post(dead())

    assert odd.event.type == type_
    assert "dev.errands.ics.deadlettered.v1" in [event.type for event in sink.broker.events]
    assert sink.post(PING).status_code == 202


def test_a_broker_that_asks_for_a_token_gets_it(start: Callable[..., Sink]) -> None:
    sink = start(K_SINK_TOKEN="a-token-of-enough-characters")

    sink.post(dead())

    assert sink.broker.told[0][0] == "Bearer a-token-of-enough-characters"


def test_a_store_that_cannot_be_written_answers_503_until_it_can(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, broker: Broker
) -> None:
    store = tmp_path / "deadletters.db"
    monkeypatch.setenv("DEADLETTERS_URL", f"sqlite:///{store}")
    monkeypatch.setenv("K_SINK", broker.url)
    client = FunctionClient(MAIN)
    headers, body = binary(dead())

    store.mkdir()
    refused = client.post("/", content=body, headers=headers)
    store.rmdir()
    taken = client.post("/", content=body, headers=headers)

    assert (refused.status_code, taken.status_code) == (503, 202)
    assert refused.headers["Retry-After"]
    assert DeadLetterStore(f"sqlite:///{store}").list()[0].times == 1


@pytest.mark.slow
def test_a_full_disk_is_answered_503_and_what_was_taken_before_is_there(tmp_path: Path, broker: Broker) -> None:
    """The kernel refuses writes beyond the limit, as it does on a full disk, until there is room again."""
    port, store = free_port(), tmp_path / "letters.db"
    room_bytes, responses = 400_000, dict[str, int]()
    environment = process_environment(f"sqlite:///{store}", broker.url, port)
    DeadLetterStore(f"sqlite:///{store}").list()
    large = json.dumps({"text": "x" * 20_000}).encode()
    with (
        process(environment) as sink,
        httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=60) as client,
    ):
        until(lambda: responses_at(client), what="the sink")
        limit_files(sink.pid, room_bytes)
        for number in range(40):
            headers, _ = binary(dead(id=str(number)))
            responses[str(number)] = client.post("/", content=large, headers=headers).status_code
        full = DeadLetterStore(f"sqlite:///{store}").list()
        limit_files(sink.pid, -1)
        after = client.post("/", content=large, headers=binary(dead(id="after"))[0]).status_code

    taken = {number for number, status in responses.items() if status == 202}
    assert set(responses.values()) == {202, 503}
    assert {each.event.id for each in full} == taken
    assert after == 202


def test_the_probe_and_a_browser_are_answered_and_nothing_is_kept(sink: Sink) -> None:
    probe, page = sink.client.get("/healthz"), sink.client.get("/")

    assert (probe.status_code, probe.text) == (200, "ok\n")
    assert page.status_code == 200
    assert sink.dead_letters.list() == []


@pytest.mark.parametrize("missing", ["DEADLETTERS_URL", "K_SINK"])
def test_a_missing_setting_stops_the_start_with_one_line_that_names_it(tmp_path: Path, missing: str) -> None:
    environment = process_environment(f"sqlite:///{tmp_path}/letters.db", "http://127.0.0.1:1/", free_port())
    del environment[missing]

    ended = subprocess.run(
        [sys.executable, "-m", "functions.runtime.serve"],
        env=environment,
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )

    assert ended.returncode == 1
    assert ended.stderr.splitlines() == [f"this function cannot start: {missing} is required and is not set"]


@pytest.mark.slow
def test_sixty_four_threads_at_once_keep_every_dead_letter_of_a_new_store_and_tell_of_each(sink: Sink) -> None:
    def deliver(number: int) -> int:
        headers, body = binary(dead(id=str(number % 160)))
        return sink.client.post("/", content=body, headers=headers).status_code

    with ThreadPoolExecutor(64) as pool:
        responses = list(pool.map(deliver, range(320)))
    sink.post(PING)

    kept = sink.dead_letters.list()
    assert set(responses) == {202}
    assert {dead_letter.event.id: dead_letter.times for dead_letter in kept} == {
        str(number): 2 for number in range(160)
    }
    assert {event.attributes["jobid"] for event in sink.broker.events} == set(map(str, range(160)))
    assert sink.dead_letters.unsent() == []


@pytest.mark.slow
def test_kill_9_loses_no_dead_letter_that_was_answered_and_keeps_none_twice(database_url: str, broker: Broker) -> None:
    """Eight threads send 1,000 dead letters and repeat what was not answered 202, while the sink is killed three
    times.
    """
    port = free_port()
    environment = process_environment(database_url, broker.url, port)
    box, answered = DeadLetterStore(database_url), set[str]()
    with ThreadPoolExecutor(8) as pool, httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=60) as client:
        sending = [pool.submit(deliver_until_taken, client, str(number), answered) for number in range(1_000)]
        for count in (200, 500, 800):
            with process(environment) as sink:
                until(lambda count=count: len(answered) >= count, what=f"{count} dead letters")  # type: ignore[misc]
                os.killpg(sink.pid, signal.SIGKILL)
                sink.wait()
            promised = set(answered)
            assert promised <= {dead_letter.event.id for dead_letter in box.list()}
        with process(environment) as sink:
            for each in sending:
                each.result(60)
            deliver_until_taken(client, "0", answered)  # its answer got lost, say
            headers, body = binary(PING)  # as each minute: what was written while another thread sent goes out with it
            until(lambda: client.post("/", content=body, headers=headers) and not box.unsent(), what="every notice")

    kept = [dead_letter.event.id for dead_letter in box.list()]
    assert sorted(kept) == sorted(map(str, range(1_000)))
    assert all(dead_letter.times >= 1 for dead_letter in box.list())
    assert {event.attributes["jobid"] for event in broker.events} == set(kept)


HELLO = b"5\r\nhello\r\n"
CHUNKED = "transfer-encoding: chunked"


@pytest.mark.parametrize(
    ("headers", "body"),
    [
        ([CHUNKED], HELLO + b"not a length\r\n"),
        ([CHUNKED], HELLO),
        (["content-length: 100"], b"hello"),
        ([CHUNKED, f"ce-long: {'x' * 120_000}"], HELLO + b"0\r\n\r\n"),
        ([CHUNKED, *(f"ce-many{number}: x" for number in range(900))], HELLO + b"0\r\n\r\n"),
    ],
    ids=["a broken chunk", "no last chunk", "a body cut short", "a long header", "many headers"],
)
def test_whatever_is_wrong_with_a_request_its_body_is_kept_as_far_as_it_came(
    served: tuple[int, DeadLetterStore], headers: list[str], body: bytes
) -> None:
    port, box = served
    head = "\r\n".join(["POST / HTTP/1.1", "host: sink", *headers, "\r\n"]).encode()

    with socket.create_connection(("127.0.0.1", port), timeout=60) as connection:
        connection.sendall(head + body)
        connection.shutdown(socket.SHUT_WR)
        response = connection.recv(65_536)

    assert response.startswith(b"HTTP/1.1 202 ")
    assert box.list()[0].event.data == b"hello"


def test_a_dead_letter_whose_sender_hangs_up_is_kept(served: tuple[int, DeadLetterStore]) -> None:
    port, box = served
    headers, body = binary(dead(id="hangs up"))
    lines = [f"{name}: {value}" for name, value in headers.items()]
    head = "\r\n".join(["POST / HTTP/1.1", "host: sink", *lines, f"content-length: {len(body)}", "\r\n"]).encode()

    with socket.create_connection(("127.0.0.1", port), timeout=60) as connection:
        connection.sendall(head + body)

    until(lambda: any(dead_letter.event.id == "hangs up" for dead_letter in box.list()), what="the dead letter")


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[int, DeadLetterStore]]:
    """The sink's port, and its dead letters."""
    url, port = f"sqlite:///{tmp_path_factory.mktemp('served')}/letters.db", free_port()
    with process(process_environment(url, "http://127.0.0.1:1/", port)):
        with httpx.Client(base_url=f"http://127.0.0.1:{port}") as client:
            until(lambda: responses_at(client), what="the sink")
        yield port, DeadLetterStore(url)


def deliver_until_taken(client: httpx.Client, id_: str, answered: set[str]) -> None:
    """A dispatcher that repeats a dead letter until its sink has taken it."""
    headers, body = binary(dead(id=id_))

    def taken() -> bool:
        with suppress(httpx.TransportError):
            return client.post("/", content=body, headers=headers).status_code == 202
        return False

    until(taken, what=f"the answer to dead letter {id_}")
    answered.add(id_)


@contextmanager
def process(environment: dict[str, str]) -> Iterator["subprocess.Popen[bytes]"]:
    """The sink as it runs in its container."""
    with subprocess.Popen(
        [sys.executable, "-m", "functions.runtime.serve"],
        env=environment,
        cwd=ROOT,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    ) as sink:
        try:
            yield sink
        finally:
            with suppress(ProcessLookupError):
                os.killpg(sink.pid, signal.SIGKILL)


def responses_at(client: httpx.Client) -> bool:
    with suppress(httpx.TransportError):
        return client.get("/healthz").status_code == 200
    return False


def limit_files(pid: int, size_bytes: int) -> None:
    """How large a file the process and its children may write; -1 is without a limit."""
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    for each in (pid, *map(int, children)):
        resource.prlimit(each, resource.RLIMIT_FSIZE, (size_bytes, -1))


def process_environment(database_url: str, broker_url: str, port: int) -> dict[str, str]:
    own = {"FUNCTION_SOURCE": str(MAIN), "FUNCTION_TARGET": "handle", "PYTHONPATH": str(ROOT), "THREADS": "8"}
    server = {"PORT": str(port), "HOST": "127.0.0.1", "DEADLETTERS_URL": database_url, "K_SINK": broker_url}
    return {"PATH": os.environ["PATH"], **own, **server}


@contextmanager
def serving() -> Iterator[Broker]:
    """A real HTTP server in the broker's place."""
    broker = Broker()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["content-length"]))
            self.send_response(broker.take(self.headers.get("authorization", ""), read(dict(self.headers), body)))
            self.end_headers()

    with http_server(Handler) as url:
        broker.url = f"{url}/"
        yield broker
