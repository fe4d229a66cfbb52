"""The options of a PDF as a style sheet: the page's size and rim, what every page repeats, the watermark.

Each rule is `!important`: a job's options come before the template's own style.
"""

import base64
import re
from typing import Final

from markupsafe import escape

from events.types.report import ReportMargin, ReportPdf, ReportRunning, ReportWatermark
from functions.report.page import Page

# Of the watermark's picture; no such name can ever be resolved (RFC 6761 6.4).
WATERMARK_URL: Final = "http://watermark.invalid/"
_FONT: Final = '7.5pt/1.4 "Noto Sans", "DejaVu Sans Condensed", sans-serif'
_PLACES: Final = ("left", "center", "right")


def style(options: ReportPdf, page: Page, title: str) -> str:
    """CSS for WeasyPrint; empty when the options say nothing about the paper."""
    rules = [*_size(options, page), *_margin(options.margin), *_watermark(options.watermark)]
    for edge, running in (("top", options.header), ("bottom", options.footer)):
        if running is not None:
            rules += _running(edge, running, title, page.day)
    css = f"@page {{ {' '.join(rules)} }} {page.page_style}" if rules else ""
    return css if options.bookmarks else f"{css} * {{ bookmark-level: none !important }}"


def _size(options: ReportPdf, page: Page) -> list[str]:
    if options.width_mm is not None and options.height_mm is not None:
        sides = sorted((options.width_mm, options.height_mm), reverse=options.orientation == "landscape")
        width, height = sides if options.orientation else (options.width_mm, options.height_mm)
        return [f"size: {width:g}mm {height:g}mm !important;"]
    if options.size is None and options.orientation is None:
        return []
    orientation = options.orientation or ("landscape" if page.landscape else "portrait")
    return [f"size: {options.size or 'A4'} {orientation} !important;"]


def _margin(margin: ReportMargin | None) -> list[str]:
    if margin is None:
        return []
    sides = {"top": margin.top_mm, "right": margin.right_mm, "bottom": margin.bottom_mm, "left": margin.left_mm}
    return [f"margin-{side}: {length:g}mm !important;" for side, length in sides.items() if length is not None]


def _running(edge: str, running: ReportRunning, title: str, day: str) -> list[str]:
    """The three boxes of an edge; an empty text leaves its box out, the template's own too."""
    align = {"top": "bottom", "bottom": "top"}[edge]
    padding = {"top": "padding-bottom", "bottom": "padding-top"}[edge]
    boxes = []
    for place in _PLACES:
        text = getattr(running, place)
        content = _content(text, title, day) if text else "none"
        boxes.append(
            f"@{edge}-{place} {{ content: {content} !important; font: {_FONT} !important; color: #6b7280 !important; "
            f"vertical-align: {align} !important; {padding}: 4mm !important; width: auto !important; "
            f"text-align: {place} !important; white-space: pre-wrap !important }}"
        )
    return boxes


def _content(text: str, title: str, day: str) -> str:
    """The value of `content`: counters for `{page}` and `{pages}`, strings for the rest."""
    counters = {"{page}": "counter(page)", "{pages}": "counter(pages)"}
    told = {"{title}": title, "{date}": day}
    parts = re.split(r"(\{(?:page|pages|title|date)\})", text)
    return " ".join(counters.get(part) or _string(told.get(part, part)) for part in parts if part)


def _string(text: str) -> str:
    """As CSS: all but letters, figures and spaces by number, so that no text can end the string.

    The space after a number is a part of it (CSS Syntax 4.3.7).
    """
    return '"' + "".join(each if each.isalnum() or each == " " else f"\\{ord(each):x} " for each in text) + '"'


def _watermark(mark: ReportWatermark | None) -> list[str]:
    if mark is None:
        return []
    content = _picture(mark) if mark.text is None else _word(mark, mark.text)
    svg = f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 1000 1000">{content}</svg>'
    url = "data:image/svg+xml;base64," + base64.b64encode(svg.encode()).decode()
    return [f'background: url("{url}") center / contain no-repeat !important;']


def _word(mark: ReportWatermark, text: str) -> str:
    # about 0.62 of its size wide a character, and not over the page's edge
    size = min(900 / (0.62 * len(text)), 220)
    angle_deg = 45 if mark.angle_deg is None else mark.angle_deg
    return (
        f'<text x="500" y="{500 + size / 3:.0f}" font-size="{size:.0f}" font-family="Noto Sans" font-weight="700" '
        f'text-anchor="middle" fill="{mark.color}" fill-opacity="{mark.opacity:g}" '
        f'transform="rotate({-angle_deg:g} 500 500)">{escape(text)}</text>'
    )


def _picture(mark: ReportWatermark) -> str:
    """As wide as asked for, and not higher than wide."""
    width, turn = 10 * mark.width_percent, -(mark.angle_deg or 0)
    return (
        f'<image href="{WATERMARK_URL}" x="{500 - width / 2:g}" y="{500 - width / 2:g}" width="{width:g}" '
        f'height="{width:g}" opacity="{mark.opacity:g}" transform="rotate({turn:g} 500 500)"/>'
    )
