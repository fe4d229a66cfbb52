"""Days and moments in templates: in the document's zone, and never the worker's clock."""

from datetime import UTC, date, datetime, timedelta, timezone
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from functions.templating.template import Conventions, TemplateRefused, rendered

BERLIN = Conventions("de", "EUR", "Europe/Berlin")
FILTERS = ["date", "datetime", "time"]
AT = "2026-07-22T23:30:00Z"  # in Berlin the day after


def written(source: str, **data: Any) -> str:
    return rendered(source, data, BERLIN)


@pytest.mark.parametrize(
    "value",
    [
        AT,
        "2026-07-23T01:30:00+02:00",
        "2026-07-22T18:30:00-05:00",
        "2026-07-23 01:30:00",
        datetime(2026, 7, 22, 23, 30, tzinfo=UTC),
        datetime(2026, 7, 23, 1, 30, tzinfo=timezone(timedelta(hours=2))),
    ],
)
def test_a_moment_is_written_in_the_zone_of_the_document(value: Any) -> None:
    assert written("{{ x | date }} {{ x | time }}", x=value) == "23.07.2026 01:30"
    assert written("{{ x | datetime }}", x=value) == "23.07.2026, 01:30:00"


def test_a_day_and_a_time_of_day_stand_as_they_are() -> None:
    assert written("{{ x | date }} {{ x | datetime('short') }}", x="2026-07-22") == "22.07.2026 22.07.26, 00:00"
    assert written("{{ x | date }}", x=date(2026, 7, 22)) == "22.07.2026"
    assert written("{{ x | time }}", x="23:30:15") == "23:30"


@pytest.mark.parametrize("filter_", FILTERS)
@pytest.mark.parametrize(
    ("value", "named"),
    [
        (None, "got null"),
        (True, "got true"),
        (1784763000, "got 1784763000"),
        (2**70, "got 1180591620717411303424"),
        (1.5, "got 1.5"),
        ([], "got a list"),
        ("", "Invalid isoformat string: ''"),
        ("22.07.2026", "Invalid isoformat string: '22.07.2026'"),
        ("2026-02-30", "Invalid isoformat string: '2026-02-30'"),
        ({"date": "2026-11-22 09:30:00.000000", "timezone_type": 3, "timezone": "Europe/Berlin"}, "DATE_ATOM"),
    ],
)
def test_what_is_no_moment_is_refused_with_what_was_expected(filter_: str, value: Any, named: str) -> None:
    with pytest.raises(TemplateRefused, match=r"template, line 2: .* such as .* is expected") as refused:
        written(f"\n{{{{ x | {filter_} }}}}", x=value)

    assert named in str(refused.value)


@pytest.mark.parametrize("filter_", [*FILTERS, "money", "number", "percent"])
def test_a_name_that_is_undefined_is_named(filter_: str) -> None:
    with pytest.raises(TemplateRefused, match="template, line 1: 'isued' is undefined"):
        written(f"{{{{ isued | {filter_} }}}}", issued=AT)


@pytest.mark.parametrize("style", ["dd.MM.yyyy", "EEEE, d. MMMM", "yyyy-'W'ww", "Y-'W'ww"])
def test_a_pattern_of_cldr_is_taken(style: str) -> None:
    assert written("{{ x | date(s) }}", x="2026-07-22", s=style)


@pytest.mark.parametrize("style", ["d.m.Y", "Y-m-d", "%d.%m.%Y", "l, j. F Y", "D", "brief", "", 3, None, True])
@pytest.mark.parametrize("filter_", FILTERS)
def test_a_format_of_another_language_is_refused_with_those_that_are_taken(filter_: str, style: Any) -> None:
    if style == "D" and filter_ != "time":
        pytest.skip("the day of the year")

    with pytest.raises(
        TemplateRefused, match=rf"line 1: {filter_} expects one of short, medium, long, full, or a pattern"
    ):
        written(f"{{{{ x | {filter_}(s) }}}}", x=AT, s=style)


@pytest.mark.parametrize("filter_", ["indent", "center"])
@pytest.mark.parametrize("call", ["{}(y)", "{}(width=y)"])
def test_a_width_beyond_all_measure_is_refused_with_what_is_taken(filter_: str, call: str) -> None:
    with pytest.raises(TemplateRefused, match=rf"line 1: {filter_} expects a width of at most 1,000, got 1001"):
        written(f"{{{{ x | {call.format(filter_)} }}}}", x="a", y=1_001)

    assert "a" in written(f"{{{{ x | {call.format(filter_)} }}}}", x="a", y=1_000)


VALUES = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.integers(min_value=10**25, max_value=10**30),
    st.sampled_from([2**63, 2**64, -(2**70), 10**5000]),
    st.floats(),
    st.text(max_size=30),
    st.datetimes().map(str),
    st.dates().map(str),
    st.times().map(str),
    st.datetimes(timezones=st.timezones()),
    st.sampled_from(["0001-01-01T00:00:00+14:00", "9999-12-31T23:59:59-12:00", "1e999999", "NaN", "-0", "٣", "1_000"]),
    st.lists(st.integers(), max_size=2),
    st.dictionaries(st.text(max_size=3), st.integers(), max_size=2),
)
CALLS = st.sampled_from(
    [
        *(
            f"x | {name}"
            for name in [*FILTERS, "money", "number", "percent", "t", "round", "int", "sum", "join", "length"]
        ),
        *(
            f"x | {name}(y)"
            for name in [*FILTERS, "money", "number", "truncate", "batch", "default", "format", "indent", "center"]
        ),
        "x + y",
        "x / y",
        "x * 3",
        "x[y]",
        "x.y.z",
        "x(y)",
        "_(x)",
        "'%d' % x",
        "x ~ y",
        "x | map('money') | list",
    ]
)


@pytest.mark.slow
@given(CALLS, VALUES, VALUES)
def test_no_filter_raises_anything_but_a_refusal_by_its_line(call: str, x: Any, y: Any) -> None:
    try:
        rendered(f"{{{{ {call} }}}}", {"x": x, "y": y}, BERLIN)
    except TemplateRefused as refused:
        told = str(refused)
    else:
        return
    assert told.startswith("template, line 1: ")
