"""Reads a built-in template's page without WeasyPrint's forgiving reader, and without the styles that no such page has.

The built-in templates are written as XML, which the C parser reads; they have no notes, and their lists are of `li`.
The bytes of the PDF are the same.
"""

import copy
from contextlib import suppress
from typing import Any, Final
from xml.etree import ElementTree

import cssselect2  # type: ignore[import-untyped]  # it has no types

from functions.report.engine.weasy import URLFetcher, weasyprint
from functions.report.page import Page

# html5_ua.css: rules for every element, whether it has a note or not, and whether it is an item of a list or not.
MARKER: Final = "marker"
NOTES: Final = frozenset({"footnote-call", "footnote-marker", "note-call", "note-marker", "note-callback"})
_DOCTYPE: Final = "<!doctype html>"  # XML knows it in capitals alone


class LeanHTML(weasyprint.HTML):  # type: ignore[misc]  # it has no types
    """What WeasyPrint's class is after its __init__, of HTML that is XML as well; ParseError where it is not."""

    def __init__(self, html: str, *, base_url: str, url_fetcher: URLFetcher) -> None:
        self.etree_element = ElementTree.XML(html.removeprefix(_DOCTYPE))
        self.wrapper_element = cssselect2.ElementWrapper.from_html_root(self.etree_element, content_language=None)
        self.base_url, self.url_fetcher, self.media_type = base_url, url_fetcher, "print"

    def _ua_stylesheets(self, forms: bool = False) -> list[Any]:
        return [_lean(each) for each in super()._ua_stylesheets(forms)]


def read(page: Page, *, base_url: str, url_fetcher: URLFetcher) -> Any:
    """The page as WeasyPrint has it; characters that XML does not allow are left to WeasyPrint's own reader."""
    if page.is_xml:
        with suppress(ElementTree.ParseError):
            return LeanHTML(page.html, base_url=base_url, url_fetcher=url_fetcher)
    return weasyprint.HTML(string=page.html, base_url=base_url, url_fetcher=url_fetcher)


def _lean(sheet: Any) -> Any:
    lean = copy.copy(sheet)
    lean.matcher = copy.copy(sheet.matcher)
    # an entry is the test, specificity, order, pseudo-element and declarations (cssselect2/__init__.py)
    entries = [each for each in sheet.matcher.other_selectors if each[3] not in NOTES]
    lean.matcher.other_selectors = [(_is_item, *each[1:]) if each[3] == MARKER else each for each in entries]
    return lean


def _is_item(element: Any) -> bool:
    return bool(element.local_name == "li")
