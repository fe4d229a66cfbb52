"""`errands flows`, on flows that are kept here."""

from datetime import UTC, datetime
from pathlib import Path
from types import MappingProxyType

import pytest
from typer.testing import CliRunner, Result

from events.http import Event
from functions.flows.cli import app
from functions.flows.definitions import Definitions
from functions.flows.engine import Engine
from functions.flows.examples.onboarding import onboarding
from functions.flows.flow_record import flow_id
from functions.flows.schema import open_flows

START = datetime(2026, 12, 1, 12, tzinfo=UTC)
MODULE = "functions.flows.examples.onboarding"


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """The data directory of an installation that has begun two flows, of two shops, under one id, and a third."""
    engine = Engine(open_flows(f"sqlite:///{tmp_path / 'flows.db'}"), Definitions.of([onboarding]), lambda: START)
    for source, id_ in (("/a", "user-1"), ("/b", "user-1"), ("/a", "user-2")):
        attributes = {"specversion": "1.0", "id": id_, "source": source, "type": onboarding.type}
        engine.take(Event(MappingProxyType(attributes), b'{"email": "lee@client.example"}'))
    return tmp_path


def errands_flows(data: Path, *arguments: str) -> Result:
    return CliRunner().invoke(app, [*arguments, "--data", str(data)])


def test_a_list_has_the_flows_of_a_state(data: Path) -> None:
    listed = errands_flows(data, "list").output.splitlines()

    assert len(listed) == 3
    assert listed[0].endswith(("user-1", "user-2"))
    assert errands_flows(data, "list", "--state", "held").output == "no flows\n"
    assert errands_flows(data, "list", "--state", "ended").exit_code == 64


def test_a_flow_is_shown_by_its_requests_id_with_what_it_waits_for(data: Path) -> None:
    shown = errands_flows(data, "show", "user-2").output

    assert f"flow       {flow_id('/a', 'user-2')}, onboarding version 1, running" in shown
    assert "call create-account                      waited for" in shown


def test_a_flow_is_shown_as_a_diagram(data: Path) -> None:
    shown = errands_flows(data, "show", "user-2", "--mermaid").output

    assert shown.startswith("flowchart TD\n")
    assert 'begin --> s1["call create-account"]:::open' in shown


def test_an_id_of_two_requests_is_asked_for_more_exactly(data: Path) -> None:
    refused = errands_flows(data, "show", "user-1")

    assert (refused.exit_code, "2 flows have a request 'user-1'" in refused.output) == (64, True)
    assert errands_flows(data, "show", flow_id("/b", "user-1")).exit_code == 0


@pytest.mark.parametrize("command", [["show"], ["cancel"], ["resume"], ["signal"]])
def test_a_flow_that_is_not_there_is_a_mistake(data: Path, command: list[str]) -> None:
    arguments = [*command, "nobody", *(["paid"] if command == ["signal"] else [])]

    assert errands_flows(data, *arguments).exit_code == 64


def test_a_signal_needs_a_runner(data: Path) -> None:
    refused = errands_flows(data, "signal", "user-2", "paid", "7")

    assert (refused.exit_code, "errands up" in refused.output) == (69, True)
    assert errands_flows(data, "signal", "user-2", "paid", "{").exit_code == 64


def test_a_check_says_which_flows_other_functions_would_hold(data: Path) -> None:
    fine = errands_flows(data, "check", "--flows", MODULE)
    held = errands_flows(data, "check", "--flows", "tests.support.unrepeatable_flow")

    assert (fine.exit_code, fine.output) == (0, "0 of 3 flows would be held\n")
    assert (held.exit_code, held.output.count("version 1 of the flow onboarding is not deployed here")) == (1, 3)
    assert errands_flows(data, "check", "--flows", "no.such.module").exit_code == 64
