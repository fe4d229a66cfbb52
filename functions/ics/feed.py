"""What a calendar says of itself (RFC 7986), in the X- forms too that Outlook, Google and Apple read."""

from collections.abc import Iterator

from events.types.ics import Feed
from functions.ics import texts
from functions.ics.colours import VALUES
from functions.ics.component import image
from functions.ics.content_line import text
from functions.ics.findings import Place
from functions.ics.moment import zone


def check(feed: Feed, at: Place) -> None:
    """Find what is wrong with a feed's own properties."""
    texts.check(feed, at)
    if feed.timezone is not None:
        (at / "timezone").take(zone, feed.timezone)
    check_color(feed.color, at / "color")


def check_color(color: str | None, at: Place) -> None:
    """Find a colour that CSS3 has no such name for."""
    if color is not None and color not in VALUES:
        at.add(f"must be a colour name of CSS3 (RFC 7986 5.9), such as turquoise, got {color!r}")


def lines(feed: Feed) -> Iterator[str]:
    """The properties of the calendar, unfolded."""
    yield f"NAME:{text(feed.name)}"
    yield f"X-WR-CALNAME:{text(feed.name)}"
    if feed.description:
        yield f"DESCRIPTION:{text(feed.description)}"
        yield f"X-WR-CALDESC:{text(feed.description)}"
    if feed.uid:
        yield f"UID:{text(feed.uid)}"
    if feed.url:
        yield f"URL:{feed.url}"
    if feed.source_url:
        yield f"SOURCE;VALUE=URI:{feed.source_url}"
    if feed.refresh_minutes:
        yield f"REFRESH-INTERVAL;VALUE=DURATION:PT{feed.refresh_minutes}M"
        yield f"X-PUBLISHED-TTL:PT{feed.refresh_minutes}M"
    if feed.timezone:
        yield f"X-WR-TIMEZONE:{feed.timezone}"
    if feed.color:
        yield f"COLOR:{feed.color}"
        yield f"X-APPLE-CALENDAR-COLOR:#{VALUES[feed.color].upper()}"
    if feed.categories:
        yield f"CATEGORIES:{','.join(map(text, feed.categories))}"
    yield from map(image, feed.images)
