"""Where lines are folded: never within an escape, nor within a character as a person sees it."""

import unicodedata
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from functions.ics.folding import LIMIT_BYTES, folded
from tests.support.calendar_bytes import defects
from tests.support.calendar_jobs import LEE, content, entry
from tests.support.calendar_panel import seen_by_all

CLUSTERS = {
    "a letter and a mark": "e\u0301",
    "a letter and three marks": "a\u0323\u0302\u0301",
    "a consonant and its vowel sign": "\u0915\u093f",
    "two consonants that a virama joins": "\u0915\u094d\u0937",
    "a Thai letter and its vowel": "\u0e01\u0e33",
    "Hangul of three parts": "\u1112\u1161\u11ab",
    "a hand of a colour": "\U0001f44b\U0001f3fd",
    "a family": "\U0001f468\u200d\U0001f469\u200d\U0001f467",
    "a flag": "\U0001f1f5\U0001f1f1",
    "a flag of tags": "\U0001f3f4\U000e0067\U000e0062\U000e007f",
    "a heart in colour": "\u2764\ufe0f",
    "an escaped backslash": "\\\\",
    "an escaped line break": "\\n",
    "an escaped comma": "\\,",
    "a quote in a parameter": "^'",
}


def pieces(line: str) -> list[str]:
    """The physical lines, without their ends and the blanks that they begin with."""
    first, *others = folded(line).removesuffix(b"\r\n").split(b"\r\n")
    assert all(each.startswith(b" ") for each in others)
    assert max(map(len, (first, *others))) <= LIMIT_BYTES
    return [first.decode(), *(each[1:].decode() for each in others)]


@pytest.mark.parametrize("cluster", CLUSTERS.values(), ids=CLUSTERS)
@pytest.mark.parametrize("lead", range(8))
def test_a_fold_splits_no_character_and_no_escape(cluster: str, lead: int) -> None:
    line = "X:" + "x" * (65 + lead) + cluster * 40

    assert "".join(pieces(line)) == line
    assert [each for each in pieces(line) if each.removeprefix("X:").strip("x").replace(cluster, "")] == []


@pytest.mark.parametrize("lead", range(8))
def test_a_line_with_nothing_to_keep_together_is_filled(lead: int) -> None:
    lengths = [len(each.encode()) for each in pieces("X:" + "x" * lead + "y" * 300)]

    assert lengths[:-1] == [75, 74, 74, 74]


def test_a_character_that_is_longer_than_a_line_is_split_between_code_points() -> None:
    line = "X:a" + "\u0301" * 200

    assert "".join(pieces(line)) == line


@pytest.mark.slow
@given(text=st.text(alphabet="\\;,\nn^x e\u0301\u0323\u093f\U0001f1f5\u200d\U0001f44b", min_size=1, max_size=300))
def test_every_line_of_a_file_ends_and_begins_whole(text: str) -> None:
    file = content(entry(description=text, organizer={**LEE, "name": "^" * (len(text) % 70) + '"x"' * 20}))

    assert defects(file) == []
    for line in file.decode().split("\r\n"):
        assert (len(line) - len(line.rstrip("\\"))) % 2 == 0
        assert not (line.startswith(" ") and unicodedata.combining(line[1]) and len(line.encode()) < LIMIT_BYTES - 8)


@pytest.mark.parametrize("text", ["\\" * 99, "\n" * 99, "e\u0301" * 99], ids=["backslashes", "breaks", "marks"])
@pytest.mark.parametrize("lead", range(4))
def test_a_file_is_folded_so(text: str, lead: int) -> None:
    lines = content(entry(description="x" * lead + text)).decode().split("\r\n ")

    assert len(lines) > 2
    for before, after in pairwise(lines):
        assert (len(before) - len(before.rstrip("\\"))) % 2 == 0
        assert not unicodedata.combining(after[0])


@pytest.mark.parametrize("lead", range(55, 76))
def test_unrelated_readers_read_a_folded_text_as_it_was_given(lead: int) -> None:
    summary = "s" * lead + "\nnext line, see; more\\\\ of it, e\u0301e\u0301e\u0301"

    file = content(entry(summary=summary, end="2026-12-01T15:00:00"))
    assert [each.summary for each in seen_by_all(file)] == [summary]


def test_a_file_of_a_megabyte_is_folded_at_once() -> None:
    line = "ATTACH;ENCODING=BASE64;VALUE=BINARY:" + "A" * 1_400_000

    assert len(pieces(line)) == 18_920
