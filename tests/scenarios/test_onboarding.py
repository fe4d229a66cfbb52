"""Onboarding: a PHP shop does the steps, two days pass, everything is killed at each step, a failure is undone."""

import os
import sqlite3
import subprocess
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any, Final

import httpx
import pytest
from aiosmtpd.controller import Controller
from aiosmtpd.smtp import SMTP, Envelope, Session

from tests.support.absent import program
from tests.support.impatient import impatient
from tests.support.local_runner import ROOT, Up, until
from tests.support.ports import free_port

pytestmark = pytest.mark.slow

SOURCE: Final = "/shop/users"
LAPSE: Final = 172_800  # two days pass in a second


class Mails:
    """What came to whom."""

    def __init__(self) -> None:
        self.came: list[tuple[str, str]] = []

    async def handle_DATA(self, _server: SMTP, _session: Session, envelope: Envelope) -> str:  # noqa: N802  # aiosmtpd's
        content = envelope.content if isinstance(envelope.content, bytes) else b""
        subject = next(line for line in content.decode().splitlines() if line.startswith("Subject: "))
        self.came += [(each, subject.removeprefix("Subject: ")) for each in envelope.rcpt_tos]
        return "250 taken"


class Shop:
    """The shop in PHP, its mail server, and the runner of the real manifests."""

    def __init__(self, folder: Path) -> None:
        php, smtp = free_port(), free_port()
        self.database, self.mails = folder / "shop.db", Mails()
        settings = [
            f"call.CALL_URL=http://127.0.0.1:{php}/steps",
            f"flows.TIME_LAPSE={LAPSE}",
            f"message.SMTP_PORT={smtp}",
        ]
        self.up = Up(folder, impatient(folder / "manifests"), *(each for one in settings for each in ("--set", one)))
        self._mail = Controller(self.mails, hostname="127.0.0.1", port=smtp)
        secret = self.up.data / "secrets/callback/secrets"
        environment = {"STEPS_DATABASE": str(self.database), "ERRANDS_WEBHOOK_SECRET_FILE": str(secret)}
        command = ["php", "-S", f"127.0.0.1:{php}", str(ROOT / "tests/scenarios/onboarding.php")]
        with (folder / "php.log").open("wb") as log:
            self._php = subprocess.Popen(command, env={**os.environ, **environment}, stdout=log, stderr=log)

    def __enter__(self) -> "Shop":
        self._mail.start()
        self.up.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.up.stop()
        self._mail.stop()
        self._php.terminate()
        self._php.wait(30)

    def sign_up(self, name: str) -> httpx.Response:
        type_ = "dev.errands.onboarding.requested.v1"
        event = {"specversion": "1.0", "id": name, "source": SOURCE, "type": type_}
        data = {"email": f"{name}@client.example"}
        return self.up.post({**event, "datacontenttype": "application/json", "data": data})

    def done(self, name: str) -> list[str]:
        """The steps that the shop has done for somebody, in their order."""
        if not self.database.exists():
            return []
        with closing(sqlite3.connect(self.database, timeout=30)) as db:
            query = "SELECT step FROM done WHERE email = ? ORDER BY rowid"
            return [step for (step,) in db.execute(query, [f"{name}@client.example"])]

    def outcome(self, name: str) -> dict[str, Any]:
        found = self.up.outcome(name, source=SOURCE)
        assert found is not None, self.up.log.read_text()[-3_000:]
        return found


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shop]:
    program("php", "php-cli")
    with Shop(tmp_path_factory.mktemp("onboarding")) as shop:
        yield shop


@pytest.mark.parametrize(("name", "mails"), [("lee", ["Welcome", "How is it going?"]), ("busy", ["Welcome"])])
def test_a_user_is_welcomed_and_after_two_days_asked_where_nothing_was_done(
    shop: Shop, name: str, mails: list[str]
) -> None:
    assert shop.sign_up(name).status_code == 202

    assert shop.outcome(name)["data"]["active"] == (name == "busy")
    assert shop.done(name) == ["create-account", "provision", "activity"]
    assert [subject for to, subject in shop.mails.came if to.startswith(name)] == mails


def test_killed_after_each_step_nothing_is_done_twice(shop: Shop) -> None:
    shop.sign_up("kim")
    for step in ("create-account", "provision", "activity"):
        until(lambda step=step: step in shop.done("kim"))  # type: ignore[misc]  # of this round
        shop.up.kill()
        shop.up.start()

    assert shop.outcome("kim")["outcome"] == "completed"
    assert shop.done("kim") == ["create-account", "provision", "activity"]


def test_where_there_is_no_room_the_account_is_taken_away_again(shop: Shop) -> None:
    shop.sign_up("full")

    assert shop.outcome("full")["data"]["detail"] == "all servers are full"
    assert shop.done("full") == ["create-account", "delete-account"]
    assert [to for to, _ in shop.mails.came if to.startswith("full")] == []


def test_a_cancel_through_the_gateway_undoes_what_was_done(shop: Shop) -> None:
    with httpx.Client(base_url=shop.up.url, timeout=60) as api:
        path = shop.sign_up("ida").headers["location"]
        cancelled = api.post(f"{path}/cancel")

        assert cancelled.status_code == 202
        assert shop.outcome("ida")["data"]["title"] == "Cancelled"
        until(lambda: api.get(path).json()["state"] == "cancelled")
        # what was on its way when the gateway ended the job is undone after that
        until(lambda: shop.done("ida").count("create-account") == shop.done("ida").count("delete-account"))
