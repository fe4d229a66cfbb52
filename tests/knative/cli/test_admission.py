"""`errands admission` and `errands schedules`, against a gateway in a process of its own."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from knative.cli import admission, schedules
from tests.conftest import sample
from tests.support.gateway_process import GatewayProcess, gateway_process

pytestmark = pytest.mark.slow

ICS = sample("ics")


@pytest.fixture
def gateway(tmp_path: Path) -> Iterator[GatewayProcess]:
    with gateway_process(tmp_path, f"sqlite:///{tmp_path}/ledger.db") as (running, _broker):
        yield running


def errands(gateway: GatewayProcess, group: str, *arguments: str) -> Result:
    app = {"admission": admission.app, "schedules": schedules.app}[group]
    return CliRunner().invoke(app, [*arguments, "--sink", gateway.url])


def test_a_type_is_paused_and_a_key_limited_and_the_list_says_so(gateway: GatewayProcess) -> None:
    nothing = errands(gateway, "admission", "list").output
    paused = errands(gateway, "admission", "pause", "type:image", "--reason", "down \x1b[2J").output
    limited = errands(gateway, "admission", "limit", "key:mailgun", "--rate", "50/s", "--at-once", "20").output
    for command in (["resume", "type:image"], ["limit", "key:mailgun"]):
        assert errands(gateway, "admission", *command).exit_code == 0
    last = errands(gateway, "admission", "list").output.splitlines()
    wrong = errands(gateway, "admission", "limit", "key:mailgun", "--rate", "fast")

    assert nothing == "nothing holds jobs back\n"
    assert "paused  type:dev.errands.image.requested.v1  since " in paused
    assert "\x1b" not in paused
    assert "limit   key:mailgun  50/s, 1 at a moment  20 at once" in limited
    assert [each.split("  ")[1].split(" by ")[0] for each in last[:2]] == [
        "key:mailgun limit",
        "type:dev.errands.image.requested.v1 resumed",
    ]
    assert (wrong.exit_code, "50/s" in wrong.output) == (64, True)


def test_a_schedule_is_put_from_a_file_run_paused_and_removed(gateway: GatewayProcess, tmp_path: Path) -> None:
    file = tmp_path / "night.json"
    file.write_text(json.dumps({"cron": "@daily", "event": {"type": ICS["type"], "data": ICS["data"]}}))
    put = errands(gateway, "schedules", "put", "night", str(file))
    ran = errands(gateway, "schedules", "run", "night")
    errands(gateway, "schedules", "pause", "night")
    listed = errands(gateway, "schedules", "list").output
    resumed = errands(gateway, "schedules", "resume", "night")
    removed = errands(gateway, "schedules", "remove", "night")
    gone = errands(gateway, "schedules", "show", "night")

    assert (put.exit_code, ran.exit_code, resumed.exit_code, removed.exit_code, gone.exit_code) == (0, 0, 0, 0, 64)
    assert put.output.count("00:00:00") == 5
    assert listed == f"night  paused  @daily  UTC  {ICS['type']}\n"
