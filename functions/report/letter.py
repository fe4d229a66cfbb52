"""A letter's data. The address stands in the window of an envelope (DIN 5008, form B)."""

from datetime import date
from typing import Annotated

from msgspec import Meta

from events.types import Request, Text
from functions.report.language import Code, Zone
from functions.report.parts import DEFAULT_ACCENT, Accent, Paragraph, Party, Signature


class Letter(Request, frozen=True, kw_only=True):
    """The data of the template `letter`; without paragraphs it is a form to write on."""

    sender: Party
    recipient: Party
    written: date
    place: Text | None = None
    reference: Text | None = None
    subject: Text | None = None
    salutation: Text | None = None
    paragraphs: Annotated[tuple[Paragraph, ...], Meta(max_length=500)] = ()
    closing: Text | None = None
    signatures: Annotated[tuple[Signature, ...], Meta(max_length=3)] = ()
    enclosures: Annotated[tuple[Text, ...], Meta(max_length=50)] = ()
    accent: Accent = DEFAULT_ACCENT
    language: Code = "en"
    timezone: Zone = "UTC"
