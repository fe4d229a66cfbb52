"""A table of contents, made of a document's headings and put in front of it."""

from typing import Final
from xml.etree.ElementTree import Element, SubElement

from events.types import ReportContents

STYLE: Final = """
.errands-contents { break-after: page }
.errands-contents h1 { margin: 0 0 6mm }
.errands-contents p { margin: 0; padding: .8mm 0 .8mm calc(6mm * var(--depth)); line-height: 1.35 }
.errands-contents a { color: inherit; text-decoration: none }
.errands-contents a::after { content: leader(" . ") target-counter(attr(href), page); color: #6b7280 }
.errands-contents .depth-1 { --depth: 0; font-weight: 700 }
.errands-contents .depth-2 { --depth: 1 }
.errands-contents .depth-3 { --depth: 2 }
.errands-contents .depth-4 { --depth: 3 }
.errands-contents .depth-5 { --depth: 4 }
.errands-contents .depth-6 { --depth: 5 }
"""


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
