"""Durations as ISO 8601 writes them."""

import pytest

from events.duration import duration_s


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("PT90S", 90), ("PT1M30S", 90), ("PT0.25S", 0.25), ("P2DT12H", 216_000), ("P1D", 86_400), ("PT0S", 0)],
)
def test_a_duration_is_read_in_seconds(text: str, seconds: float) -> None:
    assert duration_s(text) == seconds


@pytest.mark.parametrize("text", ["", "P", "PT", "P1", "1h", "PT-1S", "P1M", "P1Y", "p1d", "PT1S ", "PT٣S"])
def test_what_is_none_or_has_no_one_length_is_none(text: str) -> None:
    assert duration_s(text) is None
