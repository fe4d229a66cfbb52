"""Templates from strangers: what they can write, and what they cannot reach."""

from datetime import date
from typing import Any

import pytest

from functions.templating.template import Conventions, TemplateRefused, rendered

GERMAN = Conventions("de-DE", "EUR", "Europe/Berlin", {"de": {"Hello {name}": "Hallo {name}"}})


def written(source: str, conventions: Conventions = GERMAN, **data: Any) -> str:
    return (
        rendered(source, data, conventions).replace("\N{NO-BREAK SPACE}", " ").replace("\N{NARROW NO-BREAK SPACE}", " ")
    )


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("{{ '-1234.5' | money }}", "-1.234,50 €"),
        ("{{ 1234 | money('JPY') }}", "1.234 ¥"),
        ("{{ '1234.50' | number }}", "1.234,50"),
        ("{{ 1234.5 | number(0) }}", "1.235"),
        ("{{ 19.5 | percent }}", "19,5 %"),
        ("{{ '2026-03-04' | date }}", "04.03.2026"),
        ("{{ '2026-03-04' | date('long') }}", "4. März 2026"),
        ("{{ '2026-03-04T23:30:00Z' | datetime('short') }}", "05.03.26, 00:30"),
        ("{{ '23:30' | time }}", "23:30"),
        ("{{ 'Hello {name}' | t(name='<b>') }}", "Hallo &lt;b&gt;"),
        ("{{ _('unknown') }}", "unknown"),
        ("{{ data['items'] }}{{ data.items }}", "11"),
    ],
)
def test_numbers_days_and_texts_are_written_by_the_locale(source: str, expected: str) -> None:
    assert written(source, data={"items": 1}) == expected


def test_a_date_may_come_as_a_date() -> None:
    assert written("{{ day | date }}", day=date(2026, 3, 4)) == "04.03.2026"


def test_data_is_text_and_plain_text_is_left_alone() -> None:
    assert written("{{ name }}", name="<b>{{ 7 }}") == "&lt;b&gt;{{ 7 }}"
    assert rendered("{{ name }}", {"name": "<b>"}, GERMAN, autoescape=False) == "<b>"


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("\n{{ absent }}", "template, line 2: 'absent' is undefined"),
        ("{% for %}", "template, line 1: Expected"),
        ("a\n\n{{ 1 / 0 }}", "template, line 3: division by zero"),
        ("{{ 'x' | money }}", "template, line 1: a number is expected, got 'x'"),
        ("{{ '1e999999' | number }}", "a number below 1e30 is expected"),
        ("{{ 'someday' | date }}", "template, line 1: Invalid isoformat string"),
        ("{% include 'other' %}", "there is no template 'other'"),
        ("{{ ''.__class__.__mro__ }}", "access to attribute '__class__' of 'str' object is unsafe"),
        ("{{ ''['__class__'] }}", "access to attribute '__class__'"),
        ("{{ '{0.__class__}'.format(1) }}", "access to attribute '__class__' of 'int' object is unsafe"),
        ("{{ self.__init__.__globals__ }}", "is unsafe"),
        ("{{ cycler.__init__.__globals__.os }}", "is unsafe"),
        ("{{ [] | map(attribute='x') | attr('gi_frame') }}", "is unsafe"),
        ("{{ _.__globals__ }}", "is unsafe"),
        ("{{ data.update({1: 2}) }}", "access to attribute 'update' of 'dict' object is unsafe"),
        ("{% for i in range(10 ** 9) %}{% endfor %}", "Range too big"),
        ("{{ lipsum() }}", "'lipsum' is undefined"),
    ],
)
def test_a_wrong_or_reaching_template_is_refused_by_its_line(source: str, message: str) -> None:
    with pytest.raises(TemplateRefused) as refused:
        written(source, data={})

    assert message in str(refused.value)


def test_an_unknown_locale_is_refused_by_name() -> None:
    with pytest.raises(ValueError, match="locale must be one of CLDR's, such as en or de-CH, got 'xx-YY'"):
        written("", Conventions("xx-YY"))
