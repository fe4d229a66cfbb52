"""What a function logged, as an operator reads it."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from functions.deadletters.service.log_lines import readable

LINE = {
    "time": "2026-11-22T09:30:00.123+00:00",
    "severity": "ERROR",
    "logger": "errands.image",
    "message": "not done: OSError",
    "attempt": 3,
    "traceback": "Traceback (most recent call last):\n  ...\nOSError: no",
}


def test_a_line_of_json_is_shown_without_its_braces() -> None:
    assert readable(json.dumps(LINE)) == (
        "2026-11-22T09:30:00.123+00:00  ERROR  errands.image  not done: OSError  attempt=3\n"
        "Traceback (most recent call last):\n  ...\nOSError: no"
    )


@pytest.mark.parametrize("line", ["plain words", "", "{", '"a text"', "[1]", '{"level": "info"}', "[" * 100_000])
def test_any_other_line_is_shown_as_it_is(line: str) -> None:
    assert readable(line) == line


@pytest.mark.slow
@given(st.text() | st.recursive(st.none() | st.integers() | st.text(), st.lists).map(json.dumps))
def test_whatever_was_logged_can_be_shown(line: str) -> None:
    assert isinstance(readable(line), str)
