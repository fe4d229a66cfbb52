"""The scenarios' table finds what it counts."""

import pytest

from tests.scenarios.table import HERE, SCENARIOS, Scenario, lines, shown


@pytest.mark.parametrize("scenario", SCENARIOS, ids=lambda each: each.name)
def test_a_scenario_has_its_test_and_both_versions(scenario: Scenario) -> None:
    assert (HERE / scenario.test).is_file()
    assert lines(scenario.here) > 0
    assert lines(shown(f"python {scenario.tool}")) > 0


def test_lines_are_those_that_do_something() -> None:
    assert lines(["import os", "", "# why", "a = 1", "    b = 2"]) == 2
