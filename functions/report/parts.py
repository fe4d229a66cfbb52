"""What the data of several templates share."""

from typing import Annotated, Final

from msgspec import Meta

from events.types import Email, Request, Text

Accent = Annotated[str, Meta(pattern=r"^#[0-9A-Fa-f]{6}$(?!\n)", description="a colour as #RRGGBB")]
Paragraph = Annotated[str, Meta(min_length=1, max_length=5_000)]
Country = Annotated[str, Meta(pattern=r"^[A-Z]{2}$(?!\n)", description="a code of ISO 3166-1", examples=["DE", "CH"])]
DEFAULT_ACCENT = "#1f4e79"
# Where the town is written before its code (Universal Postal Union, addressing systems).
_TOWN_FIRST: Final = frozenset(["AU", "CA", "GB", "IE", "IN", "NZ", "US"])


class Party(Request, frozen=True, kw_only=True):
    """Who sells or buys, writes or is written to.

    The address is printed as it is given: the lines of `address`, then `street`, `postcode` and `city`. Of an e-invoice
    and of a Swiss bill programs read the country, and of the latter also the postcode and the city by themselves.
    """

    name: Text
    address: Annotated[tuple[Text, ...], Meta(max_length=8)] = ()
    street: Text | None = None
    postcode: Annotated[str, Meta(min_length=1, max_length=16)] | None = None
    city: Text | None = None
    country: Country | None = None
    vat_id: Text | None = None
    tax_number: (
        Annotated[Text, Meta(description="of the tax office, where there is no VAT id, or beside it")] | None
    ) = None
    email: Email | None = None

    @property
    def rows(self) -> tuple[str, ...]:
        """The address as it is printed, without the country."""
        place = [self.city, self.postcode] if self.country in _TOWN_FIRST else [self.postcode, self.city]
        town = " ".join(each for each in place if each)
        return (*self.address, *(each for each in (self.street, town) if each))


class Signature(Request, frozen=True, kw_only=True):
    """A line to sign on, and who signs."""

    name: Text
    role: Text | None = None
