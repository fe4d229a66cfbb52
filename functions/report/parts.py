"""What the data of several templates share."""

from typing import Annotated

from msgspec import Meta

from events.types import Email, Request, Text

Accent = Annotated[str, Meta(pattern=r"^#[0-9A-Fa-f]{6}$(?!\n)", description="a colour as #RRGGBB")]
Paragraph = Annotated[str, Meta(min_length=1, max_length=5_000)]
DEFAULT_ACCENT = "#1f4e79"


class Party(Request, frozen=True, kw_only=True):
    """Who sells or buys, writes or is written to."""

    name: Text
    address: Annotated[tuple[Text, ...], Meta(max_length=8)] = ()
    vat_id: Text | None = None
    email: Email | None = None


class Signature(Request, frozen=True, kw_only=True):
    """A line to sign on, and who signs."""

    name: Text
    role: Text | None = None
