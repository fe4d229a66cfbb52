"""A machine without a mail server: `errands up` takes its e-mails, and the console shows them."""

import subprocess
import sys
from pathlib import Path

import httpx
import pytest

from knative.local.mail_catcher import catches
from tests.conftest import sample
from tests.support.local_runner import ROOT, Up

BASE = ROOT / "knative" / "base"


@pytest.mark.parametrize(
    ("settings", "token", "caught"),
    [
        ({}, None, True),
        ({"message": {"SENDER": "a@shop.example"}}, None, True),
        ({"message": {"SMTP_HOST": "mail.example"}}, None, False),
        ({}, "a token", False),
    ],
)
def test_mail_is_caught_where_nobody_else_comes_and_no_mail_server_is_set(
    settings: dict[str, dict[str, str]], token: str | None, caught: bool
) -> None:
    assert catches(settings, token) == caught


def test_mail_is_caught_beside_a_token_when_that_is_asked_for() -> None:
    assert catches({}, "a token", asked=True)
    assert not catches({"message": {"SMTP_HOST": "mail.example"}}, "a token", asked=True)


@pytest.mark.slow
def test_a_first_e_mail_job_is_done_and_its_mail_is_shown(tmp_path: Path) -> None:
    job = sample("message")
    job["data"] |= {"bcc": ["boss@shop.example"], "subject": "Grüße, 請求書"}
    with Up(tmp_path, BASE) as running:
        assert running.post(job).status_code == 202
        outcome = running.outcome(job["id"], source=job["source"])
        listed = httpx.get(f"{running.url}mail", follow_redirects=True, timeout=60).text

    assert outcome is not None
    assert outcome["type"] == "dev.errands.message.completed.v1"
    assert f"mail is caught, and shown at {running.url}mail" in running.log.read_text()
    assert "Grüße, 請求書" in listed
    assert "lee@client.example, boss@shop.example" in listed
    assert len(list((running.data / "mail").glob("*.eml"))) == 1


@pytest.mark.slow
def test_a_program_s_mails_are_caught_by_exec_too() -> None:
    code = "import os, urllib.request as r; print(r.urlopen(os.environ['K_SINK'] + 'mail').read().decode())"
    command = [sys.executable, "-m", "knative.cli.main", "exec", "--", sys.executable, "-c", code]

    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=300, cwd=ROOT)

    assert "No e-mail was caught yet." in done.stdout, done.stderr
