"""A table of contents, made of a document's headings and put in front of it."""

from typing import Final
from xml.etree.ElementTree import Element, SubElement

from events.types.report import ReportContents

# `!important`: WeasyPrint takes a style sheet from outside of the document for the user's, which the template overrules
STYLE: Final = """
.errands-contents { break-after: page !important }
.errands-contents h1 { margin: 0 0 6mm !important; padding: 0 !important }
.errands-contents p { margin: 0 !important; padding: 1mm 0 !important; line-height: 1.35 !important }
.errands-contents a { color: inherit !important; text-decoration: none !important }
.errands-contents a::after { content: leader(" . ") target-counter(attr(href), page); color: #6b7280 }
.errands-contents .depth-1 { font-weight: 700 !important }
""" + "".join(
    f".errands-contents .depth-{depth} {{ margin-inline-start: {6 * (depth - 1)}mm !important }}\n"
    for depth in range(2, 7)
)


def add_contents(root: Element, wanted: ReportContents, *, title: str) -> None:
    """Put a list of links to the headings at the start of the body; each says its page when it is laid out."""
    body = root.find("body")
    if body is None:
        return
    depths = {f"h{depth}": depth for depth in range(1, wanted.depth + 1)}
    headings = [(depths[each.tag], each) for each in body.iter() if each.tag in depths]
    nav = Element("nav", {"class": "errands-contents"})
    SubElement(nav, "h1").text = wanted.title or title
    for number, (depth, heading) in enumerate(headings):
        anchor = heading.get("id") or f"errands-heading-{number}"
        heading.set("id", anchor)
        entry = SubElement(nav, "p", {"class": f"depth-{depth}"})
        SubElement(entry, "a", {"href": f"#{anchor}"}).text = " ".join("".join(heading.itertext()).split())
    # after what repeats on every page: it has to be met on the first one
    running = [index for index, each in enumerate(body) if "running" in each.get("class", "").split()]
    body.insert(running[-1] + 1 if running else 0, nav)
