"""What a job may ask of its e-mail beside its texts: people with names, copies, headers, pictures, files."""

from email.message import EmailMessage
from pathlib import Path
from typing import Any, cast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from functions.message.email_message import read_sender
from functions.message.header import POLICY, Field, file_field
from functions.storage.store import Store
from tests.functions.message.test_message import (
    MailServer,
    Starting,
    attachment,
    base64,
    data,
    sample,
    server,
    serving,
    starting,
)
from tests.support.mail_readers import READERS

__all__ = ["server", "serving", "starting"]  # fixtures

NAMES = [
    "Rechnung März 2026.pdf",
    "請求書.pdf",
    "invoice 1042.pdf",
    "счёт-фактура № 7 (копия).pdf",
    "facture d'août n° 12; 100 % payée.pdf",
    "फ़ाइल.pdf",
    "😀 smile.png",
    "=_utf-8_q_a_=.pdf",
    "100%25.pdf",
    "x" * 96 + ".pdf",
    "ä" * 96 + ".pdf",
    "請" * 96 + ".pdf",
]


def one(server: MailServer) -> EmailMessage:
    [mail] = server.parsed
    return mail


def test_copies_and_hidden_copies_go_to_everybody_once_and_nobody_sees_the_hidden(
    server: MailServer, starting: Starting
) -> None:
    reply = starting(server.port).reply(
        sample(
            to=[{"email": "lee@client.example", "name": "Lee, Müller & Söhne"}],
            cc=["kim@client.example", {"email": "max@client.example", "name": "Max"}],
            bcc=["boss@shop.example", "lee@client.example"],
        )
    )

    everybody = ["lee@client.example", "kim@client.example", "max@client.example", "boss@shop.example"]
    assert server.envelopes == [("post@shop.example", everybody)]
    assert data(reply)["accepted"] == everybody
    to, cc = one(server)["To"].addresses, one(server)["Cc"].addresses
    assert [(each.display_name, each.addr_spec) for each in to] == [("Lee, Müller & Söhne", "lee@client.example")]
    assert [each.addr_spec for each in cc] == ["kim@client.example", "max@client.example"]
    assert b"boss@shop.example" not in server.mails[0]
    assert b"Bcc" not in server.mails[0]


def test_a_mail_of_hidden_copies_alone_names_nobody(server: MailServer, starting: Starting) -> None:
    starting(server.port).reply(sample(to=[], bcc=["lee@client.example"]))

    assert server.envelopes[0][1] == ["lee@client.example"]
    assert b"To: undisclosed-recipients:;\r\n" in server.mails[0]
    assert b"lee@" not in server.mails[0]


def test_recipients_are_at_most_fifty_together(server: MailServer, starting: Starting) -> None:
    some = [f"{n}@client.example" for n in range(26)]

    reply = starting(server.port).reply(sample(to=some, bcc=some))

    assert "at most 50 recipients are expected in to, cc and bcc, got 52" in data(reply)["detail"]


def test_sender_and_reply_to_may_have_names(server: MailServer, starting: Starting) -> None:
    client = starting(server.port, ALLOWED_SENDERS="@news.example")
    sender, reply_to = (
        {"email": "a@news.example", "name": "News"},
        {"email": "help@shop.example", "name": "Hilfe & Rat"},
    )

    client.reply(sample(sender=sender, reply_to=reply_to))

    assert one(server)["From"] == "News <a@news.example>"
    assert one(server)["Reply-To"].addresses[0].display_name == "Hilfe & Rat"


def test_a_name_makes_no_sender_allowed(server: MailServer, starting: Starting) -> None:
    reply = starting(server.port).reply(sample(sender={"email": "a@news.example", "name": "post@shop.example"}))

    assert data(reply)["type"] == "https://errands.dev/problems/sender-refused"


@pytest.mark.parametrize("field", ["to", "cc", "bcc", "reply_to", "sender"])
@pytest.mark.parametrize("name", ["Lee\r\nBcc: all@client.example", "Lee\u2028x", "Lee\x00"])
def test_a_name_ends_no_header(server: MailServer, starting: Starting, field: str, name: str) -> None:
    person: Any = {"email": "post@shop.example", "name": name}

    reply = starting(server.port).reply(sample(**{field: person if field in ("reply_to", "sender") else [person]}))

    assert data(reply)["type"] == "https://errands.dev/problems/invalid-data"
    assert field in data(reply)["detail"]
    assert server.mails == []


@pytest.mark.parametrize(
    ("text", "name", "address"),
    [
        ("post@shop.example", "", "post@shop.example"),
        ("Shop <post@shop.example>", "Shop", "post@shop.example"),
        ("Shop, Inc. <post@shop.example>", "Shop, Inc.", "post@shop.example"),
        ('"Shop: the \\"best\\"; <really>" <post@shop.example>', 'Shop: the "best"; <really>', "post@shop.example"),
        ("<post@shop.example>", "", "post@shop.example"),
    ],
)
def test_a_configured_sender_is_one_mailbox(text: str, name: str, address: str) -> None:
    sender = read_sender(text)

    assert (sender.display_name, sender.addr_spec) == (name, address)


@pytest.mark.parametrize(
    "text",
    [
        "Team: a@shop.example, b@shop.example;",
        "Team: Shop <a@shop.example>;",
        "a@shop.example, b@shop.example",
        "a@shop.example, Shop <b@shop.example>",
        "Shop <a@shop.example>, Other <b@shop.example>",
        "Shop <a@shop.example> (x)",
        "Shop a@shop.example",
    ],
)
def test_a_sender_that_is_a_group_or_several_stops_the_start(starting: Starting, text: str) -> None:
    with pytest.raises(SystemExit, match="SENDER"):
        starting(25, SENDER=text)


NEWSLETTER = {
    "List-Unsubscribe": "<https://shop.example/unsubscribe/1042?t=a%20b>, <mailto:out@shop.example?subject=out>",
    "List-Unsubscribe-Post": "List-Unsubscribe=One-Click",
    "List-Id": "Neuigkeiten für März <news.shop.example>",
    "X-Campaign": "März, größer",
    "References": "<1@shop.example> <2@shop.example>",
    "precedence": "bulk",
}


def test_a_newsletter_has_the_headers_of_its_list_and_its_one_click(server: MailServer, starting: Starting) -> None:
    starting(server.port).reply(sample(headers=NEWSLETTER))

    mail = one(server)
    assert "".join(mail["List-Unsubscribe"].split()) == "".join(NEWSLETTER["List-Unsubscribe"].split())
    assert mail["List-Unsubscribe-Post"] == "List-Unsubscribe=One-Click"
    assert str(mail["List-Id"]).split()[-1] == "<news.shop.example>"
    assert mail["X-Campaign"] == "März, größer"
    assert mail["References"].split() == ["<1@shop.example>", "<2@shop.example>"]
    assert mail["Precedence"] == "bulk"
    assert server.mails[0].isascii()
    assert b"https://shop.example/unsubscribe/1042?t=a%20b" in server.mails[0]  # no encoded word: RFC 2047 5


@pytest.mark.parametrize(
    ("headers", "said"),
    [
        ({"Bcc": "all@client.example"}, "one of List-Unsubscribe"),
        ({"From": "a@b.example"}, "X-... is expected, got 'From'"),
        ({"DKIM-Signature": "v=1"}, "got 'DKIM-Signature'"),
        ({"X-A: b\r\nBcc": "x"}, "X-... is expected"),
        ({"X-": "x"}, "X-... is expected"),
        ({"X-A": "x\r\nBcc: all@client.example"}, "one line"),
        ({"X-A": "x\u2028y"}, "one line"),
        ({"X-A": "x", "x-a": "y"}, "twice"),
        ({"List-Unsubscribe": "https://shop.example/out"}, "addresses such as"),
        ({"List-Unsubscribe": "<javascript:alert(1)>"}, "addresses such as"),
        ({"List-Unsubscribe": "<https://shop.example/\r\nBcc: x>"}, "addresses such as"),
        ({"List-Unsubscribe": "<https://shop.example/ä>"}, "addresses such as"),
        ({"List-Unsubscribe-Post": "List-Unsubscribe=One-Click"}, "https:// address is expected beside it"),
        (
            {"List-Unsubscribe": "<mailto:a@b.example>", "List-Unsubscribe-Post": "List-Unsubscribe=One-Click"},
            "https:// address is expected beside it",
        ),
        ({"List-Unsubscribe-Post": "yes"}, "List-Unsubscribe=One-Click is expected"),
        ({"List-Id": "News"}, "a list such as"),
        ({"List-Id": "a\r\nBcc: x <news.shop.example>"}, "one line"),
        ({"In-Reply-To": "1042"}, "Message-IDs"),
        ({"Importance": "urgent"}, "low or normal or high"),
    ],
)
def test_a_header_that_is_not_allowed_or_not_of_its_form_fails_the_job(
    server: MailServer, starting: Starting, headers: dict[str, str], said: str
) -> None:
    reply = starting(server.port).reply(sample(headers=headers))

    assert data(reply)["type"] == "https://errands.dev/problems/invalid-data"
    assert said in data(reply)["detail"]
    assert data(reply)["errors"][0]["pointer"].startswith("#/headers")
    assert server.mails == []


@given(st.lists(st.sampled_from(["\r", "\n", "\r\n ", " ", "Bcc: x", "\x00", "ä"]), min_size=1).map("".join))
def test_no_finished_field_ends_the_headers(text: str) -> None:
    try:
        field = Field(text)
    except ValueError:
        return

    mail = EmailMessage(policy=POLICY)
    mail["X-A"] = field
    assert all(line[:1] == b" " for line in mail.as_bytes().split(b"\r\n")[1:-2])


PICTURE = {"name": "Logo größer.png", "media_type": "image/png", "source": {"data_base64": base64(b"\x89PNG")}}


def test_a_picture_is_shown_within_the_html_beside_what_is_attached(server: MailServer, starting: Starting) -> None:
    logo = {**PICTURE, "content_id": "logo@shop.example"}

    starting(server.port).reply(
        sample(html='<img src="cid:logo@shop.example">', attachments=[logo, attachment("terms.pdf", b"%PDF")])
    )

    mail = one(server)
    assert [each.get_content_type() for each in mail.walk()] == [
        "multipart/mixed",
        "multipart/alternative",
        "text/plain",
        "multipart/related",
        "text/html",
        "image/png",
        "application/octet-stream",
    ]
    picture = next(each for each in mail.walk() if each.get_content_type() == "image/png")
    assert (picture["Content-ID"], picture.get_content_disposition()) == ("<logo@shop.example>", "inline")
    assert picture.get_payload(decode=True) == b"\x89PNG"
    assert [each.get_filename() for each in mail.iter_attachments()] == ["terms.pdf"]


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"html": None, "attachments": [{**PICTURE, "content_id": "logo"}]}, "an html that shows it"),
        ({"html": "<img src='cid:other'>", "attachments": [{**PICTURE, "content_id": "logo"}]}, "show cid:logo"),
        ({"attachments": [{**PICTURE, "content_id": "lo>go"}]}, "content_id"),
        ({"html": "cid:logo", "attachments": [{**PICTURE, "content_id": "logo"}] * 2}, "different names, got logo"),
    ],
)
def test_a_picture_that_nobody_would_see_fails_the_job(
    server: MailServer, starting: Starting, changes: dict[str, Any], said: str
) -> None:
    reply = starting(server.port).reply(sample(**changes))

    assert said in data(reply)["detail"]
    assert server.mails == []


@pytest.mark.parametrize("reader", READERS)
def test_a_file_s_name_arrives_in_any_language(server: MailServer, starting: Starting, reader: str) -> None:
    files = {name: name.encode() for name in NAMES}
    client = starting(server.port)
    for at in range(0, len(NAMES), 10):
        some = sample(attachments=[attachment(name, files[name]) for name in NAMES[at : at + 10]])
        client.reply(some.with_attributes(id=f"mail-{at}"))

    read: dict[str, bytes] = {}
    for raw in server.mails:
        assert raw.isascii()
        assert max(map(len, raw.split(b"\r\n"))) <= 78  # RFC 5322 2.1.1
        read |= READERS[reader](raw)
    assert read == files


def test_a_plain_name_stays_readable() -> None:
    assert file_field("attachment", "invoice 1042.pdf") == 'attachment;\r\n filename="invoice 1042.pdf"'


@pytest.mark.parametrize(
    "name", ["../a.pdf", "a/b.pdf", "a\\b.pdf", ".hidden", "a\r\nb", "a\u202efdp.exe", "a.", 'a"b']
)
def test_a_name_that_is_a_path_or_hides_something_fails_the_job(
    server: MailServer, starting: Starting, name: str
) -> None:
    reply = starting(server.port).reply(sample(attachments=[attachment(name, b"x")]))

    assert data(reply)["type"] == "https://errands.dev/problems/invalid-data"
    assert server.mails == []


def test_an_artefact_of_any_name_is_attached_by_its_key(server: MailServer, starting: Starting, tmp_path: Path) -> None:
    store = Store((tmp_path / "store").as_uri())
    client = starting(server.port)
    for at, name in enumerate(NAMES):
        cause = sample().with_attributes(id=str(at))
        made = store.put(cause, name, name.encode(), "application/pdf", now=cast(Any, None))

        client.reply(sample(attachments=[{"name": name, "source": {"key": made.key}}]).with_attributes(id=f"m{at}"))

        assert made.name == name
    assert [next(each.iter_attachments()).get_payload(decode=True) for each in server.parsed] == [
        each.encode() for each in NAMES
    ]
