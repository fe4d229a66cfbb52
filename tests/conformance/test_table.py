"""The table in knative/README.md says what the suite says."""

from tests.conformance.table import README, written


def test_the_table_of_promises_is_fresh() -> None:
    assert README.read_text() == written(), "run: python -m tests.conformance.table"
