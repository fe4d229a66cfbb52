"""The notifier as a real process (`python -m functions.runtime.serve`) against real HTTP receivers on this machine."""

import socket
import threading
import tomllib
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import replace
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler
from pathlib import Path

import httpx
import pytest
from standardwebhooks import Webhook, WebhookVerificationError

from events.http import STRUCTURED, read
from functions.net.caller import retry_after_s
from functions.net.signature import USER_AGENT, Signer
from tests.support.callback_peers import (
    NOW,
    OLD_SECRET,
    ROOT,
    SECRET,
    TRACEPARENT,
    Notifier,
    Receiver,
    lines,
    notifying,
    receiving,
    sample,
    say,
    start,
)


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with receiving() as running:
        yield running


@pytest.fixture(scope="module")
def everyday() -> Iterator[tuple[Notifier, Receiver]]:
    """One notifier with a default callback and a short patience, for all tests that need no other settings."""
    with ExitStack() as stack:
        receiver = stack.enter_context(receiving())
        origins = "http://127.0.0.2:*"
        yield (
            stack.enter_context(
                notifying(CALLBACK_URL=f"{receiver.url}/errands", ALLOWED_ORIGINS=origins, TIMEOUT_S="1")
            ),
            receiver,
        )


@pytest.fixture
def called(everyday: tuple[Notifier, Receiver]) -> Iterator[tuple[Notifier, Receiver]]:
    """That notifier, and a receiver of the test's own: a pause that one test earns is not another's."""
    with receiving("127.0.0.2") as receiver:
        yield replace(everyday[0], callback=f"{receiver.url}/errands?token=of-the-query"), receiver


@pytest.mark.parametrize("outcome", ["completed", "failed", "deadlettered"])
def test_a_last_event_becomes_one_signed_callback_of_the_same_event(
    called: tuple[Notifier, Receiver], outcome: str
) -> None:
    notifier, receiver = called
    event = sample(f"dev.errands.image.{outcome}.v1")

    response = notifier.post(event)

    assert (response.status_code, response.content) == (202, b"")
    [call] = receiver.calls
    assert call.headers["content-type"] == STRUCTURED
    assert call.headers["webhook-id"] == event.id
    assert Webhook(SECRET).verify(call.body, call.headers)["type"] == event.type
    assert read(call.headers, call.body) == event.with_attributes(callbackurl=str(notifier.callback))
    with pytest.raises(WebhookVerificationError):
        Webhook(OLD_SECRET).verify(call.body, call.headers)


def test_the_signature_is_that_of_the_standard_s_vector() -> None:
    signer = Signer.parse("standard", ["whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"], setting="CALLBACK_SECRETS")
    event = sample(id="msg_p5jXN8AQM9LWM0D4loKWxJek")

    made = signer.headers(event, b'{"test": 2432232314}', now=datetime.fromtimestamp(1614265330, UTC))

    assert made["webhook-timestamp"] == "1614265330"
    assert made["webhook-signature"] == "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="


@pytest.mark.slow
def test_while_a_secret_rotates_every_secret_signs(receiver: Receiver) -> None:
    with notifying(CALLBACK_SECRETS=f"{SECRET}, {OLD_SECRET}", CALLBACK_URL=receiver.url) as notifier:
        notifier.post(sample())

    [call] = receiver.calls
    assert len(call.headers["webhook-signature"].split(" ")) == 2
    for secret in (SECRET, OLD_SECRET):
        Webhook(secret).verify(call.body, call.headers)


def test_the_trace_context_goes_on_into_the_callback(called: tuple[Notifier, Receiver]) -> None:
    notifier, receiver = called

    notifier.post(sample(traceparent=TRACEPARENT, tracestate="shop=1"))

    [call] = receiver.calls
    assert (call.headers["traceparent"], call.headers["tracestate"]) == (TRACEPARENT, "shop=1")


@pytest.mark.parametrize("status", [302, 400, 401, 404, 500, 502])
def test_a_callback_that_fails_is_delivered_again_with_the_response_as_failure_report(
    called: tuple[Notifier, Receiver], status: int
) -> None:
    notifier, receiver = called
    receiver.response = lambda handler: say(handler, status, b"no such order", location=f"{receiver.url}/elsewhere")

    response = notifier.post(sample())

    assert response.status_code == 503
    assert response.json()["detail"] == f"callback {receiver.url}/errands answered {status}: no such order"
    assert [call.path.partition("?")[0] for call in receiver.calls] == ["/errands"]


@pytest.mark.parametrize("text", [b"x", b"\xff", "ü".encode(), b"\0"], ids=["ASCII", "not UTF-8", "UTF-8", "control"])
def test_the_start_of_a_long_response_fits_into_a_dead_letter(called: tuple[Notifier, Receiver], text: bytes) -> None:
    notifier, receiver = called
    receiver.response = lambda handler: say(handler, 422, text * 50_000)

    response = notifier.post(sample())

    assert 900 < len(response.content) <= 1_024  # of which the runner keeps all in knativeerrordata
    assert f"answered 422: {text.decode(errors='replace')}" in response.json()["detail"]


@pytest.mark.parametrize("status", [429, 503])
def test_a_busy_receiver_is_called_again_when_it_asks_to_be(called: tuple[Notifier, Receiver], status: int) -> None:
    notifier, receiver = called
    receiver.response = lambda handler: say(handler, status, retry_after="77")

    response = notifier.post(sample())

    assert (response.status_code, response.headers["retry-after"]) == (503, "77")


@pytest.mark.parametrize(
    ("value", "wait_s"),
    [
        ("120", 120),
        ("86400", 3_600),
        ("Sun, 22 Nov 2026 09:31:30 GMT", 90),
        ("Sun, 22 Nov 2026 09:31:30 -0000", 90),
        ("Sun, 22 Nov 2026 09:00:00 GMT", 0),
        ("Mon, 23 Nov 2026 09:00:00 GMT", 3_600),
        ("soon", None),
        ("-5", None),
        ("", None),
        (None, None),
    ],
)
def test_retry_after_is_read_in_both_forms_and_at_most_an_hour(value: str | None, wait_s: float | None) -> None:
    assert retry_after_s(value, now_s=NOW.timestamp()) == wait_s


@pytest.mark.parametrize(
    "value",
    [
        "9" * 5_000,
        "Sun, 22 Nov 99999999999999999999 09:00:00 GMT",
        f"Sun, 22 Nov {'9' * 5_000} 09:00:00 GMT",
        "Sun, 22 Nov 0001 00:00:00 +9999",
        "Sun, 22 Nov 2026 09:31:30 +99999999999",
        "Sun, 22 Nov 2026 99:99:99 GMT",
        "Sun, 22 Nov 9999 23:59:59 -9999",
        "\u0663",
        "\0",
        ",",
        " ".join("1" * 50),
    ],
)
def test_a_retry_after_of_any_form_is_a_bounded_wait_or_none(value: str) -> None:
    wait_s = retry_after_s(value, now_s=NOW.timestamp())

    assert wait_s is None or 0 <= wait_s <= 3_600


def test_a_receiver_that_is_gone_is_not_called_again(called: tuple[Notifier, Receiver]) -> None:
    notifier, receiver = called
    receiver.response = lambda handler: say(handler, 410)

    response = notifier.post(sample())

    assert (response.status_code, response.headers["errands-final"]) == (500, "1")
    assert "answered 410" in notifier.log.read_text()


@pytest.mark.slow
def test_a_receiver_that_is_down_is_called_again(receiver: Receiver) -> None:
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{closed.getsockname()[1]}/errands"
        with notifying(CALLBACK_URL=url) as notifier:
            response = notifier.post(sample())

    assert response.status_code == 503
    assert "cannot be reached" in response.json()["detail"]


@pytest.mark.slow
def test_a_receiver_that_does_not_answer_is_left_after_the_timeout(called: tuple[Notifier, Receiver]) -> None:
    notifier, receiver = called
    done = threading.Event()

    def ponder(handler: BaseHTTPRequestHandler) -> None:
        done.wait(60)
        say(handler, 204)

    receiver.response = ponder

    response = notifier.post(sample())
    done.set()

    assert response.status_code == 503
    assert response.json()["detail"].endswith("did not answer within 1 s")


@pytest.mark.slow
def test_a_receiver_that_accepts_and_then_dawdles_has_the_event(called: tuple[Notifier, Receiver]) -> None:
    notifier, receiver = called
    done = threading.Event()

    def dawdle(handler: BaseHTTPRequestHandler) -> None:
        handler.send_response(200)
        handler.send_header("content-length", "100")
        handler.end_headers()
        done.wait(60)

    receiver.response = dawdle

    response = notifier.post(sample())
    done.set()

    assert response.status_code == 202


@pytest.mark.parametrize(("status", "expected"), [(200, 202), (500, 503)])
def test_a_huge_response_is_not_read_to_its_end(called: tuple[Notifier, Receiver], status: int, expected: int) -> None:
    notifier, receiver = called
    written_bytes = []

    def flood(handler: BaseHTTPRequestHandler) -> None:
        handler.send_response(status)
        handler.end_headers()
        for _ in range(10_000):
            written_bytes.append(handler.wfile.write(b"x" * 65_536))

    receiver.response = flood

    response = notifier.post(sample())

    assert response.status_code == expected
    assert len(response.content) < 2_000
    assert sum(written_bytes) < 100_000_000


def test_two_callbacks_share_a_connection_and_no_cookie(called: tuple[Notifier, Receiver]) -> None:
    notifier, receiver = called
    receiver.response = lambda handler: say(handler, 200, b"thanks", set_cookie="session=1")

    notifier.post(sample())
    notifier.post(sample(id="another"))

    first, second = receiver.calls
    assert first.port == second.port
    assert "cookie" not in second.headers


@pytest.mark.slow
def test_a_private_address_is_refused_unless_it_is_allowed(receiver: Receiver) -> None:
    with notifying(CALLBACK_URL=receiver.url, ALLOWED_NETWORKS="") as notifier:
        response = notifier.post(sample())

    assert (response.status_code, response.headers["errands-final"]) == (500, "1")
    assert response.json()["type"].endswith("/callback-refused")
    assert "127.0.0.0/8 loopback" in response.json()["detail"]
    assert "ALLOWED_NETWORKS" in response.json()["detail"]
    assert receiver.calls == []


@pytest.mark.slow
def test_a_job_may_name_a_callback_of_an_allowed_origin(receiver: Receiver) -> None:
    with notifying(ALLOWED_ORIGINS=receiver.url) as notifier:
        response = notifier.post(sample(callbackurl=f"{receiver.url}/orders/1042?signature=of-the-job"))

    assert response.status_code == 202
    assert [call.path for call in receiver.calls] == ["/orders/1042?signature=of-the-job"]


@pytest.mark.parametrize(
    "callbackurl",
    [
        "https://elsewhere.example/",
        "https://127.0.0.1/",
        "http://127.0.0.1:1/",
        "http://shop@127.0.0.1/",
        "ftp://127.0.0.1/",
        "/errands",
        "http://[",
    ],
)
def test_a_callback_elsewhere_goes_to_the_default_with_a_warning(
    everyday: tuple[Notifier, Receiver], callbackurl: str
) -> None:
    notifier, receiver = everyday
    receiver.calls.clear()
    event = sample(callbackurl=callbackurl, id=f"to {callbackurl}")

    response = notifier.post(event)

    assert response.status_code == 202
    assert [call.path.partition("?")[0] for call in receiver.calls] == ["/errands"]
    assert any("CALLBACK_URL is called instead" in line and event.id in line for line in lines(notifier))


@pytest.mark.slow
def test_without_a_default_a_callback_elsewhere_becomes_a_dead_letter_and_none_at_all_a_warning(
    receiver: Receiver,
) -> None:
    with notifying() as notifier:
        elsewhere = notifier.post(sample(callbackurl=receiver.url))
        nowhere = notifier.post(sample())
        logged = lines(notifier)

    assert (elsewhere.status_code, nowhere.status_code) == (500, 202)
    assert "is not of an allowed origin" in elsewhere.json()["detail"]
    assert "ALLOWED_ORIGINS" in elsewhere.json()["detail"]
    assert elsewhere.headers["errands-final"] == "1"
    assert any('"WARNING"' in line and "nowhere to go" in line for line in logged)
    assert receiver.calls == []


@pytest.mark.parametrize("outcome", ["", "requested"])
def test_an_event_that_ends_no_job_is_kept_as_a_dead_letter(called: tuple[Notifier, Receiver], outcome: str) -> None:
    notifier, receiver = called
    event = sample("dev.errands.image.requested.v1", **({"outcome": outcome} if outcome else {}))

    response = notifier.post(event)

    assert response.status_code == 500
    assert response.json()["title"] == "Not an event"
    assert receiver.calls == []


def test_the_log_holds_neither_secrets_nor_queries(called: tuple[Notifier, Receiver]) -> None:
    notifier, receiver = called
    for status in (200, 410, 500):
        receiver.response = lambda handler, status=status: say(handler, status)  # type: ignore[misc]
        notifier.post(sample())
        notifier.post(sample(callbackurl="https://elsewhere.example/?token=of-the-query"))

    logged = notifier.log.read_text()
    assert f"{receiver.url}/errands" in logged
    assert "of-the-query" not in logged
    assert SECRET.removeprefix("whsec_") not in logged


def test_the_health_probe_is_answered(called: tuple[Notifier, Receiver]) -> None:
    response = httpx.get(f"{called[0].url}/healthz")

    assert (response.status_code, response.text) == (200, "ok\n")


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("CALLBACK_SECRETS", ""),
        ("CALLBACK_SECRETS", " , "),
        ("CALLBACK_SECRETS", SECRET.removeprefix("whsec_")),
        ("CALLBACK_SECRETS", "whsec_c2hvcnQtc2VjcmV0"),
        ("CALLBACK_SECRETS", f"{SECRET},whsec_not!base64-at-all-and-long-enough"),
        ("CALLBACK_URL", "api.example/errands"),
        ("ALLOWED_ORIGINS", "https://api.example/errands"),
    ],
)
def test_a_bad_setting_stops_the_start_and_is_named_but_not_shown(tmp_path: Path, name: str, value: str) -> None:
    process = start(tmp_path, 0, {"CALLBACK_SECRETS": SECRET, "STORE_URL": "memory:///", name: value})

    assert process.wait(60) == 1
    said = (tmp_path / "log").read_text()
    assert "this function cannot start" in said
    assert name in said
    if name == "CALLBACK_SECRETS" and len(value) > 3:
        assert value[-20:] not in said


def test_the_user_agent_has_the_version_of_the_distribution() -> None:
    version = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]

    assert f"Errands/{version}" == USER_AGENT
