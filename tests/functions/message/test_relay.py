"""How the mail server is spoken to: tokens, the return path, signatures, connections that are kept for a burst."""

import base64
import shlex
import smtplib
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from aiosmtpd.controller import Controller
from aiosmtpd.smtp import SMTP, AuthResult, Envelope, Session

from functions.message.kept_connections import MESSAGES_LIMIT, KeptConnections
from tests.functions.message.test_email_message import NEWSLETTER
from tests.functions.message.test_message import (
    MailServer,
    Serving,
    Starting,
    certificate,
    data,
    sample,
    server,
    serving,
    starting,
    tls,
)
from tests.support.mail_readers import dkim_result
from tests.support.ports import free_port

__all__ = ["certificate", "server", "serving", "starting"]  # fixtures

TOKEN = "ya29.the-token-of-the-tests"


class CountingServer(MailServer):
    """Counts what a connection costs, and can end one at a command."""

    connections = 0
    closes_at: int | None = None  # of a connection the message that it says 421 to

    async def handle_EHLO(  # noqa: N802  # the name that aiosmtpd calls
        self, server: SMTP, session: Session, envelope: Envelope, hostname: str, responses: list[str]
    ) -> list[str]:
        session.host_name = hostname
        self.connections += 1
        return responses

    async def handle_MAIL(  # noqa: N802  # as above
        self, server: SMTP, session: Session, envelope: Envelope, address: str, options: list[str]
    ) -> str:
        taken = getattr(session, "taken", 0) + 1
        session.taken = taken  # type: ignore[attr-defined]  # the session of one connection
        if self.closes_at is not None and taken >= self.closes_at:
            return "421 4.7.0 too many messages in this connection"
        return await super().handle_MAIL(server, session, envelope, address, options)


@pytest.fixture
def counting() -> Iterator[CountingServer]:
    made = CountingServer(free_port())
    made.data_goes_on.set()
    controller = Controller(made, "127.0.0.1", made.port)
    controller.start()
    yield made
    controller.stop()


def number(at: int, **changes: object) -> Any:
    return sample(**changes).with_attributes(id=f"mail-{at}")


def test_a_burst_of_mails_is_one_connection(counting: CountingServer, starting: Starting) -> None:
    client = starting(counting.port, SMTP_IDLE_S="30")

    for at in range(5):
        client.reply(number(at))

    assert (len(counting.mails), counting.connections) == (5, 1)


def test_mails_at_once_have_a_connection_each_and_later_ones_take_those(
    counting: CountingServer, starting: Starting
) -> None:
    client = starting(counting.port, SMTP_IDLE_S="30")

    with ThreadPoolExecutor(4) as pool:
        replies = list(pool.map(lambda at: client.reply(number(at)), range(20)))

    assert len({reply.id for reply in replies}) == len(counting.mails) == 20
    assert counting.connections <= 4


def test_without_an_idle_time_each_mail_has_its_own_connection(counting: CountingServer, starting: Starting) -> None:
    client = starting(counting.port, SMTP_IDLE_S="0")

    for at in range(3):
        client.reply(number(at))

    assert counting.connections == 3


@pytest.mark.slow
def test_a_connection_that_the_server_has_closed_is_replaced(serving: Serving, starting: Starting) -> None:
    server = serving(timeout=1)
    client = starting(server.port, SMTP_IDLE_S="30")

    client.reply(number(1))
    wait_for_the_end_of_a_connection(server)
    reply = client.reply(number(2))

    assert data(reply)["accepted"] == ["lee@client.example"]
    assert len(server.mails) == 2


def wait_for_the_end_of_a_connection(server: MailServer) -> None:
    """Until the server ends one that says nothing; it is younger than those that were there before."""
    with smtplib.SMTP("127.0.0.1", server.port, timeout=60) as probe, suppress(smtplib.SMTPServerDisconnected):
        probe.getreply()


def test_a_server_that_wants_no_more_on_a_connection_gets_the_mail_on_another(
    counting: CountingServer, starting: Starting
) -> None:
    counting.closes_at = 3
    client = starting(counting.port, SMTP_IDLE_S="30")

    replies = [client.reply(number(at)) for at in range(5)]

    assert all(data(reply)["accepted"] for reply in replies)
    assert (len(counting.mails), counting.connections) == (5, 3)


def test_a_server_that_wants_no_message_at_all_is_tried_later(counting: CountingServer, starting: Starting) -> None:
    counting.closes_at = 1

    response = starting(counting.port).post(sample())

    assert (response.status_code, response.headers["errands-not-now"]) == (503, "1")


def test_a_refused_message_leaves_nothing_to_the_next_one(counting: CountingServer, starting: Starting) -> None:
    client = starting(counting.port, SMTP_IDLE_S="30")
    client.reply(number(1))
    counting.recipient_responses = {"gone@client.example": "550 5.1.1 no such user"}

    client.reply(number(2, to=["gone@client.example"]))
    client.reply(number(3))

    assert [recipients for _, recipients in counting.envelopes] == [["lee@client.example"]] * 2


def test_a_connection_is_used_for_so_many_messages(
    counting: CountingServer, starting: Starting, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert MESSAGES_LIMIT <= 100  # what servers commonly take
    monkeypatch.setattr("functions.message.kept_connections.MESSAGES_LIMIT", 2)
    client = starting(counting.port, SMTP_IDLE_S="30")

    for at in range(4):
        client.reply(number(at))

    assert counting.connections == 2


class Noting:
    """A client that notes what it is asked for."""

    def __init__(self) -> None:
        self.said: list[str] = []

    def hurry_until(self, end_s: float) -> None:
        self.said.append("hurry" if end_s > time.monotonic() else "too late")

    def rset(self) -> tuple[int, bytes]:
        self.said.append("RSET")
        return 250, b"OK"

    def putcmd(self, cmd: str) -> None:
        self.said.append(cmd)

    def close(self) -> None:
        self.said.append("closed")


def test_a_kept_connection_has_a_time_of_its_own_to_answer_whenever_its_last_message_was() -> None:
    client, kept = Noting(), KeptConnections[Noting](30)

    kept.keep(client)
    taken = kept.take()
    kept.end(client)

    assert taken is client
    assert client.said == ["hurry", "RSET", "hurry", "QUIT", "closed"]


def test_what_comes_back_goes_to_the_return_path(server: MailServer, starting: Starting) -> None:
    starting(server.port, RETURN_PATH="bounces@mail.shop.example").reply(sample())

    assert server.envelopes[0][0] == "bounces@mail.shop.example"
    assert server.parsed[0]["From"].addresses[0].addr_spec == "post@shop.example"


class Tokens:
    """Implements XOAUTH2 for aiosmtpd, as Google and Microsoft do it."""

    def __init__(self) -> None:
        self.shown: list[str] = []
        self.taken = TOKEN

    async def auth_XOAUTH2(self, server: SMTP, arguments: list[str]) -> AuthResult:  # noqa: N802  # as aiosmtpd calls it
        shown = base64.b64decode(arguments[1]).decode()
        self.shown.append(shown)
        if shown == f"user=post@shop.example\x01auth=Bearer {self.taken}\x01\x01":
            return AuthResult(success=True)
        assert await server.challenge_auth('{"status":"401"}') == b""
        return AuthResult(success=False, handled=False)


class TokenServer(MailServer, Tokens):
    """A mail server that takes no password."""

    def __init__(self, port: int) -> None:
        MailServer.__init__(self, port)
        Tokens.__init__(self)


@pytest.fixture
def token_server(certificate: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[TokenServer]:
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
    made = TokenServer(free_port())
    made.data_goes_on.set()
    controller = Controller(
        made, "127.0.0.1", made.port, tls_context=tls(certificate), auth_required=True, authenticator=lambda *_: None
    )
    controller.start()
    yield made
    controller.stop()


def printing(folder: Path, *, then: str = "") -> dict[str, str]:
    """A command that prints what is in a file, and notes that it ran."""
    (folder / "token").write_text(TOKEN + "\n")
    script = folder / "command.py"
    script.write_text(
        f"import pathlib, sys\nhere = pathlib.Path({str(folder)!r})\n"
        f"(here / 'runs').open('a').write('x')\nprint((here / 'token').read_text())\n{then}"
    )
    return {
        "SMTP_SECURITY": "starttls",
        "SMTP_USERNAME": "post@shop.example",
        "SMTP_TOKEN_COMMAND": f"{shlex.quote(sys.executable)} {shlex.quote(str(script))}",
        "SMTP_IDLE_S": "0",
    }


def test_a_token_of_a_command_logs_in_and_is_kept_for_a_while(
    token_server: TokenServer, starting: Starting, tmp_path: Path
) -> None:
    client = starting(token_server.port, **printing(tmp_path))

    for at in range(3):
        client.reply(number(at))

    assert len(token_server.mails) == 3
    assert (tmp_path / "runs").read_text() == "x"


def test_a_token_that_is_refused_is_asked_for_anew(
    token_server: TokenServer, starting: Starting, tmp_path: Path
) -> None:
    client = starting(token_server.port, **printing(tmp_path))
    (tmp_path / "token").write_text("an-old-one")

    first = client.post(sample())
    (tmp_path / "token").write_text(TOKEN)
    second = client.post(sample())

    assert (first.status_code, second.status_code) == (503, 200)
    assert "a token of SMTP_TOKEN_COMMAND: 535" in first.json()["detail"]
    assert "an-old-one" not in first.text
    assert len(token_server.mails) == 1


@pytest.mark.parametrize(
    ("then", "said"),
    [
        ("sys.exit('the login has run out')", "exit code 1, 'the login has run out'"),
        ("print('two words')", "gives no token: exit code 0"),
    ],
)
def test_a_command_without_a_token_is_tried_again_and_shows_none(
    token_server: TokenServer, starting: Starting, tmp_path: Path, then: str, said: str
) -> None:
    response = starting(token_server.port, **printing(tmp_path, then=then)).post(sample())

    assert response.status_code == 503
    assert said in response.json()["detail"]
    assert TOKEN not in response.text


@pytest.fixture(scope="module")
def rsa_key(tmp_path_factory: pytest.TempPathFactory) -> str:
    made = tmp_path_factory.mktemp("dkim") / "key.pem"
    subprocess.run(["openssl", "genrsa", "-out", str(made), "2048"], check=True, capture_output=True)
    return made.read_text()


def record(key: str) -> str:
    """What stands in the DNS for a key."""
    command = ["openssl", "rsa", "-pubout", "-outform", "DER"]
    public = subprocess.run(command, input=key.encode(), check=True, capture_output=True).stdout
    return f"v=DKIM1; k=rsa; p={base64.b64encode(public).decode()}"


RICH: dict[str, Any] = {
    "subject": "Grüße  aus dem März, " + "ä" * 100,
    "to": [{"email": "lee@client.example", "name": "Lee, Müller"}],
    "headers": NEWSLETTER,
    "text": "a \n.\n\tb  \n\n\n",
}


@pytest.mark.slow
def test_a_signature_is_right_to_a_verifier_that_nobody_here_wrote(
    server: MailServer, starting: Starting, rsa_key: str
) -> None:
    client = starting(server.port, DKIM_SELECTOR="errands", DKIM_PRIVATE_KEY=rsa_key)

    client.reply(sample(**RICH))

    raw = server.mails[0]
    assert dkim_result(raw, "errands._domainkey.shop.example", record(rsa_key)) == "pass"
    signed = raw.partition(b"h=")[2].partition(b";")[0].lower().split()
    assert {b"list-unsubscribe", b"list-unsubscribe-post", b"from"} <= set(signed)


@pytest.mark.parametrize("change", [(b"Subject: ", b"Subject: x"), (b"List-Unsubscribe: <", b"List-Unsubscribe: <x")])
def test_what_is_changed_on_the_way_breaks_the_signature(
    server: MailServer, starting: Starting, rsa_key: str, change: tuple[bytes, bytes]
) -> None:
    starting(server.port, DKIM_SELECTOR="errands", DKIM_PRIVATE_KEY=rsa_key).reply(sample(**RICH))

    raw = server.mails[0].replace(*change)
    assert dkim_result(raw, "errands._domainkey.shop.example", record(rsa_key)).startswith("fail")


def test_a_second_from_breaks_the_signature(server: MailServer, starting: Starting, rsa_key: str) -> None:
    starting(server.port, DKIM_SELECTOR="errands", DKIM_PRIVATE_KEY=rsa_key).reply(sample())

    raw = b"From: boss@bank.example\r\n" + server.mails[0]
    assert dkim_result(raw, "errands._domainkey.shop.example", record(rsa_key)).startswith("fail")


@pytest.mark.parametrize(
    ("sender", "signed"),
    [("post@shop.example", True), ("a@mail.shop.example", True), ("a@news.example", False), ("a@xshop.example", False)],
)
def test_a_key_signs_for_its_own_domain_alone(
    server: MailServer, starting: Starting, rsa_key: str, sender: str, signed: bool
) -> None:
    allowed = "@mail.shop.example, @news.example, @xshop.example"
    client = starting(server.port, DKIM_SELECTOR="s", DKIM_PRIVATE_KEY=rsa_key, ALLOWED_SENDERS=allowed)

    client.reply(sample(sender=sender))

    assert server.mails[0].startswith(b"DKIM-Signature:") == signed


@pytest.mark.parametrize(
    ("settings", "named"),
    [
        ({"SMTP_TOKEN_COMMAND": "cat token", "SMTP_SECURITY": "tls"}, "SMTP_TOKEN_COMMAND goes with SMTP_USERNAME"),
        (
            {"SMTP_TOKEN_COMMAND": "cat", "SMTP_USERNAME": "a", "SMTP_PASSWORD": "b", "SMTP_SECURITY": "tls"},
            "with no SMTP_PASSWORD",
        ),
        ({"SMTP_TOKEN_COMMAND": "cat token", "SMTP_USERNAME": "a"}, "where SMTP_TOKEN_COMMAND is set, got none"),
        (
            {"SMTP_TOKEN_COMMAND": "cat 'token", "SMTP_USERNAME": "a", "SMTP_SECURITY": "tls"},
            "SMTP_TOKEN_COMMAND must be a command",
        ),
        ({"RETURN_PATH": "nobody"}, "RETURN_PATH"),
        ({"DKIM_SELECTOR": "s"}, "DKIM_SELECTOR and DKIM_PRIVATE_KEY belong together"),
        ({"DKIM_SELECTOR": "s", "DKIM_PRIVATE_KEY": "the-key"}, "must be an RSA key in PEM"),
    ],
)
def test_a_setting_that_does_not_go_with_another_stops_the_start(
    starting: Starting, settings: dict[str, str], named: str
) -> None:
    with pytest.raises(SystemExit, match=named) as stopped:
        starting(25, **settings)

    assert "the-key" not in str(stopped.value)
