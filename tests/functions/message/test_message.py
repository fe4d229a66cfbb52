"""The message function, whole, against a real mail server (aiosmtpd) on this machine."""

import asyncio
import json
import os
import socket
import ssl
import subprocess
import sys
import threading
from base64 import b64encode
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from email import message_from_bytes, policy
from email.headerregistry import Address
from email.message import EmailMessage
from pathlib import Path
from typing import Any, cast

import icalendar
import msgspec
import pytest
from aiosmtpd.controller import Controller
from aiosmtpd.smtp import SMTP, AuthResult, Envelope, LoginPassword, Session

from events.http import STRUCTURED, Event, binary, read
from events.problem import NotNow, TryAgain
from events.types import MessageCompleted, MessageRequested
from functions.message.delivery import MailDelivery
from functions.message.email_message import Mail, Parts, compose, read_sender
from functions.message.progress import MailRecipients
from functions.message.relay import MaybeSent, Relay
from functions.message.templates import Filled, Templating
from functions.runtime.adapter import reply_event
from functions.sandbox.sandbox import ResourceLimits, Sandbox
from functions.storage.ledger import ReplyLedger
from functions.storage.store import Store
from tests.support.callback_peers import Receiver, receiving, say
from tests.support.function_client import FunctionClient
from tests.support.ports import free_port

ROOT = Path(__file__).parents[3]
PASSWORD = "the password of the tests"
COMPLETED = MessageCompleted(message_id="<1@shop.example>", accepted=("lee@client.example",))
CRASHING = """
import os, sys
from functions.storage.ledger import ReplyLedger
from tests.support.function_client import FunctionClient
ReplyLedger.record = lambda *arguments: os._exit(9)
client = FunctionClient("functions/message/main.py")
client.post("/", headers={"content-type": "application/cloudevents+json"}, content=sys.stdin.buffer.read())
"""


@dataclass
class MailServer:
    """An aiosmtpd handler that keeps what it accepts and answers as a test wants."""

    port: int = 0
    mails: list[bytes] = field(default_factory=list)
    envelopes: list[tuple[str | None, list[str]]] = field(default_factory=list)
    encrypted: list[bool] = field(default_factory=list)
    sender_response: str | None = None
    recipient_responses: dict[str, str] = field(default_factory=dict)
    recipients_limit: tuple[int, str] | None = None  # in one transaction, and what it says to one more
    data_response: Callable[[SMTP], str] = lambda server: "250 2.0.0 accepted"
    data_began: threading.Event = field(default_factory=threading.Event)
    data_goes_on: threading.Event = field(default_factory=threading.Event)

    async def handle_MAIL(  # noqa: N802  # the name that aiosmtpd calls
        self, server: SMTP, session: Session, envelope: Envelope, address: str, options: list[str]
    ) -> str:
        if self.sender_response:
            return self.sender_response
        envelope.mail_from = address
        return "250 OK"

    async def handle_RCPT(  # noqa: N802  # as above
        self, server: SMTP, session: Session, envelope: Envelope, address: str, options: list[str]
    ) -> str:
        response = self.recipient_responses.get(address, "250 OK")
        if self.recipients_limit and response.startswith("250") and len(envelope.rcpt_tos) == self.recipients_limit[0]:
            return self.recipients_limit[1]
        if response.startswith("250"):
            envelope.rcpt_tos.append(address)
        return response

    async def handle_DATA(self, server: SMTP, session: Session, envelope: Envelope) -> str:  # noqa: N802  # as above
        self.data_began.set()
        await asyncio.get_running_loop().run_in_executor(None, self.data_goes_on.wait, 20)
        response = self.data_response(server)
        if response.startswith("250"):
            self.mails.append(cast(bytes, envelope.original_content))
            self.envelopes.append((envelope.mail_from, envelope.rcpt_tos))
            self.encrypted.append(cast(asyncio.Transport, server.transport).get_extra_info("sslcontext") is not None)
        return response

    def refuse_senders(self, response: str) -> str:
        """Take this mail, and none after it."""
        self.sender_response = response
        return "250 accepted"

    @property
    def parsed(self) -> list[EmailMessage]:
        return [message_from_bytes(each, policy=policy.SMTPUTF8) for each in self.mails]


Serving = Callable[..., MailServer]


@pytest.fixture
def serving() -> Iterator[Serving]:
    """Start mail servers with the options of aiosmtpd's Controller; all of them stop with the test."""
    controllers: list[Controller] = []

    def serve(**options: Any) -> MailServer:
        server = MailServer(free_port())
        server.data_goes_on.set()
        controllers.append(Controller(server, "127.0.0.1", server.port, **options))
        controllers[-1].start()
        return server

    yield serve
    for each in controllers:
        each.stop()


@pytest.fixture
def server(serving: Serving) -> MailServer:
    return serving()


class Client:
    """The function as functions-framework loads it."""

    def __init__(self) -> None:
        self._client = FunctionClient(ROOT / "functions/message/main.py")

    def post(self, event: Event) -> Any:
        headers, body = binary(event)
        return self._client.post("/", headers=headers, content=body)

    def reply(self, event: Event) -> Event:
        response = self.post(event)
        assert response.status_code == 200, response.text
        return read(dict(response.headers), response.content)


Starting = Callable[..., Client]


@pytest.fixture
def starting(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Starting:
    """Start the function with a mail server and the test's own store."""

    def start(port: int, **settings: str) -> Client:
        for name, value in (environment(port, tmp_path) | settings).items():
            monkeypatch.setenv(name, value)
        return Client()

    return start


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> "Clock":
    made = Clock()
    monkeypatch.setattr("functions.runtime.adapter.system_clock", made)
    return made


@dataclass
class Clock:
    """The present, moved by hand."""

    ahead_s: float = 0

    def __call__(self) -> datetime:
        return datetime.now(UTC) + timedelta(seconds=self.ahead_s)


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A certificate for 127.0.0.1 that signs itself, its key in the same file."""
    made = tmp_path_factory.mktemp("tls") / "both.pem"
    subject = ["-subj", "/CN=127.0.0.1", "-addext", "subjectAltName=IP:127.0.0.1"]
    command = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", *subject]
    subprocess.run([*command, "-keyout", str(made), "-out", f"{made}.crt"], check=True, capture_output=True)
    made.write_text(made.read_text() + Path(f"{made}.crt").read_text())
    return made


def tls(certificate: Path) -> ssl.SSLContext:
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(certificate)
    return context


def environment(port: int, folder: Path) -> dict[str, str]:
    return {
        "SMTP_HOST": "127.0.0.1",
        "SMTP_PORT": str(port),
        "SMTP_SECURITY": "none",
        "SENDER": "Müller & Söhne <post@shop.example>",
        "STORE_URL": f"file://{folder}/store",
    }


def sample(**changes: object) -> Event:
    """The sample of the contract with other fields in its data."""
    text = (ROOT / "events/samples/dev.errands.message.requested.v1.json").read_bytes()
    event = read({"content-type": STRUCTURED}, text)
    return Event(event.attributes, msgspec.json.encode({**msgspec.json.decode(event.data), **changes}))


def data(event: Event) -> dict[str, Any]:
    return cast(dict[str, Any], msgspec.json.decode(event.data))


def text_of(mail: EmailMessage, *kinds: str) -> str:
    part = mail.get_body(kinds)
    assert part is not None
    return cast(str, part.get_content())


def test_the_sample_becomes_the_e_mail_that_was_asked_for(server: MailServer, starting: Starting) -> None:
    event = sample()
    asked = data(event)

    reply = starting(server.port).reply(event)

    [mail] = server.parsed
    assert (mail["To"], mail["Subject"]) == ("lee@client.example", asked["subject"])
    assert mail["From"] == "Müller & Söhne <post@shop.example>"
    assert mail["Date"].datetime == datetime(2026, 11, 22, 9, 30, tzinfo=UTC)
    assert text_of(mail, "plain").replace("\r\n", "\n") == asked["text"]
    assert text_of(mail, "html").strip() == asked["html"]
    assert server.envelopes == [("post@shop.example", ["lee@client.example"])]
    assert reply.type == "dev.errands.message.completed.v1"
    assert data(reply) == {"message_id": mail["Message-ID"], "accepted": ["lee@client.example"]}


def test_a_job_delivered_twice_is_one_e_mail_and_the_same_reply(server: MailServer, starting: Starting) -> None:
    client = starting(server.port)

    replies = [client.reply(sample()), client.reply(sample())]

    assert replies[0] == replies[1]
    assert len(server.mails) == 1


def test_a_job_delivered_while_it_is_sent_is_tried_again_later(server: MailServer, starting: Starting) -> None:
    client = starting(server.port)
    server.data_goes_on.clear()
    with ThreadPoolExecutor() as pool:
        first = pool.submit(client.reply, sample())
        assert server.data_began.wait(60)

        second = client.post(sample())
        server.data_goes_on.set()
        reply = first.result()

    assert (second.status_code, second.headers["errands-not-now"]) == (503, "1")
    assert 1 <= int(second.headers["retry-after"]) <= 45
    assert client.reply(sample()) == reply
    assert len(server.mails) == 1


def test_a_job_delivered_eight_times_at_once_is_one_e_mail(server: MailServer, starting: Starting) -> None:
    client = starting(server.port)
    with ThreadPoolExecutor(8) as pool:
        responses = list(pool.map(client.post, [sample()] * 8))

    assert {response.status_code for response in responses} <= {200, 503}
    assert {response.headers["ce-id"] for response in responses if response.status_code == 200} == {
        client.reply(sample()).id
    }
    assert len(server.mails) == 1


@pytest.mark.slow
def test_a_crash_after_the_server_s_acceptance_sends_again_with_the_same_message_id(
    server: MailServer, starting: Starting, clock: Clock, tmp_path: Path
) -> None:
    event = (ROOT / "events/samples/dev.errands.message.requested.v1.json").read_bytes()
    given = {**os.environ, **environment(server.port, tmp_path), "PYTHONPATH": str(ROOT)}
    crashed = subprocess.run([sys.executable, "-c", CRASHING], cwd=ROOT, env=given, input=event, check=False)
    assert (crashed.returncode, len(server.mails)) == (9, 1)
    client = starting(server.port)

    clock.ahead_s = 5
    during = client.post(sample())
    clock.ahead_s = 60
    after = client.reply(sample())

    assert during.status_code == 503
    assert 1 <= int(during.headers["retry-after"]) <= 40
    assert data(after)["accepted"] == ["lee@client.example"]
    assert len(server.mails) == 2
    assert server.mails[0] == server.mails[1]
    assert client.reply(sample()) == after


def test_a_claim_that_has_run_out_is_taken_over_by_one_delivery_only(
    server: MailServer, starting: Starting, clock: Clock
) -> None:
    server.data_response = disconnect
    client = starting(server.port)
    assert client.post(sample()).status_code == 503
    clock.ahead_s = 60
    server.data_response = lambda server: "250 accepted"

    with ThreadPoolExecutor(8) as pool:
        responses = list(pool.map(client.post, [sample()] * 8))

    assert {response.status_code for response in responses} <= {200, 503}
    assert len(server.mails) == 1


def test_a_connection_lost_before_the_response_waits_for_the_lease(
    server: MailServer, starting: Starting, clock: Clock
) -> None:
    server.data_response = disconnect
    client = starting(server.port)

    first = client.post(sample())
    server.data_response = lambda server: "250 accepted"
    second = client.post(sample())
    clock.ahead_s = 46
    third = client.post(sample())

    assert (first.status_code, first.headers["retry-after"]) == (503, "45")
    assert [second.status_code, third.status_code] == [503, 200]
    assert len(server.mails) == 1


def disconnect(server: SMTP) -> str:
    server.transport.abort()  # type: ignore[union-attr]  # there is one while data comes
    return "450 never heard"


def test_a_late_delivery_does_not_send_what_another_has_recorded_meanwhile(tmp_path: Path) -> None:
    store = Store(f"file://{tmp_path}")
    ledger, began_at = ReplyLedger(store), datetime(2026, 11, 22, 9, 30, tzinfo=UTC)
    delivery, sent = MailDelivery(store, ledger, lease_s=45), []
    delivery.send_once(sample(), lambda: sent.append("first"), now=began_at)
    ledger.record(sample(), reply_event(sample(), "dev.errands.message.completed.v1", COMPLETED, now=began_at))

    with pytest.raises(TryAgain, match="another delivery has done this job"):
        delivery.send_once(sample(), lambda: sent.append("second"), now=began_at + timedelta(minutes=5))

    assert sent == ["first"]


@pytest.mark.parametrize(("later", "held"), [(-3_600, False), (-46, False), (-44, True), (44, True), (46, False)])
def test_a_claim_holds_for_its_lease_wherever_the_clock_is_set(later: int, held: bool, tmp_path: Path) -> None:
    store, began_at = Store(f"file://{tmp_path}"), datetime(2026, 11, 22, 9, 30, tzinfo=UTC)
    delivery = MailDelivery(store, ReplyLedger(store), lease_s=45)
    delivery.send_once(sample(), lambda: None, now=began_at)  # and died before its record
    at, sent = began_at + timedelta(seconds=later), list[str]()

    with pytest.raises(NotNow, match="another delivery is sending") if held else nullcontext():
        delivery.send_once(sample(), lambda: sent.append("again"), now=at)

    assert sent == ([] if held else ["again"])


def test_recipients_refused_for_good_are_named_and_the_others_get_the_e_mail(
    server: MailServer, starting: Starting
) -> None:
    server.recipient_responses = {"gone@client.example": "550 5.1.1 no such user"}

    reply = starting(server.port).reply(sample(to=["lee@client.example", "gone@client.example"]))

    assert data(reply)["accepted"] == ["lee@client.example"]
    assert data(reply)["refused"] == ["gone@client.example"]
    assert server.envelopes == [("post@shop.example", ["lee@client.example"])]


def test_a_message_whose_recipients_are_all_refused_has_failed_with_the_server_s_words(
    server: MailServer, starting: Starting
) -> None:
    server.recipient_responses = {"lee@client.example": "550 5.1.1 no such user"}
    client = starting(server.port)

    reply = client.reply(sample())

    assert reply.type == "dev.errands.message.failed.v1"
    assert data(reply)["type"] == "https://errands.dev/problems/refused"
    assert data(reply)["detail"] == "the server refused every recipient: 550 5.1.1 no such user"
    assert client.reply(sample()) == reply


@pytest.mark.parametrize(
    "words", ["452 4.5.3 too many recipients", "452 too many recipients", "552 5.5.3 too many recipients"]
)
def test_a_server_that_takes_two_recipients_at_once_gets_the_message_in_parts_and_each_once(
    server: MailServer, starting: Starting, words: str
) -> None:
    server.recipients_limit = 2, words
    asked = [f"{name}@client.example" for name in ("kim", "lee", "gone", "max", "zoe", "eva")]
    server.recipient_responses = {"gone@client.example": "550 5.1.1 no such user"}

    reply = starting(server.port).reply(sample(to=asked))

    assert [recipients for _, recipients in server.envelopes] == [[*asked[:2]], [*asked[3:5]], [asked[5]]]
    assert data(reply)["accepted"] == [*asked[:2], *asked[3:]]
    assert data(reply)["refused"] == ["gone@client.example"]
    assert len(set(server.mails)) == 1


@pytest.mark.slow
def test_the_mail_server_gets_so_many_mails_as_are_set_and_what_is_over_is_not_now(
    server: MailServer, starting: Starting
) -> None:
    client = starting(server.port, SMTP_RATE="2/h", TARGETS='{"ops": "json://127.0.0.1:9/"}')
    first, second, again = (client.post(sample().with_attributes(id=each)) for each in ("first", "second", "first"))
    notification = sample(to=[], target="ops").with_attributes(id="third")

    assert (first.status_code, second.status_code, again.status_code) == (200, 503, 200)
    assert second.headers["errands-not-now"] == "1"
    assert 1_700 < int(second.headers["retry-after"]) <= 1_800
    assert "the mail server 127.0.0.1:" in second.json()["detail"]
    assert len(server.mails) == 1
    assert "errands-not-now" not in client.post(notification).headers  # the rate is the mail server's


def test_a_rate_that_is_none_stops_the_start(starting: Starting) -> None:
    with pytest.raises(SystemExit, match="SMTP_RATE must be a number of calls"):
        starting(25, SMTP_RATE="thirty")


@pytest.mark.parametrize("step", ["recipient", "data", "sender"])
def test_a_part_that_has_to_wait_is_sent_later_to_those_who_are_left(
    server: MailServer, starting: Starting, step: str
) -> None:
    server.recipients_limit = 1, "452 4.5.3 too many recipients"
    asked, client = [f"{name}@client.example" for name in ("kim", "lee", "max")], starting(server.port)
    if step == "recipient":
        server.recipient_responses = {"lee@client.example": "451 4.7.1 greylisted"}
    elif step == "data":
        server.data_response = lambda server_: "250 accepted" if not server.mails else "452 4.3.1 disk full"
    else:
        server.data_response = lambda server_: server.refuse_senders("451 4.3.0 busy")

    first = client.post(sample(to=asked))
    server.recipient_responses, server.sender_response = {}, None
    server.data_response = lambda server: "250 accepted"
    second = client.reply(sample(to=asked))

    assert (first.status_code, first.headers["errands-not-now"]) == (503, "1")
    assert [recipients for _, recipients in server.envelopes] == [[each] for each in asked]
    assert data(second)["accepted"] == asked


def test_a_part_that_is_refused_for_good_refuses_those_who_are_left_alone(
    server: MailServer, starting: Starting
) -> None:
    server.recipients_limit = 1, "452 4.5.3 too many recipients"
    server.data_response = lambda server_: server.refuse_senders("554 5.7.1 enough of you")

    reply = starting(server.port).reply(sample(to=["kim@client.example", "lee@client.example"]))

    assert (data(reply)["accepted"], data(reply)["refused"]) == (["kim@client.example"], ["lee@client.example"])


@pytest.mark.parametrize("words", ["452 4.2.2 mailbox full", "452 4.3.1 disk full"])
def test_a_452_that_is_not_for_their_number_holds_the_message_back(
    server: MailServer, starting: Starting, words: str
) -> None:
    server.recipients_limit = 1, words

    response = starting(server.port).post(sample(to=["kim@client.example", "lee@client.example"]))

    assert (response.status_code, server.mails) == (503, [])


def test_who_has_the_message_and_cannot_be_noted_is_in_doubt_for_the_lease(server: MailServer) -> None:
    server.recipients_limit = 1, "452 4.5.3 too many recipients"
    kim = Address(username="kim", domain="client.example")
    mail = Mail(
        message_id="<1@client.example>",
        return_path=kim,
        recipients={"kim@client.example": "kim", "lee@client.example": "lee"},
        content=b"Subject: x\r\n\r\nx\r\n",
        needs_smtputf8=False,
    )

    with pytest.raises(MaybeSent, match="cannot be noted: the store is down"):
        Relay("127.0.0.1", server.port, "none", None, None, 5).send(mail, NoStore())

    assert len(server.mails) == 1


class NoStore:
    """A store that is down when something is to be noted."""

    def read(self) -> MailRecipients:
        return MailRecipients()

    def note(self, _recipients: MailRecipients) -> None:
        raise TryAgain("the store is down")


@pytest.mark.parametrize("step", ["sender", "data"])
def test_a_message_refused_with_5xx_has_failed(server: MailServer, starting: Starting, step: str) -> None:
    if step == "sender":
        server.sender_response = "554 5.7.1 not from you"
    else:
        server.data_response = lambda server: "554 5.7.1 not from you"

    reply = starting(server.port).reply(sample())

    assert data(reply)["detail"] == "the server refused the message: 554 5.7.1 not from you"


@pytest.mark.parametrize("step", ["sender", "recipient", "data", "authentication"])
def test_a_message_not_taken_now_is_tried_again_at_once_and_sent_once(
    server: MailServer, starting: Starting, step: str
) -> None:
    client = starting(server.port)
    if step == "recipient":
        server.recipient_responses = {"lee@client.example": "451 4.7.1 greylisted"}
    elif step == "data":
        server.data_response = lambda server: "452 4.3.1 disk full"
    else:
        server.sender_response = "451 4.3.0 busy" if step == "sender" else "530 5.7.0 authenticate first"

    first = client.post(sample(to=["kim@client.example", "lee@client.example"]))
    server.recipient_responses, server.sender_response = {}, None
    server.data_response = lambda server: "250 accepted"
    second = client.post(sample(to=["kim@client.example", "lee@client.example"]))

    assert (first.status_code, second.status_code) == (503, 200)
    assert ("errands-not-now" in first.headers) == (step != "authentication")  # which is the operator's to mend
    assert len(server.mails) == 1


def test_a_mail_server_that_is_down_is_tried_again(starting: Starting) -> None:
    response = starting(free_port()).post(sample())

    assert (response.status_code, response.headers["errands-not-now"]) == (503, "1")
    assert int(response.headers["retry-after"]) > 0
    assert "cannot be used" in response.json()["detail"]


def test_a_mail_server_that_says_nothing_is_left_after_the_timeout(starting: Starting) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        response = starting(silent.getsockname()[1], TIMEOUT_S="0.2").post(sample())

    assert response.status_code == 503


def test_starttls_and_a_password_are_used(
    serving: Serving, starting: Starting, certificate: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    server = serving(
        tls_context=tls(certificate), require_starttls=True, auth_required=True, authenticator=authenticate
    )
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
    client = starting(server.port, SMTP_SECURITY="starttls", SMTP_USERNAME="errands", SMTP_PASSWORD=PASSWORD)

    reply = client.reply(sample())

    assert data(reply)["accepted"] == ["lee@client.example"]
    assert server.encrypted == [True]


def test_tls_from_the_first_byte_is_used(
    serving: Serving, starting: Starting, certificate: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
    server = serving(ssl_context=tls(certificate))

    reply = starting(server.port, SMTP_SECURITY="tls").reply(sample())

    assert data(reply)["accepted"] == ["lee@client.example"]
    assert server.encrypted == [True]


def test_a_wrong_password_is_tried_again_and_not_shown(
    serving: Serving, starting: Starting, certificate: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    server = serving(tls_context=tls(certificate), auth_required=True, authenticator=authenticate)
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
    client = starting(server.port, SMTP_SECURITY="starttls", SMTP_USERNAME="errands", SMTP_PASSWORD="a wrong one")

    response = client.post(sample())

    assert response.status_code == 503
    assert "does not take SMTP_USERNAME with SMTP_PASSWORD: 535" in response.json()["detail"]
    assert "a wrong one" not in response.text


def test_a_certificate_that_cannot_be_verified_stops_the_message(
    serving: Serving, starting: Starting, certificate: Path
) -> None:
    server = serving(tls_context=tls(certificate))

    response = starting(server.port, SMTP_SECURITY="starttls").post(sample())

    assert response.status_code == 503
    assert "certificate verify failed" in response.json()["detail"]
    assert server.mails == []


def test_a_server_without_starttls_gets_nothing(server: MailServer, starting: Starting) -> None:
    response = starting(server.port, SMTP_SECURITY="starttls").post(sample())

    assert response.status_code == 503
    assert "STARTTLS" in response.json()["detail"]
    assert server.mails == []


def authenticate(server: SMTP, session: Session, envelope: Envelope, mechanism: str, given: Any) -> AuthResult:
    right = isinstance(given, LoginPassword) and given.password == PASSWORD.encode()
    return AuthResult(success=right, handled=False)


@pytest.mark.parametrize(
    "changes",
    [
        {"subject": "Hello\r\nBcc: all@client.example"},
        {"subject": "Hello\u2028Bcc: all@client.example"},
        {"subject": "Hello\x85Bcc: all@client.example"},
        {"subject": "Hello\x0bBcc: all@client.example"},
        {"subject": "Hello\x1b[2J"},
        {"to": ["lee@client.example\r\nBcc: all@client.example"]},
        {"to": ["lee@client.example> SIZE=1"]},
        {"to": ["lee\x00@client.example"]},
        {"to": ["lee(all)@client.example"]},
        {"to": ["lee..all@client.example"]},
        {"to": ["l" * 65 + "@client.example"]},
        {"to": ["lee@[127.0.0.1]"]},
        {"to": ["lee@-client.example"]},
        {"to": ["lee@client\u2024\u2024example"]},
        {"reply_to": "lee\x7f@client.example"},
        {"attachments": [{"name": "a\r\nb", "source": {"data_base64": ""}}]},
        {"attachments": [{"name": "a", "source": {"data_base64": ""}, "media_type": "text/plain\r\nbcc:a@b.example"}]},
        {"attachments": [{"name": "a", "source": {"data_base64": ""}, "media_type": "multipart/mixed"}]},
        {"attachments": [{"name": "a", "source": {"data_base64": ""}, "media_type": "message/rfc822"}]},
    ],
)
def test_what_does_not_belong_into_a_header_fails_the_job(
    server: MailServer, starting: Starting, changes: dict[str, object]
) -> None:
    reply = starting(server.port).reply(sample(**changes))

    assert reply.type == "dev.errands.message.failed.v1"
    assert data(reply)["type"] == "https://errands.dev/problems/invalid-data"
    assert data(reply)["errors"]
    assert server.mails == []


@pytest.mark.parametrize("line_end", ["\n", "\r\n"])
def test_a_text_can_end_neither_the_message_nor_its_part(server: MailServer, starting: Starting, line_end: str) -> None:
    client = starting(server.port)
    client.reply(sample())
    boundary = server.parsed[0].get_boundary()
    injected = [".", "MAIL FROM:<x@y.example>", f"--{boundary}", "Content-Type: text/html", "", "<b>x</b>", ".x", ""]

    client.reply(Event({**sample().attributes, "id": "another"}, sample(text=line_end.join(injected)).data))

    mail = server.parsed[1]
    assert text_of(mail, "plain").splitlines() == injected[:-1]
    assert len(list(mail.iter_parts())) == 2
    assert len(server.mails) == 2


def test_a_subject_in_any_script_arrives(server: MailServer, starting: Starting) -> None:
    subject = "Grüße, 你好, Ваш заказ: 👨‍👩‍👧 " + "ä" * 400

    starting(server.port).reply(sample(subject=subject))

    assert server.mails[0].isascii()
    assert server.parsed[0]["Subject"] == subject


def test_an_international_domain_goes_as_ascii(server: MailServer, starting: Starting) -> None:
    reply = starting(server.port).reply(sample(to=["lee@straße.example"]))

    assert server.envelopes[0][1] == ["lee@xn--strae-oqa.example"]
    assert data(reply)["accepted"] == ["lee@straße.example"]


def test_an_international_local_part_needs_smtputf8(serving: Serving, starting: Starting) -> None:
    able, unable = serving(enable_SMTPUTF8=True), serving(enable_SMTPUTF8=False)
    event = sample(to=["jörg@client.example"])

    refused = starting(unable.port).reply(Event({**event.attributes, "id": "another"}, event.data))
    completed = starting(able.port).reply(event)

    assert "offers no SMTPUTF8" in data(refused)["detail"]
    assert data(completed)["accepted"] == ["jörg@client.example"]
    assert able.parsed[0]["To"] == "jörg@client.example"


def test_attachments_come_inline_and_from_the_store(server: MailServer, starting: Starting, tmp_path: Path) -> None:
    client = starting(server.port)
    Store(f"file://{tmp_path}/store").create("jobs/1/report.pdf", b"%PDF-1.7")
    invite = {"name": "invite.ics", "media_type": "text/calendar", "source": {"data_base64": base64(b"BEGIN\r\n")}}
    report = {"name": "report.pdf", "media_type": "application/pdf", "source": {"key": "jobs/1/report.pdf"}}

    client.reply(sample(attachments=[invite, report]))

    parts = list(server.parsed[0].iter_attachments())
    assert [(each.get_filename(), each.get_content_type(), each.get_payload(decode=True)) for each in parts] == [
        ("invite.ics", "text/calendar", b"BEGIN\r\n"),
        ("report.pdf", "application/pdf", b"%PDF-1.7"),
    ]
    assert text_of(server.parsed[0], "html").startswith("<p>")


def test_attachments_over_the_limit_together_fail_the_job(server: MailServer, starting: Starting) -> None:
    each = {"name": "a.bin", "source": {"data_base64": base64(b"x" * 600)}}

    reply = starting(server.port, ATTACHMENTS_LIMIT_BYTES="1000").reply(sample(attachments=[each, each]))

    assert data(reply)["type"] == "https://errands.dev/problems/source-refused"
    assert server.mails == []


def base64(content: bytes) -> str:
    return b64encode(content).decode()


@pytest.mark.parametrize(
    ("sender", "taken"),
    [
        ("post@shop.example", True),
        ("Orders@Shop.example", True),
        ("anyone@news.example", True),
        ("other@shop.example", False),
        ("anyone@sub.news.example", False),
        ("news.example@evil.example", False),
    ],
)
def test_a_job_s_sender_has_to_be_allowed(server: MailServer, starting: Starting, sender: str, taken: bool) -> None:
    client = starting(server.port, ALLOWED_SENDERS="orders@shop.example, @news.example")

    reply = client.reply(sample(sender=sender))

    if taken:
        assert server.envelopes[0][0] in (sender, sender.lower())
        assert data(reply)["message_id"].endswith(f"@{server.envelopes[0][0].rpartition('@')[2]}>")
    else:
        assert data(reply)["type"] == "https://errands.dev/problems/sender-refused"


def test_the_same_job_gives_the_same_bytes() -> None:
    event = sample(attachments=[{"name": "a.bin", "source": {"data_base64": base64(b"x" * 600)}}])
    job = msgspec.json.decode(event.data, type=MessageRequested)

    mails = [
        compose(
            job,
            Parts(attachments=(b"x" * 600,)),
            sender=read_sender("post@shop.example"),
            key="k",
            sent_at=datetime(2026, 1, 1, tzinfo=UTC),
        )
        for _ in range(2)
    ]

    assert mails[0].content == mails[1].content
    assert mails[0].message_id == "<k@shop.example>"


CALENDAR = """BEGIN:VCALENDAR
VERSION:2.0
PRODID:-//shop.example//EN
METHOD:REQUEST
BEGIN:VEVENT
UID:delivery-1042@shop.example
DTSTAMP:20261122T093000Z
DTSTART:20261201T130000Z
DTEND:20261201T140000Z
SUMMARY:Lieferung der Größe 42
ORGANIZER:mailto:post@shop.example
ATTENDEE;RSVP=TRUE:mailto:lee@client.example
END:VEVENT
END:VCALENDAR
"""


@pytest.mark.parametrize("line_end", ["\n", "\r\n"])
def test_an_invitation_is_the_preferred_alternative_and_says_its_method(
    server: MailServer, starting: Starting, line_end: str
) -> None:
    calendar = {"text": CALENDAR.replace("\n", line_end), "method": "REQUEST"}

    starting(server.port).reply(sample(calendar=calendar, attachments=[attachment("a.bin", b"x")]))

    [mail] = server.parsed
    alternative = next(part for part in mail.walk() if part.get_content_type() == "multipart/alternative")
    parts = [cast(EmailMessage, each) for each in alternative.iter_parts()]
    assert [each.get_content_type() for each in parts] == ["text/plain", "text/html", "text/calendar"]
    assert dict(parts[2]["content-type"].params) == {"method": "REQUEST", "charset": "utf-8"}
    content = parts[2].get_payload(decode=True)
    assert content == CALENDAR.replace("\n", "\r\n").encode()
    assert icalendar.Calendar.from_ical(content).walk("VEVENT")[0]["SUMMARY"] == "Lieferung der Größe 42"
    assert [each.get_filename() for each in mail.iter_attachments()] == ["a.bin"]


def test_an_invitation_of_the_calendar_function_arrives_as_it_was_made(
    server: MailServer, starting: Starting, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("STORE_URL", (tmp_path / "store").as_uri())
    calendars = FunctionClient(ROOT / "functions/ics/main.py")
    request = (ROOT / "events/samples/dev.errands.ics.requested.v1.json").read_bytes()
    made = calendars.post("/", headers={"content-type": STRUCTURED}, content=request)
    key = made.json()["artifacts"][0]["key"]

    starting(server.port).reply(sample(calendar={"key": key, "method": "REQUEST"}))

    [mail] = server.parsed
    part = next(each for each in mail.walk() if each.get_content_type() == "text/calendar")
    assert part.get_payload(decode=True) == (tmp_path / "store" / key).read_bytes()


def test_an_invitation_comes_from_the_store(server: MailServer, starting: Starting, tmp_path: Path) -> None:
    cancelled = CALENDAR.replace("METHOD:REQUEST", "METHOD:CANCEL")
    Store((tmp_path / "store").as_uri()).create("jobs/1/invite.ics", cancelled.encode())

    starting(server.port).reply(sample(calendar={"key": "jobs/1/invite.ics", "method": "CANCEL"}, html=None))

    assert 'method="CANCEL"' in server.mails[0].decode()


@pytest.mark.parametrize(
    ("calendar", "said"),
    [
        ({"text": CALENDAR, "method": "CANCEL"}, "METHOD:CANCEL is expected in the calendar, as method says"),
        ({"text": CALENDAR.replace("METHOD:REQUEST\n", "")}, "got none"),
        ({"text": CALENDAR.replace("METHOD:REQUEST", "METHOD:REQ\n UEST\nMETHOD:CANCEL")}, "'REQUEST', 'CANCEL'"),
        ({"text": "Come at two"}, "from BEGIN:VCALENDAR to END:VCALENDAR"),
        ({"text": ""}, "from BEGIN:VCALENDAR to END:VCALENDAR"),
        ({"text": CALENDAR, "key": "jobs/1/invite.ics"}, "exactly one of text and key"),
        ({"text": CALENDAR, "method": "SELL"}, "SELL"),
        ({"key": "jobs/1/none.ics"}, "the store has no key"),
    ],
)
def test_what_is_no_invitation_of_its_method_fails_the_job(
    server: MailServer, starting: Starting, calendar: dict[str, str], said: str
) -> None:
    reply = starting(server.port).reply(sample(calendar=calendar))

    assert reply.get("outcome") == "failed"
    assert said in reply.data.decode().replace('\\"', '"')
    assert server.mails == []


def test_templates_are_filled_with_the_job_s_data_and_html_escapes_it(server: MailServer, starting: Starting) -> None:
    fill = {"data": {"name": "Lee <& Söhne>", "total": "1234.5"}, "locale": "de", "currency": "EUR"}
    texts = {
        "subject": "{{ name }}: your order",
        "text": "{{ name }}, {{ total | money }}",
        "html": "<p>{{ name }}</p>",
    }

    starting(server.port).reply(sample(**texts, fill=fill))

    [mail] = server.parsed
    assert mail["subject"] == "Lee <& Söhne>: your order"
    assert text_of(mail, "plain").strip() == "Lee <& Söhne>, 1.234,50\N{NO-BREAK SPACE}€"
    assert text_of(mail, "html").strip() == "<p>Lee &lt;&amp; Söhne&gt;</p>"


def test_without_data_a_text_with_braces_is_sent_as_it_is(server: MailServer, starting: Starting) -> None:
    starting(server.port).reply(sample(text="{{ name }}", html=None))

    assert text_of(server.parsed[0], "plain").strip() == "{{ name }}"


@pytest.mark.parametrize(
    ("changes", "kind", "said"),
    [
        ({"text": "{{ nmae }}"}, "invalid-template", "'nmae' is undefined"),
        ({"html": "<p>\n{% if %}"}, "invalid-template", "line 2"),
        ({"subject": "{{ name }}\n"}, "invalid-data", "subject"),
        ({"subject": "{{ rcpt }}"}, "invalid-data", "one line"),
        ({"text": "{{ 'x' * 10**6 }}"}, "invalid-template", "at most 100000 characters"),
        ({"text": "{{ 'x' * 10**10 }}"}, "limit-exceeded", "memory"),
        ({"text": "{{ ''.__class__.__mro__ }}"}, "invalid-template", "unsafe"),
        ({"fill": {"data": {}, "locale": "tlh"}}, "invalid-template", "locale must be"),
    ],
)
def test_a_template_that_is_wrong_or_hostile_fails_the_job(
    server: MailServer, starting: Starting, changes: dict[str, Any], kind: str, said: str
) -> None:
    fill = {"data": {"name": "Lee", "rcpt": "Hello\r\nBcc: everyone@client.example"}}

    reply = starting(server.port).reply(sample(**{"fill": fill, "html": None} | changes))

    assert data(reply)["type"] == f"https://errands.dev/problems/{kind}"
    assert said in data(reply)["detail"]
    assert server.mails == []


@pytest.fixture
def service() -> Iterator[Receiver]:
    """A service that takes notifications as JSON, as Apprise's json:// sends them."""
    with receiving() as running:
        running.response = lambda handler: say(handler, 200 if "down" not in handler.path else 500)
        yield running


def targets(service: Receiver) -> str:
    host = service.url.removeprefix("http://")
    return json.dumps({"ops": f"json://user:the-token@{host}/ops", "down": f"json://{host}/down"})


def test_a_target_of_the_configuration_is_notified_once(
    server: MailServer, starting: Starting, service: Receiver
) -> None:
    client = starting(server.port, TARGETS=targets(service))
    event = sample(to=[], target="ops", html=None)

    replies = [client.reply(event) for _ in range(2)]

    assert data(replies[0])["accepted"] == ["ops"]
    assert replies[0] == replies[1]
    [call] = service.calls
    assert json.loads(call.body)["title"] == "Your order 1042 is on its way"
    assert json.loads(call.body)["message"].startswith("Hello Lee,")
    assert server.mails == []


def test_a_service_that_is_down_is_tried_again_and_its_url_is_not_told(
    server: MailServer, starting: Starting, service: Receiver, caplog: pytest.LogCaptureFixture
) -> None:
    response = starting(server.port, TARGETS=targets(service)).post(sample(to=[], target="down"))

    assert (response.status_code, len(service.calls)) == (503, 1)
    assert "the service behind target down did not take the notification" in response.text
    assert service.url not in response.text + caplog.text


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"to": [], "target": "nobody"}, "target must be one of down, ops, got nobody"),
        ({"to": [], "target": "json://169.254.169.254/"}, "#/target"),
        ({"to": []}, "exactly one of to and target"),
        ({"target": "ops"}, "exactly one of to and target"),
        ({"to": [], "target": "ops", "sender": "post@shop.example"}, "a target takes subject and text, no sender"),
    ],
)
def test_a_job_names_a_target_and_nothing_else(
    server: MailServer, starting: Starting, service: Receiver, changes: dict[str, Any], said: str
) -> None:
    reply = starting(server.port, TARGETS=targets(service)).reply(sample(**changes))

    assert reply.get("outcome") == "failed"
    assert said in data(reply)["detail"]
    assert service.calls == []


@pytest.mark.slow
def test_apprise_and_jinja_are_not_loaded_by_an_installation_that_needs_neither(tmp_path: Path) -> None:
    heavy = ("apprise", "jinja2.sandbox", "babel", "httpx")
    code = f"import sys, functions.message.main; print([each for each in {heavy} if each in sys.modules])"

    done = subprocess.run(
        [sys.executable, "-c", code],
        check=True,
        capture_output=True,
        text=True,
        cwd=ROOT,
        env=os.environ | environment(25, tmp_path),
    )

    assert done.stdout == "[]\n"


def attachment(name: str, content: bytes) -> dict[str, object]:
    return {"name": name, "source": {"data_base64": base64(content)}}


@pytest.mark.parametrize(
    ("settings", "named"),
    [
        ({"SMTP_HOST": ""}, "SMTP_HOST"),
        ({"SENDER": "nobody"}, "SENDER"),
        ({"CLAIM_LEASE_S": "20"}, "CLAIM_LEASE_S must be greater than TIMEOUT_S"),
        ({"SMTP_SECURITY": "ssl"}, "SMTP_SECURITY must be one of"),
        ({"SMTP_USERNAME": "errands"}, "SMTP_USERNAME and SMTP_PASSWORD belong together"),
        ({"SMTP_USERNAME": "errands", "SMTP_PASSWORD": PASSWORD}, "SMTP_SECURITY must be starttls or tls"),
        ({"SMTP_USERNAME": "errands", "SMTP_PASSWORD": f"{PASSWORD} ü", "SMTP_SECURITY": "tls"}, "must be ASCII"),
        ({"ALLOWED_NETWORKS": "everywhere"}, "ALLOWED_NETWORKS"),
        ({"TARGETS": "slack://token"}, "TARGETS must be a JSON object"),
        ({"TARGETS": '{"ops": "gopher://the-token@ops"}'}, "TARGETS: 'ops' must be a URL that Apprise knows"),
        ({"STORE_URL": "gopher://store"}, "STORE_URL must start with"),
    ],
)
def test_a_bad_setting_stops_the_start_and_is_named(
    starting: Starting, settings: dict[str, str], named: str, caplog: pytest.LogCaptureFixture
) -> None:
    with pytest.raises(SystemExit, match=named) as stopped:
        starting(25, **settings)

    assert PASSWORD not in str(stopped.value)
    assert "the-token" not in caplog.text


class SlowSandbox:
    """Fills nothing until it may."""

    def __init__(self) -> None:
        self.limits: list[ResourceLimits] = []
        self.began, self.goes_on = threading.Semaphore(0), threading.Event()

    def run(self, _work: str, _order: object, *, result: type[Filled], limits: ResourceLimits) -> Filled:
        self.limits.append(limits)
        self.began.release()
        assert self.goes_on.wait(20)
        return result(texts={"subject": "filled"})


def test_so_many_jobs_are_filled_at_once_and_another_is_made_later(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("functions.message.templates.PLACE_TIMEOUT_S", 0.01)
    sandbox = SlowSandbox()
    templating = Templating(sandbox=cast(Sandbox, sandbox), at_once=2, memory_bytes=1 << 20)
    job = msgspec.json.decode(sample(fill={"data": {}}).data, type=MessageRequested)
    with ThreadPoolExecutor() as pool:
        both = [pool.submit(templating.filled, job) for _ in range(2)]
        assert all(sandbox.began.acquire(timeout=20) for _ in both)

        with pytest.raises(NotNow, match="the templates of 2 jobs are filled"):
            templating.filled(job)
        sandbox.goes_on.set()
        subjects = [each.result().subject for each in both]

    assert subjects == ["filled"] * 2
    assert templating.filled(job).subject == "filled"
    assert {each.memory_bytes for each in sandbox.limits} == {1 << 20}


@pytest.mark.parametrize("name", ["TEMPLATE_AT_ONCE", "TEMPLATE_MEMORY_LIMIT_BYTES"])
def test_a_limit_of_templates_that_allows_none_stops_the_start(starting: Starting, name: str) -> None:
    with pytest.raises(SystemExit, match=f"{name} must be at least 1, got 0"):
        starting(1, **{name: "0"})
