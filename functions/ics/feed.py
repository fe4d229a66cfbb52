"""What a calendar says of itself (RFC 7986), in the X- forms too that Outlook, Google and Apple read."""

from collections.abc import Iterator
from typing import Any

from icalendar import vUri

from events.types.ics import Feed
from functions.ics import texts
from functions.ics.colours import VALUES
from functions.ics.component import image
from functions.ics.findings import FieldPlace
from functions.ics.moment import zone
from functions.ics.values import minutes, text, text_list


def check(feed: Feed, at: FieldPlace) -> None:
    """Find what is wrong with a feed's own properties."""
    texts.check(feed, at)
    if feed.timezone is not None:
        (at / "timezone").take(zone, feed.timezone)
    check_color(feed.color, at / "color")


def check_color(color: str | None, at: FieldPlace) -> None:
    """Find a colour that CSS3 has no such name for."""
    if color is not None and color not in VALUES:
        at.add(f"must be a colour name of CSS3 (RFC 7986 5.9), such as turquoise, got {color!r}")


def properties(feed: Feed) -> Iterator[tuple[str, Any]]:
    """The properties of the calendar."""
    for name, x_name, value in (
        ("NAME", "X-WR-CALNAME", feed.name),
        ("DESCRIPTION", "X-WR-CALDESC", feed.description),
    ):
        if value:
            yield name, text(value)
            yield x_name, text(value)
    if feed.uid:
        yield "UID", text(feed.uid)
    if feed.url:
        yield "URL", vUri(feed.url)
    if feed.source_url:
        yield "SOURCE", vUri(feed.source_url, params={"VALUE": "URI"})
    if feed.refresh_minutes:
        yield "REFRESH-INTERVAL", minutes(feed.refresh_minutes, VALUE="DURATION")
        yield "X-PUBLISHED-TTL", minutes(feed.refresh_minutes)
    if feed.timezone:
        yield "X-WR-TIMEZONE", text(feed.timezone)
    if feed.color:
        yield "COLOR", text(feed.color)
        yield "X-APPLE-CALENDAR-COLOR", text(f"#{VALUES[feed.color].upper()}")
    if feed.categories:
        yield "CATEGORIES", text_list(feed.categories)
    yield from (("IMAGE", image(each)) for each in feed.images)
