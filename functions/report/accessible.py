"""What a page of HTML lacks for a PDF that screen readers are promised to read (PDF/UA-1, ISO 14289-1)."""

from collections.abc import Iterator
from typing import Final
from xml.etree.ElementTree import Element

_SVG: Final = "{http://www.w3.org/2000/svg}svg"
_TITLE: Final = "{http://www.w3.org/2000/svg}title"
_HEADINGS: Final = {f"h{level}": level for level in range(1, 7)}
_SHOWN_CHARACTERS: Final = 60


def findings(root: Element) -> tuple[str, ...]:
    """One text a kind and place, in the page's order; what styles do is not seen here."""
    return tuple(dict.fromkeys([*_language(root), *_pictures(root), *_headings(root), *_tables(root)]))


def _language(root: Element) -> Iterator[str]:
    if not root.get("lang"):
        yield "the element html has no lang"


def _pictures(root: Element) -> Iterator[str]:
    for each in root.iter():
        if each.tag == "img" and not (each.get("alt") or "").strip():
            yield f"the picture {each.get('src', '')[:_SHOWN_CHARACTERS]!r} has no text in alt"
        if each.tag == _SVG and not (each.findtext(_TITLE) or "").strip():
            yield "an svg has no title in it"


def _headings(root: Element) -> Iterator[str]:
    """Levels begin with 1, and none is left out on the way down (7.4.2)."""
    before = 0
    for each in root.iter():
        level = _HEADINGS.get(str(each.tag))
        if level is None:
            continue
        if level > before + 1:
            text = " ".join("".join(each.itertext()).split())[:_SHOWN_CHARACTERS]
            yield f"the heading {text!r} is an h{level} after {f'an h{before}' if before else 'no h1'}"
        before = level


def _tables(root: Element) -> Iterator[str]:
    """Rows of a table have as many cells (7.2); spans over rows are not followed."""
    for table in root.iter("table"):
        cells = [[each for each in row if each.tag in ("td", "th")] for row in table.iter("tr")]
        if any(each.get("rowspan", "1") != "1" for row in cells for each in row):
            continue
        if len({sum(_span(each) for each in row) for row in cells}) > 1:
            yield "a table has rows of different numbers of cells"


def _span(cell: Element) -> int:
    text = cell.get("colspan", "1")
    return int(text) if text.isdecimal() else 1
