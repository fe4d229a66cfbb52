"""What is done to a PDF of a variant before it is written, and what in it keeps it from being one.

veraPDF found both kinds (`tests/functions/report/test_report_variants.py`): what every page may hold is mended, and
what a template has to change is told.
"""

from collections.abc import Callable, Iterator
from typing import Any, Final

import pydyf  # type: ignore[import-untyped]  # it has no types

from events.types.report import ReportVariant

Finisher = Callable[[Any, pydyf.PDF], None]
_CMYK: Final = b"/DeviceCMYK "


def finisher(variant: ReportVariant, tell: Callable[[str], None]) -> Finisher:
    """For WeasyPrint's `write_pdf`."""

    def finish(_: Any, made: pydyf.PDF) -> None:
        if variant == "pdf/ua-1":
            _gather_links(made)
        else:
            _leave_pixels(made)
        for found in (*_of_all(made), *(_of_readers(made) if variant == "pdf/ua-1" else _of_archives(made))):
            tell(found)

    return finish


def _leave_pixels(made: pydyf.PDF) -> None:
    """ISO 19005-2 6.2.8: no picture asks to be smoothed."""
    for each in _streams(made):
        if "Interpolate" in each.extra:
            each.extra["Interpolate"] = "false"


def _gather_links(made: pydyf.PDF) -> None:
    """ISO 14289-1 7.18.5: what can be clicked belongs to its link, and to no bold word or picture inside of it."""
    for number, element in _owners(made):
        link = element
        while link.get("S") != "/Link" and "P" in link:
            link = _object(made, link["P"])
        if link is element or link.get("S") != "/Link":
            continue
        for each in [each for each in element["K"] if _is_object(made, each)]:
            element["K"].remove(each)
            link["K"].append(each)
        number[1][number[0]] = link.reference


def _owners(made: pydyf.PDF) -> list[tuple[tuple[int, list[Any]], pydyf.Dictionary]]:
    """Of the parent tree each place that names an element, and the element: those of annotations."""
    if "StructTreeRoot" not in made.catalog:
        return []
    numbers = _object(made, _object(made, made.catalog["StructTreeRoot"])["ParentTree"])["Nums"]
    places = [place for place in range(1, len(numbers), 2) if isinstance(numbers[place], bytes)]
    return [((place, numbers), _object(made, numbers[place])) for place in places]


def _object(made: pydyf.PDF, reference: bytes) -> Any:
    return made.objects[int(reference.split()[0])]


def _is_object(made: pydyf.PDF, kid: Any) -> bool:
    return isinstance(kid, bytes) and _object(made, kid).get("Type") == "/OBJR"


def _of_all(made: pydyf.PDF) -> Iterator[str]:
    if "AcroForm" in made.catalog:
        yield "fields of a form are no part of the variant: leave out `appearance: auto`"


def _of_archives(made: pydyf.PDF) -> Iterator[str]:
    """ISO 19005-2 6.2.4.3: the colours of screens alone, whose profile is in the PDF."""
    if any(each.extra.get("ColorSpace") == "/DeviceCMYK" for each in _streams(made)):
        yield "a picture has the colours of print (CMYK): it must be RGB or grey"
    if any(isinstance(part, bytes) and part.startswith(_CMYK) for each in _streams(made) for part in each.stream):
        yield "a style has the colours of print (device-cmyk)"


def _of_readers(made: pydyf.PDF) -> Iterator[str]:
    """ISO 14289-1 7.1 and 7.18, as far as a page's elements do not say it."""
    if any(each.extra.get("Subtype") == "/Form" and _is_tagged(each) for each in _streams(made)):
        yield "a text with opacity is not read out: give it a colour instead"
    marks = [each for each in made.objects if isinstance(each, pydyf.Dictionary) and each.get("Type") == "/Annot"]
    if any(each.get("Subtype") == "/FileAttachment" for each in marks):
        yield "a link with rel=attachment has no text for readers: use the attachments of the output's pdf"


def _streams(made: pydyf.PDF) -> Iterator[pydyf.Stream]:
    return (each for each in made.objects if isinstance(each, pydyf.Stream))


def _is_tagged(stream: pydyf.Stream) -> bool:
    return any(isinstance(part, pydyf.Dictionary) and "MCID" in part for part in stream.stream)
