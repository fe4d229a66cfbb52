"""Numbers and amounts of every locale that Babel has, against ICU (Node's Intl) at ten to the 0 to 12."""

import json
import shutil
import subprocess
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from babel import Locale, localedata
from hypothesis import given
from hypothesis import strategies as st

from functions.templating.figures import check_currency, money_text, number_text, percent_text, rounded

POWERS = [f"{sign}1{'0' * power}" for sign in ("", "-") for power in range(13)]
# the first tell whether both have the same data of a locale: editions of CLDR differ in some
NUMBERS = [
    "1.5",
    "-1.5",
    "12345.67",
    "123456.78",
    *POWERS,
    "1234567.8",
    "0.125",
    "2.665",
    "1.005",
    "-1999.995",
    "-0.001",
    "0",
]
DATA = 4
CURRENCIES = ["EUR", "CHF", "USD", "PLN", "SEK", "JPY", "KWD", "INR"]
MARKS = dict.fromkeys(map(ord, "\N{LEFT-TO-RIGHT MARK}\N{RIGHT-TO-LEFT MARK}\N{ARABIC LETTER MARK}"))
# of the built-in templates' languages, and of others that send invoices
CERTAIN = {
    "en",
    "en-US",
    "en-GB",
    "de",
    "de-CH",
    "it",
    "it-CH",
    "fr",
    "fr-CA",
    "es",
    "es-MX",
    "nl",
    "pl",
    "ar",
    "ja",
    "en-IN",
}


@pytest.fixture(scope="module")
def icu() -> dict[str, dict[str, list[str]]]:
    if shutil.which("node") is None:
        pytest.skip("needs node, whose Intl is ICU")
    locales = [each.replace("_", "-") for each in localedata.locale_identifiers()]
    asked = json.dumps({"locales": locales, "numbers": NUMBERS, "currencies": CURRENCIES})
    command = ["node", str(Path(__file__).with_name("icu.js"))]
    done = subprocess.run(command, input=asked, capture_output=True, text=True, check=True)
    told: dict[str, dict[str, list[str]]] = json.loads(done.stdout)
    return told


def same(ours: list[str], theirs: list[str]) -> bool:
    return [each.translate(MARKS) for each in ours] == [each.translate(MARKS) for each in theirs]


def compared(icu: dict[str, Any], kind: str, write: Callable[[Decimal, Locale], str]) -> tuple[list[str], list[Any]]:
    """The locales of which both have the same data, and what differs in these."""
    alike, wrong = [], []
    for name, told in icu.items():
        locale = Locale.parse(name, sep="-")
        ours = [write(Decimal(each), locale) for each in NUMBERS]
        if not same(ours[:DATA], told[kind][:DATA]):
            continue
        alike.append(name)
        wrong += [(name, a, b) for a, b in zip(ours, told[kind], strict=True) if not same([a], [b])]
    return alike, wrong


@pytest.mark.slow
def test_numbers_are_those_of_icu_in_every_locale(icu: dict[str, Any]) -> None:
    alike, wrong = compared(icu, "number", lambda value, locale: number_text(value, locale, decimals=2))

    assert not wrong
    assert len(alike) > 0.9 * len(icu)
    assert not CERTAIN - set(alike)


@pytest.mark.slow
@pytest.mark.parametrize("currency", CURRENCIES)
def test_amounts_are_those_of_icu_in_every_locale(icu: dict[str, Any], currency: str) -> None:
    alike, wrong = compared(icu, currency, lambda value, locale: money_text(value, currency, locale))

    assert not wrong
    assert len(alike) > 0.8 * len(icu)
    assert not CERTAIN - set(alike)


@pytest.mark.parametrize("locale", ["de-CH", "it-CH", "en-CH", "de-LI", "fr-CH"])
def test_the_swiss_group_every_three_digits(locale: str) -> None:
    whole = number_text(Decimal("1234567890"), Locale.parse(locale, sep="-"))

    assert len(whole) == 13
    assert {whole[1], whole[5], whole[9]} <= {"'", "\N{RIGHT SINGLE QUOTATION MARK}", "\N{NARROW NO-BREAK SPACE}"}


@pytest.mark.parametrize(
    ("value", "decimals", "right"),
    [("0.125", 2, "0.13"), ("-0.125", 2, "-0.13"), ("2.5", 0, "3"), ("1.005", 2, "1.01")],
)
def test_ties_are_rounded_up(value: str, decimals: int, right: str) -> None:
    assert number_text(Decimal(value), Locale("en"), decimals=decimals) == right


@pytest.mark.parametrize("value", ["-0.001", "-0", "-0.00"])
def test_a_zero_has_no_sign(value: str) -> None:
    assert money_text(Decimal(value), "EUR", Locale("de")) == "0,00\N{NO-BREAK SPACE}€"
    assert number_text(Decimal(value), Locale("de"), decimals=0) == "0"
    assert percent_text(Decimal(value) * 0, Locale("en")) == "0%"


@given(st.decimals(min_value=-(10**12), max_value=10**12, allow_nan=False, places=4), st.integers(0, 4))
def test_what_is_written_is_the_number_that_was_rounded(value: Decimal, decimals: int) -> None:
    written = number_text(value, Locale.parse("de_CH"), decimals=decimals)

    read = written.replace("'", "").replace("\N{RIGHT SINGLE QUOTATION MARK}", "").replace("\N{MINUS SIGN}", "-")
    assert Decimal(read) == rounded(value, decimals=decimals)


def test_a_percentage_has_the_decimals_that_it_has() -> None:
    assert [percent_text(Decimal(each), Locale("en")) for each in ("19", "19.50", "1E+2")] == ["19%", "19.5%", "100%"]


@pytest.mark.parametrize("code", ["EUO", "eur", "", "XXXX", "€"])
def test_what_is_no_currency_is_refused(code: str) -> None:
    with pytest.raises(ValueError, match="currency must be a code of ISO 4217, such as EUR, got"):
        check_currency(code)
