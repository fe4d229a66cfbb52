"""A certificate's data."""

from datetime import date
from typing import Annotated

from msgspec import Meta

from events.types import Request, Text
from functions.report.language import Code, Zone
from functions.report.parts import DEFAULT_ACCENT, Accent, Paragraph, Signature


class Certificate(Request, frozen=True, kw_only=True):
    """The data of the template `certificate`, one landscape page."""

    title: Text
    issuer: Text
    recipient: Text
    text: Paragraph | None = None
    awarded: date | None = None
    number: Text | None = None
    signatures: Annotated[tuple[Signature, ...], Meta(max_length=3)] = ()
    accent: Accent = DEFAULT_ACCENT
    language: Code = "en"
    timezone: Zone = "UTC"
