"""Header fields: what other readers of mail find in them is what was given, whatever that is."""

import json
import os
import random
import shutil
import subprocess
from email import message_from_bytes, policy
from email.header import decode_header, make_header
from email.headerregistry import Address
from email.message import EmailMessage

from hypothesis import example, given
from hypothesis import strategies as st

from functions.message.header import LINE_CHARACTERS, POLICY, Field, address_field, text_field
from tests.support.absent import absent

WORDS = [
    "Tür",
    "an",
    "Überweisung",
    "für",
    "Ihre",
    "Bestellung",
    "größere",
    "Menge",
    "Rechnung",
    "März",
    "und",
    "20,5",
    "€",
]
ONE_LINE = st.text(st.characters(exclude_categories=["Cc", "Cs", "Zl", "Zp"]), min_size=1, max_size=300)
READ_BY_PHP = """
foreach (json_decode(stream_get_contents(STDIN)) as $raw)
    $read[] = iconv_mime_decode(base64_decode($raw), 0, 'UTF-8');
echo json_encode($read);
"""


def written(name: str, field: Field) -> bytes:
    message = EmailMessage(policy=POLICY)
    message[name] = field
    message["X-After"] = "here"
    message.set_content("body")
    return message.as_bytes()


def read_by_python(raw: bytes) -> str:
    """By the older reader of the standard library, which shares nothing with the one that writes."""
    return str(make_header(decode_header(message_from_bytes(raw, policy=policy.compat32)["Subject"])))


def read_by_php(fields: list[Field]) -> list[str]:
    """By PHP's iconv, which reads a field's value with its folding."""
    php = shutil.which("php")
    if php is None:
        assert not os.environ.get("CI"), "CI must have php"
        absent("php is not installed")
    import base64

    given_ = json.dumps([base64.b64encode(each.encode()).decode() for each in fields])
    done = subprocess.run(
        [php, "-r", READ_BY_PHP], input=given_, capture_output=True, text=True, check=True, timeout=60
    )
    return [str(each) for each in json.loads(done.stdout)]


def test_5000_german_subjects_arrive_as_they_were_given() -> None:
    chance = random.Random(92081)  # noqa: S311  # the same subjects each time
    subjects = [" ".join(chance.choices(WORDS, k=chance.randint(6, 16))) for _ in range(5000)]

    assert read_by_php([text_field("Subject", each) for each in subjects]) == subjects


@given(ONE_LINE)
@example("=?utf-8?q?=0D=0AFrom:_x@evil.example=0D=0A=0D=0Abody?=")
@example("=?utf-8?q?a?= b")
@example(" two  blanks ")
@example("a" * 300)
@example("ä" * 300)
def test_any_line_arrives_as_it_was_given_and_makes_no_other_field(text: str) -> None:
    raw = written("Subject", text_field("Subject", text))
    head, _, body = raw.partition(b"\r\n\r\n")
    names = [line.partition(b":")[0] for line in head.split(b"\r\n") if line[:1] != b" "]

    assert names == [b"Subject", b"X-After", b"Content-Type", b"Content-Transfer-Encoding", b"MIME-Version"]
    assert body == b"body\r\n"
    assert all(len(line) <= LINE_CHARACTERS for line in head.split(b"\r\n"))
    assert read_by_python(raw) == text


@given(ONE_LINE)
@example('Lee "the" <boss>, \\ (x)')
@example("=?utf-8?q?=0D=0ABcc:_x@evil.example?=")
def test_any_name_is_a_name_and_adds_no_address(name: str) -> None:
    raw = written("From", address_field("From", Address(name, addr_spec="post@shop.example")))
    message = message_from_bytes(raw, policy=policy.default)

    assert [each.addr_spec for each in message["From"].addresses] == ["post@shop.example"]
    assert "Bcc" not in message
    assert message["X-After"] == "here"


def test_plain_words_stay_readable() -> None:
    assert text_field("Subject", "Your order 1042 is on its way") == "Your order 1042 is on its way"
    assert address_field("From", Address("Shop", addr_spec="post@shop.example")) == "Shop <post@shop.example>"


def test_several_addresses_stand_a_line_each() -> None:
    raw = written("To", address_field("To", *[Address(addr_spec=f"{n}@client.example") for n in range(50)]))
    message = message_from_bytes(raw, policy=policy.default)

    assert [each.addr_spec for each in message["To"].addresses] == [f"{n}@client.example" for n in range(50)]
